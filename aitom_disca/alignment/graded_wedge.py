"""How noise and signal of subtomograms fall off with tilt, measured before anything is aligned.

Two things fall off. A weighting of the images, thicker ice and the reconstruction change the power
of *all* that a tilt measured. That alone loses nothing: divided by the amplitude that a direction
has, its coefficients are as good as any. Radiation damage and electrons lost in thick ice change
how much *signal* there is in units of the noise: such coefficients say less of the structure, and
a reference must be as much weaker there before it is compared. Left out, poses in which the
reference has little at high tilts fit too well, and orientations gather.

The first is the power by direction, over that of a binary wedge. The second cannot be told from
power where noise prevails, but from the mean of all subtomograms as they lie: the noise averages
out, and the structures, in any orientation, become round. What is left of that between two
directions of one frequency is how the signal falls off. Particles off the centre blur the mean, the
more so along the beam, along which they are placed worst: that has a parameter of its own.
Particles that all lie in one way have no round mean, and may look as if their signal fell off.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.expectation import shell_power
from aitom_disca.config.alignment import GradedWedgeSettings
from aitom_disca.config.sorting import SORTING
from aitom_disca.geometry.fall_off_with_tilt import (
    TILTS_DEG,
    FallOff,
    by_direction,
    mean_power,
    seen_through_window,
)
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.wedge import (
    TiltRanges,
    distinct_tilt_ranges,
    missing_wedge_mask,
    outermost_tilts,
    tilt_of_direction_deg,
)
from aitom_disca.progress import say

_PER_DEG = 60.0  # tilts are counted in this, so that fitted numbers are about 1
Tilts = tuple[np.ndarray, np.ndarray | None]  # as `distinct_tilt_ranges` gives them


def measure_fall_off(
    volumes: np.ndarray,
    tilt_range_deg: TiltRanges,
    *,
    seed: int = 0,
    settings: GradedWedgeSettings = SORTING.graded_wedge,
) -> FallOff | None:
    """Measure how noise and signal fall off with tilt.

    Parameters
    ----------
    volumes : ndarray of shape (n, z, y, x)
        Cubic, protein bright, particles of many orientations about the centres.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (n, 2)
        Of all subtomograms, or of each; the fall-off is one for all.
    seed : int
        Of the groups by which errors are measured.
    settings : GradedWedgeSettings

    Returns
    -------
    FallOff or None
        None where neither clearly falls off, or there is too little to say so.
    """
    box_px = min(volumes.shape[-1], settings.box_px)
    if len(volumes) < max(settings.fewest, settings.groups) or box_px < settings.smallest_px:
        return None
    small = fourier_crop(volumes, box_px)
    tilts = distinct_tilt_ranges(tilt_range_deg, len(volumes))
    order = np.random.default_rng(seed).permutation(len(small))
    groups = np.array_split(order, settings.groups)
    noise = _noise(small, groups, tilts, settings)
    signal = _signal(small, groups, tilts, noise, settings)
    if min(noise.min(), signal.min()) == 1:
        return None
    found = FallOff(noise, signal)
    say(f"the wedge is graded: {found.in_words(outermost_tilts(tilts[0]))}")
    return found


def _noise(
    small: np.ndarray,
    groups: list[np.ndarray],
    tilts: Tilts,
    settings: GradedWedgeSettings = SORTING.graded_wedge,
) -> np.ndarray:
    """Amplitude by tilt, of that of a binary wedge; all 1 where it does not clearly fall off."""
    inside = _inside(tilts)
    by_group = []
    for rows, expected in zip(groups, _of_binary(small.shape[-1], groups, tilts), strict=True):
        power = by_direction(mean_power(small[rows]), "y") / np.maximum(expected, 1e-30)
        smooth = gaussian_filter1d(power[inside], settings.smooth_bins, mode="nearest")
        by_group.append(smooth / smooth.mean())
    power = np.mean(by_group, axis=0)
    best, least = power.argmax(), power.argmin()
    fall = [group[best] - group[least] for group in by_group]
    error = np.std(fall) / np.sqrt(len(groups))
    if power[least] > settings.clear**2 * power[best] or np.mean(fall) < settings.clear_z * error:
        return np.ones(len(TILTS_DEG))
    return _over_all_tilts(np.sqrt(np.maximum(power, 0) / power[best]), inside, settings.least)


def _of_binary(n: int, groups: list[np.ndarray], tilts: Tilts) -> list[np.ndarray]:
    """Power by tilt of white noise behind the binary wedges of each group, a box of n voxels."""
    ranges, wedge = tilts
    masks = [
        np.broadcast_to(missing_wedge_mask((n,) * 3, (low, high)), (n,) * 3).astype(float)
        for low, high in ranges
    ]
    if wedge is None:
        return [by_direction(seen_through_window(masks[0]), "y")] * len(groups)
    even = np.array([mask / mask.mean() for mask in masks])  # all volumes have unit variance
    counts = [np.bincount(wedge[rows], minlength=len(masks)) for rows in groups]
    mixed = [np.tensordot(count / count.sum(), even, 1) for count in counts]
    return [by_direction(seen_through_window(power), "y") for power in mixed]


def _signal(
    small: np.ndarray,
    groups: list[np.ndarray],
    tilts: Tilts,
    noise: np.ndarray,
    settings: GradedWedgeSettings = SORTING.graded_wedge,
) -> np.ndarray:
    """Amplitude of the mean by tilt, in units of the noise; all 1 unless it clearly falls off."""
    radius = min(settings.radius, small.shape[-1] / 2 - 1)
    flat = FallOff(noise, np.ones_like(noise))
    ranges, wedge = tilts
    coefficients = Coefficients(small.shape[-1], radius, ranges, flat)
    values, measured = coefficients.of(small, wedge), coefficients.measured_by(wedge)
    if measured is None:  # how many of each group measured a coefficient
        size = np.array([[len(rows)] for rows in groups])
    else:
        size = np.array([measured[rows].sum(axis=0) for rows in groups])
    power = shell_power(values, coefficients.shell, measured)[coefficients.shell]
    variance = power / (2 * size.sum(axis=0))
    sums = np.stack([values[rows].real.sum(axis=0) for rows in groups])
    everything = sums.sum(axis=0)
    whole, gain = _fitted(everything / size.sum(axis=0), variance, coefficients)
    inside = _inside(tilts)
    shape = np.stack([TILTS_DEG[inside], TILTS_DEG[inside] ** 2 / _PER_DEG]) / _PER_DEG
    log_signal = whole @ shape
    best, least = log_signal.argmax(), log_signal.argmin()
    is_end = least in (0, len(log_signal) - 1)  # nothing makes the signal weaker in between
    fell = log_signal[least] - log_signal[best]
    if gain < settings.clear_gain or not is_end or fell > np.log(settings.clear):
        return np.ones(len(TILTS_DEG))
    # The jackknife: its errors hold however coefficients depend on one another.
    without = (everything - sums) / np.maximum(size.sum(axis=0) - size, 1)
    fits = np.array([_fitted(mean, variance, coefficients)[0] for mean in without])
    fall = fits @ (shape[:, best] - shape[:, least])
    if np.mean(fall) < settings.clear_z * np.sqrt(len(groups) - 1) * np.std(fall):
        return np.ones(len(TILTS_DEG))
    return _over_all_tilts(np.exp(log_signal - log_signal[best]), inside, settings.least)


def _fitted(
    mean: np.ndarray, variance: np.ndarray, coefficients: Coefficients
) -> tuple[np.ndarray, float]:
    """Slope and curvature of the log amplitude by tilt, and what they gain in log likelihood.

    At every frequency ``|k|`` the mean is one number, which is not known, times
    ``exp(a t + b t^2 - c kz^2)``.
    """
    from scipy.optimize import least_squares

    kz, _, kx = coefficients.index_zyx.T / coefficients.radius
    tilt = tilt_of_direction_deg(kz, kx) / _PER_DEG
    terms = np.stack([-(kz**2), tilt, tilt**2])
    _, ring = np.unique((coefficients.index_zyx**2).sum(axis=1), return_inverse=True)

    def off(parameters: np.ndarray) -> np.ndarray:
        amplitude = np.exp(np.clip(parameters @ terms[: len(parameters)], -5, 5))
        total = np.bincount(ring, amplitude * mean / variance)
        round_part = total / np.bincount(ring, amplitude**2 / variance)
        return np.asarray((mean - amplitude * round_part[ring]) / np.sqrt(variance))

    blurred, falling = (least_squares(off, np.zeros(n)) for n in (1, 3))
    return np.asarray(falling.x[1:]), float(blurred.cost - falling.cost)


def _inside(tilts: Tilts) -> np.ndarray:
    low, high = outermost_tilts(tilts[0])
    return (TILTS_DEG > low) & (TILTS_DEG < high)


def _over_all_tilts(
    amplitude: np.ndarray, inside: np.ndarray, least: float = SORTING.graded_wedge.least
) -> np.ndarray:
    """Beyond the outermost tilts as at these; no less than the least."""
    return np.maximum(np.interp(TILTS_DEG, TILTS_DEG[inside], amplitude), least)
