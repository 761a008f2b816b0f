"""What an MRC header says about a tomogram, with every doubt settled or reported."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import re
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from mrcfile.dtypes import get_ext_header_dtype
from mrcfile.mrcinterpreter import MrcInterpreter

from aitom_disca.errors import InputError
from aitom_disca.io.pixel_sizes import LARGEST_ANGSTROM, SMALLEST_ANGSTROM, differs
from aitom_disca.io.tomograms.tilt_range import check_tilt_range, doubt

logger = logging.getLogger(__name__)

_REAL_MODES = (0, 1, 2, 6, 12)
_COMPLEX_MODES = (3, 4)
_OTHER_MODES = (16, 101)
_KNOWN_MODES = _REAL_MODES + _COMPLEX_MODES + _OTHER_MODES
_PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
HEADER_BYTES = 1024
_EXTENDED_BYTES = 1 << 24  # of an extended header; FEI's has 768 a tilt
_LABEL = "aitom_disca: tilt range {:.3f} to {:.3f} deg, tilt axis y, beam z"
_LABEL_PATTERN = re.compile(r"aitom_disca: tilt range (\S+) to (\S+) deg")


def tilt_range_label(tilt_range_deg: tuple[float, float]) -> str:
    """Text of the header label that keeps the tilt range."""
    return _LABEL.format(*check_tilt_range(tilt_range_deg))


def read_header(path: Path) -> tuple[np.recarray, bytes]:
    """Header and extended header of a file, packed or not.

    Raises
    ------
    InputError
        If it is missing, no MRC file, or not one real-valued 3D volume.
    """
    if not path.exists():
        raise InputError(f"the tomogram {path} does not exist; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected an MRC file: give the files inside of it.")
    try:
        opener = find_opener(path)
        with opener(path, "rb") as file:
            header = _parsed(path, opener is not open, file.read(HEADER_BYTES))
            extended = file.read(_n_bytes_of_fei(header))
    except PermissionError as error:
        raise InputError(f"{path} may not be read; ask for permission.") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path.name} is cut short or damaged; copy it again.") from error
    except InputError:
        raise
    except (ValueError, OSError) as error:
        raise InputError(f"{path.name} is not an MRC file; expected .mrc, .rec or .map.") from error
    _check_header(path.name, header)
    return header, extended


def find_opener(path: Path) -> Callable[..., Any]:
    """Function that opens a file unpacked: `open` itself, or that of gzip or bz2."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((opener for magic, opener in _PACKED.items() if start.startswith(magic)), open)


def _parsed(path: Path, is_packed: bool, start: bytes) -> np.recarray:
    """The header, of any byte order, without making room for the extended one that it promises."""
    modes = {int.from_bytes(start[12:16], order) for order in ("little", "big")}
    if len(start) < HEADER_BYTES or not (start[208:211] == b"MAP" or modes & set(_KNOWN_MODES)):
        raise ValueError("neither the letters MAP nor a mode")
    alone = io.BytesIO(start[:92] + bytes(4) + start[96:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # judged by the caller, and said in our words
        header = MrcInterpreter(alone, permissive=True, header_only=True).header.copy()
    header.nsymbt = np.frombuffer(start[92:96], header.nsymbt.dtype)[0]
    extra, most = int(header.nsymbt), _EXTENDED_BYTES
    if not is_packed:
        most = max(path.stat().st_size, most)
    if extra > most:
        raise InputError(
            f"{path.name} is cut short or damaged: its header promises an extended header of "
            f"{extra} bytes, where {most} are the most; copy it again."
        )
    return header


def _n_bytes_of_fei(header: np.recarray) -> int:
    """Of FEI's extended header, which holds tilts; others are not read."""
    is_fei = bytes(header.exttyp) in (b"FEI1", b"FEI2")
    return min(max(int(header.nsymbt), 0), _EXTENDED_BYTES) if is_fei else 0


def _check_header(name: str, header: np.recarray) -> None:
    mode = int(header.mode)
    sizes = [int(n) for n in (header.nx, header.ny, header.nz)]
    if mode not in _KNOWN_MODES or min(sizes) < 1 or int(header.nsymbt) < 0:
        raise InputError(
            f"{name} is not an MRC file, or its header is damaged (mode {mode}, size "
            f"{sizes[0]} x {sizes[1]} x {sizes[2]}); expected .mrc, .rec or .map."
        )
    if mode in _COMPLEX_MODES:
        raise InputError(
            f"{name} holds complex numbers (mode {mode}), a Fourier transform; give the "
            "reconstructed tomogram itself."
        )
    if mode in _OTHER_MODES:
        raise InputError(
            f"{name} has MRC mode {mode}, which is not read; convert it to mode 2 (float), for "
            "example with IMOD's newstack -mode 2."
        )
    is_stack = mrcfile.utils.spacegroup_is_volume_stack(header.ispg)
    if sizes[2] == 1 or is_stack:
        axes = "4D data, a stack of volumes" if is_stack else "a single 2D image"
        raise InputError(f"{name} holds {axes}; expected one 3D tomogram a file.")
    if [int(a) for a in (header.mapc, header.mapr, header.maps)] not in ([1, 2, 3], [0, 0, 0]):
        logger.warning(
            "%s says that its axes are not stored in the order x, y, z; that is ignored, check "
            "that slices along z look right.",
            name,
        )


def choose_voxel_size(path: Path, header: np.recarray, given: float | None) -> float:
    """Voxel size in Angstrom: the one given, else the header's if that is a real one.

    Raises
    ------
    InputError
        If it is unknown (none that a voxel can have, or the 1.0 of programs that do not know it),
        differs between the axes by more than 1 %, or the one given is not positive.
    """
    cell = np.array([header.cella.x, header.cella.y, header.cella.z], float)
    grid = np.array([header.mx, header.my, header.mz], float)
    sizes = np.divide(cell, grid, out=np.zeros(3), where=grid > 0)
    possible = (sizes >= SMALLEST_ANGSTROM) & (sizes <= LARGEST_ANGSTROM)
    known = bool(possible.all() and not np.allclose(sizes, 1, atol=1e-6))
    if given is not None:
        return _given_voxel_size(path, sizes, known, float(given))
    if not known:
        text = " x ".join(f"{s:g}" for s in sizes)
        raise InputError(
            f"{path.name} does not say its voxel size (the header has {text} Angstrom); give it "
            "with --voxel-size-angstrom."
        )
    if sizes.max() > 1.01 * sizes.min():
        text = ", ".join(f"{s:.4g}" for s in sizes)
        raise InputError(
            f"{path.name} has voxels of different edges (x, y, z: {text} Angstrom); resample it to "
            "cubic voxels, or give --voxel-size-angstrom if the header is wrong."
        )
    return round(float(sizes[0]), 5)  # the header's float32 turns 13.48 into 13.4799995


def _given_voxel_size(path: Path, sizes: np.ndarray, known: bool, given: float) -> float:
    if not (np.isfinite(given) and given > 0):
        raise InputError(
            f"the voxel size must be a positive number of Angstrom, got {given:g}; correct "
            "--voxel-size-angstrom."
        )
    if known and differs(sizes, given).any():
        logger.warning(
            "%s: the voxel size given, %g Angstrom, is used although the header has %s.",
            path.name,
            given,
            " x ".join(f"{s:.5g}" for s in sizes),
        )
    return given


def tilt_range_of(header: np.recarray, extended: bytes) -> tuple[float, float] | None:
    """Tilt range: that of our label, else that of FEI's extended header; None without either.

    Raises
    ------
    InputError
        If the label holds no range of angles.
    """
    for label in header.label:
        if match := _LABEL_PATTERN.search(label.decode("latin-1")):
            return check_tilt_range((float(match[1]), float(match[2])))
    tilts = _fei_tilts(header, extended)
    if not tilts.size or np.ptp(tilts) == 0:
        return None
    if reason := doubt(tilts):
        logger.warning("the tilt angles in an FEI header are passed over: %s.", reason)
        return None
    return check_tilt_range((tilts.min(), tilts.max()))


def _fei_tilts(header: np.recarray, extended: bytes) -> np.ndarray:
    """Alpha tilts in FEI's extended header, one of every image; none in other files."""
    if bytes(header.exttyp) not in (b"FEI1", b"FEI2"):
        return np.empty(0)
    record = get_ext_header_dtype(bytes(header.exttyp), header.mode.dtype.byteorder)
    records = np.frombuffer(extended, record, count=len(extended) // record.itemsize)
    tilts = records["Alpha tilt"][records["Metadata size"] == record.itemsize]
    return tilts[np.isfinite(tilts)]
