"""Sizes of particles that are looked for at once, and one list of what they find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.picking.dog import sigma_from_diameter
from aitom_disca.picking.peak_search import Filter
from aitom_disca.picking.peaks import Peaks, apart_rows, join

# Around a single diameter. What is smaller than asked for has to stand out more: small things,
# noise among them, are many.
_AROUND = {0.7: 0.8, 1.0: 1.0, 1.4: 1.0}  # diameter over the one asked for: weight of the height
_LARGEST_STEP = 1.4  # from one diameter to the next
_MIN_DISTANCE_DIAMETERS = 0.75


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

    Of several diameters each is one, and where they are far apart some between them: what is of
    a size in between answers to both, but weakly, and off its centre. A single one is taken with
    its neighbours, 0.7 and 1.4 of it. Neither is done where ``sigma_px`` says what to look for, or
    those that are given shall stand alone.
    """
    diameters = settings.diameters_angstrom
    weights = dict.fromkeys(diameters, 1.0)
    if settings.sigma_px is None and not alone:
        weights = dict.fromkeys(_in_steps(diameters), 1.0)
        if len(diameters) == 1:
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


def _in_steps(diameters: Sequence[float]) -> list[float]:
    """Diameters, and some between them, evenly by ratio, so that no step is too large."""
    filled = [diameters[0]]
    for low, high in pairwise(diameters):
        n = math.ceil(math.log(high / low) / math.log(_LARGEST_STEP) - 1e-6)
        filled += [round(low * (high / low) ** (i / n), 6) for i in range(1, n)] + [high]
    return filled


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
