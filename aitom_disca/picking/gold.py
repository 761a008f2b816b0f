"""Gold beads: found before anything else, since they outshine it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.picking.dog import sigma_from_diameter
from aitom_disca.picking.peak_search import NO_BALLS, Balls, Filter, search
from aitom_disca.picking.peaks import Peaks, apart_rows, join

_DIAMETERS_ANGSTROM = (50.0, 85.0, 140.0, 240.0)  # beads have 50 to 150
_LARGEST_ANGSTROM = 140.0  # what answers more to the next is no bead
_SIGMA_RATIO = 1.44
_FINEST_SIGMA_PX = 0.8
_LOWEST = 12.0  # noise levels
_GAP = 1.5  # gold over the densest of what is no gold
# Beads are alike: several, and the gap below them wider than they are apart, need less. Simulated
# cells had 1.43 and more but in two of the noisiest; without gold up to 1.21.
_GAP_OF_ALIKE, _FEWEST_ALIKE = 1.3, 4
_CLEARLY_SEEN = 5.0  # noise levels
_OTHERS = 5  # so many times as many peaks as beads must be clearly seen
_REACH = 1.2  # of its diameter is a bead wide, with its dark fringe


@dataclass(frozen=True)
class Beads:
    """Gold beads, best first.

    Parameters
    ----------
    peaks : Peaks
        With heights in noise levels.
    diameter_angstrom : ndarray of shape (N,)
        The size, of a few, that answers most.
    """

    peaks: Peaks
    diameter_angstrom: np.ndarray

    def __len__(self) -> int:
        return len(self.peaks)

    def balls(self, voxel_size_angstrom: float) -> Balls:
        """What the beads cover, with their dark fringes."""
        radius = _REACH * self.diameter_angstrom / 2 / voxel_size_angstrom + 1
        return Balls(self.peaks.zyx.astype(float), radius) if len(self) else NO_BALLS


def find_gold(tomogram: Tomogram, block_shape_zyx: tuple[int, int, int] | None = None) -> Beads:
    """Find beads of 50 to 150 A: far denser than everything else.

    A peak of a Difference of Gaussians of bead size is gold if it is above 12 noise levels and a
    clear gap lies between it and the densest of the others, a narrower one where four or more are
    alike. Five times as many others must be clearly seen: in a tomogram of little noise the
    particles themselves are far above it.

    Parameters
    ----------
    tomogram : Tomogram
    block_shape_zyx : tuple of 3 int, optional
    """
    sigmas = {  # between the narrow and the wide one lies the sigma of the diameter
        d: sigma_from_diameter(d, tomogram.voxel_size_angstrom) / _SIGMA_RATIO**0.5
        for d in _DIAMETERS_ANGSTROM
    }
    smallest = min(tomogram.shape_zyx)
    sizes = [
        d
        for d, s in sigmas.items()
        if s >= _FINEST_SIGMA_PX and d / tomogram.voxel_size_angstrom < smallest
    ]
    if not sizes:
        return Beads(Peaks(np.empty((0, 3), int), np.empty(0)), np.empty(0))
    everywhere = tuple(slice(0, n) for n in tomogram.shape_zyx), None
    filters = [Filter(sigmas[d], _SIGMA_RATIO) for d in sizes]
    responses = search(
        tomogram, filters, everywhere, block_shape_zyx=block_shape_zyx, what="gold in"
    )
    maxima = [response.in_noise_levels().maxima for response in responses]
    peaks = join(maxima)
    diameter = np.repeat(sizes, [len(p) for p in maxima])
    seen = np.flatnonzero(peaks.height >= _CLEARLY_SEEN)
    peaks, diameter = peaks.select(seen), diameter[seen]
    rows = apart_rows(peaks, 1.5 * diameter / tomogram.voxel_size_angstrom)
    peaks = peaks.select(rows)
    diameter = _sizes(peaks, [response.maxima for response in responses], sizes, tomogram)
    small = diameter <= _LARGEST_ANGSTROM
    peaks, diameter = peaks.select(small), diameter[small]
    n_gold = _count(peaks.height)
    if len(peaks) - n_gold < _OTHERS * n_gold:
        n_gold = 0
    return Beads(peaks.select(np.arange(n_gold)), diameter[:n_gold])


def _sizes(peaks: Peaks, maxima: list[Peaks], sizes: list[float], tomogram: Tomogram) -> np.ndarray:
    """The size that answers most to each peak, in grey values: there it matches the ball's."""
    answer = np.zeros((len(sizes), len(peaks)))
    for row, (size, found) in enumerate(zip(sizes, maxima, strict=True)):
        if len(found) and len(peaks):
            radius = size / 2 / tomogram.voxel_size_angstrom
            for column, near in enumerate(cKDTree(found.zyx).query_ball_point(peaks.zyx, radius)):
                answer[row, column] = found.height[near].max(initial=0)
    return np.array(sizes)[answer.argmax(axis=0)]


def _count(heights: np.ndarray) -> int:
    """How many of the heights, best first, lie above the widest gap, if it is wide enough."""
    dense = int((heights >= _LOWEST).sum())
    if not dense:
        return 0
    below = np.append(heights, _CLEARLY_SEEN)[1 : dense + 1]
    ratio = heights[:dense] / below
    widest = int(np.argmax(ratio))
    apart = heights[0] / heights[widest]
    alike = widest + 1 >= _FEWEST_ALIKE and apart < ratio[widest]
    return widest + 1 if ratio[widest] >= (_GAP_OF_ALIKE if alike else _GAP) else 0
