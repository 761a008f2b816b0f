"""How far out a sample lies: which share of a cluster's own members lies less far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from aitom_disca.clustering.mixture import GaussianMixtureModel

_SHARES = np.linspace(0, 0.9, 91)  # of the members, at which their distances are kept
_FEWEST = 10  # members from which a cluster has a tail of its own
_PIECE = 8192


@dataclass(frozen=True)
class OutlierScorer:
    """Distances of the members of each cluster from its middle, by which others are judged.

    The distance is Mahalanobis', under the Gaussian of the cluster. Nothing is taken from the
    Gaussian beyond that: its members themselves say how far out members are. Beyond the outermost
    tenth of them the share still farther out falls exponentially with the distance, as it does
    among that tenth.

    Parameters
    ----------
    distances : ndarray of shape (K, Q)
        Below which 0 %, 1 %, ... 90 % of the members lie.
    tails : ndarray of shape (K,)
        Mean excess of the outermost tenth over the last of these distances.
    """

    distances: np.ndarray
    tails: np.ndarray

    def score(self, mixture: GaussianMixtureModel, samples: np.ndarray) -> np.ndarray:
        """Share of the training members of its likeliest cluster that lie less far out.

        Parameters
        ----------
        mixture : GaussianMixtureModel
        samples : ndarray of shape (n_samples, n_dimensions)

        Returns
        -------
        ndarray of shape (n_samples,)
            From 0, in the middle of a cluster, to 1, farther out than any member would be.
        """
        score = np.empty(len(samples))
        for start in range(0, len(samples), _PIECE):
            part = slice(start, start + _PIECE)
            nearest = mixture.joint_log_density(samples[part]).argmax(axis=1)
            distance = np.sqrt(squared_distances(mixture, samples[part], nearest))
            score[part] = self._shares(distance, nearest)
        return score

    def _shares(self, distance: np.ndarray, cluster: np.ndarray) -> np.ndarray:
        shares = np.empty(len(distance))
        for k in np.unique(cluster):
            rows = cluster == k
            last = self.distances[k, -1]
            inside = np.interp(distance[rows], self.distances[k], _SHARES)
            beyond = np.maximum(distance[rows] - last, 0) / self.tails[k]
            shares[rows] = np.where(
                distance[rows] <= last, inside, 1 - (1 - _SHARES[-1]) * np.exp(-beyond)
            )
        return shares

    def renamed(self, kept: np.ndarray) -> OutlierScorer:
        """Of some clusters only, in this order."""
        return OutlierScorer(self.distances[kept], self.tails[kept])


def fit_outliers(
    mixture: GaussianMixtureModel, samples: np.ndarray, labels: np.ndarray
) -> OutlierScorer:
    """Learn from the members of each cluster how far out members are.

    Members took part in the fit of the Gaussian and lie closer to it than others of their kind
    will. Each is therefore measured as if it had not: with ``D`` the squared distance of one of n
    members, that from the Gaussian of the n - 1 others is ``n D / (n - 1 - D)``.

    Parameters
    ----------
    mixture : GaussianMixtureModel
    samples : ndarray of shape (n_samples, n_dimensions)
        That the mixture was fitted to.
    labels : ndarray of int, shape (n_samples,)
        Clusters from 0; below 0 for none.

    Notes
    -----
    The formula is exact for mean and covariance of the members (Sherman-Morrison), and holds
    nearly for those of a mixture. A cluster of fewer than ten members is judged by the members of
    all clusters.
    """
    rows = np.flatnonzero(labels >= 0)
    squared = squared_distances(mixture, samples[rows], labels[rows])
    n = np.bincount(labels[rows], minlength=mixture.n_components).astype(float)[labels[rows]]
    others = np.maximum(n - 1, 1)
    left_out = n * squared / np.maximum(others - squared, 0.1 * others)
    distance = np.sqrt(left_out)
    kept = [_summed_up(distance, labels[rows] == k) for k in range(mixture.n_components)]
    return OutlierScorer(np.array([k[0] for k in kept]), np.array([k[1] for k in kept]))


def _summed_up(distance: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, float]:
    own = distance[members] if np.count_nonzero(members) >= _FEWEST else distance
    quantiles = np.quantile(own, _SHARES)
    outer = own[own > quantiles[-1]]
    excess = float((outer - quantiles[-1]).mean()) if len(outer) else 0.0
    return quantiles, max(excess, 1e-3 * float(quantiles[-1]), 1e-12)


def squared_distances(
    mixture: GaussianMixtureModel, samples: np.ndarray, cluster: np.ndarray
) -> np.ndarray:
    """Squared Mahalanobis distance (n_samples,) of each sample from the cluster given for it."""
    squared = np.empty(len(samples))
    for k in np.unique(cluster):
        rows = np.flatnonzero(cluster == k)
        factor = np.linalg.cholesky(mixture.covariances[k])
        for start in range(0, len(rows), _PIECE):
            part = rows[start : start + _PIECE]
            scaled = solve_triangular(factor, (samples[part] - mixture.means[k]).T, lower=True)
            squared[part] = (scaled**2).sum(axis=0)
    return squared
