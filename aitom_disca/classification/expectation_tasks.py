"""What is computed for a piece of all subtomograms: made ready for some averages, then called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.alignment.maximisation import Totals
from aitom_disca.classification.assignments_of_all import joined_blocks
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.coarse_and_fine import Seen
from aitom_disca.classification.detail_levels import Levels
from aitom_disca.classification.pieces_of_all import Looking, Piece
from aitom_disca.classification.shifts_by_class import finely, roughly
from aitom_disca.computing.parallel import each_on_all_cores, on_all_cores

_SHARES = 4  # of a block that is seen for the first time, each on a core


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
