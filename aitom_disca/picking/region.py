"""Where picks may lie: away from the faces, and inside a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.errors import InputError
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.picking.peak_search import Region
from aitom_disca.picking.scales import Scale

_BORDER_DIAMETERS = 0.8  # half the default box of a subtomogram


def border_px(settings: PickSettings, voxel_size_angstrom: float) -> int:
    """How many voxels picks stay away from the faces."""
    if settings.border_px is not None:
        return settings.border_px
    return math.ceil(_BORDER_DIAMETERS * settings.largest_diameter_angstrom / voxel_size_angstrom)


def check_size(
    tomogram: Tomogram, scales: Sequence[Scale], settings: PickSettings, border: int
) -> None:
    """Stop where a tomogram is too small for its particles, or its border leaves nothing.

    Raises
    ------
    InputError
    """
    smallest = min(tomogram.shape_zyx)
    ball = settings.largest_diameter_angstrom / tomogram.voxel_size_angstrom
    if settings.sigma_px is not None:
        ball = 2 * math.sqrt(3) * scales[0].filter.sigma_px  # what this sigma looks for
    if ball > smallest or 2 * border >= smallest:
        raise InputError(
            f"tomogram {tomogram.name} is {tomogram.shape_zyx} voxels (z, y, x), too small for "
            f"particles of {ball:.0f} voxels with a border of {border}; give a smaller "
            "particle diameter, or sigma and border."
        )


def region_of(tomogram: Tomogram, border: int, mask: np.ndarray | None) -> Region:
    """Where picks may lie: the inside of the border, and the mask.

    Raises
    ------
    InputError
        If the mask has another size than the tomogram, or leaves nothing.
    """
    inside = tuple(slice(border, n - border) for n in tomogram.shape_zyx)
    if mask is None:
        return inside, None
    mask = check_shape(mask, tomogram, "the mask")
    if not mask[inside].any():
        raise InputError(
            f"the mask of tomogram {tomogram.name} leaves no voxel farther than "
            f"{border} from the faces; enlarge it, or give a smaller border."
        )
    return inside, mask


def check_shape(volume: np.ndarray, tomogram: Tomogram, what: str) -> np.ndarray:
    """A volume of bool of the size of a tomogram.

    Raises
    ------
    InputError
        If it has another.
    """
    volume = np.asarray(volume, bool)
    if volume.shape != tomogram.shape_zyx:
        is_are = "are" if what.endswith("s") else "is"
        raise InputError(
            f"{what} {is_are} {volume.shape} voxels (z, y, x), tomogram {tomogram.name} is "
            f"{tomogram.shape_zyx}; give a file of the same size."
        )
    return volume
