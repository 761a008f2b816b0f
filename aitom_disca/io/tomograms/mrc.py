"""MRC files: their voxels mapped, never loaded whole; volumes and masks read and written."""

from __future__ import annotations

import gzip
import logging
import math
import tempfile
import zlib
from pathlib import Path
from typing import IO, Any

import mrcfile
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.disk.free_space import free_bytes, in_words
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.tomograms.mrc_bytes import (
    bytes_are_unsigned,
    neighbours_are_unsigned,
    words_are_unsigned,
)
from aitom_disca.io.tomograms.mrc_header import find_opener, read_header, tilt_range_label
from aitom_disca.progress import say

logger = logging.getLogger(__name__)

_COMPRESSION = {".gz": "gzip", ".bz2": "bzip2"}
_PIECE_BYTES = 1 << 20  # unpacked at once
_MOST_MORE_BYTES = 1 << 26  # of a packed file that is longer than it says


class MappedVolume:
    """Voxels (z, y, x) of an MRC file, read where they are asked for.

    Pickled, it is its place in the file, which another process maps anew when it first reads.

    Parameters
    ----------
    path : Path
    offset : int
        Bytes before the voxels, once unpacked.
    voxels : ndarray
        The file, mapped.
    """

    def __init__(self, path: Path, offset: int, voxels: np.ndarray) -> None:
        self._path, self._offset = path.absolute(), offset
        self.shape: tuple[int, ...] = voxels.shape
        self.dtype = voxels.dtype
        self._voxels: np.ndarray | None = voxels
        self._n_bytes = offset + voxels.nbytes
        self._is_plain = find_opener(path) is open  # packed, it lies unpacked where nobody writes

    def __getitem__(self, slices: Any) -> np.ndarray:
        """Voxels, as of an ndarray.

        Raises
        ------
        InputError
            If the file has become shorter: to read behind its end would kill the process.
        """
        if self._is_plain and self._path.is_file() and self._path.stat().st_size < self._n_bytes:
            raise InputError(
                f"{self._path.name} has become shorter while it was read; do not replace a "
                "tomogram in its place while it is used."
            )
        if self._voxels is None:
            with _open_unpacked(self._path, self._n_bytes) as file:
                self._voxels = np.memmap(file, self.dtype, "r", self._offset, self.shape)
        return self._voxels[slices]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_voxels": None}


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask: True where the volume is not zero.

    Returns
    -------
    ndarray of bool, axes z, y, x

    Raises
    ------
    InputError
        If the file is not an MRC volume, or holds NaN or infinity.
    """
    voxels = read_voxels(path)
    if not np.isfinite(voxels).all():
        raise InputError(
            f"the mask {Path(path).name} holds values that are not finite numbers (NaN or "
            "infinite); replace them by 0."
        )
    return voxels != 0


def read_voxels(path: str | Path) -> np.ndarray:
    """Voxels (z, y, x) of a volume as they are stored, whose size does not matter.

    Raises
    ------
    InputError
        If the file is not an MRC volume.
    """
    path = Path(path)
    with reading(path, "an MRC file", "copy it again"):
        return map_voxels(path, read_header(path)[0])[...]


def write_volume(
    path: str | Path,
    volume_zyx: np.ndarray,
    voxel_size_angstrom: float,
    *,
    tilt_range_deg: tuple[float, float] | None = None,
) -> None:
    """Write a volume as an MRC file of float32 (mode 2); compressed if the name ends .gz or .bz2.

    Parameters
    ----------
    path : path
    volume_zyx : ndarray of shape (z, y, x)
    voxel_size_angstrom : float
    tilt_range_deg : tuple of 2 floats, optional
        Kept in a header label, from which `open_tomogram` reads it back.

    Raises
    ------
    ValueError
        If the volume has not three axes.
    """
    path = Path(path)
    if volume_zyx.ndim != 3:
        raise ValueError(f"expected a volume of three axes (z, y, x), got shape {volume_zyx.shape}")
    compression = _COMPRESSION.get(path.suffix)
    with replacing(path) as temporary:
        with mrcfile.new(temporary, compression=compression, overwrite=True) as mrc:
            mrc.set_data(np.ascontiguousarray(volume_zyx, np.float32))
            mrc.set_volume()
            mrc.voxel_size = voxel_size_angstrom
            if tilt_range_deg is not None:
                mrc.add_label(tilt_range_label(tilt_range_deg))


def map_voxels(path: Path, header: np.recarray) -> MappedVolume:
    """The voxels that a header describes, mapped.

    Raises
    ------
    InputError
        If the file is cut short, or cannot be unpacked.
    """
    dtype = mrcfile.utils.data_dtype_from_header(header)
    shape = mrcfile.utils.data_shape_from_header(header)
    offset = header.nbytes + int(header.nsymbt)
    n_bytes = math.prod(int(n) for n in shape) * dtype.itemsize
    with _open_unpacked(path, offset + n_bytes) as file:
        size = file.seek(0, 2)
        if size == header.nbytes + n_bytes and offset > header.nbytes:
            logger.warning(
                "%s promises an extended header of %d bytes that it does not have; its voxels are "
                "read from behind the header.",
                path.name,
                offset - header.nbytes,
            )
            offset = header.nbytes
        if size < offset + n_bytes:
            raise InputError(
                f"{path.name} is cut short: its header promises {offset + n_bytes} bytes, it has "
                f"{size}; copy it again."
            )
        if size > offset + n_bytes:
            logger.warning(
                "%s is %d bytes longer than its header says for %s voxels (x, y, z); check that "
                "slices look right.",
                path.name,
                size - offset - n_bytes,
                " x ".join(map(str, shape[::-1])),
            )
        voxels = np.memmap(file, dtype, "r", offset, shape)
    return MappedVolume(path, offset, voxels.view(_stored_dtype(path, header, voxels)))


def _stored_dtype(path: Path, header: np.recarray, voxels: np.ndarray) -> np.dtype:
    """The type of the voxels, which modes 0 and 1 leave open: with a sign or without."""
    mode, dtype = int(header.mode), voxels.dtype
    if mode == 1 and words_are_unsigned(header):
        say(f"{path.name}: its mode 1 is read as 0 to 65535, as the extremes in its header say")
        return np.dtype(np.uint16).newbyteorder(dtype.byteorder)
    if mode != 0:
        return dtype
    unsigned = bytes_are_unsigned(header)
    if unsigned is None:
        unsigned = neighbours_are_unsigned(path, voxels)
    return np.dtype(np.uint8) if unsigned else dtype


def _open_unpacked(path: Path, n_bytes: int) -> IO[bytes]:
    """Open a file, a packed one as an unnamed temporary file, which a map of it keeps alive.

    Of a packed one no more is unpacked than the bytes that its header promises.
    """
    opener = find_opener(path)
    if opener is open:
        return path.open("rb")
    folder = tempfile.gettempdir()
    free = free_bytes(Path(folder))
    if free is not None and n_bytes > free:
        raise InputError(
            f"{path.name} takes {in_words(n_bytes)} unpacked, but only {in_words(free)} are free "
            f"in {folder}; unpack it yourself, or set TMPDIR to a folder with more room."
        )
    try:
        file = tempfile.TemporaryFile(dir=folder)
        with opener(path) as packed:
            left = n_bytes
            while left and (piece := packed.read(min(left, _PIECE_BYTES))):
                left -= file.write(piece)
            if packed.read(1):  # at the end the checksum is compared, so go there if it is near
                for _ in range(0, _MOST_MORE_BYTES, _PIECE_BYTES):
                    if not packed.read(_PIECE_BYTES):
                        break
                logger.warning(
                    "%s is longer than its header says; check that slices look right.", path.name
                )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path.name} is cut short or damaged; copy it again.") from error
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be unpacked into {tempfile.gettempdir()} ({error}); unpack it "
            "yourself, or set TMPDIR to a folder with more room."
        ) from error
    return file
