"""Pieces of all subtomograms computed one after the other, on all cores, or as tasks elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from aitom_disca.classification.classes import Classes
from aitom_disca.classification.expectation_tasks import Work
from aitom_disca.classification.pieces_of_all import Looking, Piece, Setup, levels_for
from aitom_disca.computing.parallel import Workers, in_tasks, on_all_cores
from aitom_disca.progress import track

Joined = TypeVar("Joined")


class PieceRunner:
    """Computes pieces: the same ones, joined in the same order, however many workers there are.

    Parameters
    ----------
    setup : Setup
    looking : Looking
        Of this setup.
    most : int
        Subtomograms of a piece of a part of the data.
    workers : Workers, optional
        Compute pieces as their tasks; else it is done here.
    """

    def __init__(
        self, setup: Setup, looking: Looking, most: int, workers: Workers | None = None
    ) -> None:
        self._setup, self._looking, self._most, self._workers = setup, looking, most, workers
        self._n_parts = looking.levels.settings.rounds.parts

    def over_all(self, work: Work, classes: Classes, what: str) -> Iterator[Any]:
        """What comes of blocks of all subtomograms, in order.

        Parameters
        ----------
        work : Work
        classes : Classes
            Of all, with the averages that all meet.
        what : str
            Is being done.
        """
        blocks = list(self._looking.blocks(np.arange(len(self._looking.part))))
        pieces = [Piece(rows, classes.select(rows)) for rows in blocks]
        if self._workers is None:
            yield from map(work(self._looking, classes.averages), track(pieces, what))
        else:
            yield from self._tasks(self._workers, work, pieces, what)

    def by_part(
        self,
        work: Work,
        classes: Classes,
        without: np.ndarray,
        join: Callable[[Iterable[Any]], Joined],
        what: str,
        *,
        add_up: bool = False,
    ) -> list[Joined]:
        """What comes of the pieces of every part of the data, joined.

        Parameters
        ----------
        work : Work
        classes : Classes
            Of all.
        without : ndarray of shape (K, F, box, box, box)
            Averages without each part, which that part meets.
        join : callable
            Takes what comes of the pieces of a part, in order.
        what : str
            Is being done.
        add_up : bool
            As in `Piece`.
        """

        def pieces(part: int) -> Iterator[Piece]:
            rows = np.flatnonzero(self._looking.part == part)
            met = list(without[:, part])
            for own in np.array_split(rows, -(-len(rows) // self._most)):
                yield Piece(own, replace(classes.select(own), averages=met), add_up)

        def here(part: int) -> Joined:
            return join(map(work(self._looking, list(without[:, part])), pieces(part)))

        if self._workers is None:
            return on_all_cores(here, range(self._n_parts))
        own = [list(pieces(part)) for part in range(self._n_parts)]
        found = self._tasks(self._workers, work, [one for some in own for one in some], what)
        return [join(islice(found, len(some))) for some in own]

    def in_order(self) -> np.ndarray:
        """Where each subtomogram is among the parts, one after the other."""
        return np.argsort(np.argsort(self._looking.part, kind="stable"), kind="stable")

    def _tasks(
        self, workers: Workers, work: Work, pieces: Sequence[Piece], what: str
    ) -> Iterator[Any]:
        task = partial(in_a_task, self._setup, work)
        return iter(in_tasks(task, pieces, workers.executor, what))


# -- a task ----------------------------------------------------------------------------------------


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
