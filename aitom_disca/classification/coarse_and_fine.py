"""Subtomograms in coarse and in fine detail, and what is looked for among some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.alignment.align_averages import AveragePairs
from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.slices import shell_index
from aitom_disca.classification.centring import centred
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.detail_levels import Levels
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.first_references import singles
from aitom_disca.classification.merge_clusters import Merger
from aitom_disca.classification.shifts_by_class import second_look
from aitom_disca.config.sorting import SortingSettings, SplittingSettings


@dataclass(frozen=True)
class Seen:
    """Subtomograms that are held in memory, in coarse and in fine detail."""

    levels: Levels
    rough: Particles
    particles: Particles
    pairs: AveragePairs

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def settings(self) -> SortingSettings:
        """What they are sorted with."""
        return self.levels.settings

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
        settings, at_offset = self.settings, self.particles.moved(offset_zyx_px)
        begun = (singles(at_offset, starts, settings.first) for starts in tries)
        tried = [self._evenly(self._balanced(classes)) for classes in begun]
        found = self._ripened(max(tried, key=lambda one: one.log_likelihood.sum()))
        merger = self.merger(found.offset_zyx_px)
        groups = merger.merge(found.members(), found.averages, least_z=settings.merging.one_z)
        return groups, found.offset_zyx_px

    def _balanced(self, classes: Classes) -> Classes:
        """References that are grown while none may draw in the others."""
        levels, settings = self.levels, self.settings.splitting
        in_coarse, in_fine = settings.balanced_coarse, settings.balanced_fine
        classes = levels.coarse.iterate(self.rough, classes, rounds=in_coarse, prior="balanced")
        classes = levels.fine.iterate(self.particles, classes, rounds=in_fine, prior="balanced")
        return classes.with_even_prior()

    def _evenly(self, classes: Classes) -> Classes:
        """Some rounds in which all clusters are as probable as one another."""
        rounds = self.settings.splitting.rounds
        return self.levels.fine.iterate(self.particles, classes, rounds=rounds, prior="even")

    def _ripened(self, classes: Classes) -> Classes:
        """Some rounds, with second looks, until the labels stay."""
        settings = self.settings
        for _ in range(settings.splitting.looks):
            classes = self._evenly(classes)
            before = classes.labels
            rotations = self.levels.fine.rotations
            classes = self.second_look(centred(classes, rotations, settings.centring))
            if np.mean(before != classes.labels) <= settings.rounds.stayed:
                break
        return classes


def starts_of_tries(
    n: int, rng: np.random.Generator, settings: SplittingSettings
) -> list[np.ndarray]:
    """Which of n subtomograms are the first references, in several tries."""
    starts = min(settings.starts, n)
    return [rng.choice(n, starts, replace=False) for _ in range(settings.tries)]


def unwhitened(search: Search, averages: list[np.ndarray], power: np.ndarray) -> list[np.ndarray]:
    """Averages in whitened units as densities (z, y, x) again; ``power`` is that of the look."""
    box_px = search.coefficients.box_px
    amplitude = np.zeros(shell_index(2 * box_px).max() + 1)
    amplitude[: len(power)] = np.sqrt(power / power[1:].max())
    return [search.averager.filtered(average, amplitude) for average in averages]
