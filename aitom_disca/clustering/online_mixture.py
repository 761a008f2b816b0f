"""A Gaussian mixture learnt from a stream: every sample is seen once and none is kept."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from aitom_disca.clustering.merge_and_split_components import merge_closest
from aitom_disca.clustering.mixture import GaussianMixtureModel

_PRUNE_EVERY = 256  # samples


class FIGMN:
    """Fast incremental Gaussian mixture network: one pass, O(K P^2) per sample and in memory.

    Every component holds its mean, precision (inverse covariance) and log determinant, and takes
    a sample x in with its posterior p. With the mass s, the sum of the posteriors so far, the share
    w = p / s, e = x - mean and C the covariance, the exact moments become

        mean + w e    and    (1 - w) (C + w e e^T).

    The inverse follows by the Sherman-Morrison formula, the determinant by the matrix determinant
    lemma, so that nothing is ever inverted. Pinto & Engel [1]_ write the same step as two
    rank-one updates of an approximation that loses positive definiteness for w > 0.38; this is
    one, and exact.

    A sample that is too far from every component (chi-square test of its Mahalanobis distance)
    founds a new one. A component that stays too light for its age is dropped. The result does
    not depend on how the stream is cut into batches, but it does on the order of the samples:
    shuffle them.

    Parameters
    ----------
    n_dimensions : int
        P.
    spread : float or ndarray of shape (P,)
        Standard deviation of the data; 1 for whitened components.
    initial_fraction : float
        A new component's standard deviation, as a fraction of ``spread``. Small values find small
        clusters and found more components.
    novelty : float
        Probability with which a member of a component is taken for something new; well below one
        in the number of samples.
    min_age, min_mass : int, float, optional
        A component that has seen ``min_age`` samples is dropped when its mass is below
        ``min_mass``; by default P + 1, what a covariance needs.
    max_components : int
        When there are so many, none is founded.

    References
    ----------
    .. [1] Pinto & Engel (2015), PLoS ONE 10(10) e0139931.
    """

    def __init__(
        self,
        n_dimensions: int,
        *,
        spread: float | np.ndarray = 1.0,
        initial_fraction: float = 0.5,
        novelty: float = 1e-6,
        min_age: int = 1000,
        min_mass: float | None = None,
        max_components: int = 64,
    ) -> None:
        p = n_dimensions
        self._variance = np.broadcast_to((initial_fraction * np.asarray(spread)) ** 2, (p,))
        self._farthest = chi2.ppf(1 - novelty, p)
        self._min_age, self._max_components = min_age, max_components
        self._min_mass = p + 1 if min_mass is None else min_mass
        self.n_seen = 0
        self._means, self._precisions = np.empty((0, p)), np.empty((0, p, p))
        self._log_determinants, self._masses = np.empty(0), np.empty(0)
        self._born = np.empty(0, int)

    @property
    def n_components(self) -> int:
        """The number of components so far, spurious ones among them."""
        return len(self._masses)

    def partial_fit(self, batch: np.ndarray) -> FIGMN:
        """Learn from some more samples (n_samples, P), in their order.

        Raises
        ------
        ValueError
            If the batch has another number of dimensions.
        """
        p = self._means.shape[1]
        if batch.ndim != 2 or batch.shape[1] != p:
            raise ValueError(f"expected a batch of shape (n_samples, {p}); got {batch.shape}")
        for sample in batch.astype(np.float64):
            self._learn(sample)
        return self

    def to_mixture(self, n_components: int | None = None) -> GaussianMixtureModel:
        """The mixture, without components that are too light for a covariance.

        Parameters
        ----------
        n_components : int, optional
            Merge the closest components until there are no more than so many.

        Raises
        ------
        ValueError
            If no component is left.
        """
        kept = self._masses >= self._min_mass
        if not kept.any():
            raise ValueError(f"no component has members enough after {self.n_seen} samples")
        weights = self._masses[kept] / self._masses[kept].sum()
        covariances = np.linalg.inv(self._precisions[kept])
        covariances = (covariances + np.swapaxes(covariances, 1, 2)) / 2
        mixture = GaussianMixtureModel(weights, self._means[kept].copy(), covariances)
        while n_components is not None and mixture.n_components > n_components:
            mixture = merge_closest(mixture)
        return mixture

    def _learn(self, sample: np.ndarray) -> None:
        self.n_seen += 1
        if self.n_seen % _PRUNE_EVERY == 0:
            self._prune()
        away = sample - self._means
        pulled = (self._precisions @ away[:, :, None])[:, :, 0]
        distances = np.einsum("ki,ki->k", away, pulled)
        if not len(distances) or (
            distances.min() > self._farthest and len(distances) < self._max_components
        ):
            self._found(sample)
            return
        joint = np.log(self._masses) - 0.5 * (self._log_determinants + distances)
        posteriors = np.exp(joint - joint.max())
        posteriors /= posteriors.sum()
        self._masses += posteriors
        self._update(posteriors / self._masses, away, pulled, distances)

    def _update(
        self, shares: np.ndarray, away: np.ndarray, pulled: np.ndarray, distances: np.ndarray
    ) -> None:
        """Take a sample in; ``pulled`` is precision times ``away``, ``distances`` Mahalanobis'."""
        grown = 1 + shares * distances
        self._means += shares[:, None] * away
        outer = pulled[:, :, None] * pulled[:, None, :]
        self._precisions -= (shares / grown)[:, None, None] * outer
        self._precisions /= (1 - shares)[:, None, None]
        self._log_determinants += self._means.shape[1] * np.log1p(-shares) + np.log(grown)

    def _found(self, sample: np.ndarray) -> None:
        self._means = np.concatenate([self._means, sample[None]])
        self._precisions = np.concatenate([self._precisions, np.diag(1 / self._variance)[None]])
        self._log_determinants = np.append(self._log_determinants, np.log(self._variance).sum())
        self._masses = np.append(self._masses, 1.0)
        self._born = np.append(self._born, self.n_seen)

    def _prune(self) -> None:
        old = self.n_seen - self._born >= self._min_age
        kept = ~old | (self._masses >= self._min_mass)
        if not kept.all():
            self._means, self._precisions = self._means[kept], self._precisions[kept]
            self._log_determinants = self._log_determinants[kept]
            self._masses, self._born = self._masses[kept], self._born[kept]
