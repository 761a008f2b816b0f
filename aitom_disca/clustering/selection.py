"""How many clusters, and in how many dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from aitom_disca.clustering.mixture import GaussianMixtureModel, fit_mixture
from aitom_disca.progress import track

# Numbers of leading principal components that are tried.
DIMENSIONS = (2, 3, 4, 6, 8, 10, 12, 16)


@dataclass(frozen=True)
class MixtureChoice:
    """The mixture with the lowest BIC.

    Parameters
    ----------
    mixture : GaussianMixtureModel
        In the first ``n_dimensions`` components of the samples.
    n_dimensions : int
    bic : dict of int to float
        BIC of every candidate K, in the chosen number of dimensions.
    """

    mixture: GaussianMixtureModel
    n_dimensions: int
    bic: dict[int, float]


def choose_mixture(
    samples: np.ndarray,
    candidates: Sequence[int],
    *,
    choose_dimensions: bool = False,
    labels: np.ndarray | None = None,
    n_starts: int = 5,
    reg_covar: float = 1e-6,
    seed: int = 0,
) -> MixtureChoice:
    """Fit a mixture for every candidate K and keep the one with the lowest BIC (SI Eq. 4).

    With ``choose_dimensions`` the number of leading dimensions d is chosen as well. Likelihoods
    in different numbers of dimensions cannot be compared, so every model describes all of the
    dimensions: the first d by the mixture, each of the others by one Gaussian of its own, whose
    BIC is added. The dimensions must then be uncorrelated, as principal components are.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
        Leading dimensions first.
    candidates : sequence of int
        Numbers of clusters to try.
    choose_dimensions : bool
        Try several numbers of dimensions, else use all.
    labels : ndarray of int, shape (n_samples,), optional
        Previous clusters from 0: one more start for their own K.
    n_starts, reg_covar, seed
        As in `fit_mixture`.

    Raises
    ------
    ValueError
        If there are no candidates, or one is larger than the number of samples.
    """
    if not candidates or max(candidates) > len(samples):
        raise ValueError(
            f"candidates must hold at least one K, none above the {len(samples)} samples; "
            f"got {list(candidates)}"
        )
    search = _Search(samples, labels, n_starts, reg_covar, seed)
    dimensions = [samples.shape[1]]
    if choose_dimensions:
        dimensions = [d for d in DIMENSIONS if d < samples.shape[1]] + dimensions
    with threadpool_limits(1):  # the matrices are small: threads cost more than they give
        k, n_dimensions = search.best(candidates, dimensions)
        bic = {c: search.bic(c, n_dimensions) for c in candidates}
    return MixtureChoice(search.mixture(k, n_dimensions), n_dimensions, bic)


@dataclass
class _Search:
    """Mixtures fitted so far, by K and number of dimensions."""

    samples: np.ndarray
    labels: np.ndarray | None
    n_starts: int
    reg_covar: float
    seed: int
    fitted: dict[tuple[int, int], tuple[GaussianMixtureModel, float]] = field(default_factory=dict)

    def _fit(self, k: int, d: int) -> tuple[GaussianMixtureModel, float]:
        if (k, d) not in self.fitted:
            leading = self.samples[:, :d]
            mixture = fit_mixture(
                leading,
                k,
                n_starts=self.n_starts,
                reg_covar=self.reg_covar,
                labels=self.labels,
                seed=self.seed,
            )
            total = mixture.bic(leading) + _bic_of_single_gaussians(self.samples[:, d:])
            self.fitted[k, d] = mixture, total
        return self.fitted[k, d]

    def mixture(self, k: int, d: int) -> GaussianMixtureModel:
        return self._fit(k, d)[0]

    def bic(self, k: int, d: int) -> float:
        return self._fit(k, d)[1]

    def best(self, candidates: Sequence[int], dimensions: Sequence[int]) -> tuple[int, int]:
        """K and number of dimensions with the lowest BIC; the smaller ones on a tie."""
        pairs = [(k, d) for d in dimensions for k in candidates]
        return min(track(pairs, "mixtures"), key=lambda pair: self.bic(*pair))


def _bic_of_single_gaussians(samples: np.ndarray) -> float:
    """BIC of independent dimensions, each one Gaussian of two parameters."""
    n, p = samples.shape
    variance = samples.var(axis=0)
    return float((n * (np.log(2 * np.pi * variance) + 1)).sum() + 2 * p * np.log(n))
