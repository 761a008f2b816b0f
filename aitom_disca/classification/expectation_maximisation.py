"""Rounds of expectation and maximisation at one level of detail."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Literal

import numpy as np

from aitom_disca.alignment.coefficients import Coefficients, Particles
from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.alignment.maximisation import Averager, Totals
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.alignment.slices import Slicer
from aitom_disca.classification.classes import Classes, equal_detail
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.number_text import counted
from aitom_disca.progress import step

Prior = Literal["learnt", "even", "balanced"]


class Search:
    """One level of detail: which coefficients, rotations and shifts are looked at.

    Parameters
    ----------
    box_px : int
    radius : float
        Largest frequency, in steps of 1 / box.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (T, 2)
        Of all subtomograms, or the different ones.
    n_rotations : int
    shifts_zyx_px : ndarray of shape (S, 3)
    rounds : int
        At most so many.
    mask_radius_px : float
        Of a soft sphere that averages end at; infinite for that which fills the box.
    fall_off : FallOff, optional
        Of amplitudes with tilt; none in a binary wedge.
    settings : SortingSettings
    """

    def __init__(
        self,
        box_px: int,
        radius: float,
        tilt_range_deg: TiltRanges,
        n_rotations: int,
        shifts_zyx_px: np.ndarray,
        rounds: int,
        mask_radius_px: float = np.inf,
        fall_off: FallOff | None = None,
        settings: SortingSettings = SORTING,
    ) -> None:
        self.coefficients = Coefficients(box_px, radius, tilt_range_deg, fall_off)
        self.rotations = rotation_grid(n_rotations)
        self.slicer = Slicer(self.coefficients, self.rotations)
        n_shells = int(self.coefficients.shell.max()) + 1
        self.averager = Averager(self.slicer, n_shells, mask_radius_px, settings.reconstruction)
        self.shifts_zyx_px = shifts_zyx_px
        self.settings = settings
        self._rounds = rounds
        self._shape = (n_rotations, len(self.coefficients))

    def trying(self, shifts_zyx_px: np.ndarray, rounds: int) -> Search:
        """The same detail with other shifts."""
        other = copy(self)
        other.shifts_zyx_px, other._rounds = shifts_zyx_px, rounds
        return other

    def slices(self, averages: Sequence[np.ndarray]) -> np.ndarray:
        """Slices (K, n_rotations, n_coefficients) of averages."""
        return self.slicer.several(averages)

    def weigh(self, particles: Particles, classes: Classes) -> Expectation:
        """What subtomograms say about averages that stay as they are."""
        slices = self.slices(classes.averages)
        return expect(
            particles,
            slices,
            classes.log_prior,
            self.shifts_zyx_px,
            add_up=False,
            shell_weight=classes.shell_weight,
            negligible=self.settings.rounds.negligible,
        )

    def iterate(
        self,
        particles: Particles,
        classes: Classes,
        *,
        rounds: int | None = None,
        prior: Prior = "learnt",
    ) -> Classes:
        """Expectation and maximisation in turn, from the classes' offsets, until labels stay.

        From the second round on no subtomogram meets an average that it is a part of: its own
        noise would hold it there, the more so the fewer members there are. Unless the prior is
        learnt, averages are compared at equal detail.

        Parameters
        ----------
        particles : Particles
        classes : Classes
        rounds : int, optional
            At most so many; as the search has it, unless given.
        prior : {"learnt", "even", "balanced"}
            Of the clusters. Learnt, it follows their sizes, and those that are not needed empty
            quickly. But an average of more members has less noise, fits anything better for that,
            and draws in the rest, although the subtomograms are then the less likely: even
            priors hold that back, and balanced ones, which make all clusters about equal in
            size, keep it out while averages are still rough.
        """
        if prior == "even":
            classes = classes.with_even_prior()
        particles = particles.moved(classes.offset_zyx_px)
        settings = self.settings.rounds
        parts = _parts(particles.half, settings.parts)
        without = classes.averages  # each part of the data, one after the other
        previous = classes.labels
        most = rounds or self._rounds
        with step("aligning", most) as going_on:
            for number in range(1, most + 1):
                slices = self.slices(without).reshape(-1, len(classes.averages), *self._shape)
                compared = None
                if (number - 1) % settings.all_compared and prior != "balanced":
                    compared = classes.posterior > 0
                    compared[~compared.any(axis=1)] = True  # their average is gone
                found, sums = self._meet(particles, parts, slices, classes, compared)
                size = found.posterior.sum(axis=0)
                enough = size >= min(settings.fewest_members, size.max())
                kept = np.flatnonzero(enough | (prior == "balanced"))
                made = on_all_cores(
                    self.averager.without_each, [[part[k] for part in sums] for k in kept]
                )
                before = classes.log_prior[kept]
                weight = None
                if prior != "learnt":
                    signal = np.array([one.signal for one in made])
                    weight = equal_detail(signal, self.slicer.box_px)
                classes = Classes.of(found, kept, [one.whole for one in made], weight)
                if prior == "balanced":
                    classes = replace(classes, log_prior=before - classes.log_prior)
                elif prior == "even":
                    classes = classes.with_even_prior()
                without = [one.others[part] for part in range(len(parts)) for one in made]
                particles = particles.moved(classes.offset_zyx_px)
                changed = float(np.mean(previous != classes.labels))
                sizes = np.bincount(classes.labels, minlength=len(classes.averages)).tolist()
                going_on.advance()
                going_on.outcome = f"{counted(number, 'round')}, sizes {sizes}"
                stable = changed <= settings.stayed and min(sizes) > 0 and number > 1
                previous = classes.labels
                if stable:
                    return replace(classes, stable=True)
        return classes

    def _meet(
        self,
        particles: Particles,
        parts: list[np.ndarray],
        slices: np.ndarray,
        classes: Classes,
        compared: np.ndarray | None,
    ) -> tuple[Expectation, list[list[Totals]]]:
        """What each part of the data says about its own references, and what that adds up to.

        ``slices`` (parts or 1, K, n_rotations, n_coefficients) are of the references of each part,
        or of those of all.
        """

        def meet(part: int) -> tuple[Expectation, list[Totals]]:
            mine = particles.select(parts[part])
            found = expect(
                mine,
                slices[part % len(slices)],
                classes.log_prior,
                self.shifts_zyx_px,
                by_half=False,
                compared=None if compared is None else compared[parts[part]],
                shell_weight=classes.shell_weight,
                negligible=self.settings.rounds.negligible,
            )
            sums = zip(found.sums[0], found.counts[0], strict=True)
            return found, [self.averager.inserted(*pair) for pair in sums]

        met = on_all_cores(meet, range(len(parts)), "parts of the data")
        order = np.argsort(np.concatenate(parts))
        return _joined([found for found, _ in met], order), [sums for _, sums in met]


def _parts(half: np.ndarray, n: int) -> list[np.ndarray]:
    """Rows of n parts of the data: those of even number are the first half."""
    halves = [np.flatnonzero(half == h) for h in (0, 1)]
    return [rows[start :: n // 2] for start in range(n // 2) for rows in halves]


def _joined(found: list[Expectation], order: np.ndarray) -> Expectation:
    """What parts of the subtomograms say, in the order of all; the sums are left out."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in found])[order]

    return Expectation(
        joined("log_likelihood"),
        joined("posterior"),
        joined("rotation"),
        joined("offset_zyx_px"),
        np.zeros(0),
        np.zeros(0),
    )
