"""From a mixture to one with a component less or more: merge the closest, split the worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.clustering import criteria_for_k
from aitom_disca.clustering.fitting import MixtureFitter
from aitom_disca.clustering.mixture import GaussianMixtureModel


def merged(mixture: GaussianMixtureModel, a: int, b: int) -> GaussianMixtureModel:
    """One Gaussian with mean and covariance of two; it takes the place of the first."""
    a, b = sorted((a, b))
    pair = [a, b]
    weight = mixture.weights[pair].sum()
    share = mixture.weights[pair] / weight
    mean = share @ mixture.means[pair]
    away = mixture.means[pair] - mean
    each = mixture.covariances[pair] + away[:, :, None] * away[:, None, :]
    weights, means, covariances = (x.copy() for x in vars(mixture).values())
    weights[a], means[a], covariances[a] = weight, mean, np.tensordot(share, each, axes=1)
    return GaussianMixtureModel(
        np.delete(weights, b), np.delete(means, b, axis=0), np.delete(covariances, b, axis=0)
    )


def merging_costs(mixture: GaussianMixtureModel) -> np.ndarray:
    """What merging two components costs, per sample: shape (K, K), infinite on the diagonal.

    ``B = ((w_i + w_j) log |C_ij| - w_i log |C_i| - w_j log |C_j|) / 2`` with the covariance C_ij
    of both together, an upper bound of the Kullback-Leibler divergence [1]_.

    References
    ----------
    .. [1] Runnalls (2007), IEEE Transactions on Aerospace and Electronic Systems 43, 989-999.
    """
    k = mixture.n_components
    rows, columns = np.triu_indices(k, 1)
    weights = mixture.weights
    both = weights[rows] + weights[columns]
    share = (weights[rows] / both)[:, None, None]
    away = mixture.means[rows] - mixture.means[columns]
    together = share * mixture.covariances[rows] + (1 - share) * mixture.covariances[columns]
    together += share * (1 - share) * away[:, :, None] * away[:, None, :]
    own = weights * np.linalg.slogdet(mixture.covariances)[1]
    cost = both * np.linalg.slogdet(together)[1] - own[rows] - own[columns]
    table = np.full((k, k), np.inf)
    table[rows, columns] = table[columns, rows] = cost / 2
    return table


def merge_closest(mixture: GaussianMixtureModel) -> GaussianMixtureModel:
    """The mixture with the two components merged that cost least."""
    a, b = np.unravel_index(merging_costs(mixture).argmin(), (mixture.n_components,) * 2)
    return merged(mixture, int(a), int(b))


@dataclass(frozen=True)
class TwoOrOne:
    """Two Gaussians and one, fitted to the same samples.

    Parameters
    ----------
    two : GaussianMixtureModel
    log_likelihood_gain : float
        Of two over one, summed over the samples.
    bic_gain : float
        BIC of one minus BIC of two: above 0 where two are better.
    """

    two: GaussianMixtureModel
    log_likelihood_gain: float
    bic_gain: float


def two_or_one(
    samples: np.ndarray,
    *,
    n_starts: int = 2,
    reg_covar: float = 1e-6,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> TwoOrOne:
    """Compare two Gaussians with one on some samples (n_samples, n_dimensions).

    Call it inside ``with one_thread():``.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
        Two at least.
    n_starts, reg_covar, labels, seed
        As in `fit_mixture`.
    """
    fitter = MixtureFitter(
        samples, labels=labels, n_starts=n_starts, reg_covar=reg_covar, seed=seed
    )
    one, two = fitter.fit(1), fitter.fit(2)
    gain = two.log_likelihood - one.log_likelihood
    n, d = samples.shape
    more = criteria_for_k.count_parameters(2, d) - criteria_for_k.count_parameters(1, d)
    return TwoOrOne(two.mixture, gain, 2 * gain - more * float(np.log(n)))


def with_two_for_one(
    mixture: GaussianMixtureModel, component: int, two: GaussianMixtureModel
) -> GaussianMixtureModel:
    """The mixture with a component replaced: by the first of two, the second comes last."""
    weights, means, covariances = (x.copy() for x in vars(mixture).values())
    shares = weights[component] * two.weights
    weights[component], means[component] = shares[0], two.means[0]
    covariances[component] = two.covariances[0]
    return GaussianMixtureModel(
        np.append(weights, shares[1]),
        np.concatenate([means, two.means[1:]]),
        np.concatenate([covariances, two.covariances[1:]]),
    )


def split_worst(
    mixture: GaussianMixtureModel, samples: np.ndarray, *, reg_covar: float, seed: int
) -> GaussianMixtureModel | None:
    """The mixture with the component split that gains most on its own samples.

    None where every component has too few samples, fewer than four per dimension.
    """
    labels = mixture.posterior(samples).argmax(axis=1)
    sizes = np.bincount(labels, minlength=mixture.n_components)
    large = np.flatnonzero(sizes >= 4 * samples.shape[1])
    if not len(large):
        return None
    tried = {
        int(k): two_or_one(samples[labels == k], n_starts=1, reg_covar=reg_covar, seed=seed)
        for k in large
    }
    worst = max(tried, key=lambda k: tried[k].log_likelihood_gain)
    return with_two_for_one(mixture, worst, tried[worst].two)
