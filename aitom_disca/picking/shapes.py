"""Sheets and filaments: what is at a pick goes on around it, in a plane or along a line."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_N_DIRECTIONS = 100  # over half a sphere: 14 degrees apart
_N_AROUND = 16
_RINGS_DIAMETERS = (0.5, 0.75, 1.0)
_STEPS_DIAMETERS = (0.5, 0.75, 1.0, 1.25)
FARTHEST_DIAMETERS = _STEPS_DIAMETERS[-1]
# Densities over that of the pick. Few particles in crowds reach them.
_SHEET_LOWEST, _SHEET_MEAN, _FILAMENT = 0.03, 0.35, 0.32


def shape_of(density: np.ndarray, place_zyx: np.ndarray, diameter_px: float) -> str:
    """Judge what a pick lies on: "particle", "sheet" or "filament".

    A sheet, such as a bilayer or the edge of a carbon film, goes on in a plane: of the density on
    rings around the pick, as a part of the density at the pick, the lowest quarter is above
    nothing in the best plane, and the mean a third. A filament goes on along a line, to both sides:
    there the lowest density is a third of that at the pick. A particle ends, and its neighbours are
    somewhere.

    Parameters
    ----------
    density : ndarray of shape (z, y, x)
        Low-passed to a sixth of the diameter, so that the two leaflets of a bilayer are one;
        protein bright, 0 where there is none.
    place_zyx : ndarray of shape (3,)
    diameter_px : float
        Of the particles that are looked for: rings have up to 2, lines 2.5 of it.
    """
    centre = density[tuple(np.rint(place_zyx).astype(int))]
    if not centre > 0:
        return "particle"
    offsets = np.concatenate([_RINGS, _LINES], axis=1) * diameter_px
    places = np.moveaxis(offsets + place_zyx, -1, 0)
    found = ndimage.map_coordinates(density, places, order=1, mode="constant")
    found = np.clip(found / centre, -0.5, 1)
    n = _RINGS.shape[1]
    rings, lines = np.sort(found[:, :n], axis=1), found[:, n:]
    along, mean = lines.min(axis=1).max(), rings.mean(axis=1).max()
    lowest = rings[:, : n // 4].mean(axis=1).max()
    if along >= _FILAMENT and along > max(0.8 * mean, 2.5 * lowest):  # a plane has lines too
        return "filament"
    on_sheet = lowest >= _SHEET_LOWEST and mean >= _SHEET_MEAN
    return "sheet" if on_sheet else "particle"


def _offsets() -> tuple[np.ndarray, np.ndarray]:
    """Points on rings around, and on lines along, each of many directions; in diameters.

    Directions are those of a Fibonacci spiral on half a sphere.
    """
    number = np.arange(_N_DIRECTIONS) + 0.5
    z, turn = number / _N_DIRECTIONS, np.pi * (1 + 5**0.5) * number
    flat = np.sqrt(1 - z**2)
    along = np.stack([z, flat * np.sin(turn), flat * np.cos(turn)], axis=1)
    other = np.where(np.abs(along[:, :1]) < 0.7, [[1, 0, 0]], [[0, 1, 0]])
    first = np.cross(along, other)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(along, first)
    angle = np.arange(_N_AROUND)[:, None] * 2 * np.pi / _N_AROUND
    ring = np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None]
    rings = np.concatenate([r * ring for r in _RINGS_DIAMETERS], axis=1)
    steps = np.array([s for step in _STEPS_DIAMETERS for s in (step, -step)])
    return rings, steps[:, None] * along[:, None]


_RINGS, _LINES = _offsets()
