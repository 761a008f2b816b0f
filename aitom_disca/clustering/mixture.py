"""Gaussian mixtures with full covariances."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture


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
        k, p = self.means.shape
        return k - 1 + k * p + k * p * (p + 1) // 2

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
        return logsumexp(self.joint_log_density(samples), axis=1)

    def posterior(self, samples: np.ndarray) -> np.ndarray:
        """Probability of every component for every sample, shape (n_samples, K)."""
        joint = self.joint_log_density(samples)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def bic(self, samples: np.ndarray) -> float:
        """Bayesian information criterion, lower is better.

        ``-2 log L + n_parameters log n`` (SI Eq. 4), with the usual full count of parameters.
        """
        return float(
            -2 * self.log_likelihood(samples).sum() + self.n_parameters * np.log(len(samples))
        )

    def renamed(self, names: np.ndarray) -> GaussianMixtureModel:
        """The same mixture with component k called ``names[k]`` (a permutation)."""
        order = np.argsort(names)
        return GaussianMixtureModel(self.weights[order], self.means[order], self.covariances[order])


def fit_mixture(
    samples: np.ndarray,
    n_components: int,
    *,
    n_starts: int = 5,
    reg_covar: float = 1e-6,
    labels: np.ndarray | None = None,
    tol: float = 1e-3,
    max_iterations: int = 100,
    seed: int = 0,
) -> GaussianMixtureModel:
    """Fit a mixture by expectation-maximisation and keep the best of several starts.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
    n_components : int
    n_starts : int
        k-means starts.
    reg_covar : float
        Added to the diagonals of the covariances.
    labels : ndarray of int, shape (n_samples,), optional
        One more start: the Gaussians of these clusters, if there are ``n_components`` of them.
    tol, max_iterations
        Stop when the mean log likelihood gains less than ``tol``, or after so many steps.
    seed : int

    Raises
    ------
    ValueError
        If there are fewer samples than components.
    """
    settings = {"reg_covar": reg_covar, "tol": tol, "max_iter": max_iterations}
    estimators = [GaussianMixture(n_components, n_init=n_starts, random_state=seed, **settings)]
    if labels is not None and np.array_equal(np.unique(labels), np.arange(n_components)):
        start = _start_from_labels(samples, labels, reg_covar)
        estimators.append(GaussianMixture(n_components, random_state=seed, **start, **settings))
    with warnings.catch_warnings():
        # A fit stopped by max_iterations is still compared by its likelihood with the others.
        warnings.simplefilter("ignore", ConvergenceWarning)
        best = max((e.fit(samples) for e in estimators), key=lambda e: e.lower_bound_)
    return GaussianMixtureModel(best.weights_, best.means_, best.covariances_)


def _start_from_labels(
    samples: np.ndarray, labels: np.ndarray, reg_covar: float
) -> dict[str, np.ndarray]:
    members = [samples[labels == k] for k in range(labels.max() + 1)]
    ridge = reg_covar * np.eye(samples.shape[1])
    covariances = [np.atleast_2d(np.cov(m.T, bias=True)) + ridge for m in members]
    return {
        "weights_init": np.array([len(m) for m in members]) / len(samples),
        "means_init": np.array([m.mean(axis=0) for m in members]),
        "precisions_init": np.array([np.linalg.inv(c) for c in covariances]),
    }


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
        Clusters from 0, none empty.
    reg_covar : float
        Added to the diagonals.
    """
    p = samples.shape[1]
    members = [samples[labels == k] for k in range(labels.max() + 1)]
    scatter = [(m - m.mean(axis=0)).T @ (m - m.mean(axis=0)) for m in members]
    pooled = np.sum(scatter, axis=0) / len(samples)
    ridge = reg_covar * np.eye(p)
    covariances = [
        (s + p * pooled) / (len(m) + p) + ridge for s, m in zip(scatter, members, strict=True)
    ]
    return GaussianMixtureModel(
        np.array([len(m) for m in members]) / len(samples),
        np.array([m.mean(axis=0) for m in members]),
        np.array(covariances),
    )
