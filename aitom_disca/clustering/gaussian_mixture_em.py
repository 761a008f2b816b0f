"""Expectation-maximisation of Gaussian mixtures, as products of matrices.

With x_0 = 1, the log density of a Gaussian is linear in the products x_i x_j of the dimensions,

    log w N(x | m, P^-1) = c + (P m)^T x - x^T P x / 2,

and so are the sums of an M step. An iteration over n samples in d dimensions is thus two products
of matrices with (d + 1)(d + 2) / 2 rows, block by block of samples, whatever the number of
components, and of mixtures that are fitted side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.clustering.quadratic_terms import Products, n_products, places

_FEWEST_MEMBERS = 0.5  # a component with less than half a sample is empty
_FIRST_RIDGE = 1e-12  # added to a singular covariance, in units of the dimensions' variance
_TINY = 1e-12


@dataclass(frozen=True)
class Gaussians:
    """S mixtures of K Gaussians each, in standardised dimensions.

    Parameters
    ----------
    weights : ndarray of shape (S, K)
    means : ndarray of shape (S, K, d)
    covariances : ndarray of shape (S, K, d, d)
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def __getitem__(self, which: np.ndarray | slice | int) -> Gaussians:
        return Gaussians(self.weights[which], self.means[which], self.covariances[which])


@dataclass(frozen=True)
class Fitted:
    """Mixtures that EM ended with.

    Parameters
    ----------
    gaussians : Gaussians
    log_likelihood : ndarray of shape (S,)
        Of these Gaussians, summed over the samples.
    n_iterations : ndarray of int, shape (S,)
    converged : ndarray of bool, shape (S,)
    events : list of set of str
        What was repaired on the way, for each mixture.
    """

    gaussians: Gaussians
    log_likelihood: np.ndarray
    n_iterations: np.ndarray
    converged: np.ndarray
    events: list[set[str]]

    def best(self) -> Fitted:
        """The mixture with the largest likelihood, alone."""
        i = int(self.log_likelihood.argmax())
        one = slice(i, i + 1)
        return Fitted(
            self.gaussians[one],
            self.log_likelihood[one],
            self.n_iterations[one],
            self.converged[one],
            self.events[one],
        )


def run_em(
    products: Products, start: Gaussians, ridge: np.ndarray, *, tol: float, max_iterations: int
) -> Fitted:
    """Fit S mixtures side by side, each until it gains less than ``tol``.

    A component that loses its samples takes over half of the heaviest one, K times at most; a
    covariance that cannot be factorised gets a ridge. Both are among the events.

    Parameters
    ----------
    products : Products
    start : Gaussians
    ridge : ndarray of shape (d,)
        Added to the diagonals of the covariances.
    tol : float
        Smallest gain of the mean log likelihood that is worth another iteration.
    max_iterations : int
    """
    n_mixtures, n_components, d = start.means.shape
    events: list[set[str]] = [set() for _ in range(n_mixtures)]
    n_reseeded = np.zeros(n_mixtures, int)
    ended = Gaussians(*(np.empty_like(a) for a in vars(start).values()))
    total, before = np.empty(n_mixtures), np.full(n_mixtures, -np.inf)
    n_iterations, converged = np.zeros(n_mixtures, int), np.zeros(n_mixtures, bool)
    live, current = np.arange(n_mixtures), start
    for iteration in range(max_iterations + 1):
        coefficients, current = _coefficients(current, [events[i] for i in live])
        moments, likelihood = _expect(products, coefficients, d)
        small = np.abs(likelihood - before[live]) < tol * products.n_samples
        end = small | (iteration == max_iterations)
        done = live[end]
        for kept, found in zip(vars(ended).values(), vars(current[end]).values(), strict=True):
            kept[done] = found
        total[live], n_iterations[live], converged[live] = likelihood, iteration, small
        before[live] = likelihood
        if end.all():
            break
        live, moments = live[~end], moments[~end]
        current = maximise(moments, ridge)
        for i, row in zip(live, range(len(live)), strict=True):
            room = n_components - n_reseeded[i]
            n_reseeded[i] += _refill(current, row, room, events[i], products.n_samples)
    return Fitted(ended, total, n_iterations, converged, events)


# -- the two steps -----------------------------------------------------------------------------


def _expect(products: Products, coefficients: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the products weighted by the posteriors, and log likelihoods.

    Returns
    -------
    moments : ndarray of shape (S, K, n_products(d))
    log_likelihood : ndarray of shape (S,)
    """
    shape = coefficients.shape
    flat = coefficients.reshape(-1, shape[2])

    def one(i: int) -> tuple[np.ndarray, np.ndarray]:
        block = products.block(i, d)
        joint = (flat @ block).reshape(*shape[:2], -1)
        top = joint.max(axis=1, keepdims=True)
        joint -= top
        np.exp(joint, out=joint)
        density = joint.sum(axis=1, keepdims=True)
        joint /= density
        moments = joint.reshape(len(flat), -1) @ block.T
        return moments.reshape(shape), (np.log(density) + top).sum(axis=(1, 2))

    return _sum(products.map(one))


def _sum(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The sums of both, part by part in their order, so that a sum is always the same."""
    parts = iter(parts)
    first, second = next(parts)
    for a, b in parts:
        first += a
        second = second + b
    return first, second


def maximise(moments: np.ndarray, ridge: np.ndarray) -> Gaussians:
    """Gaussians of the sums (S, K, n_products(d)) of products."""
    full = _as_matrices(moments)
    counts = full[..., 0, 0]
    divisor = np.maximum(counts, _TINY)[..., None]
    means = full[..., 1:, 0] / divisor
    covariances = full[..., 1:, 1:] / divisor[..., None]
    covariances -= means[..., :, None] * means[..., None, :]
    covariances += np.diag(ridge)
    weights = np.maximum(counts / counts.sum(axis=1, keepdims=True), _TINY)
    return Gaussians(weights, means, covariances)


def moments_of_labels(products: Products, labels: np.ndarray, k: int, d: int) -> np.ndarray:
    """Sums of products over the members of clusters: (S, k, n_products(d)).

    Parameters
    ----------
    products : Products
    labels : ndarray of int, shape (S, n_samples)
        Clusters from 0; those below 0 belong to none.
    k, d : int
    """
    names = np.arange(k)[:, None]

    def one(i: int) -> tuple[np.ndarray, np.ndarray]:
        members = (labels[:, None, products.rows(i)] == names).astype(float)
        block = products.block(i, d)
        moments = members.reshape(len(labels) * k, -1) @ block.T
        return moments.reshape(len(labels), k, -1), np.zeros(1)

    return _sum(products.map(one))[0]


def hard_sums(products: Products, one: Gaussians) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (K,) and sums of the samples (K, d) of the clusters: every sample in its likeliest."""
    coefficients, _ = _coefficients(one, [set()])
    k, d = one.means.shape[1:]
    first = [n_products(i - 1) for i in range(1, d + 1)]  # where the products x_i x_0 are

    def of_block(i: int) -> tuple[np.ndarray, np.ndarray]:
        block = products.block(i, d)
        labels = (coefficients[0] @ block).argmax(axis=0)
        members = (labels == np.arange(k)[:, None]).astype(float)
        return members.sum(axis=1), members @ block[first].T

    return _sum(products.map(of_block))


# -- Gaussians as coefficients -----------------------------------------------------------------


def _coefficients(mixture: Gaussians, events: list[set[str]]) -> tuple[np.ndarray, Gaussians]:
    """Coefficients (S, K, n_products(d)) of the log density; repaired covariances."""
    d = mixture.means.shape[2]
    factors, mixture = _factorise(mixture, events)
    inverse = np.linalg.inv(factors)
    precisions = np.swapaxes(inverse, -1, -2) @ inverse
    linear = np.einsum("skij,skj->ski", precisions, mixture.means)
    log_determinant = 2 * np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=-1)
    square = np.einsum("ski,ski->sk", linear, mixture.means)
    full = np.empty((*mixture.weights.shape, d + 1, d + 1))
    full[..., 0, 0] = np.log(mixture.weights)
    full[..., 0, 0] -= 0.5 * (d * np.log(2 * np.pi) + log_determinant + square)
    full[..., 1:, 0] = linear
    full[..., 1:, 1:] = precisions * (0.5 * np.eye(d) - 1)  # each product x_i x_j is there once
    rows, columns = places(d + 1)
    return full[..., rows, columns], mixture


def _as_matrices(products: np.ndarray) -> np.ndarray:
    """Products in their order (..., n_products(d)) as symmetric matrices (..., d + 1, d + 1)."""
    edge = int(np.sqrt(2 * products.shape[-1]))
    rows, columns = places(edge)
    full = np.empty((*products.shape[:-1], edge, edge))
    full[..., rows, columns] = products
    full[..., columns, rows] = products
    return full


# -- repairs -----------------------------------------------------------------------------------


def _factorise(mixture: Gaussians, events: list[set[str]]) -> tuple[np.ndarray, Gaussians]:
    """Cholesky factors of the covariances, which get a ridge where they are singular."""
    try:
        return np.linalg.cholesky(mixture.covariances), mixture
    except np.linalg.LinAlgError:
        covariances = mixture.covariances.copy()
    factors = np.empty_like(covariances)
    for s, k in np.ndindex(mixture.weights.shape):
        ridge = 0.0
        while True:
            try:
                covariance = covariances[s, k] + ridge * np.eye(covariances.shape[-1])
                factors[s, k] = np.linalg.cholesky(covariance)
                break
            except np.linalg.LinAlgError:
                if not np.isfinite(covariance).all():
                    raise
                ridge = max(10 * ridge, _FIRST_RIDGE)
        if ridge > 0:
            covariances[s, k] = covariance
            events[s].add("a covariance was singular; reg_covar was raised for its component")
    return factors, replace(mixture, covariances=covariances)


def _refill(mixtures: Gaussians, row: int, room: int, events: set[str], n_samples: int) -> int:
    """Let empty components of a mixture take over half of the heaviest one; how many did."""
    weights = mixtures.weights[row]
    means, covariances = mixtures.means[row], mixtures.covariances[row]
    empty = np.flatnonzero(weights * n_samples < _FEWEST_MEMBERS)
    for place, k in enumerate(empty):
        if place >= room:  # it lost its samples again and again: out of the way, and left empty
            weights[k], means[k], covariances[k] = _TINY, 0, np.eye(means.shape[1])
            events.add("a component stayed without members")
            continue
        heaviest = int(weights.argmax())
        variances, axes = np.linalg.eigh(covariances[heaviest])
        step = np.sqrt(max(variances[-1], 0)) * axes[:, -1]
        means[k], covariances[k] = means[heaviest] + step, covariances[heaviest]
        means[heaviest] = means[heaviest] - step
        weights[k] = weights[heaviest] = weights[heaviest] / 2
        events.add("a component lost its members and was placed anew")
    return min(len(empty), max(room, 0))
