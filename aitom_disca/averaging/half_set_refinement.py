"""Half of a cluster: found poses, finer poses, and the average that comes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients, Particles
from aitom_disca.alignment.expectation import shell_power, whitened
from aitom_disca.alignment.local_search import correlations, refine_poses
from aitom_disca.alignment.maximisation import Average, Averager, Totals
from aitom_disca.alignment.search_grids import cross, cube, rotation_grid
from aitom_disca.alignment.slices import Slicer, counts_of_each
from aitom_disca.averaging.compare_maps import compare_with_map
from aitom_disca.averaging.masks import sphere_round_particle
from aitom_disca.averaging.symmetrise import SymmetryAxes, expanded, lay_on_axes
from aitom_disca.classification.centring import dense_centre
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.detail_levels import search_at
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.wedge import TiltRanges, distinct_tilt_ranges
from aitom_disca.progress import muted, say

# Volumes and a target give rotations and offsets, as `network.gumnet.predict_poses` does.
FindsPoses = Callable[[np.ndarray, np.ndarray], tuple[Rotation, np.ndarray]]
_NETWORK_ROUNDS = 4
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
LAST_ROUNDS = _ROUNDS[1:]  # taken again with a symmetry
SMALLEST_STEPS = _ROUNDS[-1:]
_SLICES_AT_ONCE = 2**21
PIECES = _TRIES * len(_LEVELS) + len(_ROUNDS)  # of a search over all rotations, for progress
Done = Callable[[], object]


def nothing() -> None:
    """What is done after a piece of work whose progress is not shown."""


class Half:
    """Half of a cluster: its volumes, their poses, and the volumes that come of them.

    With a diameter, averages are looked at in a soft sphere about the particle, which makes them
    blind to what lies beside it in the volumes. These stay whole: behind a mask they would have no
    missing wedge any more, but a blurred one, and poses become worse.
    """

    def __init__(
        self,
        volumes: np.ndarray,
        tilt_range_deg: TiltRanges,
        rng: np.random.Generator,
        diameter_px: float | None = None,
        fall_off: FallOff | None = None,
    ) -> None:
        self.volumes = volumes
        box_px = volumes.shape[-1]
        self._diameter_px = diameter_px
        self._mask = np.ones((box_px,) * 3, np.float32)
        if diameter_px is not None:
            self._mask = sphere_round_particle(box_px, diameter_px)
        self._ranges, self._wedge = distinct_tilt_ranges(tilt_range_deg, len(volumes))
        self._fall_off = fall_off
        self._rng = rng
        self._part = rng.permutation(len(volumes)) % 2
        self._coefficients = Coefficients(box_px, box_px / 2 - 1, self._ranges, fall_off)
        self._values = self._coefficients.of(volumes, self._wedge)
        one = Slicer(self._coefficients, rotation_grid(1))
        self.averager = Averager(one, int(self._coefficients.shell.max()) + 1)
        self.rotations = Rotation.identity(len(volumes))
        self.offset_zyx_px = np.zeros((len(volumes), 3))
        self.score = np.zeros(len(volumes))
        self.fit = np.inf  # mean log likelihood over noise in the search over all rotations
        self._group = Rotation.identity(1)

    def refined(
        self,
        largest_frequency: float | None,
        network: FindsPoses | None = None,
        *,
        everywhere: bool = True,
        done: Done = nothing,
    ) -> Half:
        """Find poses over all rotations, then finer ones round them.

        A network may say where poses lie in the average as well; of the two that with the higher
        correlation is gone on with. Without ``everywhere`` its poses alone are taken, averaged,
        and found again. ``done`` is called `PIECES` times on the way.
        """
        if network is not None and not everywhere:
            return self._by_network(network)
        self._search(done)
        if network is not None:
            self._take_better(*network(self.volumes, self.average().volume))
        self.centre()
        return self.climb_on(largest_frequency, _ROUNDS, done)

    def climb_on(
        self,
        largest_frequency: float | None,
        rounds: Sequence[Sequence[tuple[float, float]]] = LAST_ROUNDS,
        done: Done = nothing,
    ) -> Half:
        """Average and refine in turn; ``done`` is called after each round."""
        for steps in rounds:
            made = self.average()
            largest = largest_frequency or _shared_frequencies(made.correlation)
            self._climb(made.volume * self._mask, largest, steps)
            done()
        return self

    def begin_again(
        self, rotations: Rotation, offset_zyx_px: np.ndarray, largest_frequency: float | None
    ) -> Half:
        """Take poses of an initial model, and only the smallest of steps from there.

        Noisy members would follow one another's noise in larger ones.
        """
        self.go_on_from(rotations, offset_zyx_px)
        return self.climb_on(largest_frequency, SMALLEST_STEPS)

    def go_on_from(self, rotations: Rotation, offset_zyx_px: np.ndarray) -> None:
        """Take poses that are known."""
        self.rotations, self.offset_zyx_px = rotations, offset_zyx_px

    def centre(self) -> None:
        """Bring the average to the centre of its box.

        A first reference is as far off its box's centre as the one subtomogram that it was.
        """
        self.centre_on(dense_centre(self.average().volume, diameter_px=self._diameter_px))

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
        counts = counts_of_each(self._wedge, rows[member], len(self._ranges))
        for start in range(0, len(values), block):
            piece = slice(start, start + block)
            slicer = Slicer(self._coefficients, rotations[piece])
            more, heavier = slicer.insert(values[piece], counts[piece])
            total += more
            weight += heavier
        return total, weight

    def average(self) -> Average:
        """Average, filtered by what two halves of this half share."""
        first, second = (self.totals(np.flatnonzero(self._part == h)) for h in (0, 1))
        return self.averager.combine(first, second)

    def lay_on(self, other: Half) -> None:
        """Turn all poses so that the average lies on that of another half."""
        onto, mine = (part.average().volume * self._mask for part in (other, self))
        found = compare_with_map(onto, mine, voxel_size_angstrom=1.0, known_voxel_size_angstrom=1.0)
        self.rotations = self.rotations * found.rotation.inv()
        moved = self.rotations.apply(found.shift_zyx_px[::-1])[:, ::-1]
        self.offset_zyx_px = self.offset_zyx_px - moved

    def _by_network(self, network: FindsPoses) -> Half:
        """Average what the network lays on an average, beginning with a single member."""
        target = self.volumes[self._rng.integers(len(self.volumes))]
        for _ in range(_NETWORK_ROUNDS):
            self.rotations, self.offset_zyx_px = network(self.volumes, target)
            target = self.average().volume
        self.score = self._scores(self.rotations, self.offset_zyx_px)
        return self

    def _take_better(self, rotations: Rotation, offset_zyx_px: np.ndarray) -> None:
        """Take other poses where they fit the average better."""
        ours, theirs = (
            self._scores(*poses)
            for poses in ((self.rotations, self.offset_zyx_px), (rotations, offset_zyx_px))
        )
        better = theirs > ours
        say(f"the network's pose fits better for {int(better.sum())} of {len(better)}")
        quaternions = np.where(better[:, None], rotations.as_quat(), self.rotations.as_quat())
        self.rotations = Rotation.from_quat(quaternions)
        self.offset_zyx_px = np.where(better[:, None], offset_zyx_px, self.offset_zyx_px)

    def _scores(self, rotations: Rotation, offset_zyx_px: np.ndarray) -> np.ndarray:
        made = self.average()
        inside = self._inside(_shared_frequencies(made.correlation))
        values, reference = inside.of(self.volumes, self._wedge), made.volume * self._mask
        return correlations(values, inside, reference, rotations, offset_zyx_px, self._wedge)

    def _inside(self, largest: float) -> Coefficients:
        radius = min(largest, self._coefficients.radius)
        box_px = self._coefficients.box_px
        return Coefficients(box_px, radius, self._ranges, self._fall_off)

    def _search(self, done: Done) -> None:
        box_px = min(_BOX_PX, self.volumes.shape[-1])
        small = fourier_crop(self.volumes, box_px)
        searches = [self._level(box_px, *level) for level in _LEVELS]
        finest = searches[-1].coefficients
        measured = finest.measured_by(self._wedge)
        power = shell_power(finest.of(small, self._wedge), finest.shell, measured)
        seen = [self._seen(search, small, power) for search in searches]
        starts = self._rng.choice(len(small), min(_TRIES, len(small)), replace=False)
        with muted():
            tried = [self._from_single(searches, seen, start, done) for start in starts]
        best = max(tried, key=lambda classes: classes.log_likelihood.sum())
        self.fit = float(best.log_likelihood.mean())
        self.rotations = rotation_grid(_LEVELS[-1][1])[best.rotation]
        self.offset_zyx_px = best.offset_zyx_px * self.volumes.shape[-1] / box_px

    def _level(self, box_px: int, radius: float, n: int, shifts: np.ndarray, rounds: int) -> Search:
        level = min(radius, box_px / 2 - 1), n, shifts, rounds
        return search_at(level, box_px, self._ranges, fall_off=self._fall_off)

    def _seen(self, search: Search, small: np.ndarray, power: np.ndarray) -> Particles:
        seen, nowhere = search.coefficients, np.zeros((len(small), 3))
        values, measured = seen.of(small, self._wedge), seen.measured_by(self._wedge)
        values = whitened(values, seen.shell, power, measured)
        return Particles(seen, values, nowhere, self._part, self._wedge)

    @staticmethod
    def _from_single(
        searches: Sequence[Search], seen: Sequence[Particles], start: int, done: Done
    ) -> Classes:
        values = seen[0].values[[start]]
        single = _SINGLE * seen[0].coefficients.volumes(values)[0]
        classes = Classes.start([single], seen[0].offset_zyx_px)
        for search, particles in zip(searches, seen, strict=True):
            classes = search.iterate(particles, classes)
            done()
        return classes

    def _climb(
        self, reference: np.ndarray, largest: float, steps: Sequence[tuple[float, float]]
    ) -> None:
        inside = self._inside(largest)
        values = inside.of(self.volumes, self._wedge)
        self.rotations, self.offset_zyx_px, self.score = refine_poses(
            values, inside, reference, self.rotations, self.offset_zyx_px, steps, self._wedge
        )


def _shared_frequencies(correlation: np.ndarray, least: float = 0.143) -> float:
    """The shell up to which two halves agree, and at least that of the search."""
    below = np.flatnonzero(correlation[1:] < least)
    shell = below[0] + 1 if len(below) else len(correlation)
    return float(max(shell, _LEVELS[-1][0]))
