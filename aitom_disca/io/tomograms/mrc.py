"""Tomograms in MRC files: mapped, never loaded whole; every doubt about the header is settled."""

from __future__ import annotations

import gzip
import logging
import math
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import mrcfile
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.disk.room import free_bytes, in_words
from aitom_disca.io.names import tomogram_name
from aitom_disca.io.tomograms.half_tomograms import MeanOfHalves
from aitom_disca.io.tomograms.mrc_bytes import (
    bytes_are_unsigned,
    neighbours_are_unsigned,
    words_are_unsigned,
)
from aitom_disca.io.tomograms.mrc_header import (
    choose_voxel_size,
    find_opener,
    read_header,
    tilt_range_label,
    tilt_range_of,
)
from aitom_disca.io.tomograms.tilt_angles import read_tilts, tilts_beside
from aitom_disca.io.tomograms.tilt_range import DEFAULT_TILT_RANGE_DEG, check_tilt_range, doubt
from aitom_disca.io.tomograms.zarr_tomogram import ZarrVolume, is_zarr, open_zarr_volume
from aitom_disca.particles import Optics, TomogramInfo
from aitom_disca.progress import say

logger = logging.getLogger(__name__)

_COMPRESSION = {".gz": "gzip", ".bz2": "bzip2"}
_PIECE_BYTES = 1 << 20  # unpacked at once
_MOST_MORE_BYTES = 1 << 26  # of a packed file that is longer than it says
_SUFFIXES = (".mrc", ".rec", ".map")
_WHOLE_TILT_RANGE_DEG = (-90.0, 90.0)


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


@dataclass(frozen=True, eq=False)
class Tomogram(Optics):
    """A tomogram whose voxels stay on disk until they are read; with the values of `Optics`.

    It may be sent to other processes, which read the same file.

    Parameters
    ----------
    name : str
    path : Path
    data : MappedVolume, ZarrVolume, MeanOfHalves or ndarray of shape (z, y, x)
        Values and type as in the file, from which they are read when they are needed.
    voxel_size_angstrom : float
    tilt_range_deg : tuple of 2 floats
        Smallest and largest measured tilt; tilt axis y, beam z.
    dark_protein : bool
        Whether protein is darker than its surroundings in the file.
    tilt_series_pixel_size_angstrom, unbinned_shape_zyx, tilts_deg
        As in `TomogramInfo`.
    """

    name: str
    path: Path
    data: MappedVolume | ZarrVolume | MeanOfHalves | np.ndarray
    voxel_size_angstrom: float
    tilt_range_deg: tuple[float, float]
    dark_protein: bool = False
    tilt_series_pixel_size_angstrom: float | None = None
    unbinned_shape_zyx: tuple[float, float, float] | None = None
    tilts_deg: tuple[float, ...] = ()

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Size in voxels."""
        nz, ny, nx = self.data.shape
        return nz, ny, nx

    @property
    def paths(self) -> list[Path]:
        """The files that its voxels are read from."""
        other = [self.data.other_path] if isinstance(self.data, MeanOfHalves) else []
        return [self.path, *other]

    @property
    def info(self) -> TomogramInfo:
        """What is known without the voxels."""
        return TomogramInfo(
            self.name,
            self.voxel_size_angstrom,
            self.shape_zyx,
            self.tilt_range_deg,
            self.path,
            self.tilt_series_pixel_size_angstrom,
            self.unbinned_shape_zyx,
            self.tilts_deg,
            **self.optics,
        )

    def read(self, slices: tuple[slice, ...] | None = None) -> np.ndarray:
        """Copy a region into memory, protein bright.

        Parameters
        ----------
        slices : tuple of 3 slices, optional
            Along z, y, x, inside of the tomogram; everything if left out.

        Returns
        -------
        ndarray of float32, axes z, y, x

        Raises
        ------
        InputError
            If the region holds NaN or infinity, or the file has become shorter.
        """
        region = np.array(self.data[slices or ...], np.float32, order="C")
        finite = np.isfinite(region)
        if not finite.all():
            start = [s.start or 0 for s in slices] if slices else [0, 0, 0]
            first = np.unravel_index(np.argmin(finite), finite.shape)
            place = ", ".join(str(a + b) for a, b in zip(start[::-1], first[::-1], strict=True))
            raise InputError(
                f"tomogram {self.name} has {(~finite).sum()} voxels that are not finite numbers "
                f"(NaN or infinite) where it was read, the first at {place} (x, y, z from 0); "
                "reconstruct it again, or replace them by its mean."
            )
        return np.negative(region, out=region) if self.dark_protein else region


def open_tomogram(
    path: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    dark_protein: bool = False,
    name: str | None = None,
    tilt_file: str | Path | None = None,
    zarr_level: int = 0,
) -> Tomogram:
    """Open an MRC file (.mrc, .rec, .map; also .gz, .bz2) or an OME-Zarr folder as a tomogram.

    A compressed file is unpacked into an unnamed temporary file, which is gone with the object.

    Parameters
    ----------
    path : path
    voxel_size_angstrom : float, optional
        Overrides the header.
    tilt_range_deg : tuple of 2 floats, optional
        Overrides the header, where hardly any file has it. Where the header is silent, a file of
        tilt angles that lies beside the tomogram is read, and otherwise -60 to 60 taken.
    dark_protein : bool
        Whether protein is darker than its surroundings, as in most reconstructions.
    name : str, optional
        By which particles refer to the tomogram; from the file's name if left out.
    tilt_file : path, optional
        File of tilt angles, see `read_tilts`, in place of what the header says.
    zarr_level : int
        Of a multiscale image; see `open_zarr_volume`.

    Raises
    ------
    InputError
        If the file cannot be used, with the reason and what to do.
    """
    path = Path(path)
    given: tuple[float, ...] = ()
    if tilt_range_deg is not None:
        given = check_tilt_range(tilt_range_deg)
    elif tilt_file is not None:
        given = read_tilts(tilt_file)
    data: MappedVolume | ZarrVolume
    if is_zarr(path):
        data, voxel_size = open_zarr_volume(
            path, zarr_level, voxel_size_angstrom=voxel_size_angstrom
        )
        tilts = _tilts(path, None, given)
    else:
        with reading(path, "an MRC file", "copy it again"):
            header, extended = read_header(path)
            data = _map_voxels(path, header)
            voxel_size = choose_voxel_size(path, header, voxel_size_angstrom)
            tilts = _tilts(path, tilt_range_of(header, extended), given)
    return Tomogram(
        name or tomogram_name(path),
        path.resolve(),
        data,
        voxel_size,
        (tilts[0], tilts[-1]),
        dark_protein,
        tilts_deg=tilts if len(tilts) > 2 else (),
    )


def _tilts(
    path: Path, of_header: tuple[float, float] | None, given: tuple[float, ...]
) -> tuple[float, ...]:
    """The tilts or range given, else the header's, else those of a file beside it, else a guess."""
    if given:
        if reason := doubt(given):
            logger.warning("%s: tilts as given, but %s; check them.", path.name, reason)
        return given
    if of_header is not None:
        return of_header
    beside = tilts_beside(path)
    if beside is not None:
        tilts, file = beside
        say(f"{path.name}: tilt range {tilts[0]:g} to {tilts[-1]:g} degrees, of {file.name}")
        return tilts
    logger.warning(
        "%s does not say its tilt range; -60 to 60 degrees is taken (--tilt-range to change it).",
        path.name,
    )
    return DEFAULT_TILT_RANGE_DEG


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


def open_map(path: str | Path, *, voxel_size_angstrom: float | None = None) -> Tomogram:
    """Open a density map, an average or a mask, which has no tilt range: none is missing.

    Parameters
    ----------
    path : path
    voxel_size_angstrom : float, optional
        In place of the header's.

    Raises
    ------
    InputError
        As `open_tomogram`.
    """
    return open_tomogram(
        path, voxel_size_angstrom=voxel_size_angstrom, tilt_range_deg=_WHOLE_TILT_RANGE_DEG
    )


def read_voxels(path: str | Path) -> np.ndarray:
    """Voxels (z, y, x) of a volume as they are stored, whose size does not matter.

    Raises
    ------
    InputError
        If the file is not an MRC volume.
    """
    path = Path(path)
    with reading(path, "an MRC file", "copy it again"):
        return _map_voxels(path, read_header(path)[0])[...]


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


def _map_voxels(path: Path, header: np.recarray) -> MappedVolume:
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
