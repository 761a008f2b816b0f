"""Rotations and shifts that are tried: even grids of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    pass


def cube(step_px: float) -> np.ndarray:
    """27 shifts: all combinations of -step, 0 and step."""
    return (np.indices((3, 3, 3)).reshape(3, -1).T - 1) * step_px


def ball(step_px: float, radius_px: float) -> np.ndarray:
    """All shifts on a grid inside a radius, shape (S, 3)."""
    n = int(radius_px / step_px)
    grid = (np.indices((2 * n + 1,) * 3).reshape(3, -1).T - n) * step_px
    return grid[np.linalg.norm(grid, axis=1) <= radius_px]


def cross(step_px: float) -> np.ndarray:
    """Seven shifts: none, and one step along each axis."""
    return np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * step_px


def rotation_grid(n: int) -> Rotation:
    """Spread ``n`` rotations evenly over SO(3), the same ones every time.

    References
    ----------
    .. [1] Alexa (2022), Super-Fibonacci spirals, CVPR.
    """
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(n) + 0.5
    r, big_r = np.sqrt(s / n), np.sqrt(1 - s / n)
    alpha, beta = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    columns = (r * np.sin(alpha), r * np.cos(alpha), big_r * np.sin(beta), big_r * np.cos(beta))
    return Rotation.from_quat(np.stack(columns, axis=1))
