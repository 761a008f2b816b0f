"""Clusters of subtomograms while they are sorted, and how their averages are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.alignment.expectation_result import Expectation


@dataclass(frozen=True)
class Classes:
    """K clusters of n subtomograms.

    Parameters
    ----------
    averages : list of K ndarrays of shape (z, y, x)
        In whitened units.
    log_prior : ndarray of shape (K,)
    labels : ndarray of int, shape (n,)
        From 0, -1 for none.
    posterior : ndarray of shape (n, K)
    log_likelihood : ndarray of shape (n,)
        Log likelihood ratio to pure noise.
    rotation : ndarray of int, shape (n,)
        Number of the best one in the rotation grid.
    offset_zyx_px : ndarray of shape (n, 3)
        Where each particle lies, from the box centre.
    shell_weight : ndarray of shape (K, box), optional
        How much the log likelihood of each shell counts; all in full, unless given. See
        `equal_detail`.
    stable : bool
        Whether the labels stayed in the last round.
    """

    averages: list[np.ndarray]
    log_prior: np.ndarray
    labels: np.ndarray
    posterior: np.ndarray
    log_likelihood: np.ndarray
    rotation: np.ndarray
    offset_zyx_px: np.ndarray
    shell_weight: np.ndarray | None = None
    stable: bool = False

    @classmethod
    def start(cls, averages: list[np.ndarray], offset_zyx_px: np.ndarray) -> Classes:
        """Averages that nothing is assigned to yet."""
        n, k = len(offset_zyx_px), len(averages)
        nothing = np.zeros(n, int)
        posterior = np.full((n, k), 1 / k)
        return cls(averages, np.zeros(k), nothing, posterior, np.zeros(n), nothing, offset_zyx_px)

    @classmethod
    def of(
        cls,
        found: Expectation,
        kept: np.ndarray,
        averages: list[np.ndarray],
        shell_weight: np.ndarray | None = None,
    ) -> Classes:
        """What a round found, and the averages of the references that kept their members."""
        posterior = found.posterior[:, kept]
        return cls(
            averages,
            np.zeros(len(kept)),
            posterior.argmax(axis=1),
            posterior,
            found.log_likelihood,
            found.rotation,
            found.offset_zyx_px,
            shell_weight,
        ).with_learnt_prior()

    def with_even_prior(self) -> Classes:
        """The same, all clusters being as probable as one another."""
        return replace(self, log_prior=np.full(len(self.averages), -np.log(len(self.averages))))

    def with_learnt_prior(self) -> Classes:
        """The same, clusters being as probable as their members are many."""
        size = np.maximum(self.posterior.sum(axis=0), 1e-3)
        return replace(self, log_prior=np.log(size / size.sum()))

    def for_others(self, offset_zyx_px: np.ndarray) -> Classes:
        """These averages, with other subtomograms that nothing is known of."""
        return replace(
            Classes.start(self.averages, offset_zyx_px),
            log_prior=self.log_prior,
            shell_weight=self.shell_weight,
        )

    def select(self, rows: np.ndarray) -> Classes:
        """The same averages with some of the subtomograms, in that order."""
        return replace(
            self,
            labels=self.labels[rows],
            posterior=self.posterior[rows],
            log_likelihood=self.log_likelihood[rows],
            rotation=self.rotation[rows],
            offset_zyx_px=self.offset_zyx_px[rows],
        )

    def members(self) -> list[np.ndarray]:
        """Row numbers of the members of every cluster."""
        return [np.flatnonzero(self.labels == k) for k in range(len(self.averages))]

    def misfits(self, share: float) -> np.ndarray:
        """Rows of the subtomograms that fit worst, compared with others of their cluster."""
        fit = np.zeros(len(self.labels))
        for rows in self.members():
            likelihood = self.log_likelihood[rows]
            middle = np.median(likelihood) if len(rows) else 0.0
            spread = np.median(np.abs(likelihood - middle)) if len(rows) else 1.0
            fit[rows] = (likelihood - middle) / (spread + 1e-9)
        return np.sort(np.argsort(fit)[: int(share * len(fit))])

    def regrouped(self, groups: list[tuple[np.ndarray, np.ndarray]]) -> Classes:
        """Other clusters of the same subtomograms: rows and average of each."""
        labels = np.full(len(self.labels), -1)
        for k, (rows, _) in enumerate(groups):
            labels[rows] = k
        size = np.array([max(len(rows), 1) for rows, _ in groups])
        posterior = np.eye(len(groups))[labels]
        averages = [average for _, average in groups]
        prior = np.log(size / size.sum())
        return replace(
            self,
            averages=averages,
            log_prior=prior,
            labels=labels,
            posterior=posterior,
            shell_weight=None,
        )

    def without(self, rows: np.ndarray) -> Classes:
        """Without some subtomograms (a mask): label -1; clusters that lose all members go."""
        labels = np.where(rows, -1, self.labels)
        kept = np.unique(labels[labels >= 0])
        return replace(
            self,
            averages=[self.averages[k] for k in kept],
            log_prior=self.log_prior[kept],
            labels=np.where(labels < 0, -1, np.searchsorted(kept, labels)),
            posterior=self.posterior[:, kept],
            shell_weight=None if self.shell_weight is None else self.shell_weight[kept],
        )


def equal_detail(signal: np.ndarray, n_shells: int) -> np.ndarray:
    """How much every shell should count, so that averages are compared at equal detail.

    An average of more or better members is sharper. It gains more by what its structure has in
    common with a subtomogram than the right average gains by all of it, if that is a rough one, and
    draws in its members. Where a share W of the power of a shell of an average is signal, and the
    power of the structure is s, the right structure gains W s / 2 there; one that is known fully
    and has c of it in common gains (c - 1/2) s. Weighed by the smallest W over its own, no average
    gains more than the right one.

    Parameters
    ----------
    signal : ndarray of shape (K, m)
        The share of every shell of K averages that is signal, above 0 to 1.
    n_shells : int
        Number of shells wanted, at least m; those beyond count in full.

    Returns
    -------
    ndarray of shape (K, n_shells)
    """
    weight = np.ones((len(signal), n_shells))
    weight[:, 1 : signal.shape[1]] = (signal.min(axis=0) / signal)[:, 1:]
    return weight
