"""First references: single subtomograms, or the averages of clusters that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.config.sorting import SORTING, FirstSettings
from aitom_disca.progress import muted


def singles(
    particles: Particles, rows: np.ndarray, settings: FirstSettings = SORTING.first
) -> Classes:
    """References that are one subtomogram each."""
    values = particles.values[rows] * particles.coefficients.shift_phases(
        particles.offset_zyx_px[rows]
    )
    averages = list(settings.signal * particles.coefficients.volumes(values))
    return Classes.start(averages, particles.offset_zyx_px)


def averages_of(
    searches: Sequence[Search],
    particles: Particles,
    members: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Classes:
    """One or several averages of each cluster, from its members alone: the likeliest of some tries.

    Large clusters begin as several single members, as there may be several structures in them.

    Parameters
    ----------
    searches : sequence of Search
        One after the other, from the wide to the fine.
    particles : Particles
    members : sequence of ndarray of int
        Rows of every cluster.
    rng : numpy.random.Generator
        Draws the members that are the first references.
    """
    settings = searches[0].settings.first
    n_known = sum(len(rows) for rows in members)
    jobs = []
    for rows in members:
        n = max(1, min(round(settings.fewest * len(rows) / n_known), len(rows)))
        jobs.append(
            (rows, [rng.choice(len(rows), n, replace=False) for _ in range(settings.tries)])
        )

    def averages(job: tuple[np.ndarray, list[np.ndarray]]) -> Classes:
        rows, tries = job
        mine = particles.select(rows)
        tried = [searches[0].iterate(mine, singles(mine, first, settings)) for first in tries]
        best = max(tried, key=lambda one: one.log_likelihood.sum())
        for search in searches[1:]:
            best = search.iterate(mine, best)
        return best

    with muted():
        found = on_all_cores(averages, jobs)
    offset_zyx_px = np.zeros_like(particles.offset_zyx_px)
    groups = []
    for rows, one in zip(members, found, strict=True):
        offset_zyx_px[rows] = one.offset_zyx_px
        groups += [(rows[own], a) for own, a in zip(one.members(), one.averages, strict=True)]
    classes = Classes.start([average for _, average in groups], offset_zyx_px)
    return classes.regrouped(groups)
