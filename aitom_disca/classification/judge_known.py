"""Clusters that are known are asked whether two are one structure; nothing is sorted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.classification.centring import centred
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.cluster_posterior import HeldOut, held_out_gain
from aitom_disca.classification.coarse_and_fine import Seen
from aitom_disca.classification.first_references import singles
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.progress import muted


@dataclass(frozen=True)
class Pair:
    """What members say of two clusters: ``first`` and ``second`` count from 0 in their order.

    ``z`` is how much better the members of both fit a joint average than their own, in standard
    errors, by averages that they had no part in; from ``limit`` on they count as one structure.
    """

    first: int
    second: int
    z: float
    limit: float

    @property
    def one(self) -> bool:
        """Whether they count as one structure."""
        return self.z >= self.limit


def judge_known(
    seen: Seen, members: list[np.ndarray], rng: np.random.Generator
) -> tuple[list[Pair], list[HeldOut]]:
    """Ask clusters that are known which are one structure, and which are told from the others.

    Every cluster gets one average, of its members alone. The pairs whose averages look most
    alike are tested as they are while sorting (`Merger`), and every cluster by coefficients that
    had no part in the choice of cluster (`held_out_gain`).

    Parameters
    ----------
    seen : Seen
        The subtomograms.
    members : list of ndarray of int
        Rows of every cluster.
    rng : numpy.random.Generator
        Draws the members that averages begin as, and the coefficients.
    """
    settings = seen.settings
    tries = [min(settings.first.tries, len(rows)) for rows in members]
    starts = [
        rng.choice(len(rows), n, replace=False) for rows, n in zip(members, tries, strict=True)
    ]
    with muted():
        jobs = list(zip(members, starts, strict=True))
        found = on_all_cores(lambda job: _averaged(seen.select(job[0]), job[1]), jobs)
    offset_zyx_px = np.zeros((len(seen), 3))
    for rows, one in zip(members, found, strict=True):
        offset_zyx_px[rows] = one.offset_zyx_px
    averages = [one.averages[0] for one in found]
    pairs = []
    if len(members) > 1:
        verdicts = seen.merger(offset_zyx_px).verdicts(members, averages)
        one_z = settings.merging.one_z
        pairs = [Pair(*k, v.z, v.z - v.beyond(one_z)) for k, v in verdicts.items()]
    classes = Classes.start(averages, offset_zyx_px).with_even_prior()
    return pairs, held_out_gain(seen.levels.fine, seen.particles, classes, rng)


def _averaged(seen: Seen, starts: np.ndarray) -> Classes:
    """One average of some subtomograms: the likeliest of several that begin as one of them.

    Its members are looked for at all shifts, as they are for a joint average of two clusters.
    Otherwise those that lie elsewhere would fit the joint one better than their own, and two
    structures be taken for one.
    """
    levels, settings = seen.levels, seen.settings.first
    begun = [singles(seen.rough, np.array([row]), settings) for row in starts]
    tried = [levels.first.iterate(seen.rough, one) for one in begun]
    best = max(tried, key=lambda one: one.log_likelihood.sum())
    best, fine = levels.coarse.iterate(seen.rough, best), levels.fine
    for _ in range(settings.judged_looks):
        best = fine.iterate(seen.particles, best, rounds=settings.judged_rounds)
        best = seen.second_look(centred(best, fine.rotations, seen.settings.centring))
    return fine.iterate(seen.particles, best, rounds=settings.judged_rounds)
