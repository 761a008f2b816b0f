"""Posteriors that mean what they say: a temperature, found on samples that were left out."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from aitom_disca.clustering.gaussian_mixture_em import Gaussians, run_em
from aitom_disca.clustering.mixture import GaussianMixtureModel, mixture_of_labels
from aitom_disca.clustering.quadratic_terms import Products

_HOTTEST = 50.0
_PIECE = 8192  # samples whose density is computed at once
_MOST = 16384  # samples that serve to find the temperature
_PARTS, _PARTS_OWN = 10, 3
_FEWEST = 8  # members of every cluster


def calibrated(joint_log_density: np.ndarray, temperature: float) -> np.ndarray:
    """Posterior (n_samples, K) from log densities of samples and components.

    ``p_k = (w_k N_k)^(1/T)``, normalised: a temperature above 1 makes it less sure and leaves the
    order of the clusters as it is; 1 changes nothing.
    """
    return np.exp(log_softmax(joint_log_density / temperature, axis=1))


def calibrated_posterior(
    mixture: GaussianMixtureModel, samples: np.ndarray, temperature: float
) -> np.ndarray:
    """Posterior (n_samples, K) of a mixture at a temperature."""
    posterior = np.empty((len(samples), mixture.n_components))
    for start in range(0, len(samples), _PIECE):
        part = slice(start, start + _PIECE)
        posterior[part] = calibrated(mixture.joint_log_density(samples[part]), temperature)
    return posterior


def fit_temperature(
    mixture: GaussianMixtureModel,
    samples: np.ndarray,
    labels: np.ndarray,
    *,
    own_labels: bool,
    reg_covar: float = 1e-6,
    seed: int = 0,
) -> float:
    """Find how much too sure the posterior of a mixture is.

    A mixture fits the samples that it was fitted to better than others, and is too sure of them:
    the more, the fewer samples there are for each of its parameters. Its Gaussians are therefore
    estimated anew from a part of the samples and judge the others. The temperature is the one at
    which their posterior foretells best (in log likelihood)

    - the labels, where these come from elsewhere (from alignment): a tenth is left out at a time;
    - the posterior of the mixture fitted to all, where the labels are the mixture's own
      (``own_labels``): a third is left out, and the mixture fitted anew. Labels would not do,
      since a mixture's own show no overlap of clusters; and less than a third would leave it too
      much as it was, since what is left out had its part in the labels.

    It is at least 1: nothing here can show that a posterior is not sure enough.

    Parameters
    ----------
    mixture : GaussianMixtureModel
    samples : ndarray of shape (n_samples, n_dimensions)
        That the mixture was fitted to; at most 16,384 of them, drawn at random, are used.
    labels : ndarray of int, shape (n_samples,)
        Clusters from 0; below 0 for none.
    own_labels : bool
        Whether the labels are the likeliest components of this mixture.
    reg_covar : float
        Added to the diagonals.
    seed : int

    Returns
    -------
    float
        1 where there is one cluster, or a cluster is too small to be parted.

    References
    ----------
    .. [1] Guo et al. (2017), On calibration of modern neural networks, PMLR 70, 1321-1330.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(labels >= 0))[:_MOST]
    samples, labels = samples[rows], labels[rows]
    n_parts = _PARTS_OWN if own_labels else _PARTS
    sizes = np.bincount(labels, minlength=mixture.n_components)
    if mixture.n_components < 2 or sizes.min() < _FEWEST:
        return 1.0
    part = np.empty(len(labels), int)  # the same share of every cluster in each
    part[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % n_parts
    joint = np.empty((len(labels), mixture.n_components))
    for i in range(n_parts):
        rest = part != i
        other = mixture_of_labels(samples[rest], labels[rest], reg_covar=reg_covar)
        if own_labels:
            other = _refitted(other, samples[rest], labels[rest], reg_covar)
        joint[~rest] = other.joint_log_density(samples[~rest])
    wanted = mixture.posterior(samples) if own_labels else np.eye(len(sizes))[labels]
    return best_temperature(joint, wanted)


def best_temperature(joint_log_density: np.ndarray, wanted: np.ndarray) -> float:
    """The temperature of at least 1 with the lowest cross-entropy to the posterior wanted."""

    def cross_entropy(log_temperature: float) -> float:
        foretold = log_softmax(joint_log_density / np.exp(log_temperature), axis=1)
        return -float((wanted * foretold).sum())

    bounds = (0.0, float(np.log(_HOTTEST)))
    found = float(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x)
    return 1.0 if cross_entropy(0.0) <= cross_entropy(found) else float(np.exp(found))


def calibration_error(confidence: np.ndarray, right: np.ndarray, n_bins: int = 10) -> float:
    """Expected calibration error: how far confidence lies from the share that is right.

    Parameters
    ----------
    confidence : ndarray of shape (n_samples,)
        Probability of the cluster that was chosen.
    right : ndarray of bool, shape (n_samples,)
        Whether it was the true one.
    n_bins : int
        Bins of equal numbers of samples, by confidence.

    Returns
    -------
    float
        Mean over the bins of the absolute difference, 0 to 1.
    """
    bins = np.array_split(np.argsort(confidence, kind="stable"), n_bins)
    gaps = [len(b) * abs(confidence[b].mean() - right[b].mean()) for b in bins if len(b)]
    return float(np.sum(gaps) / len(confidence))


def _refitted(
    start: GaussianMixtureModel, samples: np.ndarray, labels: np.ndarray, reg_covar: float
) -> GaussianMixtureModel:
    """Expectation-maximisation from a mixture, its components in their order."""
    mean, scale = samples.mean(axis=0), samples.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    squares = np.outer(scale, scale)
    begun = Gaussians(
        start.weights[None],
        ((start.means - mean) / scale)[None],
        (start.covariances / squares)[None],
    )
    products = Products(samples, mean, scale)
    found = run_em(products, begun, reg_covar / scale**2, tol=1e-5, max_iterations=100)
    one = found.gaussians[0]
    return GaussianMixtureModel(one.weights, one.means * scale + mean, one.covariances * squares)
