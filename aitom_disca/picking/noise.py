"""The noise that peaks are compared with: its level in a tomogram, and what is found in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from aitom_disca.picking.dog import difference_of_gaussians
from aitom_disca.picking.peak_search import Filter, Response
from aitom_disca.picking.peaks import local_extrema, merge_plateaus
from aitom_disca.picking.scales import Scale, ScaledPeaks, in_one_list
from aitom_disca.picking.thresholds import fdr_threshold

_EDGE_PX, _SIGMA_PX = 144, 2.0  # of the cube of noise, and the narrowest sigma in it
_ROUNDS = 2  # of measuring the noise level away from peaks; a third changes it by 1 %
_SURE_RATE = 0.2  # what is found at this false discovery rate is no place to measure noise
_REACH_DIAMETERS = 0.75  # of a particle and its dark rim
_LEAST_LEFT = 0.02  # of the volume


def peaks_in_noise_levels(
    responses: Sequence[Response], scales: Sequence[Scale], n_voxels: int
) -> tuple[ScaledPeaks, np.ndarray]:
    """Peaks of all scales in one list, with heights in the noise levels of their scales.

    Particles and their dark rims raise the noise level of a crowded volume, up to half above what
    lies between them. So it is measured twice again, away from the peaks that stand out.

    Parameters
    ----------
    responses : sequence of Response
    scales : sequence of Scale
    n_voxels : int
        Where picks may lie.

    Returns
    -------
    peaks : ScaledPeaks
        Best first.
    voxels : ndarray
        Samples of all filtered volumes, in noise levels.
    """
    noise, share = expected_in_noise(scales, n_voxels)
    places = responses[0].voxels_zyx
    rows = np.ones(len(places), bool)
    for last in (*[False] * _ROUNDS, True):
        levelled = [response.in_noise_levels(rows) for response in responses]
        found = in_one_list([one.maxima for one in levelled], scales)
        if last or not len(found):
            break
        height = found.peaks.height
        sure = found.select(height >= fdr_threshold(height, noise, share, _SURE_RATE))
        left = _away_from(sure, scales, places)
        if left.mean() < _LEAST_LEFT:
            break
        rows = left
    return found, np.concatenate([one.voxels for one in levelled])


def _away_from(found: ScaledPeaks, scales: Sequence[Scale], places: np.ndarray) -> np.ndarray:
    """Which places no particle reaches."""
    away = np.ones(len(places), bool)
    for number, scale in enumerate(scales):
        peaks = found.peaks.zyx[found.scale == number]
        if len(peaks):
            reach = _REACH_DIAMETERS * scale.diameter_px
            away &= np.isinf(cKDTree(peaks).query(places, distance_upper_bound=reach)[0])
    return away


def expected_in_noise(scales: Sequence[Scale], n_voxels: int) -> tuple[np.ndarray, float]:
    """What the same search finds in pure noise.

    Heights of peaks in a volume of white noise, whose noise level is one, and how many of a
    tomogram's peaks each of them stands for. At the scale of particles the noise of a tomogram is
    as good as white.

    Parameters
    ----------
    scales : sequence of Scale
    n_voxels : int
        Of the tomogram, where picks may lie.

    Returns
    -------
    heights : ndarray
    share : float
        Expected number of peaks in the tomogram for each of the heights.
    """
    unit = min(s.filter.sigma_px for s in scales) / _SIGMA_PX
    relative = tuple(
        (
            round(s.filter.sigma_px / unit, 3),
            s.filter.sigma_ratio,
            round(s.min_distance_px / unit, 3),
            s.weight,
        )
        for s in scales
    )
    return _peaks_of_noise(relative), n_voxels / (unit * _EDGE_PX) ** 3


@lru_cache(maxsize=8)
def _peaks_of_noise(scales: tuple[tuple[float, float, float, float], ...]) -> np.ndarray:
    """Heights in a periodic cube of noise; sigma, its ratio, distance and weight of each scale."""
    cube = (_EDGE_PX,) * 3
    noise = np.random.default_rng(0).standard_normal(cube, np.float32)
    maxima, made = [], []
    for sigma, ratio, apart, weight in scales:
        filtered = difference_of_gaussians(noise, sigma, ratio, mode="wrap")
        filtered /= filtered.std()
        maxima.append(merge_plateaus(local_extrema(filtered)[0]))
        made.append(Scale(math.nan, Filter(sigma, ratio), apart, weight))
    return in_one_list(maxima, made).peaks.height
