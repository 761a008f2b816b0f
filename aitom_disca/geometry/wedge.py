"""The missing wedge of a single-axis tilt series: tilt axis y, beam z."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy import fft

from aitom_disca.geometry.fourier import frequency_grid_zyx

# Smallest and largest measured tilt of all of n subtomograms, or (n, 2): of each.
TiltRanges: TypeAlias = "tuple[float, float] | np.ndarray"
_MOST_RANGES = 32  # that are told apart to fractions of a degree


def missing_wedge_mask(
    shape_zyx: tuple[int, int, int],
    tilt_range_deg: tuple[float, float],
    *,
    half: bool = False,
) -> np.ndarray:
    """Which Fourier coefficients a tilt series measured.

    An image at tilt t holds the directions ``(x, y, z) = (cos t, 0, sin t)``, so the measured
    part is ``tan(t_min) <= kz / kx <= tan(t_max)``, and the plane ``kx = kz = 0``.

    Parameters
    ----------
    shape_zyx : tuple of 3 int
    tilt_range_deg : tuple of 2 floats
        Smallest and largest measured tilt, within -90 and 90 degrees.
    half : bool
        For ``rfftn`` instead of ``fftn``. Zero frequency at index 0 in both.

    Returns
    -------
    ndarray of bool
        Shape ``(z, 1, x)``, to be broadcast along y. True where measured.

    Raises
    ------
    ValueError
        If the range is empty or leaves -90 to 90.
    """
    low, high = tilt_range_deg
    if not -90 <= low < high <= 90:
        raise ValueError(
            f"tilt_range_deg must be (min, max) within -90 and 90 with min < max; "
            f"got ({low:g}, {high:g})"
        )
    kz, _, kx = frequency_grid_zyx(shape_zyx, half=half)
    angle_deg = tilt_of_direction_deg(kz, kx)
    tolerance_deg = 1e-6
    measured = (angle_deg >= low - tolerance_deg) & (angle_deg <= high + tolerance_deg)
    # kx = 0 is one line of directions, +90 and -90 degrees at once; its zero is in every image.
    on_beam = np.where(kz == 0, True, low <= -90 or high >= 90)
    return np.where(kx == 0, on_beam, measured)


def tilt_of_direction_deg(kz: np.ndarray, kx: np.ndarray) -> np.ndarray:
    """Tilt of the image that holds a frequency, -90 to 90 degrees; 0 on the tilt axis.

    A coefficient and its mirror image are one measurement: it is that of the half with kx >= 0.
    """
    return np.asarray(np.rad2deg(np.arctan2(np.where(kx < 0, -kz, kz), np.abs(kx))))


def distinct_tilt_ranges(
    tilt_range_deg: TiltRanges, n: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The different tilt ranges of n subtomograms, and which of them each one has.

    Work and memory go with their number. Where there are more than 32, as of a hundred tomograms
    whose tilts were refined, they are rounded to whole degrees.

    Parameters
    ----------
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (n, 2)
    n : int

    Returns
    -------
    ranges : ndarray of shape (T, 2)
    wedge : ndarray of int, shape (n,)
        Row of ``ranges``; None where there is one range only.

    Raises
    ------
    ValueError
        If there is not one range for all, or one for each.
    """
    ranges = np.asarray(tilt_range_deg, float)
    if ranges.shape == (2,):
        return ranges[None], None
    if ranges.shape != (n, 2):
        raise ValueError(f"expected one tilt range, or {n}; got an array of {ranges.shape}")
    distinct, wedge = np.unique(ranges, axis=0, return_inverse=True)
    if len(distinct) > _MOST_RANGES:
        distinct, wedge = np.unique(np.round(ranges), axis=0, return_inverse=True)
    return distinct, wedge.reshape(-1) if len(distinct) > 1 else None


def tilt_ranges_of(tilt_range_deg: TiltRanges, rows: np.ndarray) -> TiltRanges:
    """Tilt ranges of some subtomograms (index array or mask): the one of all stays as it is."""
    ranges = np.asarray(tilt_range_deg, float)
    return tilt_range_deg if ranges.ndim == 1 else ranges[rows]


def common_tilt_range(tilt_range_deg: TiltRanges) -> tuple[float, float]:
    """The tilts that all of several ranges hold; if there are none, those that any holds."""
    low, high = np.reshape(tilt_range_deg, (-1, 2)).T
    if low.max() < high.min():
        return float(low.max()), float(high.min())
    return outermost_tilts(tilt_range_deg)


def outermost_tilts(tilt_range_deg: TiltRanges) -> tuple[float, float]:
    """Smallest and largest tilt of one or several ranges."""
    low, high = np.reshape(tilt_range_deg, (-1, 2)).T
    return float(low.min()), float(high.max())


def apply_wedge(volumes: np.ndarray, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """Remove the Fourier coefficients that a tilt series does not measure.

    Parameters
    ----------
    volumes : ndarray of shape (..., z, y, x)
    tilt_range_deg : tuple of 2 floats

    Returns
    -------
    ndarray of float32, same shape
    """
    shape = volumes.shape[-3:]
    mask = missing_wedge_mask(shape, tilt_range_deg, half=True)
    axes = (-3, -2, -1)
    spectrum = fft.rfftn(volumes, axes=axes) * mask
    return fft.irfftn(spectrum, s=shape, axes=axes).astype(np.float32)
