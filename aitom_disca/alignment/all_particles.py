"""Expectation and maximisation over all subtomograms of a set, block after block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from aitom_disca.alignment.assigning import LearntAverages
from aitom_disca.alignment.averages import Totals, WithoutEach
from aitom_disca.alignment.classes import Classes, equal_detail
from aitom_disca.alignment.likelihood import Particles, expect
from aitom_disca.alignment.looking import Look
from aitom_disca.alignment.pairing import AveragePairs
from aitom_disca.alignment.rounds import STAYED
from aitom_disca.alignment.second_look import finely, roughly
from aitom_disca.alignment.seen import Levels, Seen
from aitom_disca.alignment.standing import LIKELY, Standing, joined_blocks, side_by_side
from aitom_disca.geometry.fall_off import FallOff
from aitom_disca.geometry.wedge import TiltRanges, distinct_tilt_ranges
from aitom_disca.io.row_file import RowFile
from aitom_disca.parallel import on_all_cores
from aitom_disca.progress import say, track

Group = tuple[np.ndarray, np.ndarray]  # rows of some members, average
ReadVolumes = Callable[[np.ndarray], np.ndarray]
_BLOCK = 512  # subtomograms that are held at once, on each core
_ROUNDS = 3
_SMALLEST = 4  # members of a cluster that can be averaged
_N_PARTS = 4  # of the data: averages without one of them hold three quarters of it


class AllParticles:
    """All subtomograms of a set as coefficients in a temporary file, and what is done with them.

    Coefficients are computed once. Of each the real and the imaginary part are kept in half
    precision: they are whitened, of unit variance, and rounding adds a four-millionth to their
    noise. What is held in memory of a subtomogram is its cluster, its pose and its posterior.

    Parameters
    ----------
    read : callable
        Gives volumes (m, z, y, x) for row numbers (m,), as `Assigner.assign` takes them.
    n : int
        Number of subtomograms.
    learnt : LearntAverages
        Clusters that are known.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (n, 2)
        Of all subtomograms, or of each.
    seed : int
        Of the parts in which the data are split.
    """

    def __init__(
        self,
        read: ReadVolumes,
        n: int,
        learnt: LearntAverages,
        tilt_range_deg: TiltRanges,
        *,
        seed: int = 0,
    ) -> None:
        box_px = learnt.averages.shape[-1]
        fall_off = None if learnt.fall_off is None else FallOff(*learnt.fall_off)
        ranges, self.wedge = distinct_tilt_ranges(tilt_range_deg, n)
        self.levels = Levels.of(box_px, ranges, learnt.mask_radius_px, fall_off)
        self.look = Look(box_px, learnt.mask_radius_px, learnt.power)
        self._read, self._learnt = read, learnt
        self.pairs = AveragePairs(box_px)
        self._part = np.random.default_rng(seed).permutation(n) % _N_PARTS
        n_values = len(self.levels.coarse.coefficients) + len(self.levels.fine.coefficients)
        self.file = RowFile((n_values, 2), np.float16, "coefficients of the subtomograms")

    def __len__(self) -> int:
        return len(self._part)

    def load(self, rows: np.ndarray) -> Seen:
        """Some of the subtomograms, particles in the box centre as far as is known."""
        values = self.file.read(rows).astype(np.float32).view(np.complex64)[..., 0]
        n_coarse = len(self.levels.coarse.coefficients)
        half, wedge = self._part[rows] % 2, None if self.wedge is None else self.wedge[rows]
        rough, particles = (
            Particles(search.coefficients, own, np.zeros((len(rows), 3)), half, wedge)
            for search, own in (
                (self.levels.coarse, values[:, :n_coarse]),
                (self.levels.fine, values[:, n_coarse:]),
            )
        )
        return Seen(self.levels, rough, particles, self.pairs)

    # -- seeing them -----------------------------------------------------------------------

    def first_look(self) -> Standing:
        """Read all, keep their coefficients, and find the average that each fits best."""
        learnt, n = self._learnt, len(self)
        known = replace(
            Classes.start(list(learnt.averages), np.zeros((n, 3))),
            log_prior=learnt.log_prior,
            shell_weight=learnt.shell_weight,
        )
        slices = self._slices(learnt.averages)
        seen_at = np.zeros((n, 3))

        def meet(job: tuple[np.ndarray, np.ndarray]) -> tuple[Seen, Classes, np.ndarray]:
            rows, volumes = job
            fits = roughly(self.levels.wide, self._rough(rows, volumes), slices[0], known.log_prior)
            best = np.argmax([fit.log_likelihood for fit in fits], axis=0)
            offset = np.stack([fit.offset_zyx_px for fit in fits])[best, np.arange(len(rows))]
            seen = self._seen(rows, volumes, offset)
            here = known.for_others(offset)
            return seen, finely(self.levels.fine, seen.particles, slices[1], fits, here), offset

        found = []
        for block in track(list(_blocks(np.arange(n))), "sorting all"):
            quarters = np.array_split(block, _N_PARTS)
            volumes = self._read(block)
            jobs = [(rows, volumes[rows - block[0]]) for rows in quarters if len(rows)]
            for (rows, _), (seen, classes, offset) in zip(
                jobs, on_all_cores(meet, jobs), strict=True
            ):
                self._keep(seen)
                found.append(classes)
                seen_at[rows] = offset
        without = np.stack([learnt.averages] * _N_PARTS, axis=1)
        classes, k = joined_blocks(known, found), len(without)
        return Standing(classes, without, np.ones((k, 1)), np.zeros(k, int), seen_at)

    def see_again(self, seen_at_zyx_px: np.ndarray) -> None:
        """Read all and keep their coefficients, masks where they were in a first look."""
        for rows in track(list(_blocks(np.arange(len(self)))), "reading again"):
            self._keep(self._seen(rows, self._read(rows), seen_at_zyx_px[rows]))

    def _seen(self, rows: np.ndarray, volumes: np.ndarray, offset_zyx_px: np.ndarray) -> Seen:
        half, wedge = self._part[rows] % 2, None if self.wedge is None else self.wedge[rows]
        rough, particles = (
            self.look.particles(search, volumes, half, offset_zyx_px, wedge)
            for search in (self.levels.coarse, self.levels.fine)
        )
        return Seen(self.levels, rough, particles, self.pairs)

    def _rough(self, rows: np.ndarray, volumes: np.ndarray) -> Particles:
        half, wedge = self._part[rows] % 2, None if self.wedge is None else self.wedge[rows]
        return self.look.particles(self.levels.coarse, volumes, half, wedge=wedge)

    def _keep(self, seen: Seen) -> None:
        values = np.concatenate([seen.rough.values, seen.particles.values], axis=1)
        self.file.append(np.stack([values.real, values.imag], axis=-1))

    # -- rounds ----------------------------------------------------------------------------

    def rounds(self, standing: Standing) -> Standing:
        """Expectation over all and maximisation in turn, until labels stay.

        As `Search.iterate` does with even prior: no subtomogram meets an average that it is a
        part of, and averages are compared at equal detail. A subtomogram meets the averages that
        were likely before.
        """
        for number in range(1, _ROUNDS + 1):
            before = standing.classes.labels
            standing = self._round(standing)
            changed = float(np.mean(before != standing.classes.labels))
            sizes = np.bincount(standing.classes.labels).tolist()
            say(f"all, round {number}: {100 * changed:.1f} % moved, sizes {sizes}")
            if changed <= STAYED:
                break
        return standing

    def _round(self, standing: Standing) -> Standing:
        fine = self.levels.fine
        classes, sums = self._expected(standing.classes, standing.without)
        kept = np.flatnonzero(classes.posterior.sum(axis=0) >= _SMALLEST)
        made = on_all_cores(fine.averager.without_each, [[part[k] for part in sums] for k in kept])
        signal = np.array([one.signal for one in made])
        posterior = classes.posterior[:, kept]
        classes = replace(
            classes,
            averages=[one.whole for one in made],
            labels=posterior.argmax(axis=1),
            posterior=posterior,
            shell_weight=equal_detail(signal, fine.slicer.box_px),
        )
        without = np.array([one.others for one in made])
        found_in = standing.found_in[kept]
        return Standing(
            classes.with_even_prior(), without, signal, found_in, standing.seen_at_zyx_px
        )

    def _expected(
        self, classes: Classes, without: np.ndarray, *, add_up: bool = True
    ) -> tuple[Classes, list[list[Totals]]]:
        """What all say, near where they lie, about the averages that were likely for each.

        With that, if it is added up, what it adds up to in every part of the data.
        """
        fine = self.levels.fine
        likelihood, posterior = np.zeros(len(self)), np.zeros_like(classes.posterior)
        rotation, offset = np.zeros(len(self), int), np.zeros((len(self), 3))

        def meet(part: int) -> list[Totals]:
            slices = fine.slicer.several(list(without[:, part]))
            sums = np.zeros(slices.shape if add_up else 0, np.complex64)
            counts: np.ndarray | float = 0.0
            for rows in _blocks(np.flatnonzero(self._part == part)):
                found = expect(
                    self.load(rows).particles.moved(classes.offset_zyx_px[rows]),
                    slices,
                    classes.log_prior,
                    fine.shifts_zyx_px,
                    add_up=add_up,
                    by_half=False,
                    compared=classes.posterior[rows] > LIKELY,
                    shell_weight=classes.shell_weight,
                )
                likelihood[rows], posterior[rows] = found.log_likelihood, found.posterior
                rotation[rows], offset[rows] = found.rotation, found.offset_zyx_px
                if add_up:
                    sums += found.sums[0]
                    counts = counts + found.counts[0]
            each = zip(sums, np.asarray(counts), strict=True) if add_up else ()
            return [fine.slicer.insert(*pair) for pair in each]

        sums = on_all_cores(meet, range(_N_PARTS))
        met = replace(
            classes,
            labels=posterior.argmax(axis=1),
            posterior=posterior,
            log_likelihood=likelihood,
            rotation=rotation,
            offset_zyx_px=offset,
        )
        return met, sums

    # -- averages that are new, and a last look ----------------------------------------------

    def joined_by(
        self,
        standing: Standing,
        groups: Sequence[Group],
        offset_zyx_px: np.ndarray,
        number: int,
    ) -> Standing:
        """Further clusters: all subtomograms are compared with them, at equal detail.

        Parameters
        ----------
        standing : Standing
        groups : sequence of (rows, average)
            Some members of each.
        offset_zyx_px : ndarray of shape (n, 3)
            Where these lie.
        number : int
            Of the pass in which they were found.
        """
        box_px, n_known = self.levels.fine.slicer.box_px, len(standing.found_in)
        made = on_all_cores(lambda group: self._made_of(*group, offset_zyx_px), groups)
        signal = np.concatenate([standing.signal, [one.signal for one in made]])
        weight = equal_detail(signal, box_px)
        new = Classes.start([one.whole for one in made], np.zeros((len(self), 3)))
        without = np.array([one.others for one in made])
        joined = self._met(replace(new, shell_weight=weight[n_known:]), without)
        if n_known:
            known = replace(standing.classes, shell_weight=weight[:n_known])
            known, _ = self._expected(known, standing.without, add_up=False)
            joined = replace(side_by_side(known, joined), shell_weight=weight)
        return Standing(
            joined,
            np.concatenate([standing.without, without]),
            signal,
            np.append(standing.found_in, [number] * len(made)),
            standing.seen_at_zyx_px,
        )

    def _made_of(
        self, rows: np.ndarray, average: np.ndarray, offset_zyx_px: np.ndarray
    ) -> WithoutEach:
        """Average of some subtomograms that lie in another one, and without each part of them."""
        fine, parts = self.levels.fine, []
        slices = fine.slicer(average)[None]
        for part in range(_N_PARTS):
            mine = rows[self._part[rows] == part]
            particles = self.load(mine).particles.moved(offset_zyx_px[mine])
            found = expect(particles, slices, np.zeros(1), fine.shifts_zyx_px, by_half=False)
            parts.append(fine.slicer.insert(found.sums[0, 0], found.counts[0, 0]))
        return fine.averager.without_each(parts)

    def last_look(self, standing: Standing) -> Standing:
        """All meet all averages, made without them, over the whole range of shifts."""
        return replace(standing, classes=self._met(standing.classes, standing.without))

    def _met(self, classes: Classes, without: np.ndarray) -> Classes:
        """All subtomograms compared with averages (K, 4, box, box, box) without each part."""

        def meet(part: int) -> list[Classes]:
            coarse, fine = self._slices(without[:, part])
            found = []
            for rows in _blocks(np.flatnonzero(self._part == part)):
                seen = self.load(rows)
                fits = roughly(self.levels.wide, seen.rough, coarse, classes.log_prior)
                own = classes.for_others(seen.particles.offset_zyx_px)
                found.append(finely(self.levels.fine, seen.particles, fine, fits, own))
            return found

        found = [one for part in on_all_cores(meet, range(_N_PARTS)) for one in part]
        order = np.argsort(np.argsort(self._part, kind="stable"), kind="stable")
        return joined_blocks(classes, found, order)

    def _slices(self, averages: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Slices of averages (K, box, box, box) in coarse and in fine detail."""
        coarse, fine = (
            list(search.slicer.several(list(averages)))
            for search in (self.levels.wide, self.levels.fine)
        )
        return coarse, fine


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]
