"""From the peak of a filter to the centre of the particle."""

from __future__ import annotations

import numpy as np

_WINDOW_DIAMETERS = 0.35  # sigma of the window
_WINDOW_SIGMAS = 2.0  # where it ends
_FARTHEST_DIAMETERS = 0.3  # from the peak: beyond lies the neighbour
_STEP = 1.5  # the window holds the centre of mass back
_STILL_PX = 0.05
_MOST_STEPS = 15


def window_radius_px(diameter_px: float) -> int:
    """How far from the peak `centre_of_mass` looks."""
    return int(
        np.ceil((_WINDOW_DIAMETERS * _WINDOW_SIGMAS + _FARTHEST_DIAMETERS) * diameter_px) + 1
    )


def centre_of_mass(density: np.ndarray, peak_zyx: np.ndarray, diameter_px: float) -> np.ndarray:
    """Move a peak to the centre of the mass around it, until it stays (mean shift).

    Parameters
    ----------
    density : ndarray of shape (z, y, x)
        Low-passed, protein bright, 0 where there is none; what is below counts as 0.
    peak_zyx : ndarray of shape (3,)
        In voxels of ``density``.
    diameter_px : float
        Of the particle. The window is a Gaussian of 0.35 of it, the farthest move 0.3 of it.

    Returns
    -------
    ndarray of float, shape (3,)
    """
    sigma = _WINDOW_DIAMETERS * diameter_px
    radius, farthest = _WINDOW_SIGMAS * sigma, _FARTHEST_DIAMETERS * diameter_px
    peak = np.asarray(peak_zyx, float)
    place = peak
    for _ in range(_MOST_STEPS):
        low = np.maximum(np.ceil(place - radius), 0).astype(int)
        high = np.minimum(np.floor(place + radius) + 1, density.shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[box]
        off = sum((axis - p) ** 2 for axis, p in zip(axes, place, strict=True))
        mass = np.maximum(density[box], 0) * np.exp(-off / (2 * sigma**2)) * (off < radius**2)
        total = mass.sum()
        if not total > 0:
            break
        mean = np.array([(mass * axis).sum() / total for axis in axes])
        moved = place + _STEP * (mean - place) - peak
        moved *= min(1.0, farthest / max(float(np.linalg.norm(moved)), 1e-9))
        still = np.linalg.norm(peak + moved - place) < _STILL_PX
        place = peak + moved
        if still:
            break
    return place
