"""Peaks of a filtered volume: local extrema, and the choice among close ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Peaks:
    """Extrema of one sign.

    Parameters
    ----------
    zyx : ndarray of int, shape (N, 3)
        Voxels from 0.
    height : ndarray of shape (N,)
        How far the extremum stands out; positive for maxima and for minima.
    """

    zyx: np.ndarray
    height: np.ndarray

    def __len__(self) -> int:
        return len(self.height)

    def select(self, rows: np.ndarray) -> Peaks:
        """Rows by index array or boolean mask."""
        return Peaks(self.zyx[rows], self.height[rows])

    def moved(self, offset_zyx: tuple[int, int, int]) -> Peaks:
        """The same peaks, counted from another voxel."""
        return Peaks(self.zyx + np.array(offset_zyx), self.height)

    def best_first(self) -> Peaks:
        """Highest first; equal ones in the order of z, then y, then x."""
        return self.select(self.order())

    def order(self) -> np.ndarray:
        """Rows, highest first."""
        return np.lexsort((*self.zyx.T[::-1], -self.height))


def join(parts: list[Peaks]) -> Peaks:
    """All peaks of several parts."""
    return Peaks(np.concatenate([p.zyx for p in parts]), np.concatenate([p.height for p in parts]))


def local_extrema(volume: np.ndarray) -> tuple[Peaks, Peaks]:
    """Positive maxima and negative minima among the 26 neighbours.

    A voxel on a face is compared with the neighbours it has. Of voxels of equal value all are
    returned (`merge_plateaus` makes them one), except inside of a flat region.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)

    Returns
    -------
    maxima, minima : Peaks
        In the order of z, then y, then x.
    """
    highest = ndimage.maximum_filter(volume, size=3, mode="nearest")
    lowest = ndimage.minimum_filter(volume, size=3, mode="nearest")
    uneven = highest > lowest
    above = np.argwhere((volume == highest) & uneven & (volume > 0))
    below = np.argwhere((volume == lowest) & uneven & (volume < 0))
    return Peaks(above, volume[tuple(above.T)]), Peaks(below, -volume[tuple(below.T)])


def merge_plateaus(peaks: Peaks) -> Peaks:
    """Make touching peaks of equal height one: the voxel nearest to the middle of them."""
    if not len(peaks):
        return peaks
    i, j = cKDTree(peaks.zyx).query_pairs(1, p=np.inf, output_type="ndarray").T
    level = peaks.height[i] == peaks.height[j]
    if not level.any():
        return peaks
    n = len(peaks)
    graph = coo_array((np.ones(level.sum(), bool), (i[level], j[level])), shape=(n, n))
    _, plateau = connected_components(graph, directed=False)
    size = np.bincount(plateau)
    middle = np.stack([np.bincount(plateau, axis) for axis in peaks.zyx.T], 1) / size[:, None]
    off_middle = np.square(peaks.zyx - middle[plateau]).sum(1)
    order = np.lexsort((*peaks.zyx.T[::-1], off_middle, plateau))
    _, first = np.unique(plateau[order], return_index=True)
    return peaks.select(np.sort(order[first]))


def keep_apart(peaks: Peaks, min_distance_px: float | np.ndarray) -> Peaks:
    """Greedy choice, best first: a peak stays unless a better one that stayed is too near.

    Parameters
    ----------
    peaks : Peaks
    min_distance_px : float or ndarray of shape (N,)
        Peaks exactly this far apart both stay. Where each peak has a distance of its own, it is
        the mean of both that counts.

    Returns
    -------
    Peaks
        Best first.
    """
    return peaks.select(apart_rows(peaks, min_distance_px))


def apart_rows(peaks: Peaks, min_distance_px: float | np.ndarray) -> np.ndarray:
    """Rows of the peaks that `keep_apart` keeps, best first."""
    order = peaks.order()
    zyx = peaks.zyx[order]
    distance = np.broadcast_to(np.asarray(min_distance_px, float), len(peaks))[order]
    if len(order) < 2 or distance.max() <= 1:  # voxels are at least 1 apart
        return order
    tree = cKDTree(zyx)
    stays = np.ones(len(order), bool)
    farthest = distance.max()
    for row in range(len(order)):
        if not stays[row]:
            continue
        near = np.array(tree.query_ball_point(zyx[row], (distance[row] + farthest) / 2))
        near = near[near > row]
        apart = np.linalg.norm(zyx[near] - zyx[row], axis=1)
        stays[near[apart < np.nextafter((distance[row] + distance[near]) / 2, 0)]] = False
    return order[stays]
