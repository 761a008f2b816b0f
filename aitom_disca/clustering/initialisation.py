"""Where expectation-maximisation starts: k-means, several times side by side."""

from __future__ import annotations

import numpy as np

_LLOYD_STEPS = 20


def kmeans_labels(
    samples: np.ndarray, k: int, n_starts: int, rng: np.random.Generator
) -> np.ndarray:
    """Partition samples by k-means, ``n_starts`` times.

    Centres are seeded by greedy k-means++ [1]_ and moved by at most 20 steps of Lloyd's rule: the
    start of a mixture need not be a converged k-means.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, d), float64
    k, n_starts : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (n_starts, n_samples)
        From 0 to k - 1.

    References
    ----------
    .. [1] Arthur & Vassilvitskii (2007), k-means++: the advantages of careful seeding, SODA.
    """
    if k == 1:
        return np.zeros((1, len(samples)), int)
    squares = np.einsum("ni,ni->n", samples, samples)
    centres = np.array([_spread(samples, squares, k, rng) for _ in range(n_starts)])
    labels = _nearest(samples, centres)
    for _ in range(_LLOYD_STEPS):
        centres = _centres(samples, labels, centres)
        moved = _nearest(samples, centres)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels


def _spread(
    samples: np.ndarray, squares: np.ndarray, k: int, rng: np.random.Generator
) -> np.ndarray:
    """Centres (k, d) among the samples, each far from those before it."""
    n_trials = 2 + int(np.log(k))
    chosen = [int(rng.integers(len(samples)))]
    distance = _squared_distances(samples, squares, chosen)[0]
    for _ in range(1, k):
        reach = np.cumsum(distance)
        drawn = np.searchsorted(reach, rng.random(n_trials) * reach[-1])
        drawn = np.minimum(drawn, len(samples) - 1)
        trials = np.minimum(_squared_distances(samples, squares, drawn), distance)
        best = int(trials.sum(axis=1).argmin())
        chosen.append(int(drawn[best]))
        distance = trials[best]
    return samples[chosen]


def _squared_distances(
    samples: np.ndarray, squares: np.ndarray, rows: np.ndarray | list[int]
) -> np.ndarray:
    """Squared distances of samples in ``rows`` to all: (len(rows), n_samples)."""
    distance = squares[rows][:, None] + squares - 2 * samples[rows] @ samples.T
    return np.maximum(distance, 0)


def _nearest(samples: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest of the centres (n_starts, k, d): (n_starts, n_samples)."""
    n_starts, k, d = centres.shape
    flat = centres.reshape(-1, d)
    distance = -2 * flat @ samples.T
    distance += np.einsum("ki,ki->k", flat, flat)[:, None]
    return distance.reshape(n_starts, k, -1).argmin(axis=1)


def _centres(samples: np.ndarray, labels: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Means of the clusters; an empty one stays where it was."""
    k = before.shape[1]
    members = (labels[:, None] == np.arange(k)[:, None]).astype(float)
    sizes = members.sum(axis=2)[..., None]
    means = members @ samples / np.maximum(sizes, 1)
    return np.where(sizes > 0, means, before)
