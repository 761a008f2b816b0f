"""Sizes of particles that are looked for at once, and one list of what they find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.picking.dog import difference_of_gaussians, sigma_from_diameter
from aitom_disca.picking.peaks import Peaks, apart_rows, join, local_extrema, merge_plateaus
from aitom_disca.picking.search import Filter

# Around a single diameter. What is smaller than asked for has to stand out more: small things,
# noise among them, are many.
_AROUND = {0.7: 0.8, 1.0: 1.0, 1.4: 1.0}  # diameter over the one asked for: weight of the height
_MIN_DISTANCE_DIAMETERS = 0.75
_NOISE_EDGE_PX, _NOISE_SIGMA_PX = 144, 2.0


@dataclass(frozen=True)
class Scale:
    """One size of particles.

    Parameters
    ----------
    diameter_px : float
    filter : Filter
        What answers most to it.
    min_distance_px : float
        Of two picks of this size.
    weight : float
        Factor on the heights of its peaks.
    """

    diameter_px: float
    filter: Filter
    min_distance_px: float
    weight: float = 1.0


@dataclass(frozen=True)
class ScaledPeaks:
    """Peaks of several scales in one list, best first: height in noise levels, and which scale."""

    peaks: Peaks
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.peaks)

    def select(self, rows: np.ndarray) -> ScaledPeaks:
        """Rows by index array or boolean mask."""
        return ScaledPeaks(self.peaks.select(rows), self.scale[rows])


def scales_of(
    settings: PickSettings, voxel_size_angstrom: float, *, alone: bool = False
) -> list[Scale]:
    """The scales that settings ask for, in voxels of one tomogram.

    Of several diameters each is one. A single one is taken with its neighbours, 0.7 and 1.4 of
    it, unless ``sigma_px`` says what to look for, or it shall stand alone.
    """
    diameters = settings.diameters_angstrom
    weights = {diameter: 1.0 for diameter in diameters}
    if len(diameters) == 1 and settings.sigma_px is None and not alone:
        weights = {round(diameters[0] * f, 6): weight for f, weight in _AROUND.items()}
    found = []
    for diameter, weight in weights.items():
        sigma = settings.sigma_px or sigma_from_diameter(diameter, voxel_size_angstrom)
        diameter_px = diameter / voxel_size_angstrom
        apart = settings.min_distance_px
        if apart is None:
            apart = _MIN_DISTANCE_DIAMETERS * diameter_px
        found.append(Scale(diameter_px, Filter(sigma, settings.sigma_ratio), apart, weight))
    return found


def in_one_list(maxima: Sequence[Peaks], scales: Sequence[Scale]) -> ScaledPeaks:
    """Peaks of all scales, thinned out and best first: of those too near the highest stays.

    Parameters
    ----------
    maxima : sequence of Peaks
        Of each scale, with heights in its own noise levels.
    scales : sequence of Scale
    """
    weighted = [
        Peaks(peaks.zyx, peaks.height * scale.weight)
        for peaks, scale in zip(maxima, scales, strict=True)
    ]
    together = join(weighted)
    scale = np.repeat(np.arange(len(scales)), [len(p) for p in weighted])
    apart = np.array([s.min_distance_px for s in scales])[scale]
    rows = apart_rows(together, apart)
    return ScaledPeaks(together.select(rows), scale[rows])


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
    unit = min(s.filter.sigma_px for s in scales) / _NOISE_SIGMA_PX
    relative = tuple(
        (
            round(s.filter.sigma_px / unit, 3),
            s.filter.sigma_ratio,
            round(s.min_distance_px / unit, 3),
            s.weight,
        )
        for s in scales
    )
    return _peaks_of_noise(relative), n_voxels / (unit * _NOISE_EDGE_PX) ** 3


@lru_cache(maxsize=8)
def _peaks_of_noise(scales: tuple[tuple[float, float, float, float], ...]) -> np.ndarray:
    """Heights in a periodic cube of noise; sigma, its ratio, distance and weight of each scale."""
    cube = (_NOISE_EDGE_PX,) * 3
    noise = np.random.default_rng(0).standard_normal(cube, np.float32)
    maxima = []
    made = []
    for sigma, ratio, apart, weight in scales:
        filtered = difference_of_gaussians(noise, sigma, ratio, mode="wrap")
        filtered /= filtered.std()
        maxima.append(merge_plateaus(local_extrema(filtered)[0]))
        made.append(Scale(math.nan, Filter(sigma, ratio), apart, weight))
    return in_one_list(maxima, made).peaks.height
