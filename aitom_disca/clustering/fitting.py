"""Fit mixtures of several K, in several numbers of dimensions, to one set of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from aitom_disca.clustering.gaussian_mixture_em import (
    Fitted,
    Gaussians,
    hard_sums,
    maximise,
    moments_of_labels,
    run_em,
)
from aitom_disca.clustering.initialisation import kmeans_labels
from aitom_disca.clustering.mixture import GaussianMixtureModel
from aitom_disca.clustering.quadratic_terms import Products, n_products

_FEW = 16384  # starts are tried on no more samples than this,
_FEW_PER_PARAMETER = 4  # or than this many times the parameters of the mixture
_SHORT = 10  # iterations after which the best start alone goes on, where samples are many
_PIECE = 4096


@dataclass(frozen=True)
class MixtureFit:
    """A mixture and how well it describes the samples.

    Parameters
    ----------
    mixture : GaussianMixtureModel
    log_likelihood : float
        Sum over the samples.
    within : float
        Squared distances of the samples from the centre of their cluster, summed, where every
        sample belongs to the cluster that is likeliest.
    n_iterations : int
        Of the last run of expectation-maximisation, on all samples.
    converged : bool
    events : tuple of str
        What had to be repaired: singular covariances, components without members.
    """

    mixture: GaussianMixtureModel
    log_likelihood: float
    within: float
    n_iterations: int
    converged: bool
    events: tuple[str, ...]


class MixtureFitter:
    """Fits mixtures to the leading dimensions of samples by expectation-maximisation.

    Several k-means starts are run side by side. Of many samples 16,384 (or four for every
    parameter of the mixture) drawn at random serve for that, the best start after ten iterations
    goes on alone, and a few iterations on all samples end it. A cluster too rare to be seen among
    those drawn may be missed.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
        Float32 or float64.
    labels, n_starts, reg_covar, tol, max_iterations, seed
        As in `fit_mixture`.

    Notes
    -----
    Call `fit` inside ``with one_thread():``, which is slow to enter and therefore not done here.
    """

    def __init__(
        self,
        samples: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        n_starts: int = 5,
        reg_covar: float = 1e-6,
        tol: float = 1e-3,
        max_iterations: int = 100,
        seed: int = 0,
    ) -> None:
        self._samples, self._labels = samples, labels
        self._n_starts, self._tol, self._max_iterations = n_starts, tol, max_iterations
        self._seed = seed
        self._mean, variance = mean_and_variance(samples)
        self._scatter = len(samples) * variance
        self._scale = np.where(variance > 0, np.sqrt(variance), 1.0)
        self._ridge = reg_covar / self._scale**2
        self._all = Products(samples, self._mean, self._scale)
        self._few: dict[int, tuple[np.ndarray, Products]] = {}

    def fit(self, k: int, d: int | None = None) -> MixtureFit:
        """Fit K components in the first d dimensions, by default all of them.

        Raises
        ------
        ValueError
            If there are fewer samples than components.
        """
        return self.finish(self.start(k, self._samples.shape[1] if d is None else d))

    def start(self, k: int, d: int) -> Fitted:
        """Fit to the samples that serve for starts: the best of the k-means starts.

        Raises
        ------
        ValueError
            If there are fewer samples than components.
        """
        if k > len(self._samples):
            raise ValueError(f"{k} components need at least as many samples as there are")
        rows, few = self._drawn(k, d)
        rng = np.random.default_rng([self._seed, k, d])
        centred = (self._samples[rows, :d] - self._mean[:d]).astype(np.float64)
        labels = kmeans_labels(centred, k, self._n_starts, rng)
        if self._labels is not None:
            names = np.unique(self._labels[self._labels >= 0])
            if np.array_equal(names, np.arange(k)):
                labels = np.concatenate([labels, self._labels[None, rows]])
        begun = maximise(moments_of_labels(few, labels, k, d), self._ridge[:d])
        if few is not self._all:
            begun = self._run(few, begun, min(_SHORT, self._max_iterations)).best().gaussians
        return self._run(few, begun).best()

    def improve(self, fitted: Fitted, start: GaussianMixtureModel) -> Fitted:
        """Fit once more as `start` does, but from a given mixture; the better one of both."""
        k, d = start.means.shape
        few, scale = self._drawn(k, d)[1], self._scale[:d]
        gaussians = Gaussians(
            start.weights[None],
            (start.means[None] - self._mean[:d]) / scale,
            start.covariances[None] / np.outer(scale, scale),
        )
        other = self._run(few, gaussians)
        gain = float(other.log_likelihood[0] - fitted.log_likelihood[0])
        return other if gain > self._tol * few.n_samples else fitted

    def finish(self, fitted: Fitted) -> MixtureFit:
        """Go on with all samples."""
        k, d = fitted.gaussians.means.shape[1:]
        before = fitted.events[0]
        if self._drawn(k, d)[1] is not self._all:
            fitted = self._run(self._all, fitted.gaussians)
        sizes, sums = hard_sums(self._all, fitted.gaussians)
        between = (sums**2 / np.maximum(sizes, 1)[:, None]).sum(axis=0) * self._scale[:d] ** 2
        total = fitted.log_likelihood[0] - self._all.n_samples * np.log(self._scale[:d]).sum()
        return MixtureFit(
            self.mixture(fitted),
            log_likelihood=float(total),
            within=float((self._scatter[:d] - between).sum()),
            n_iterations=int(fitted.n_iterations[0]),
            converged=bool(fitted.converged[0]),
            events=tuple(sorted(before | fitted.events[0])),
        )

    def mixture(self, fitted: Fitted) -> GaussianMixtureModel:
        """The mixture in the samples' own units."""
        one = fitted.gaussians[0]
        d = one.means.shape[1]
        mean, scale = self._mean[:d], self._scale[:d]
        return GaussianMixtureModel(
            one.weights / one.weights.sum(),
            one.means * scale + mean,
            one.covariances * np.outer(scale, scale),
        )

    def drawn(self, k: int, d: int) -> np.ndarray:
        """The samples that serve for starts of K components in d dimensions: (n, d)."""
        rows, few = self._drawn(k, d)
        return self._samples[:, :d] if few is self._all else self._samples[rows, :d]

    def _run(self, products: Products, start: Gaussians, most: int | None = None) -> Fitted:
        most = self._max_iterations if most is None else most
        ridge = self._ridge[: start.means.shape[2]]
        return run_em(products, start, ridge, tol=self._tol, max_iterations=most)

    def _drawn(self, k: int, d: int) -> tuple[np.ndarray, Products]:
        """Rows that serve for starts, all or drawn at random, and their products."""
        n, size = len(self._samples), max(_FEW, _FEW_PER_PARAMETER * k * n_products(d))
        if 2 * size >= n:
            return np.arange(n), self._all
        size = _FEW * -(-size // _FEW)  # few sizes, so that few sets are kept
        if size not in self._few:
            rng = np.random.default_rng(self._seed)
            rows = np.sort(rng.choice(n, size, replace=False))
            self._few[size] = rows, Products(self._samples[rows], self._mean, self._scale)
        return self._few[size]


def one_thread() -> threadpool_limits:
    """Context in which a matrix product takes one thread: blocks of samples share the cores."""
    return threadpool_limits(1)


def mean_and_variance(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of every dimension, piece by piece in double precision."""
    n = len(samples)
    pieces = [slice(start, start + _PIECE) for start in range(0, n, _PIECE)]
    mean = np.sum([samples[p].sum(axis=0, dtype=np.float64) for p in pieces], axis=0) / n
    variance = np.sum([((samples[p] - mean) ** 2).sum(axis=0) for p in pieces], axis=0) / n
    return mean, variance


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
        Samples with a label below 0 belong to none.
    tol, max_iterations
        Stop when the mean log likelihood gains less than ``tol``, or after so many steps.
    seed : int

    Returns
    -------
    GaussianMixtureModel

    Raises
    ------
    ValueError
        If there are fewer samples than components.
    """
    fitter = MixtureFitter(
        samples,
        labels=labels,
        n_starts=n_starts,
        reg_covar=reg_covar,
        tol=tol,
        max_iterations=max_iterations,
        seed=seed,
    )
    with one_thread():
        return fitter.fit(n_components).mixture
