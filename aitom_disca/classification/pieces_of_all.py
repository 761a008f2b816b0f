"""Pieces of all subtomograms: which they are, and their coefficients, kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from aitom_disca.alignment.align_averages import AveragePairs
from aitom_disca.alignment.coefficients import Particles
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.coarse_and_fine import Seen
from aitom_disca.classification.detail_levels import Levels, Look
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.io.stores.row_file import RowFile
from aitom_disca.io.stores.row_shards import RowShards

ReadVolumes = Callable[[np.ndarray], np.ndarray]


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
