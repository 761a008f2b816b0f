"""What a map, a mask and a number must be before anything is made of them."""

from __future__ import annotations

import math

import numpy as np

from aitom_disca.errors import InputError

_ROUNDING = 1e-4  # a mask this far outside 0 to 1 was filtered or stored in few digits


def as_map(volume: np.ndarray, name: str) -> np.ndarray:
    """A map (z, y, x) in floating point; float32 stays float32.

    Raises
    ------
    InputError
        If it has not three axes, is empty, or holds values that are not finite.
    """
    volume = np.asarray(volume)
    if volume.ndim != 3 or volume.size == 0:
        raise InputError(f"{name} must have the axes z, y, x; its shape is {volume.shape}.")
    if volume.dtype != np.float32:
        volume = volume.astype(float)
    if not np.isfinite(volume).all():
        raise InputError(f"{name} holds values that are not finite; replace them first.")
    return volume


def as_cube(volume: np.ndarray, name: str) -> np.ndarray:
    """A map (n, n, n) in floating point.

    Raises
    ------
    InputError
        Also if the edges differ.
    """
    volume = as_map(volume, name)
    if len(set(volume.shape)) > 1:
        raise InputError(f"{name} must be a cube; its shape is {volume.shape}: crop or pad it.")
    return volume


def as_mask(mask: np.ndarray, shape_zyx: tuple[int, ...]) -> np.ndarray:
    """A mask of the size of a map, with values from 0 to 1.

    Raises
    ------
    InputError
        If the mask is of another size, empty (zero everywhere), or leaves 0 to 1.
    """
    mask = as_map(mask, "the mask")
    if mask.shape != tuple(shape_zyx):
        raise InputError(
            f"the mask has the shape {mask.shape} and the map {tuple(shape_zyx)}; "
            "give a mask of the map's box."
        )
    low, high = float(mask.min()), float(mask.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(
            f"a mask must have values from 0 to 1; this one has {low:g} to {high:g}: "
            "rescale it or make one from the map."
        )
    if high <= 0:
        raise InputError("the mask is empty: it is 0 everywhere; make another.")
    return np.asarray(np.clip(mask, 0, 1))


def check_positive(value: float, name: str) -> None:
    """Stop at a number that is not finite and above zero.

    Raises
    ------
    InputError
    """
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} must be a number above 0; got {value}.")


def check_not_negative(value: float, name: str) -> None:
    """Stop at a number that is not finite or below zero.

    Raises
    ------
    InputError
    """
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} must be a number, 0 or above; got {value}.")
