"""Criteria for the number of clusters, each a plain function of what a fit gives.

Three weigh the likelihood of a mixture against its parameters (BIC, AIC: the lowest is best);
three look at the partition alone: how far samples are from the centre of their cluster
(Calinski-Harabasz, Krzanowski-Lai, jump: the highest is best). The latter say nothing about a
single cluster, so they choose among K of 2 and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

Criterion = Literal["bic", "bic_si", "aic", "ch", "kl", "jump"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
LOWEST_IS_BEST = frozenset({"bic", "bic_si", "aic"})
# Krzanowski-Lai looks at both neighbours of K, the jump at the one below.
NEIGHBOURS: dict[Criterion, tuple[int, ...]] = {"kl": (-1, 1), "jump": (-1,)}


def count_parameters(k: int, d: int) -> int:
    """Free parameters of K Gaussians in d dimensions: the usual full count.

    K - 1 weights (they sum to 1), K d means, K d (d + 1) / 2 covariances (they are symmetric).
    """
    return k - 1 + k * d + k * d * (d + 1) // 2


def count_parameters_si(k: int, d: int) -> int:
    """Entries of K Gaussians in d dimensions, free or not: K weights, K d means, K d^2 covariances.

    A stand-in for the count of SI Eq. 4 [1]_, which differs from the usual one. The SI was not at
    hand when this was written, and the authors' released code counts in the usual way, so that
    this is a heavier penalty on K named after the SI, not one that was checked against it.

    References
    ----------
    .. [1] Zeng et al. (2023), PNAS 120(15) e2213149120, SI Eq. 4.
    """
    return k + k * d + k * d * d


def bic(log_likelihood: float, n_parameters: int, n_samples: int) -> float:
    """Bayesian information criterion ``-2 log L + n_parameters log n`` [1]_; the lowest is best.

    References
    ----------
    .. [1] Schwarz (1978), Annals of Statistics 6, 461-464.
    """
    return float(-2 * log_likelihood + n_parameters * np.log(n_samples))


def aic(log_likelihood: float, n_parameters: int) -> float:
    """Akaike's information criterion ``-2 log L + 2 n_parameters`` [1]_; the lowest is best.

    References
    ----------
    .. [1] Akaike (1974), IEEE Transactions on Automatic Control 19, 716-723.
    """
    return float(-2 * log_likelihood + 2 * n_parameters)


def calinski_harabasz(within: Mapping[int, float], n_samples: int) -> dict[int, float]:
    """Spread between clusters over spread within, per degree of freedom [1]_; highest is best.

    ``CH(K) = (W_1 - W_K) / (K - 1) / (W_K / (n - K))``

    Parameters
    ----------
    within : mapping of int to float
        W_K: squared distances of the samples from the centre of their cluster, summed; with W_1.
    n_samples : int

    Returns
    -------
    dict of int to float
        For every K between 2 and n - 1 for which W_K is given.

    References
    ----------
    .. [1] Calinski & Harabasz (1974), Communications in Statistics 3, 1-27.
    """
    values = {}
    for k in sorted(within):
        if 2 <= k < n_samples:
            between = (within[1] - within[k]) / (k - 1)
            values[k] = _ratio(between, within[k] / (n_samples - k))
    return values


def krzanowski_lai(within: Mapping[int, float], d: int) -> dict[int, float]:
    """How much more K gains over K - 1 than K + 1 over K [1]_; the highest is best.

    ``KL(K) = |DIFF(K) / DIFF(K + 1)|``, ``DIFF(K) = (K - 1)^(2/d) W_(K-1) - K^(2/d) W_K``

    Parameters
    ----------
    within : mapping of int to float
        W_K, as in `calinski_harabasz`.
    d : int
        Number of dimensions.

    Returns
    -------
    dict of int to float
        For every K of 2 and more for which W_(K-1), W_K and W_(K+1) are given.

    References
    ----------
    .. [1] Krzanowski & Lai (1988), Biometrics 44, 23-34.
    """
    scaled = {k: k ** (2 / d) * w for k, w in within.items()}
    gain = {k: scaled[k - 1] - scaled[k] for k in scaled if k - 1 in scaled}
    return {
        k: _ratio(abs(gain[k]), abs(gain[k + 1])) for k in sorted(gain) if k >= 2 and k + 1 in gain
    }


def jump(within: Mapping[int, float], n_samples: int, d: int) -> dict[int, float]:
    """Jump of the transformed distortion [1]_; the highest is best.

    ``J(K) = D_K^(-d/2) - D_(K-1)^(-d/2)`` with the distortion ``D_K = W_K / (n d)`` in units of
    ``D_1``, which changes no order. J(1) would be ``D_1^(-d/2) - 0``, a comparison with no model at
    all, and is left out.

    Parameters
    ----------
    within : mapping of int to float
        W_K, as in `calinski_harabasz`; with W_1.
    n_samples, d : int
        Numbers of samples and of dimensions.

    Returns
    -------
    dict of int to float
        For every K of 2 and more for which W_(K-1) and W_K are given; infinite without distortion.

    References
    ----------
    .. [1] Sugar & James (2003), Journal of the American Statistical Association 98, 750-763.
    """
    distortion = {k: w / (n_samples * d) for k, w in within.items()}
    power = {k: _ratio(distortion[1], v) ** (d / 2) for k, v in distortion.items()}
    return {
        k: power[k] - power[k - 1] if np.isfinite(power[k - 1]) else -np.inf
        for k in sorted(power)
        if k >= 2 and k - 1 in power
    }


def best_k(values: Mapping[int, float], criterion: Criterion) -> int:
    """The K that a criterion prefers; the smallest on a tie.

    Raises
    ------
    ValueError
        If the criterion is defined for none of the K.
    """
    defined = {k: v for k, v in sorted(values.items()) if not np.isnan(v)}
    if not defined:
        raise ValueError(
            f"the criterion {criterion!r} compares two clusters and more; give it candidates "
            "from 2, or choose K by 'bic'"
        )
    choose = min if criterion in LOWEST_IS_BEST else max
    return choose(defined, key=defined.__getitem__)


def _ratio(above: float, below: float) -> float:
    """A quotient; infinite where there is nothing below."""
    return float(above / below) if below > 0 else float("inf")
