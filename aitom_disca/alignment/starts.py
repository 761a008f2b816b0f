"""First references: single subtomograms, or the averages of clusters that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aitom_disca.alignment.likelihood import Particles
from aitom_disca.alignment.rounds import Classes, Search
from aitom_disca.parallel import on_all_cores
from aitom_disca.progress import muted

_SINGLE = 0.4  # share of a single subtomogram that is taken for signal
_TRIES = 3


def singles(particles: Particles, rows: np.ndarray) -> Classes:
    """References that are one subtomogram each."""
    values = particles.values[rows] * particles.coefficients.shift_phases(
        particles.offset_zyx_px[rows]
    )
    averages = list(_SINGLE * particles.coefficients.volumes(values))
    return Classes.start(averages, particles.offset_zyx_px)


def averages_of(
    searches: Sequence[Search],
    particles: Particles,
    members: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Classes:
    """One average of each cluster, from its members alone: the likeliest of several tries.

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
    starts = [rng.choice(rows, min(_TRIES, len(rows)), replace=False) for rows in members]

    def average(job: tuple[np.ndarray, np.ndarray]) -> Classes:
        rows, first = job
        mine = particles.select(rows)
        tried = [
            searches[0].iterate(mine, singles(mine, place))
            for place in np.searchsorted(rows, first)[:, None]
        ]
        best = max(tried, key=lambda one: one.log_likelihood.sum())
        for search in searches[1:]:
            best = search.iterate(mine, best)
        return best

    with muted():
        found = on_all_cores(average, list(zip(members, starts, strict=True)))
    offset_zyx_px = np.zeros_like(particles.offset_zyx_px)
    for rows, one in zip(members, found, strict=True):
        offset_zyx_px[rows] = one.offset_zyx_px
    averages = [one.averages[0] for one in found]
    classes = Classes.start(averages, offset_zyx_px)
    return classes.regrouped(list(zip(members, averages, strict=True)))
