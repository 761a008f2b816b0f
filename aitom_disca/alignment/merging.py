"""Merge averages that are one structure, judged by members that the averages were made without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.alignment.likelihood import Particles, expect, expect_held_out
from aitom_disca.alignment.pairing import AveragePairs
from aitom_disca.alignment.rounds import Search, cross, cube
from aitom_disca.progress import say

_NEIGHBOURS = 2
_MOST_TESTED = 80  # members of each cluster that take part in a test
_HOPELESS_Z = -8.0
_SHIFTS = [cube(1.67), cross(0.8), cross(0.8)]


@dataclass
class Cluster:
    """Members of a cluster, its average, and how well each fits the half it is not in."""

    rows: np.ndarray
    average: np.ndarray
    tested: np.ndarray
    fit: np.ndarray


@dataclass
class Verdict:
    """How much better members fit a joint average than their own, in standard errors."""

    z: float
    average: np.ndarray


class Merger:
    """Merges clusters pair by pair, the clearest case first.

    Parameters
    ----------
    particles : Particles
    search : Search
        The level of detail at which they are compared.
    pairs : AveragePairs
    """

    def __init__(self, particles: Particles, search: Search, pairs: AveragePairs) -> None:
        self._particles = particles
        self._slicer = search.slicer
        self._averager = search.averager
        self._pairs = pairs

    def merge(
        self,
        members: list[np.ndarray],
        averages: list[np.ndarray],
        *,
        least_z: float,
        fewest: int = 1,
        most: int = 1_000_000,
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Merge until no pair is one structure; return members and average of each cluster.

        Parameters
        ----------
        members : list of ndarray of int
            Rows of every cluster.
        averages : list of ndarray of shape (z, y, x)
        least_z : float
            Two clusters are one if the members of either fit the joint average better than
            their own by so many standard errors.
        fewest, most : int
            Numbers of clusters between which it ends, whatever the test says.
        """
        groups = [g for g in zip(members, averages, strict=True) if len(g[0])]
        if len(groups) <= fewest:
            return groups
        alive = {k: self._cluster(*group) for k, group in enumerate(groups)}
        verdicts: dict[tuple[int, int], Verdict] = {}
        similar = self._pairs.similarity([average for _, average in groups])
        while len(alive) > fewest:
            for pair in _candidates(alive, similar):
                if pair not in verdicts:
                    verdicts[pair] = self._judge(*(alive[k] for k in pair))
            best = max(verdicts, key=lambda pair: verdicts[pair].z)
            if verdicts[best].z < least_z and len(alive) <= most:
                break
            keep, gone = best
            sizes = [len(alive[k].rows) for k in best]
            say(f"merged two clusters of {sizes}: one structure (z = {verdicts[best].z:.1f})")
            rows = np.concatenate([alive[k].rows for k in best])
            alive[keep] = self._cluster(rows, verdicts[best].average)
            del alive[gone]
            verdicts = {p: v for p, v in verdicts.items() if not {*best} & {*p}}
            similar[keep] = similar[:, keep] = np.maximum(similar[keep], similar[gone])
        return [(cluster.rows, cluster.average) for cluster in alive.values()]

    def _cluster(self, rows: np.ndarray, average: np.ndarray) -> Cluster:
        tested = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_TESTED)).astype(int)]
        shifts = _SHIFTS[-1:]
        _, fit = self._refine(tested, average, shifts)
        return Cluster(rows, average, tested, fit)

    def _judge(self, a: Cluster, b: Cluster) -> Verdict:
        """Align both to a joint average, and let each member say which half average fits.

        Where that is in doubt the joint average is grown from either of the two as well: one
        that is poor for itself spoils what both are added to.
        """
        brought = self._pairs.brought_onto(b.average, a.average)
        share = len(a.rows) / (len(a.rows) + len(b.rows))
        verdict = self._judge_from(share * a.average + (1 - share) * brought, a, b)
        if not _HOPELESS_Z < verdict.z < 0:
            return verdict
        others = [self._judge_from(one.average, a, b) for one in (a, b)]
        return max(verdict, *others, key=lambda v: v.z)

    def _judge_from(self, average: np.ndarray, a: Cluster, b: Cluster) -> Verdict:
        tested = np.concatenate([a.tested, b.tested])
        joint, fit = self._refine(tested, average, _SHIFTS)
        gain = np.split(fit - np.concatenate([a.fit, b.fit]), [len(a.tested)])
        return Verdict(min(_z(part) for part in gain), joint)

    def _refine(
        self, rows: np.ndarray, average: np.ndarray, shifts: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Align members to an average and to their own; how well each fits the other half."""
        particles, even = self._particles.select(rows), np.zeros(1)
        for tried in shifts:
            found = expect(particles, self._slicer(average)[None], even, tried)
            made = self._averager.average(found.sums[:, 0], found.counts[:, 0])
            average, particles = made.volume, particles.moved(found.offset_zyx_px)
        by_half = [self._slicer(half)[None] for half in made.halves]
        fit = expect_held_out(particles, by_half, even, _SHIFTS[-1]).log_likelihood
        return average, fit


def _candidates(alive: dict[int, Cluster], similar: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of each cluster with those whose averages look most like its own."""
    pairs = set()
    for a in alive:
        for b in sorted(set(alive) - {a}, key=lambda k: -similar[a, k])[:_NEIGHBOURS]:
            pairs.add((min(a, b), max(a, b)))
    return sorted(pairs)


def _z(gain: np.ndarray) -> float:
    """Mean gain in standard errors."""
    return float(gain.mean() / (gain.std() / np.sqrt(len(gain)) + 1e-9))
