"""Pieces of all subtomograms, and what is computed for each: in this process, or as a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from aitom_disca.alignment.align_averages import AveragePairs
from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.alignment.maximisation import Totals
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.assignments_of_all import joined_blocks
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.coarse_and_fine import Seen
from aitom_disca.classification.detail_levels import Levels, Look
from aitom_disca.classification.shifts_by_class import finely, roughly
from aitom_disca.computing.parallel import each_on_all_cores, on_all_cores
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.fall_off import FallOff
from aitom_disca.io.stores.row_file import RowFile
from aitom_disca.io.stores.row_shards import RowShards

ReadVolumes = Callable[[np.ndarray], np.ndarray]
_SHARES = 4  # of a block that is seen for the first time, each on a core


@dataclass(frozen=True)
class Setup:
    """What all pieces are computed with, wherever that is: sent as it is to other processes.

    Parameters
    ----------
    read : callable
        Gives volumes (m, z, y, x) for row numbers (m,).
    learnt : LearntAverages
    tilt_range_deg : ndarray of shape (T, 2)
        The different ones.
    wedge : ndarray of int, shape (n,), optional
        Which of them each subtomogram has; None where there is one.
    part : ndarray of int, shape (n,)
        Of the data, from 0.
    file : RowFile or RowShards
        Of the coefficients.
    block : int
        Subtomograms that are held at once, on each core.
    settings : SortingSettings
    token : str
        Tells sortings apart: equal setups are of one sorting.
    """

    read: ReadVolumes = field(compare=False)
    learnt: LearntAverages = field(compare=False)
    tilt_range_deg: np.ndarray = field(compare=False)
    wedge: np.ndarray | None = field(compare=False)
    part: np.ndarray = field(compare=False)
    file: RowFile | RowShards = field(compare=False)
    block: int = field(compare=False)
    settings: SortingSettings = field(compare=False)
    token: str = ""


@dataclass(frozen=True)
class Piece:
    """Some subtomograms, and what is asked of them.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
        Their numbers among all.
    classes : Classes
        Of these m; its averages are those that they meet.
    add_up : bool
        Whether sums for the next averages are wanted.
    """

    rows: np.ndarray
    classes: Classes
    add_up: bool = False


class Looking:
    """Looks at subtomograms by number.

    Parameters
    ----------
    setup : Setup
    levels : Levels
        As `levels_for` makes them.
    """

    def __init__(self, setup: Setup, levels: Levels) -> None:
        learnt = setup.learnt
        box_px = learnt.averages.shape[-1]
        self.levels, self.file, self.read = levels, setup.file, setup.read
        self.part, self.wedge, self._block = setup.part, setup.wedge, setup.block
        self.look = Look(box_px, learnt.mask_radius_px, learnt.power)
        self.pairs = AveragePairs(box_px, levels.settings.pairs)

    def load(self, rows: np.ndarray) -> Seen:
        """Some that were seen before, particles in the box centre as far as is known."""
        values = self.file.read(rows).astype(np.float32).view(np.complex64)[..., 0]
        n_coarse = len(self.levels.coarse.coefficients)
        half, wedge = self._half_and_wedge(rows)
        rough, particles = (
            Particles(search.coefficients, own, np.zeros((len(rows), 3)), half, wedge)
            for search, own in (
                (self.levels.coarse, values[:, :n_coarse]),
                (self.levels.fine, values[:, n_coarse:]),
            )
        )
        return Seen(self.levels, rough, particles, self.pairs)

    def rough(self, rows: np.ndarray, volumes: np.ndarray) -> Particles:
        """Volumes of these rows in coarse detail, masks in the box centre."""
        half, wedge = self._half_and_wedge(rows)
        return self.look.particles(self.levels.coarse, volumes, half, wedge=wedge)

    def seen(self, rows: np.ndarray, volumes: np.ndarray, offset_zyx_px: np.ndarray) -> Seen:
        """Volumes of these rows, masks at these offsets."""
        half, wedge = self._half_and_wedge(rows)
        rough, particles = (
            self.look.particles(search, volumes, half, offset_zyx_px, wedge)
            for search in (self.levels.coarse, self.levels.fine)
        )
        return Seen(self.levels, rough, particles, self.pairs)

    def keep(self, rows: np.ndarray, seen: Sequence[Seen]) -> None:
        """Write the coefficients of consecutive rows."""
        each = [np.concatenate([one.rough.values, one.particles.values], axis=1) for one in seen]
        values = np.concatenate(each)
        self.file.write(int(rows[0]), np.stack([values.real, values.imag], axis=-1))

    def blocks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Rows in blocks that are held at once."""
        for start in range(0, len(rows), self._block):
            yield rows[start : start + self._block]

    def _half_and_wedge(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        half = self.part[rows].astype(int) % 2
        return half, None if self.wedge is None else self.wedge[rows]


def levels_for(
    learnt: LearntAverages, tilt_range_deg: np.ndarray, settings: SortingSettings = SORTING
) -> Levels:
    """The levels of detail in which subtomograms are compared with what was learnt."""
    fall_off = None if learnt.fall_off is None else FallOff(*learnt.fall_off)
    box_px, radius_px = learnt.averages.shape[-1], learnt.mask_radius_px
    return Levels.of(box_px, tilt_range_deg, radius_px, fall_off, settings)


# -- what is computed for a piece: made ready for some averages, then called with pieces -----------


class FirstLook:
    """Reads subtomograms, keeps their coefficients, and finds the average that each fits best."""

    def __init__(self, looking: Looking, averages: Sequence[np.ndarray]) -> None:
        self._looking = looking
        self._coarse, self._fine = _slices(looking.levels, averages)

    def __call__(self, piece: Piece) -> tuple[Classes, np.ndarray]:
        """Clusters of the piece's subtomograms, and where the mask of each was laid, (m, 3)."""
        looking, known = self._looking, piece.classes
        volumes = looking.read(piece.rows)

        def meet(own: np.ndarray) -> tuple[Seen, Classes, np.ndarray]:
            rows, wide = piece.rows[own], looking.levels.wide
            rough = looking.rough(rows, volumes[own])
            fits = roughly(wide, rough, self._coarse, known.log_prior)
            best = np.argmax([fit.log_likelihood for fit in fits], axis=0)
            offset = np.stack([fit.offset_zyx_px for fit in fits])[best, np.arange(len(rows))]
            seen = looking.seen(rows, volumes[own], offset)
            here = known.for_others(offset)
            found = finely(looking.levels.fine, seen.particles, self._fine, fits, here)
            return seen, found, offset

        shares = [own for own in np.array_split(np.arange(len(piece.rows)), _SHARES) if len(own)]
        seen, found, offset = zip(*on_all_cores(meet, shares), strict=True)
        looking.keep(piece.rows, seen)
        return _bare(joined_blocks(known, found)), np.concatenate(offset)


class SecondReading:
    """Reads subtomograms and keeps their coefficients, masks where they were in a first look."""

    def __init__(self, looking: Looking, averages: Sequence[np.ndarray]) -> None:
        self._looking = looking

    def __call__(self, piece: Piece) -> None:
        """Masks are laid at the offsets of the piece's classes."""
        volumes = self._looking.read(piece.rows)
        seen = self._looking.seen(piece.rows, volumes, piece.classes.offset_zyx_px)
        self._looking.keep(piece.rows, [seen])


class Expecting:
    """What subtomograms say, near where they lie, about the averages likely for each."""

    def __init__(self, looking: Looking, averages: Sequence[np.ndarray]) -> None:
        self._looking = looking
        self._slices = looking.levels.fine.slicer.several(averages)

    def __call__(self, piece: Piece) -> tuple[Classes, list[Totals]]:
        """Clusters of the piece's subtomograms, and, if wanted, what they add up to by cluster."""
        fine, add_up = self._looking.levels.fine, piece.add_up
        sums = np.zeros(self._slices.shape if add_up else 0, np.complex64)
        counts: np.ndarray | float = 0.0
        found = []
        blocks = list(self._looking.blocks(np.arange(len(piece.rows))))
        for met in each_on_all_cores(lambda own: self._meet(piece, own), blocks):
            found.append(_met_near(piece.classes, met))
            if add_up:  # in the order of the blocks, on however many cores they are
                sums += met.sums[0]
                counts = counts + met.counts[0]
        if not add_up:
            return _bare(joined_blocks(piece.classes, found)), []
        each = zip(sums, np.asarray(counts), strict=True)
        totals = [fine.averager.inserted(*own) for own in each]
        return _bare(joined_blocks(piece.classes, found)), totals

    def _meet(self, piece: Piece, own: np.ndarray) -> Expectation:
        fine, classes = self._looking.levels.fine, piece.classes
        settings = fine.settings.rounds
        return expect(
            self._looking.load(piece.rows[own]).particles.moved(classes.offset_zyx_px[own]),
            self._slices,
            classes.log_prior,
            fine.shifts_zyx_px,
            add_up=piece.add_up,
            by_half=False,
            compared=classes.posterior[own] > settings.likely,
            shell_weight=classes.shell_weight,
            negligible=settings.negligible,
        )


class Meeting:
    """Compares subtomograms with averages over the whole range of shifts."""

    def __init__(self, looking: Looking, averages: Sequence[np.ndarray]) -> None:
        self._looking = looking
        self._coarse, self._fine = _slices(looking.levels, averages)

    def __call__(self, piece: Piece) -> Classes:
        """Clusters of the piece's subtomograms, of which nothing is known."""
        levels, known = self._looking.levels, piece.classes

        def meet(rows: np.ndarray) -> Classes:
            seen = self._looking.load(rows)
            fits = roughly(levels.wide, seen.rough, self._coarse, known.log_prior)
            here = known.for_others(seen.particles.offset_zyx_px)
            return finely(levels.fine, seen.particles, self._fine, fits, here)

        blocks = list(self._looking.blocks(piece.rows))
        return _bare(joined_blocks(known, on_all_cores(meet, blocks)))


Work = type[FirstLook] | type[SecondReading] | type[Expecting] | type[Meeting]


def _slices(levels: Levels, averages: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Slices of averages in coarse and in fine detail."""
    return [list(search.slicer.several(averages)) for search in (levels.wide, levels.fine)]


def _met_near(classes: Classes, met: Expectation) -> Classes:
    posterior = met.posterior.astype(np.float32)
    return replace(
        classes,
        labels=posterior.argmax(axis=1),
        posterior=posterior,
        log_likelihood=met.log_likelihood,
        rotation=met.rotation,
        offset_zyx_px=met.offset_zyx_px,
    )


def _bare(classes: Classes) -> Classes:
    """Without averages, which whoever asked has."""
    return replace(classes, averages=[])


# -- as tasks of other processes -------------------------------------------------------------------


def in_a_task(setup: Setup, work: Work, piece: Piece) -> Any:
    """What comes of a piece; what it takes beside the piece is kept for the next one.

    On one thread each for matrix products, as it is on all cores of one process: products must
    not be cut into other pieces.
    """
    with threadpool_limits(1, "blas"):
        return _ready(setup, work, piece.classes.averages)(piece)


@lru_cache(maxsize=1)
def _looking(setup: Setup) -> Looking:
    return Looking(setup, levels_for(setup.learnt, setup.tilt_range_deg, setup.settings))


class _Kept(threading.local):
    """What the last task of a thread made ready."""

    made_for: tuple[Setup, Work, list[np.ndarray]] | None = None
    ready: Any = None


_kept = _Kept()


def _ready(setup: Setup, work: Work, averages: list[np.ndarray]) -> Any:
    before = _kept.made_for
    same = before is not None and before[:2] == (setup, work)
    if not (same and np.array_equal(before[2], averages)):  # type: ignore[index]
        _kept.made_for = _kept.ready = None  # not both at once
        _kept.ready = work(_looking(setup), averages)
        _kept.made_for = setup, work, averages
    return _kept.ready
