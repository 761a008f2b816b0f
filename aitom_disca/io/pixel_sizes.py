"""In which pixel a file counts: every label that states one, and what to do where they disagree.

In star files coordinates count in pixels of what they were found in, by the first of these that is
there; columns of the optics groups are asked for as those of the rows.

1. ``rlnTomoTiltSeriesPixelSize``: RELION 4 and 5 count in unbinned pixels. Particle series of Warp
   have it too, but count in pixels of their images.
2. ``rlnMicrographPixelSize``, then ``rlnMicrographOriginalPixelSize``: RELION 3.1 cuts particles
   out of micrographs, here tomograms, keeps coordinates in their pixels however it scales the
   images, and drops the first of the two labels then.
3. The pixel of the images, by whichever label: ``rlnImagePixelSize``; ``rlnDetectorPixelSize`` in
   micrometres with ``rlnMagnification``, or alone in Angstrom; ``rlnPixelSize``.

Two labels of the same rank that disagree are refused: nothing says which is right.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.numbers_in_files import to_numbers

logger = logging.getLogger(__name__)

SAME_SIZE = 0.01  # pixel sizes that differ by less are one that was rounded
TILT_SERIES = "rlnTomoTiltSeriesPixelSize"
MICROGRAPH, MICROGRAPH_ORIGINAL = "rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize"
IMAGE, DETECTOR, MAGNIFICATION = "rlnImagePixelSize", "rlnDetectorPixelSize", "rlnMagnification"
PLAIN = "rlnPixelSize"
BINNING = "rlnTomoTomogramBinning"
# Every label that states a pixel size, or with another one does.
LABELS = (TILT_SERIES, MICROGRAPH, MICROGRAPH_ORIGINAL, IMAGE, DETECTOR, MAGNIFICATION, PLAIN)
SMALLEST_ANGSTROM, LARGEST_ANGSTROM = 0.05, 1000.0  # what a pixel can have
_DETECTOR_UNIT = 1e4  # Angstrom in a micrometre
_SPACING_FOLDER = re.compile(r"VoxelSpacing(\d+(?:\.\d+)?)")
_OPTION = "--file-pixel-angstrom"


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
            + (f", or give the right one with {_OPTION}." if option_helps else ".")
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
            f"{_OPTION} must be a pixel size of {SMALLEST_ANGSTROM:g} to {LARGEST_ANGSTROM:g} "
            f"Angstrom, got {size_angstrom:g}; correct it."
        )


def image_pixel_angstrom(path: str | Path, columns: Mapping[str, Any]) -> np.ndarray | None:
    """Pixel size (N,) of the images of a star file's particles; None where nothing says it.

    Parameters
    ----------
    path : path
        The file, named in errors.
    columns : mapping of str to array_like of shape (N,)
        Of the rows and their optics groups, by their labels; a DataFrame is one.

    Raises
    ------
    InputError
        If two labels disagree, or one holds no pixel size.
    """
    found: list[tuple[str, np.ndarray]] = []
    if IMAGE in columns:
        found.append((IMAGE, to_pixel_sizes(columns[IMAGE], path, IMAGE)))
    if DETECTOR in columns:
        found.append(_of_detector(path, columns))
    if PLAIN in columns:
        found.append((PLAIN, to_pixel_sizes(columns[PLAIN], path, PLAIN)))
    for label, sizes in found[1:]:
        _check_same(path, found[0], (label, sizes))
    return found[0][1] if found else None


def coordinate_pixel_angstrom(
    path: str | Path, columns: Mapping[str, Any], *, by_images: bool = False
) -> tuple[np.ndarray | None, bool]:
    """Pixel size (N,) in which a star file's plain coordinates count, by the rule of this module.

    Parameters
    ----------
    path, columns
        As for `image_pixel_angstrom`.
    by_images : bool
        Whether coordinates count in pixels of the images, as in particle series of Warp.

    Returns
    -------
    pixel_angstrom : ndarray of shape (N,), or None where nothing says it
    is_unbinned : bool
        Whether that is the pixel of the tilt series.

    Raises
    ------
    InputError
        As `image_pixel_angstrom`.
    """
    if by_images:
        return image_pixel_angstrom(path, columns), False
    if TILT_SERIES in columns:
        return to_pixel_sizes(columns[TILT_SERIES], path, TILT_SERIES), True
    for label in (MICROGRAPH, MICROGRAPH_ORIGINAL):
        if label in columns:
            sizes = to_pixel_sizes(columns[label], path, label)
            if IMAGE in columns:
                images = to_pixel_sizes(columns[IMAGE], path, IMAGE)
                _tell_of_images(path, label, sizes, images)
            return sizes, False
    return image_pixel_angstrom(path, columns), False


def check_labels_agree(
    path: str | Path, rows: Mapping[str, Any], with_optics: Mapping[str, Any]
) -> None:
    """Refuse rows that say another pixel size than their optics groups, by the same label.

    Raises
    ------
    InputError
    """
    for label in LABELS:
        if label in rows and label in with_optics:
            of_rows, of_groups = (
                to_numbers(columns[label], path, label) for columns in (rows, with_optics)
            )
            _check_same(path, (f"{label} of the rows", of_rows), (label, of_groups))


def of_detector_angstrom(detector_micrometre: Any, magnification: Any) -> np.ndarray:
    """Pixel size of images from that of their detector and the magnification."""
    detector_angstrom = _DETECTOR_UNIT * np.asarray(detector_micrometre, float)
    return np.asarray(detector_angstrom / np.asarray(magnification, float))


def _of_detector(path: str | Path, columns: Mapping[str, Any]) -> tuple[str, np.ndarray]:
    """The pixel of a detector: in micrometres at a magnification; in Angstrom without one."""
    if MAGNIFICATION not in columns:
        return DETECTOR, to_pixel_sizes(columns[DETECTOR], path, DETECTOR)
    detector = to_numbers(columns[DETECTOR], path, DETECTOR)
    magnification = to_numbers(columns[MAGNIFICATION], path, MAGNIFICATION)
    if not (magnification > 0).all():
        raise InputError(
            f"{Path(path).name} has a magnification of {magnification.min():g} ({MAGNIFICATION}); "
            f"correct it, or give the pixel size with {_OPTION}."
        )
    what = f"{DETECTOR} and {MAGNIFICATION}"
    return what, to_pixel_sizes(of_detector_angstrom(detector, magnification), path, what)


def _check_same(
    path: str | Path, one: tuple[str, np.ndarray], other: tuple[str, np.ndarray]
) -> None:
    differ = differs(one[1], other[1])
    if differ.any():
        row = int(np.argmax(differ))
        raise InputError(
            f"{Path(path).name} says two pixel sizes, {one[1][row]:.5g} ({one[0]}) and "
            f"{other[1][row]:.5g} Angstrom ({other[0]}); say which is right with {_OPTION}."
        )


def _tell_of_images(path: str | Path, label: str, sizes: np.ndarray, images: np.ndarray) -> None:
    differ = differs(sizes, images)
    if not differ.any():
        return
    row = int(np.argmax(differ))
    logger.warning(
        "%s has images with pixels of %.5g Angstrom; its coordinates count in %.5g (%s; %s if that "
        "is wrong).",
        Path(path).name,
        images[row],
        sizes[row],
        label,
        _OPTION,
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
            _OPTION,
        )
    if assumed.any() and not is_known_why:
        logger.warning(
            "%s does not say in which pixels it counts; the voxels of the tomogram, %.5g Angstrom, "
            "are assumed (%s if that is wrong).",
            name,
            voxel_angstrom[int(np.argmax(assumed))],
            _OPTION,
        )
    return scale


def listed_voxel_angstrom(
    path: str | Path, row: Mapping[str, Any], binning: float | None = None
) -> tuple[float | None, float | None]:
    """Voxel of a tomogram and pixel of its tilt series, as a row of RELION's tomograms.star says.

    Parameters
    ----------
    path : path
        The list, named in errors.
    row : mapping of str to value
    binning : float, optional
        Where the row does not say it.

    Returns
    -------
    voxel_size_angstrom, tilt_series_pixel_size_angstrom : float
        None where nothing says it.

    Raises
    ------
    InputError
        If a value is no number, or none that it can be.
    """
    (pixel,) = to_pixel_sizes(
        [row.get(TILT_SERIES)], path, TILT_SERIES, may_be_missing=True, option_helps=False
    )
    factor = to_numbers([row.get(BINNING)], path, BINNING, may_be_missing=True)[0]
    if factor <= 0:
        raise InputError(
            f"{Path(path).name} says a binning of {factor:g} ({BINNING}); it must be more than 0: "
            "correct it."
        )
    factor = binning if np.isnan(factor) else factor
    pixel = None if np.isnan(pixel) else float(pixel)
    return (None if pixel is None or factor is None else pixel * float(factor)), pixel


def pixel_in_folders(path: str | Path) -> float | None:
    """Voxel size that a folder above a file says, as ``VoxelSpacing13.480`` of the Data Portal."""
    for folder in Path(path).resolve().parents:
        if found := _SPACING_FOLDER.fullmatch(folder.name):
            return float(found[1])
    return None
