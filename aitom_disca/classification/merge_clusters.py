"""Merge averages that are one structure, judged by members that the averages were made without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.alignment.align_averages import AveragePairs, turned
from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import expect, log_likelihood_held_out
from aitom_disca.alignment.search_grids import ball, cross
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.config.sorting import SORTING, MergingSettings
from aitom_disca.number_text import counted
from aitom_disca.progress import say


@dataclass(frozen=True)
class Step:
    """A look at the particles: in which detail, and at which shifts."""

    search: Search
    particles: Particles
    shifts_zyx_px: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """Subtomograms, an average of them, and how well each fits the half that it is not in."""

    particles: Particles
    average: np.ndarray
    halves: list[np.ndarray]
    fit: np.ndarray


@dataclass(frozen=True)
class Cluster:
    """Members of a cluster, and those that take part in tests."""

    rows: np.ndarray
    average: np.ndarray
    tested: np.ndarray
    own: Fitted


@dataclass(frozen=True)
class Verdict:
    """How much better members of two clusters fit a joint average than their own.

    ``z`` is the gain in log likelihood of all members of both, in standard errors, as
    ``n_tested`` of them say; ``average`` is the joint average (z, y, x).
    """

    z: float
    n_tested: int
    average: np.ndarray
    settings: MergingSettings = SORTING.merging

    @property
    def in_words(self) -> str:
        """How the joint average does, with the figure."""
        how = "better" if self.z > 0 else "worse"
        return f"one average fits both {how} than two do, by {abs(self.z):.1f} standard errors"

    @property
    def in_doubt(self) -> bool:
        """Neither clearly one structure nor clearly two."""
        return self.settings.hopeless_z < self.z < 0

    def beyond(self, least_z: float) -> float:
        """By how much ``z`` is above what makes two clusters one; see `Merger.merge`."""
        if least_z < 0:
            least_z *= np.sqrt(self.n_tested / (2 * self.settings.tested))
        return self.z - least_z


class Merger:
    """Merges clusters pair by pair, the clearest case first.

    Parameters
    ----------
    search : Search
        The level of detail at which clusters are compared.
    particles : Particles
    pairs : AveragePairs
    first : (Search, Particles), optional
        The same in less detail, to find roughly how members lie in a joint average.
    """

    def __init__(
        self,
        search: Search,
        particles: Particles,
        pairs: AveragePairs,
        *,
        first: tuple[Search, Particles] | None = None,
    ) -> None:
        self._settings, wide = search.settings.merging, search.settings.wide
        near = Step(search, particles, cross(self._settings.near_step_px))
        everywhere = ball(wide.shift_step_px, wide.range_px)
        self._steps = [Step(*(first or (search, particles)), everywhere), near, near]
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
            Two clusters are one if their members together fit the joint average better than
            their own by so many standard errors. If negative it holds for twice as many members
            as are tested of each, 800; fewer
            gain more from being averaged with others, and it goes with the root of their number.
        fewest, most : int
            Numbers of clusters between which it ends, whatever the test says.
        """
        groups = [g for g in zip(members, averages, strict=True) if len(g[0])]
        if len(groups) <= fewest:
            return groups
        alive = dict(enumerate(on_all_cores(lambda group: self._cluster(*group), groups)))
        verdicts: dict[tuple[int, int], Verdict] = {}
        similar = self._pairs.similarity([average for _, average in groups])
        while len(alive) > fewest:
            nearest = _candidates(alive, similar, self._settings.neighbours)
            pairs = [pair for pair in nearest if pair not in verdicts]
            judged = on_all_cores(
                lambda pair: self._judge(*(alive[k] for k in pair)), pairs, "comparing clusters"
            )
            verdicts |= dict(zip(pairs, judged, strict=True))
            beyond = {pair: v.beyond(least_z) for pair, v in verdicts.items()}
            best = max(beyond, key=lambda pair: beyond[pair])
            if beyond[best] < 0 and len(alive) <= most:
                break
            keep, gone = best
            sizes = " and ".join(str(len(alive[k].rows)) for k in best)
            why = verdicts[best].in_words
            if beyond[best] < 0:
                why += f", but no more than {counted(most, 'cluster')} are wanted"
            say(f"merged clusters of {sizes}: {why}")
            rows = np.concatenate([alive[k].rows for k in best])
            alive[keep] = self._cluster(rows, verdicts[best].average)
            del alive[gone]
            verdicts = {p: v for p, v in verdicts.items() if not {*best} & {*p}}
            similar[keep] = similar[:, keep] = np.maximum(similar[keep], similar[gone])
        return [(cluster.rows, cluster.average) for cluster in alive.values()]

    def verdicts(
        self, members: list[np.ndarray], averages: list[np.ndarray]
    ) -> dict[tuple[int, int], Verdict]:
        """What is said of every pair whose averages look most alike; nothing is merged.

        Parameters
        ----------
        members : list of ndarray of int
            Rows of every cluster.
        averages : list of ndarray of shape (z, y, x)
        """
        groups = list(zip(members, averages, strict=True))
        alive = dict(enumerate(on_all_cores(lambda group: self._cluster(*group), groups)))
        pairs = _candidates(alive, self._pairs.similarity(averages), self._settings.neighbours)
        judged = on_all_cores(lambda pair: self._judge(*(alive[k] for k in pair)), pairs)
        return dict(zip(pairs, judged, strict=True))

    def _cluster(self, rows: np.ndarray, average: np.ndarray) -> Cluster:
        n = min(len(rows), self._settings.tested)
        tested = rows[np.linspace(0, len(rows) - 1, n).astype(int)]
        own = self._refine(tested, average, self._steps[-1:])
        return Cluster(rows, average, tested, own)

    def _judge(self, a: Cluster, b: Cluster) -> Verdict:
        """Let each member say whether a joint average fits it as well as its own.

        First the two averages are laid on one another as they are. If that is not enough members
        of both are aligned to a joint average; where that is in doubt it is grown from either of
        the two as well: one that is poor for itself spoils what both are added to.
        """
        best = self._judge_laid_together(a, b)
        if best.z < 0:
            brought = self._pairs.brought_onto(b.average, a.average)
            share = len(a.rows) / (len(a.rows) + len(b.rows))
            grown = self._judge_from(share * a.average + (1 - share) * brought, a, b)
            best = max(best, grown, key=lambda v: v.z)
        if best.in_doubt:
            others = [self._judge_from(one.average, a, b) for one in (a, b)]
            best = max(best, *others, key=lambda v: v.z)
        if best.in_doubt:
            best = max(best, self._judge_from(best.average, a, b), key=lambda v: v.z)
        return best

    def _judge_laid_together(self, a: Cluster, b: Cluster) -> Verdict:
        """By the mean of both averages, weighed by their members, where each of them lies.

        Every member keeps its pose. Two averages of one structure share out the subtomograms by
        whose rotations, of those that are tried, suit each better. Aligned anew to one average,
        many would suit it less, and its detail would be less than that of the two.
        """
        n_tested = len(a.tested) + len(b.tested)
        joint, gains = [], []
        for own, other in ((a, b), (b, a)):
            share = len(own.rows) / (len(a.rows) + len(b.rows))
            pose = self._pairs.pose_on(other.own.average, own.own.average)
            average, *halves = (
                share * mine + (1 - share) * turned(its, *pose)
                for mine, its in zip(
                    [own.own.average, *own.own.halves],
                    [other.own.average, *other.own.halves],
                    strict=True,
                )
            )
            joint.append(average)
            fit = self._fit(own.own.particles, halves, self._steps[-1])
            gains.append(fit - own.own.fit)
        z = _z(gains, [len(a.rows), len(b.rows)])
        return Verdict(z, n_tested, joint[0], self._settings)

    def _judge_from(self, average: np.ndarray, a: Cluster, b: Cluster) -> Verdict:
        joint = self._refine(np.concatenate([a.tested, b.tested]), average, self._steps)
        gains = [self._fit_in_place(joint, cluster) - cluster.own.fit for cluster in (a, b)]
        z = _z(gains, [len(a.rows), len(b.rows)])
        return Verdict(z, len(a.tested) + len(b.tested), joint.average, self._settings)

    def _fit_in_place(self, joint: Fitted, cluster: Cluster) -> np.ndarray:
        """How well members fit a joint average that lies as their own does.

        In another pose, the rotations that are tried suit others of the members.
        """
        pose = self._pairs.pose_on(joint.average, cluster.own.average)
        halves = [turned(half, *pose) for half in joint.halves]
        return self._fit(cluster.own.particles, halves, self._steps[-1])

    def _refine(self, rows: np.ndarray, average: np.ndarray, steps: list[Step]) -> Fitted:
        """Align members to an average and to their own."""
        even = np.zeros(1)
        offset_zyx_px = steps[0].particles.offset_zyx_px[rows]
        for step in steps:
            particles = step.particles.select(rows).moved(offset_zyx_px)
            slices = step.search.slicer(average)[None]
            negligible = step.search.settings.rounds.negligible
            found = expect(particles, slices, even, step.shifts_zyx_px, negligible=negligible)
            made = step.search.averager.average(
                found.sums[:, 0], found.counts[:, 0], with_halves=step is steps[-1]
            )
            average, offset_zyx_px = made.volume, found.offset_zyx_px
        aligned = particles.moved(offset_zyx_px)
        return Fitted(aligned, average, made.halves, self._fit(aligned, made.halves, step))

    def _fit(self, particles: Particles, halves: list[np.ndarray], step: Step) -> np.ndarray:
        by_half = np.split(step.search.slices(halves), 2)
        negligible = step.search.settings.rounds.negligible
        return log_likelihood_held_out(particles, by_half, step.shifts_zyx_px, negligible)


def _candidates(
    alive: dict[int, Cluster], similar: np.ndarray, neighbours: int
) -> list[tuple[int, int]]:
    """Pairs of each cluster with those whose averages look most like its own."""
    pairs = set()
    for a in alive:
        for b in sorted(set(alive) - {a}, key=lambda k: -similar[a, k])[:neighbours]:
            pairs.add((min(a, b), max(a, b)))
    return sorted(pairs)


def _z(gains: list[np.ndarray], sizes: list[int]) -> float:
    """Gain of all members of clusters, in standard errors, by those that were tested."""
    total = sum(n * gain.mean() for gain, n in zip(gains, sizes, strict=True))
    variance = sum(n**2 * gain.var() / len(gain) for gain, n in zip(gains, sizes, strict=True))
    return float(total / (np.sqrt(variance) + 1e-9))


def merged(merger: Merger, classes: Classes, *, least_z: float, fewest: int, most: int) -> Classes:
    """Clusters of which those that are one structure are merged."""
    groups = merger.merge(
        classes.members(), classes.averages, least_z=least_z, fewest=fewest, most=most
    )
    return classes if len(groups) == len(classes.averages) else classes.regrouped(groups)
