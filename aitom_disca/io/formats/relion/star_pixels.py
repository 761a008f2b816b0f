"""In which pixel a star file counts: every label that states one, and where they disagree.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.pixel_sizes import OPTION, differs, to_pixel_sizes

logger = logging.getLogger(__name__)

TILT_SERIES = "rlnTomoTiltSeriesPixelSize"
MICROGRAPH, MICROGRAPH_ORIGINAL = "rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize"
IMAGE, DETECTOR, MAGNIFICATION = "rlnImagePixelSize", "rlnDetectorPixelSize", "rlnMagnification"
PLAIN = "rlnPixelSize"
BINNING = "rlnTomoTomogramBinning"
# Every label that states a pixel size, or with another one does.
LABELS = (TILT_SERIES, MICROGRAPH, MICROGRAPH_ORIGINAL, IMAGE, DETECTOR, MAGNIFICATION, PLAIN)
_DETECTOR_UNIT = 1e4  # Angstrom in a micrometre


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
            f"correct it, or give the pixel size with {OPTION}."
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
            f"{other[1][row]:.5g} Angstrom ({other[0]}); say which is right with {OPTION}."
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
        OPTION,
    )


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
