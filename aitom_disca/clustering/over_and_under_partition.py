"""Over- and under-partition: split clusters that are two, merge two that are one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aitom_disca.clustering.fitting import one_thread
from aitom_disca.clustering.merge_and_split_components import (
    TwoOrOne,
    merged,
    merging_costs,
    two_or_one,
    with_two_for_one,
)
from aitom_disca.clustering.mixture import GaussianMixtureModel

MIN_BIC_GAIN = 10.0  # "very strong" evidence, Kass & Raftery (1995), JASA 90, 773-795
MIN_SEPARATION = 2.0  # of a clean split, Ashman, Bird & Zepf (1994), Astron. J. 108, 2348-2361
_FEWEST_PER_DIMENSION = 2  # members of a half


@dataclass(frozen=True)
class Change:
    """A split or a merge, and its evidence.

    Parameters
    ----------
    kind : {"split", "merge"}
    clusters : tuple of int
        The two clusters, from 0, as in the labels given; a split adds one at the end.
    sizes : tuple of int
        Their members.
    bic_gain : float
        By how much BIC on their members falls.
    separation : float
        Distance of the two along their best axis, in standard deviations (Ashman's D).
    """

    kind: Literal["split", "merge"]
    clusters: tuple[int, int]
    sizes: tuple[int, int]
    bic_gain: float
    separation: float

    def __str__(self) -> str:
        a, b = (name + 1 for name in self.clusters)
        what = (
            f"merged clusters {a} and {b}"
            if self.kind == "merge"
            else f"split cluster {a} into {a} and {b}"
        )
        first, second = self.sizes
        return f"{what} ({first} and {second} members, BIC lower by {self.bic_gain:.1f})"


@dataclass(frozen=True)
class Restructured:
    """Clusters after splits and merges.

    Parameters
    ----------
    mixture : GaussianMixtureModel
    labels : ndarray of int, shape (n_samples,)
        Clusters from 0, none empty that was not; -1 stays.
    changes : list of Change
        In the order in which they were made.
    """

    mixture: GaussianMixtureModel
    labels: np.ndarray
    changes: list[Change]


def restructure(
    samples: np.ndarray,
    mixture: GaussianMixtureModel,
    labels: np.ndarray,
    *,
    merge: bool = False,
    split: bool = False,
    min_bic_gain: float = MIN_BIC_GAIN,
    min_separation: float = MIN_SEPARATION,
    reg_covar: float = 1e-6,
    seed: int = 0,
) -> Restructured:
    """Split clusters that are two, then merge pairs that are one, by BIC on their members.

    A cluster is split where two Gaussians describe its members better than one, by
    ``min_bic_gain`` at least, lie clearly apart (Ashman's D of 2 or more, so that long tails alone
    are no reason), and have two members per dimension each. Two clusters are merged where one
    Gaussian is the better description of their members. Only members change their labels.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
        Those of the mixture come first.
    mixture : GaussianMixtureModel
        Component k is cluster k.
    labels : ndarray of int, shape (n_samples,)
        Clusters from 0; -1 belongs to none.
    merge, split : bool
        What may be done.
    min_bic_gain, min_separation : float
        Of a split.
    reg_covar, seed
        As in `fit_mixture`.
    """
    samples = samples[:, : mixture.means.shape[1]]
    work = _Work(samples, mixture, labels.copy(), reg_covar, seed)
    with one_thread():
        if split:
            work.split(min_bic_gain, min_separation)
        if merge:
            work.merge()
    return Restructured(work.mixture, work.renumbered(), work.changes)


class _Work:
    """Clusters on the way; ``names[k]`` is the number of component k in the labels."""

    def __init__(
        self,
        samples: np.ndarray,
        mixture: GaussianMixtureModel,
        labels: np.ndarray,
        reg_covar: float,
        seed: int,
    ) -> None:
        self._samples, self.mixture, self._labels = samples, mixture, labels
        self._reg_covar, self._seed = reg_covar, seed
        self._names = list(range(mixture.n_components))
        self.changes: list[Change] = []

    def split(self, min_bic_gain: float, min_separation: float) -> None:
        """Split what is two, and the halves in turn."""
        waiting = list(self._names)
        while waiting:
            name = waiting.pop(0)
            rows = np.flatnonzero(self._labels == name)
            least = _FEWEST_PER_DIMENSION * self._samples.shape[1]
            if len(rows) < 2 * max(least, 1):
                continue
            members = self._samples[rows]
            found = two_or_one(members, n_starts=3, reg_covar=self._reg_covar, seed=self._seed)
            second = found.two.posterior(members).argmax(axis=1) == 1
            sizes = (int((~second).sum()), int(second.sum()))
            apart = separation(found.two)
            if (
                found.bic_gain < min_bic_gain
                or apart < min_separation
                or min(sizes) < max(least, 1)
            ):
                continue
            new = max(self._names) + 1
            self._labels[rows[second]] = new
            place = self._names.index(name)
            self.mixture = with_two_for_one(self.mixture, place, found.two)
            self._names.append(new)
            self.changes.append(Change("split", (name, new), sizes, found.bic_gain, apart))
            waiting += [name, new]

    def merge(self) -> None:
        """Merge what is one, pair by pair."""
        tested: dict[tuple[int, int], TwoOrOne] = {}
        while (pair := self._next_merge(tested)) is not None:
            a, b = pair
            sizes = tuple(int((self._labels == name).sum()) for name in pair)
            found = tested[pair]
            self._labels[self._labels == b] = a
            self.mixture = merged(self.mixture, self._names.index(a), self._names.index(b))
            self._names.remove(b)
            tested = {other: t for other, t in tested.items() if not {a, b} & set(other)}
            apart = separation(found.two)
            self.changes.append(Change("merge", pair, sizes, -found.bic_gain, apart))  # type: ignore[arg-type]

    def _next_merge(self, tested: dict[tuple[int, int], TwoOrOne]) -> tuple[int, int] | None:
        """The first pair that is one cluster, of neighbours from the closest on."""
        for pair in self._neighbours():
            if pair not in tested:
                rows = np.isin(self._labels, pair)
                apart = (self._labels[rows] == pair[1]).astype(int)
                if not 0 < apart.sum() < len(apart):
                    continue  # one of them has no members to judge by
                tested[pair] = two_or_one(
                    self._samples[rows], reg_covar=self._reg_covar, labels=apart, seed=self._seed
                )
            if tested[pair].bic_gain < 0:
                return pair
        return None

    def _neighbours(self) -> Iterator[tuple[int, int]]:
        """Every cluster with the one that it is cheapest to merge with, cheapest first."""
        if len(self._names) < 2:
            return
        costs = merging_costs(self.mixture)
        closest = costs.argmin(axis=1)
        seen = set()
        for k in np.argsort(costs.min(axis=1), kind="stable"):
            a, b = sorted((self._names[k], self._names[closest[k]]))
            if (a, b) not in seen:
                seen.add((a, b))
                yield a, b

    def renumbered(self) -> np.ndarray:
        """Labels by component of the mixture."""
        numbers = np.full(max(self._names) + 1, -1)
        numbers[self._names] = np.arange(len(self._names))
        return np.where(self._labels < 0, self._labels, numbers[self._labels])


def separation(two: GaussianMixtureModel) -> float:
    """Distance of two Gaussians along their best axis, in standard deviations (Ashman's D).

    ``D = |a^T (m_1 - m_2)| / sqrt(a^T (C_1 + C_2) a / 2)``, which is largest for
    ``a = (C_1 + C_2)^-1 (m_1 - m_2)``.
    """
    away = two.means[0] - two.means[1]
    return float(np.sqrt(2 * away @ np.linalg.solve(two.covariances.sum(axis=0), away)))
