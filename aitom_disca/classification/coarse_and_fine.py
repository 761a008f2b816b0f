"""Subtomograms in coarse and in fine detail, and what is looked for among some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.alignment.align_averages import AveragePairs
from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.slices import shell_index
from aitom_disca.classification.centring import centred
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.detail import Levels
from aitom_disca.classification.expectation_maximisation import STAYED, Search
from aitom_disca.classification.first_references import singles
from aitom_disca.classification.merge import ONE_Z, Merger
from aitom_disca.classification.shifts_by_class import second_look

_SPLIT_STARTS = 3
_SPLIT_TRIES = 2
_SPLIT_ROUNDS = 4
_SPLIT_LOOKS = 2
_BALANCED_ROUNDS = 6, 3  # in coarse detail, in fine detail


@dataclass(frozen=True)
class Seen:
    """Subtomograms that are held in memory, in coarse and in fine detail."""

    levels: Levels
    rough: Particles
    particles: Particles
    pairs: AveragePairs

    def __len__(self) -> int:
        return len(self.particles)

    def select(self, rows: np.ndarray) -> Seen:
        """Some of them, in that order."""
        return replace(self, rough=self.rough.select(rows), particles=self.particles.select(rows))

    def second_look(self, classes: Classes) -> Classes:
        """See `second_look`."""
        return second_look(self.levels.fine, self.particles, self.levels.wide, self.rough, classes)

    def merger(self, offset_zyx_px: np.ndarray) -> Merger:
        """Merges clusters of them, in detail, where they lie at these offsets (n, 3)."""
        rough, particles = (p.moved(offset_zyx_px) for p in (self.rough, self.particles))
        levels = self.levels
        return Merger(levels.fine, particles, self.pairs, first=(levels.coarse, rough))

    def structures(
        self, offset_zyx_px: np.ndarray, tries: list[np.ndarray]
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
        """Structures, as rows and average, that are found among them; where all lie then.

        Of several tries, each from other single subtomograms, the likeliest is gone on with.

        Parameters
        ----------
        offset_zyx_px : ndarray of shape (n, 3)
            Where they lie, as far as is known.
        tries : list of ndarray of int
            Rows of the first references of each, as `starts_of_tries` draws them.
        """
        fine, at_offset = self.levels.fine, self.particles.moved(offset_zyx_px)
        tried = [
            fine.iterate(
                self.particles,
                self._balanced(singles(at_offset, starts)),
                rounds=_SPLIT_ROUNDS,
                prior="even",
            )
            for starts in tries
        ]
        found = self._ripened(max(tried, key=lambda one: one.log_likelihood.sum()))
        merger = self.merger(found.offset_zyx_px)
        groups = merger.merge(found.members(), found.averages, least_z=ONE_Z)
        return groups, found.offset_zyx_px

    def _balanced(self, classes: Classes) -> Classes:
        """References that are grown while none may draw in the others."""
        in_coarse, in_fine = _BALANCED_ROUNDS
        levels = self.levels
        classes = levels.coarse.iterate(self.rough, classes, rounds=in_coarse, prior="balanced")
        classes = levels.fine.iterate(self.particles, classes, rounds=in_fine, prior="balanced")
        return classes.with_even_prior()

    def _ripened(self, classes: Classes) -> Classes:
        """Some rounds, with second looks, until the labels stay."""
        fine = self.levels.fine
        for _ in range(_SPLIT_LOOKS):
            classes = fine.iterate(self.particles, classes, rounds=_SPLIT_ROUNDS, prior="even")
            before = classes.labels
            classes = self.second_look(centred(classes, fine.rotations))
            if np.mean(before != classes.labels) <= STAYED:
                break
        return classes


def starts_of_tries(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Which of n subtomograms are the first references, in several tries."""
    return [rng.choice(n, _SPLIT_STARTS, replace=False) for _ in range(_SPLIT_TRIES)]


def unwhitened(search: Search, averages: list[np.ndarray], power: np.ndarray) -> list[np.ndarray]:
    """Averages in whitened units as densities (z, y, x) again; ``power`` is that of the look."""
    box_px = search.coefficients.box_px
    amplitude = np.zeros(shell_index(2 * box_px).max() + 1)
    amplitude[: len(power)] = np.sqrt(power / power[1:].max())
    return [search.averager.filtered(average, amplitude) for average in averages]
