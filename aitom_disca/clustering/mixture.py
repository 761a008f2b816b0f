"""Gaussian mixtures with full covariances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from aitom_disca.clustering import criteria_for_k

_PIECE = 8192  # samples whose density is computed at once


@dataclass(frozen=True)
class GaussianMixtureModel:
    """K weighted Gaussians in P dimensions.

    Parameters
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, P)
    covariances : ndarray of shape (K, P, P)
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def n_components(self) -> int:
        """The number of Gaussians, K."""
        return len(self.weights)

    @property
    def n_parameters(self) -> int:
        """Free parameters: K - 1 weights, K P means, K P (P + 1) / 2 covariances."""
        return criteria_for_k.count_parameters(*self.means.shape)

    def chosen(self, components: np.ndarray) -> GaussianMixtureModel:
        """Some of the Gaussians, in that order, their weights adding up to one."""
        weights = self.weights[components] / self.weights[components].sum()
        return GaussianMixtureModel(weights, self.means[components], self.covariances[components])

    def joint_log_density(self, samples: np.ndarray) -> np.ndarray:
        """``log(weight_k N(x | k))`` of every sample and component, shape (n_samples, K)."""
        n, p = samples.shape
        density = np.empty((n, self.n_components))
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            factor = np.linalg.cholesky(covariance)
            scaled = solve_triangular(factor, (samples - mean).T, lower=True)
            log_determinant = 2 * np.log(np.diag(factor)).sum()
            density[:, k] = -0.5 * (p * np.log(2 * np.pi) + log_determinant + (scaled**2).sum(0))
        return density + np.log(self.weights)

    def log_likelihood(self, samples: np.ndarray) -> np.ndarray:
        """Log density of every sample, shape (n_samples,)."""
        total = np.empty(len(samples))
        for start in range(0, len(samples), _PIECE):
            part = slice(start, start + _PIECE)
            total[part] = logsumexp(self.joint_log_density(samples[part]), axis=1)
        return total

    def posterior(self, samples: np.ndarray) -> np.ndarray:
        """Probability of every component for every sample, shape (n_samples, K)."""
        posterior = np.empty((len(samples), self.n_components))
        for start in range(0, len(samples), _PIECE):
            part = slice(start, start + _PIECE)
            joint = self.joint_log_density(samples[part])
            posterior[part] = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        return posterior

    def bic(self, samples: np.ndarray) -> float:
        """Bayesian information criterion, lower is better.

        ``-2 log L + n_parameters log n`` (SI Eq. 4), with the usual full count of parameters.
        """
        total = self.log_likelihood(samples).sum()
        return criteria_for_k.bic(total, self.n_parameters, len(samples))

    def renamed(self, names: np.ndarray) -> GaussianMixtureModel:
        """The same mixture with component k called ``names[k]`` (a permutation)."""
        order = np.argsort(names)
        return GaussianMixtureModel(self.weights[order], self.means[order], self.covariances[order])


def mixture_of_labels(
    samples: np.ndarray, labels: np.ndarray, *, reg_covar: float = 1e-6
) -> GaussianMixtureModel:
    """One Gaussian per cluster.

    The covariance of a cluster is drawn towards the pooled one as if it had as many more members
    with that covariance as there are dimensions, so that small clusters get a usable one.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
    labels : ndarray of int, shape (n_samples,)
        Clusters from 0, none empty; samples with a label below 0 belong to none.
    reg_covar : float
        Added to the diagonals.
    """
    p, n = samples.shape[1], np.count_nonzero(labels >= 0)
    members = [samples[labels == k] for k in range(labels.max() + 1)]
    scatter = [(m - m.mean(axis=0)).T @ (m - m.mean(axis=0)) for m in members]
    pooled = np.sum(scatter, axis=0) / n
    ridge = reg_covar * np.eye(p)
    covariances = [
        (s + p * pooled) / (len(m) + p) + ridge for s, m in zip(scatter, members, strict=True)
    ]
    return GaussianMixtureModel(
        np.array([len(m) for m in members]) / n,
        np.array([m.mean(axis=0) for m in members]),
        np.array(covariances),
    )
