"""Expectation and maximisation over all subtomograms of a set, piece after piece."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.maximisation import Totals, WithoutEach
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.assignments_of_all import Standing, joined_blocks, side_by_side
from aitom_disca.classification.classes import Classes, equal_detail
from aitom_disca.classification.coarse_and_fine import Seen
from aitom_disca.classification.expectation_tasks import (
    Expecting,
    FirstLook,
    Meeting,
    SecondReading,
)
from aitom_disca.classification.pieces_of_all import Looking, ReadVolumes, Setup, levels_for
from aitom_disca.classification.run_pieces import PieceRunner
from aitom_disca.computing.parallel import Workers, added_in_pairs, on_all_cores
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.wedge import TiltRanges, distinct_tilt_ranges
from aitom_disca.io.stores.row_file import RowFile
from aitom_disca.io.stores.row_shards import RowShards
from aitom_disca.progress import say

Group = tuple[np.ndarray, np.ndarray]  # rows of some members, average
# Memory and work at a time; where sums are cut moves only the last bits of floating point.
_BLOCK = 512  # subtomograms that are held at once, on each core
_PIECE_BLOCKS = 16  # of a part of the data, after which sums are put into the next averages


class AllParticles:
    """All subtomograms of a set as coefficients in files, and what is done with them.

    Coefficients are computed once. Of each the real and the imaginary part are kept in half
    precision: they are whitened, of unit variance, and rounding adds a four-millionth to their
    noise. What is held in memory of a subtomogram is its cluster, its pose and its posterior.

    Pieces are the same however many workers there are, and their sums are added up in the same
    order: so is what comes of them, to the last bit.

    Parameters
    ----------
    read : callable
        Gives volumes (m, z, y, x) for row numbers (m,), as `Assigner.assign` takes them. With
        workers it is sent to them, and reads there.
    n : int
        Number of subtomograms.
    learnt : LearntAverages
        Clusters that are known.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (n, 2)
        Of all subtomograms, or of each.
    seed : int
        Of the parts in which the data are split.
    settings : SortingSettings
        Those that the clusters were found with.
    workers : Workers, optional
        Compute pieces as their tasks, and keep coefficients in their folder; else it is done
        here, with a temporary file.
    """

    def __init__(
        self,
        read: ReadVolumes,
        n: int,
        learnt: LearntAverages,
        tilt_range_deg: TiltRanges,
        *,
        seed: int = 0,
        settings: SortingSettings = SORTING,
        workers: Workers | None = None,
    ) -> None:
        ranges, self.wedge = distinct_tilt_ranges(tilt_range_deg, n)
        self.levels, self.settings = levels_for(learnt, ranges, settings), settings
        self._n_parts = settings.rounds.parts
        part = (np.random.default_rng(seed).permutation(n) % self._n_parts).astype(np.uint8)
        n_values = len(self.levels.coarse.coefficients) + len(self.levels.fine.coefficients)
        file: RowFile | RowShards
        if workers is None:
            file = RowFile((n_values, 2), np.float16, "coefficients of the subtomograms")
        else:
            file = RowShards(workers.folder, (n_values, 2), "float16", _BLOCK)
        given = (read, learnt, ranges, self.wedge, part, file, _BLOCK, settings)
        setup = Setup(*given, uuid.uuid4().hex)
        self.looking = Looking(setup, self.levels)
        self.pairs = self.looking.pairs
        self.seen = False  # whether the coefficients are there
        self._learnt = learnt
        self._run = PieceRunner(setup, self.looking, _BLOCK * _PIECE_BLOCKS, workers)

    def __len__(self) -> int:
        return len(self.looking.part)

    def load(self, rows: np.ndarray) -> Seen:
        """Some of the subtomograms, particles in the box centre as far as is known."""
        return self.looking.load(rows)

    # -- seeing them -----------------------------------------------------------------------

    def first_look(self) -> Standing:
        """Read all, keep their coefficients, and find the average that each fits best."""
        learnt, n = self._learnt, len(self)
        known = replace(
            Classes.start(list(learnt.averages), np.zeros((n, 3))),
            log_prior=learnt.log_prior,
            shell_weight=learnt.shell_weight,
        )
        found, offset = zip(*self._run.over_all(FirstLook, known, "sorting all"), strict=True)
        self.seen = True
        without = np.stack([learnt.averages] * self._n_parts, axis=1)
        classes, k = joined_blocks(known, list(found)), len(without)
        seen_at = np.concatenate(offset)
        return Standing(classes, without, np.ones((k, 1)), np.zeros(k, int), seen_at)

    def see_again(self, seen_at_zyx_px: np.ndarray) -> None:
        """Read all and keep their coefficients, masks where they were in a first look."""
        known = Classes.start(list(self._learnt.averages), seen_at_zyx_px)
        for _ in self._run.over_all(SecondReading, known, "reading again"):
            pass
        self.seen = True

    # -- rounds ----------------------------------------------------------------------------

    def rounds(self, standing: Standing) -> Standing:
        """Expectation over all and maximisation in turn, until labels stay.

        As `Search.iterate` does with even prior: no subtomogram meets an average that it is a
        part of, and averages are compared at equal detail. A subtomogram meets the averages that
        were likely before.
        """
        for number in range(1, self.settings.rounds.over_all + 1):
            before = standing.classes.labels
            standing = self._round(standing)
            changed = float(np.mean(before != standing.classes.labels))
            sizes = np.bincount(standing.classes.labels).tolist()
            say(f"all, round {number}: {100 * changed:.1f} % moved, sizes {sizes}")
            if changed <= self.settings.rounds.stayed:
                break
        return standing

    def _round(self, standing: Standing) -> Standing:
        fine = self.levels.fine
        classes, sums = self._expected(standing.classes, standing.without)
        kept = np.flatnonzero(classes.posterior.sum(axis=0) >= self.settings.rounds.fewest_members)
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

        def join(found: Iterable[tuple[Classes, list[Totals]]]) -> tuple[list[Classes], Any]:
            met: list[Classes] = []

            def sums() -> Iterator[list[Totals]]:
                for one, totals in found:
                    met.append(one)
                    yield totals

            added = added_in_pairs(sums(), _both)
            return met, added

        by_part = self._run.by_part(Expecting, classes, without, join, "a round", add_up=add_up)
        met = [one for some, _ in by_part for one in some]
        return joined_blocks(classes, met, self._run.in_order()), [sums for _, sums in by_part]

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
        for part in range(self._n_parts):
            mine = rows[self.looking.part[rows] == part]
            particles = self.load(mine).particles.moved(offset_zyx_px[mine])
            found = expect(
                particles,
                slices,
                np.zeros(1),
                fine.shifts_zyx_px,
                by_half=False,
                negligible=self.settings.rounds.negligible,
            )
            parts.append(fine.averager.inserted(found.sums[0, 0], found.counts[0, 0]))
        return fine.averager.without_each(parts)

    def last_look(self, standing: Standing) -> Standing:
        """All meet all averages, made without them, over the whole range of shifts."""
        return replace(standing, classes=self._met(standing.classes, standing.without))

    def _met(self, classes: Classes, without: np.ndarray) -> Classes:
        """All subtomograms compared with averages (K, F, box, box, box) without each part."""
        by_part = self._run.by_part(Meeting, classes, without, list, "a look at all")
        found = [one for some in by_part for one in some]
        return joined_blocks(classes, found, self._run.in_order())


def _both(one: list[Totals], other: list[Totals]) -> list[Totals]:
    """Sums of two pieces, of every cluster."""
    return [(a + c, b + d) for (a, b), (c, d) in zip(one, other, strict=True)]
