"""Rules that say how high a peak must be to count as a particle."""

from __future__ import annotations

import math

import numpy as np

from aitom_disca.errors import InputError

DEFAULT_C = {"fdr": 0.4, "std": 3.0, "aitom": 3.0}
_CLEAR_SPLIT = 0.68  # one Gaussian cut in two has 2 / pi = 0.64
_LOWEST_SPLIT = 2.2  # noise levels; pure noise was split at 1.1 to 2.0, crowded volumes above 2.4
_FEWEST_PEAKS_TO_SPLIT = 30
_CERTAIN = 5.0  # noise levels


def choose_threshold(
    rule: str,
    c: float | None,
    heights: np.ndarray,
    noise: np.ndarray,
    share: float,
    voxels: np.ndarray,
) -> float:
    """Height from which a maximum counts as a particle.

    All heights are in noise levels.

    Parameters
    ----------
    rule : {"auto", "fdr", "std", "absolute", "aitom"}
        "auto": see `auto_threshold`. "fdr": see `fdr_threshold`. "std": mean + c standard
        deviations of the voxels. "absolute": c. "aitom": ``m + c (M - m) / 20`` with the best
        and worst maximum M and m, the rule of AITom's picker.
    c : float or None
        None: 0.4, 3 and 3 for "fdr", "std" and "aitom".
    heights : ndarray
        Of the maxima.
    noise, share : ndarray and float
        Heights of maxima of pure noise, and the expected number for each of them.
    voxels : ndarray
        Values of the filtered volume, or a fair sample of them.

    Raises
    ------
    InputError
        If c is missing for "absolute", or is no rate between 0 and 1 for "fdr".
    """
    if rule == "auto":
        return auto_threshold(heights, noise, share, c)
    if c is None:
        c = DEFAULT_C.get(rule)
    if c is None:
        raise InputError("threshold_rule 'absolute' needs a threshold; give one.")
    if rule == "fdr":
        return fdr_threshold(heights, noise, share, c)
    if rule == "std":
        return float(np.mean(voxels, dtype=float) + c * np.std(voxels, dtype=float))
    if rule == "aitom":
        return float(heights.min() + c * (heights.max() - heights.min()) / 20)
    return float(c)


def auto_threshold(
    heights: np.ndarray, noise: np.ndarray, share: float, c: float | None = None
) -> float:
    """The gap where particles stand clear of the rest; else that of a false discovery rate.

    A peak of 5 noise levels always counts: a rate cannot speak of one or two particles.

    Parameters
    ----------
    heights, noise, share
        As in `choose_threshold`.
    c : float, optional
        Noise levels, instead of the false discovery rate; a gap then counts only if it is lower.
    """
    gap = clear_gap(heights)
    if c is not None:
        return min(gap, c)
    if math.isfinite(gap):
        return gap
    return min(fdr_threshold(heights, noise, share, DEFAULT_C["fdr"]), _CERTAIN)


def clear_gap(heights: np.ndarray) -> float:
    """Where heights fall into two groups: the lowest of the upper one; infinite if they do not.

    The groups (`split_in_two`) must be clear, and lie above what divides pure noise.
    """
    positive = heights[heights > 0]
    if len(positive) < _FEWEST_PEAKS_TO_SPLIT:
        return math.inf
    split, clearness = split_in_two(positive)
    return split if clearness >= _CLEAR_SPLIT and split >= _LOWEST_SPLIT else math.inf


def split_in_two(heights: np.ndarray) -> tuple[float, float]:
    """Cut positive heights into two groups where their logarithms differ most (Otsu, 1979).

    Parameters
    ----------
    heights : ndarray of shape (N,)

    Returns
    -------
    split : float
        Lowest height of the upper group.
    clearness : float
        Part of the variance that lies between the groups, 0 to 1.
    """
    ordered = np.sort(np.log(heights))
    spread = ordered.var()
    if spread == 0:
        return float(heights.max()), 0.0
    centred = ordered - ordered.mean()
    n_low = np.arange(1, len(ordered))
    below = np.cumsum(centred)[:-1]  # the sum of the upper group is its negative
    between = below**2 / (n_low * (len(ordered) - n_low))
    cut = int(np.argmax(between))
    return float(np.sort(heights)[cut + 1]), float(between[cut] / spread)


def fdr_threshold(heights: np.ndarray, noise: np.ndarray, share: float, rate: float) -> float:
    """Lowest threshold above which at most a part ``rate`` of the maxima may be noise.

    The estimate is ``(1 + expected in noise above T) / (maxima above T)``; the 1 keeps a handful
    of peaks of pure noise from passing. The noise level is that of the whole volume: structure
    that is no particle, such as the crowd between particles, counts as noise.

    Parameters
    ----------
    heights, noise, share
        As in `choose_threshold`.
    rate : float
        Above 0, at most 1.

    Returns
    -------
    float
        A peak counts if it is this high or higher; infinite if none does.

    Raises
    ------
    InputError
        If ``rate`` is outside of that range.
    """
    if not 0 < rate <= 1:
        raise InputError(f"threshold of the rule 'fdr' is a rate above 0, at most 1; got {rate:g}.")
    heights, noise = np.sort(heights)[::-1], np.sort(noise)
    n_noise = share * (len(noise) - np.searchsorted(noise, heights, side="left"))
    good = np.flatnonzero((1 + n_noise) / np.arange(1, len(heights) + 1) <= rate)
    return float(heights[good[-1]]) if len(good) else math.inf
