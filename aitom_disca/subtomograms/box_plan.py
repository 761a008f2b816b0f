"""Sizes of boxes, and which particles have room for one in their tomogram."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aitom_disca.config import ExtractSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry import box_slices
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet

_BOX_DIAMETERS = 1.6
_SMALLEST_BOX_PX = 12  # what the network of the preset fast needs
_SAME_VOXEL_SIZE = 1e-3  # headers round


@dataclass(frozen=True)
class BoxPlan:
    """Sizes of a box: as cut from the tomogram, and as stored.

    Parameters
    ----------
    cut_px : int
        Edge in voxels of the tomogram.
    box_px : int
        Edge in voxels of the subtomogram.
    voxel_size_angstrom : float
        Of the subtomogram; near the one asked for, since both edges are whole numbers.
    """

    cut_px: int
    box_px: int
    voxel_size_angstrom: float


def plan_box(settings: ExtractSettings, voxel_size_angstrom: float) -> BoxPlan:
    """Choose the size of the boxes.

    Parameters
    ----------
    settings : ExtractSettings
    voxel_size_angstrom : float
        Of the tomogram.

    Raises
    ------
    InputError
        If the working voxel size is smaller than the tomogram's.
    """
    working = settings.working_voxel_size_angstrom or voxel_size_angstrom
    if working < voxel_size_angstrom * (1 - _SAME_VOXEL_SIZE):
        raise InputError(
            f"the working voxel size {working:g} A is smaller than the tomogram's "
            f"{voxel_size_angstrom:g} A; choose that or a larger one."
        )
    half = _BOX_DIAMETERS / 2 * settings.particle_diameter_angstrom / working
    box = settings.box_px or max(_SMALLEST_BOX_PX, 2 * math.ceil(half))
    cut = max(box, round(box * working / voxel_size_angstrom))
    return BoxPlan(cut, box, voxel_size_angstrom * cut / box)


def common_voxel_size(used: dict[str, Tomogram]) -> float:
    """Voxel size of the tomograms in Angstrom.

    Raises
    ------
    InputError
        If they differ in it.
    """
    sizes = {name: tomogram.voxel_size_angstrom for name, tomogram in used.items()}
    smallest, largest = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[largest] > sizes[smallest] * (1 + _SAME_VOXEL_SIZE):
        raise InputError(
            f"tomograms differ in voxel size: {smallest} has {sizes[smallest]:g} A, {largest} "
            f"{sizes[largest]:g} A; bring them to one size, or extract them into separate stores."
        )
    return sizes[smallest]


def check_box(used: dict[str, Tomogram], plan: BoxPlan) -> None:
    """Refuse boxes that are larger than a tomogram.

    Raises
    ------
    InputError
    """
    for name, tomogram in used.items():
        if plan.cut_px > min(tomogram.shape_zyx):
            raise InputError(
                f"a box of {plan.cut_px} voxels is larger than tomogram {name}, which is "
                f"{tomogram.shape_zyx} (z, y, x); choose a smaller box or particle diameter."
            )


def boxes_inside(used: dict[str, Tomogram], particles: ParticleSet, plan: BoxPlan) -> np.ndarray:
    """Which particles' boxes lie wholly in their tomogram."""
    fits = np.empty(len(particles), bool)
    for row, name in enumerate(particles.tomogram_name.tolist()):
        box = box_slices(particles.center_zyx_px[row], plan.cut_px)
        fits[row] = all(
            s.start >= 0 and s.stop <= n for s, n in zip(box, used[name].shape_zyx, strict=True)
        )
    return fits
