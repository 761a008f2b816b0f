"""Boxes, rotations, Fourier space: geometry without files."""

from aitom_disca.geometry.box import box_slices, centre_index
from aitom_disca.geometry.ctf import ctf, electron_wavelength_angstrom
from aitom_disca.geometry.fourier import fourier_crop, frequency_grid_zyx
from aitom_disca.geometry.rotations import (
    cube_rotations,
    euler_zyz_deg_from_rotation,
    random_rotations,
    rotate_by_cube,
    rotation_from_euler_zyz_deg,
)
from aitom_disca.geometry.wedge import apply_wedge, missing_wedge_mask, tilt_of_direction_deg

__all__ = [
    "apply_wedge",
    "box_slices",
    "centre_index",
    "ctf",
    "cube_rotations",
    "electron_wavelength_angstrom",
    "euler_zyz_deg_from_rotation",
    "fourier_crop",
    "frequency_grid_zyx",
    "missing_wedge_mask",
    "random_rotations",
    "rotate_by_cube",
    "rotation_from_euler_zyz_deg",
    "tilt_of_direction_deg",
]
