"""In which pixel a file counts: sizes checked, compared, and turned into voxels of a tomogram.

The labels of star files that state one are in `aitom_disca.io.formats.relion.star_pixels`.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.numbers_in_files import to_numbers

logger = logging.getLogger(__name__)

SAME_SIZE = 0.01  # pixel sizes that differ by less are one that was rounded
SMALLEST_ANGSTROM, LARGEST_ANGSTROM = 0.05, 1000.0  # what a pixel can have
_SPACING_FOLDER = re.compile(r"VoxelSpacing(\d+(?:\.\d+)?)")
OPTION = "--file-pixel-angstrom"


class UnknownPixelSize(InputError):
    """A file does not say in which pixels it counts, and has to."""


def differs(one: Any, other: Any) -> np.ndarray:
    """Where two pixel sizes are not the same one, rounded."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.asarray(one, float) / np.asarray(other, float) - 1) > SAME_SIZE


def to_pixel_sizes(
    values: Any,
    path: str | Path,
    what: str,
    *,
    may_be_missing: bool = False,
    option_helps: bool = True,
) -> np.ndarray:
    """Pixel sizes in Angstrom, NaN where one that may be missing is.

    ``option_helps`` says whether a pixel that is given goes before the file's.

    Raises
    ------
    InputError
        If a value is no number, or none that a pixel can have.
    """
    sizes = to_numbers(values, path, what, may_be_missing=may_be_missing)
    wrong = (sizes < SMALLEST_ANGSTROM) | (sizes > LARGEST_ANGSTROM)
    if wrong.any():
        raise InputError(
            f"{Path(path).name} says a pixel size of {sizes[wrong].flat[0]:g} Angstrom ({what}), "
            f"but {SMALLEST_ANGSTROM:g} to {LARGEST_ANGSTROM:g} are expected; correct the file"
            + (f", or give the right one with {OPTION}." if option_helps else ".")
        )
    return sizes


def check_given_pixel(size_angstrom: float) -> None:
    """Refuse a pixel size that was given, if no pixel can have it.

    Raises
    ------
    InputError
    """
    if not SMALLEST_ANGSTROM <= size_angstrom <= LARGEST_ANGSTROM:
        raise InputError(
            f"{OPTION} must be a pixel size of {SMALLEST_ANGSTROM:g} to {LARGEST_ANGSTROM:g} "
            f"Angstrom, got {size_angstrom:g}; correct it."
        )


def pixels_in_voxels(
    path: str | Path,
    pixel_angstrom: np.ndarray,
    voxel_angstrom: np.ndarray,
    *,
    is_known_why: bool = False,
) -> np.ndarray:
    """Voxels of its tomogram in a pixel that a row counts in; 1 where the two are one size.

    What is assumed or scaled is said, in one line for a file.

    Parameters
    ----------
    path : path
    pixel_angstrom : ndarray of shape (N,)
        NaN where the file does not say it.
    voxel_angstrom : ndarray of shape (N,)
        NaN where it is unknown.
    is_known_why : bool
        Whether the user said one of the two, or the layout counts in other pixels than voxels:
        nothing is said then.
    """
    both = np.isfinite(pixel_angstrom) & np.isfinite(voxel_angstrom)
    scale = np.ones(len(pixel_angstrom))
    scaled = both.copy()
    scaled[both] = differs(pixel_angstrom[both], voxel_angstrom[both])
    scale[scaled] = pixel_angstrom[scaled] / voxel_angstrom[scaled]
    assumed = np.isnan(pixel_angstrom) & np.isfinite(voxel_angstrom)
    name = Path(path).name
    if scaled.any() and not is_known_why:
        row = int(np.argmax(scaled))
        logger.warning(
            "%s counts in pixels of %.5g Angstrom, the tomogram has %.5g; coordinates are scaled "
            "(%s if that is wrong).",
            name,
            pixel_angstrom[row],
            voxel_angstrom[row],
            OPTION,
        )
    if assumed.any() and not is_known_why:
        logger.warning(
            "%s does not say in which pixels it counts; the voxels of the tomogram, %.5g Angstrom, "
            "are assumed (%s if that is wrong).",
            name,
            voxel_angstrom[int(np.argmax(assumed))],
            OPTION,
        )
    return scale


def pixel_in_folders(path: str | Path) -> float | None:
    """Voxel size that a folder above a file says, as ``VoxelSpacing13.480`` of the Data Portal."""
    for folder in Path(path).resolve().parents:
        if found := _SPACING_FOLDER.fullmatch(folder.name):
            return float(found[1])
    return None
