"""Rules that say how high a peak must be to count as a particle."""

from __future__ import annotations

import math

import numpy as np

from aitom_disca.errors import InputError

DEFAULT_C = {"auto": 4.5, "fdr": 0.4, "std": 3.0, "aitom": 3.0}
_MAD_TO_STD = 1.4826  # standard deviation of a Gaussian over its median absolute deviation
_CLEAR_SPLIT = 0.68  # one Gaussian cut in two has 2 / pi = 0.64
_LOWEST_SPLIT = 2.2  # noise levels; pure noise was split at 1.1 to 2.0, crowded volumes above 2.4
_FEWEST_PEAKS_TO_SPLIT = 30


def choose_threshold(
    rule: str, c: float | None, maxima: np.ndarray, minima: np.ndarray, voxels: np.ndarray
) -> float:
    """Height from which a maximum counts as a particle.

    Parameters
    ----------
    rule : {"auto", "fdr", "std", "absolute", "aitom"}
        "auto": see `auto_threshold`. "fdr": see `fdr_threshold`. "std": mean + c standard
        deviations of the voxels. "absolute": c. "aitom": ``m + c (M - m) / 20`` with the best
        and worst maximum M and m, the rule of AITom's picker.
    c : float or None
        None: 4.5, 0.4, 3 and 3 for "auto", "fdr", "std" and "aitom".
    maxima, minima : ndarray
        Heights of the bright and of the dark peaks, both positive.
    voxels : ndarray
        Values of the filtered volume, or a fair sample of them.

    Raises
    ------
    InputError
        If c is missing for "absolute", or is no rate between 0 and 1 for "fdr".
    """
    if c is None:
        c = DEFAULT_C.get(rule)
    if c is None:
        raise InputError("threshold_rule 'absolute' needs a threshold; give one.")
    if rule == "fdr":
        return fdr_threshold(maxima, minima, c)
    if rule == "std":
        return float(np.mean(voxels, dtype=float) + c * np.std(voxels, dtype=float))
    if rule == "aitom":
        return float(maxima.min() + c * (maxima.max() - maxima.min()) / 20)
    return auto_threshold(maxima, voxels, c) if rule == "auto" else float(c)


def auto_threshold(maxima: np.ndarray, voxels: np.ndarray, c: float) -> float:
    """Median plus ``c`` noise levels, or less where particles stand clear of the rest.

    The noise level is the standard deviation as the median absolute deviation gives it, which a
    few particles do not change. Many particles do: the filter gives each a dark rim, and in a
    crowded tomogram little else is left. There the peaks fall into two groups, and the gap
    between these (`split_in_two`) is taken instead, if it is clear and lower.

    Parameters
    ----------
    maxima : ndarray
        Heights of the bright peaks, positive.
    voxels : ndarray
        Values of the filtered volume, or a fair sample of them.
    c : float
    """
    middle = float(np.median(voxels))
    noise = _MAD_TO_STD * float(np.median(np.abs(voxels - middle)))
    threshold = middle + c * noise
    if len(maxima) < _FEWEST_PEAKS_TO_SPLIT:
        return threshold
    split, clearness = split_in_two(maxima)
    if clearness >= _CLEAR_SPLIT and split >= middle + _LOWEST_SPLIT * noise:
        threshold = min(threshold, split)
    return threshold


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


def fdr_threshold(maxima: np.ndarray, minima: np.ndarray, rate: float) -> float:
    """Lowest threshold above which at most a part ``rate`` of the maxima may be noise.

    Noise is as often dark as bright, so the minima of the filtered volume serve as decoys: one
    expects as many noise maxima above a height T as there are minima below -T. The dark rims of
    particles are minima too, so the true rate is lower, the more so in a crowded tomogram. The
    estimate is ``(1 + minima below -T) / maxima above T``; the 1 keeps a handful of peaks of
    pure noise from passing.

    Parameters
    ----------
    maxima, minima : ndarray
        Heights of the bright and of the dark peaks, both positive.
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
    heights, decoys = np.sort(maxima)[::-1], np.sort(minima)
    n_decoys = len(decoys) - np.searchsorted(decoys, heights, side="left")
    expected = (1 + n_decoys) / np.arange(1, len(heights) + 1)
    good = np.flatnonzero(expected <= rate)
    return float(heights[good[-1]]) if len(good) else math.inf
