"""The average of a cluster, from two halves of its members that never see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.averages import Average, Averager, Totals
from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.likelihood import Particles, shell_power, whitened
from aitom_disca.alignment.local import refine_poses
from aitom_disca.alignment.reference import Slicer, rotation_grid
from aitom_disca.alignment.rounds import Classes, Search, cross, cube
from aitom_disca.averaging.compare import compare_with_map
from aitom_disca.averaging.masks import density_mask
from aitom_disca.averaging.symmetrise import SymmetryAxes, expanded, find_axes, lay_on_axes
from aitom_disca.errors import InputError
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.symmetry import point_group
from aitom_disca.parallel import on_all_cores
from aitom_disca.progress import muted, say

FEWEST_MEMBERS = 4
_BOX_PX = 20  # of the search over all rotations: the volumes are Fourier-cropped to it
# Largest frequency, rotations, shifts, rounds at most.
_LEVELS = (
    (5.0, 600, cube(1.67), 3),
    (5.0, 600, cross(1.25), 8),
    (7.0, 1500, cross(0.8), 8),
)
_TRIES = 3
_SINGLE = 0.4  # share of a single subtomogram that is taken for signal
# Steps of rotation (degrees) and shift (voxels) of each round that climbs to finer poses.
_ROUNDS = (((8.0, 0.8), (4.0, 0.5)), ((4.0, 0.5), (2.0, 0.3)), ((2.0, 0.3), (1.0, 0.15)))
_LAST_ROUNDS = _ROUNDS[1:]  # taken again with a symmetry
_SLICES_AT_ONCE = 2**21


@dataclass(frozen=True)
class ClusterAverage:
    """An average, its halves, and the poses of its N members.

    Parameters
    ----------
    average, half1, half2 : ndarrays of float32, shape (n, n, n)
        Wedge compensated; not filtered.
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from the average to the tomogram.
    shifts_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre.
    half : ndarray of int, shape (N,)
        0 or 1.
    score : ndarray of shape (N,)
        Constrained correlation with the average of the member's own half, -1 to 1.
    """

    average: np.ndarray
    half1: np.ndarray
    half2: np.ndarray
    rotations: Rotation
    shifts_zyx_px: np.ndarray
    half: np.ndarray
    score: np.ndarray


def average_cluster(
    volumes: np.ndarray,
    tilt_range_deg: tuple[float, float],
    *,
    largest_frequency: float | None = None,
    symmetry: str = "C1",
    seed: int = 0,
) -> ClusterAverage:
    """Align the members of a cluster to one another and average them, each half by itself.

    In each half single members are the first references; the likeliest of several tries is gone
    on with, over all rotations, then from the poses found to ever finer ones. The second half is
    then laid on the first, and takes nothing else from it. With a symmetry, its axes are found in
    the first half, every member enters the averages in all poses that the symmetry makes equal,
    and the last steps are taken again.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Protein bright.
    tilt_range_deg : tuple of 2 floats
    largest_frequency : float, optional
        Up to which members are aligned, in steps of 1 / box; by default what the halves of each
        half still share.
    symmetry : str
        A point group on the axes of RELION, such as C4 or D7.
    seed : int

    Raises
    ------
    InputError
        If there are fewer than 4 members, all are the same, the wedge has no width, or there is
        no such symmetry.
    """
    _check(volumes, tilt_range_deg)
    group = point_group(symmetry)
    rng = np.random.default_rng(seed)
    half = rng.permutation(len(volumes)) % 2
    say(f"averaging two halves of {int((half == 0).sum())} and {int((half == 1).sum())}")
    parts = zip((0, 1), rng.spawn(2), strict=True)
    halves = [_Half(volumes[half == h], tilt_range_deg, own) for h, own in parts]
    with muted():
        first, second = on_all_cores(lambda part: part.refined(largest_frequency), halves)
    second.lay_on(first)
    middle = _middle(first.average().volume)
    for part in (first, second):
        part.centre_on(middle)
    if len(group) > 1:
        axes = find_axes(first.average().volume, symmetry, seed=seed)
        say(f"{symmetry}: score {axes.score:.2f}, by chance {axes.by_chance:.2f}")
        for part in (first, second):
            part.impose(group, axes)
        with muted():
            on_all_cores(lambda part: part.climb_on(largest_frequency), [first, second])
    quaternions = np.empty((len(volumes), 4))
    shifts, score = np.empty((len(volumes), 3)), np.empty(len(volumes))
    totals = []
    for h, part in enumerate((first, second)):
        rows = half == h
        quaternions[rows] = part.rotations.as_quat()
        shifts[rows], score[rows] = part.offset_zyx_px, part.score
        totals.append(part.totals(np.arange(len(part.volumes))))
    unfiltered = first.averager.unfiltered
    whole = tuple(a + b for a, b in zip(*totals, strict=True))
    return ClusterAverage(
        unfiltered((whole[0], whole[1])),
        unfiltered(totals[0]),
        unfiltered(totals[1]),
        Rotation.from_quat(quaternions),
        shifts,
        half,
        score,
    )


def _check(volumes: np.ndarray, tilt_range_deg: tuple[float, float]) -> None:
    if len(volumes) < FEWEST_MEMBERS:
        raise InputError(
            f"an average needs at least {FEWEST_MEMBERS} members, but there are {len(volumes)}; "
            "leave this cluster out or merge it with another."
        )
    if not np.ptp(volumes, axis=0).any():
        raise InputError(
            "all members are the same volume, so that halves would say nothing; look at the store."
        )
    if tilt_range_deg[1] <= tilt_range_deg[0]:
        raise InputError(
            f"the tilt range {tilt_range_deg} has no width; give the smallest and largest tilt."
        )


class _Half:
    """Half of a cluster: its volumes, their poses, and the volumes that come of them."""

    def __init__(
        self,
        volumes: np.ndarray,
        tilt_range_deg: tuple[float, float],
        rng: np.random.Generator,
    ) -> None:
        self.volumes = volumes
        box_px = volumes.shape[-1]
        self._tilt_range_deg = tilt_range_deg
        self._rng = rng
        self._part = rng.permutation(len(volumes)) % 2
        self._coefficients = Coefficients(box_px, box_px / 2 - 1, tilt_range_deg)
        self._values = self._coefficients.of(volumes)
        one = Slicer(self._coefficients, rotation_grid(1))
        self.averager = Averager(one, int(self._coefficients.shell.max()) + 1)
        self.rotations = Rotation.identity(len(volumes))
        self.offset_zyx_px = np.zeros((len(volumes), 3))
        self.score = np.zeros(len(volumes))
        self._group = Rotation.identity(1)

    def refined(self, largest_frequency: float | None) -> _Half:
        """Find poses over all rotations, then finer ones round them."""
        self._search()
        return self.climb_on(largest_frequency, _ROUNDS)

    def climb_on(
        self,
        largest_frequency: float | None,
        rounds: Sequence[Sequence[tuple[float, float]]] = _LAST_ROUNDS,
    ) -> _Half:
        """Average and refine in turn."""
        for steps in rounds:
            made = self.average()
            largest = largest_frequency or _shared_frequencies(made.correlation)
            self._climb(made.volume, largest, steps)
        return self

    def centre_on(self, place_zyx_px: np.ndarray) -> None:
        """Move all poses so that a place of the average becomes the centre of its box."""
        moved = self.rotations.apply(place_zyx_px[::-1])[:, ::-1]
        self.offset_zyx_px = self.offset_zyx_px + moved

    def impose(self, group: Rotation, axes: SymmetryAxes) -> None:
        """Lay all poses on the axes of a symmetry, and average with it from now on."""
        self.rotations, self.offset_zyx_px = lay_on_axes(self.rotations, self.offset_zyx_px, axes)
        self._group = group

    def totals(self, rows: np.ndarray) -> Totals:
        """Coefficients of some members, turned back and added, and their weights."""
        rotations, offset_zyx_px, member = expanded(
            self.rotations[rows], self.offset_zyx_px[rows], self._group
        )
        values = self._values[rows[member]] * self._coefficients.shift_phases(offset_zyx_px)
        block = max(1, _SLICES_AT_ONCE // len(self._coefficients))
        size = (2 * self._coefficients.box_px,) * 3  # of the padded transform
        total, weight = np.zeros(size, complex), np.zeros(size)
        for start in range(0, len(values), block):
            piece = slice(start, start + block)
            slicer = Slicer(self._coefficients, rotations[piece])
            more, heavier = slicer.insert(values[piece], np.ones(len(values[piece])))
            total += more
            weight += heavier
        return total, weight

    def average(self) -> Average:
        """Average, filtered by what two halves of this half share."""
        first, second = (self.totals(np.flatnonzero(self._part == h)) for h in (0, 1))
        return self.averager.combine(first, second)

    def lay_on(self, other: _Half) -> None:
        """Turn all poses so that the average lies on that of another half."""
        onto, mine = other.average().volume, self.average().volume
        found = compare_with_map(onto, mine, voxel_size_angstrom=1.0, known_voxel_size_angstrom=1.0)
        self.rotations = self.rotations * found.rotation.inv()
        moved = self.rotations.apply(found.shift_zyx_px[::-1])[:, ::-1]
        self.offset_zyx_px = self.offset_zyx_px - moved

    def _search(self) -> None:
        box_px = min(_BOX_PX, self.volumes.shape[-1])
        small = fourier_crop(self.volumes, box_px)
        searches = [self._level(box_px, *level) for level in _LEVELS]
        power = shell_power(searches[-1].coefficients.of(small), searches[-1].coefficients.shell)
        seen = [self._seen(search, small, power) for search in searches]
        starts = self._rng.choice(len(small), min(_TRIES, len(small)), replace=False)
        with muted():
            tried = [self._from_single(searches, seen, start) for start in starts]
        best = max(tried, key=lambda classes: classes.log_likelihood.sum())
        self.rotations = rotation_grid(_LEVELS[-1][1])[best.rotation]
        self.offset_zyx_px = best.offset_zyx_px * self.volumes.shape[-1] / box_px

    def _level(self, box_px: int, radius: float, n: int, shifts: np.ndarray, rounds: int) -> Search:
        return Search(box_px, min(radius, box_px / 2 - 1), self._tilt_range_deg, n, shifts, rounds)

    def _seen(self, search: Search, small: np.ndarray, power: np.ndarray) -> Particles:
        values = search.coefficients.of(small)
        values = whitened(values, search.coefficients.shell, power)
        return Particles(search.coefficients, values, np.zeros((len(small), 3)), self._part)

    @staticmethod
    def _from_single(searches: Sequence[Search], seen: Sequence[Particles], start: int) -> Classes:
        values = seen[0].values[[start]]
        single = _SINGLE * seen[0].coefficients.volumes(values)[0]
        classes = Classes.start([single], seen[0].offset_zyx_px)
        for search, particles in zip(searches, seen, strict=True):
            classes = search.iterate(particles, classes)
        return classes

    def _climb(
        self, reference: np.ndarray, largest: float, steps: Sequence[tuple[float, float]]
    ) -> None:
        inside = Coefficients(
            self._coefficients.box_px,
            min(largest, self._coefficients.radius),
            self._tilt_range_deg,
        )
        self.rotations, self.offset_zyx_px, self.score = refine_poses(
            inside.of(self.volumes), inside, reference, self.rotations, self.offset_zyx_px, steps
        )


def _middle(average: np.ndarray) -> np.ndarray:
    """Centre of mass of the largest piece that stands out, from the box centre; 0 for none.

    A first reference is as far off its box's centre as the one subtomogram that it was.
    """
    try:
        inside = density_mask(average, 1.0, extend_px=0, edge_px=0)
    except InputError:
        return np.zeros(3)
    mass = np.clip(average, 0, None) * inside
    grid = np.indices(average.shape) - centre_index(average.shape[0])
    return np.asarray((grid * mass).sum(axis=(1, 2, 3)) / mass.sum())


def _shared_frequencies(correlation: np.ndarray, least: float = 0.143) -> float:
    """The shell up to which two halves agree, and at least that of the search."""
    below = np.flatnonzero(correlation[1:] < least)
    shell = below[0] + 1 if len(below) else len(correlation)
    return float(max(shell, _LEVELS[-1][0]))
