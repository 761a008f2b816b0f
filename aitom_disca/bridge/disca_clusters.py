"""The clusters of AITom's DISCA: renamed, judged and fitted, under its names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from aitom_disca.clustering import contingency, ddbi, fit_projection
from aitom_disca.clustering.fitting import MixtureFitter, one_thread
from aitom_disca.errors import InputError

_DIMENSIONS, _STARTS, _TOL, _MAX_ITERATIONS = 16, 5, 1e-3, 100
_STAYED = 0.999


def align_cluster_index(ref_cluster: np.ndarray, map_cluster: np.ndarray) -> np.ndarray:
    """Rename clusters so that as many samples as possible keep the name they had.

    Parameters
    ----------
    ref_cluster, map_cluster : ndarray of int, shape (n,)
        Equally many clusters, from 0 without gaps.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    InputError
        If the numbers of clusters differ, where AITom prints that and returns an empty tuple; or
        if labels have gaps, which AITom mixes up.
    """
    ref, given = np.asarray(ref_cluster), np.asarray(map_cluster)
    names = [np.unique(labels) for labels in (ref, given)]
    if len(ref) != len(given) or len(names[0]) != len(names[1]):
        raise InputError(
            f"expected two clusterings of equally many clusters; got {len(names[0])} and "
            f"{len(names[1])} clusters of {len(ref)} and {len(given)} samples."
        )
    if any(not np.array_equal(found, np.arange(len(found))) for found in names):
        raise InputError("expected clusters from 0 without gaps; see remove_empty_cluster.")
    _, partner = linear_sum_assignment(len(ref) - contingency(ref, given))
    new = np.empty(len(partner), given.dtype)
    new[partner] = np.arange(len(partner))
    return new[given]


def remove_empty_cluster(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from 0 without gaps; the array given stays as it is."""
    labels = np.asarray(labels)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(labels.dtype)


def DDBI(features: np.ndarray, labels: np.ndarray, reg_covar: float = 1e-5) -> float:
    """Distortion-based Davies-Bouldin index; lower is better.

    ``reg_covar`` is the script's own in AITom. For one cluster, where the index is not defined,
    NaN comes and not 0.
    """
    return ddbi(np.asarray(features), np.asarray(labels), reg_covar=reg_covar)


def convergence_check(
    i: int, M: int, labels_temp: np.ndarray, labels: np.ndarray | None, done: bool
) -> tuple[int, np.ndarray, bool]:
    """Count an iteration, and say whether the loop ends: labels stayed, or M iterations are done.

    Returns
    -------
    i, labels, done
        The number of the next iteration, the labels of this one, and whether to stop.
    """
    if i > 0 and np.sum(np.asarray(labels_temp) == labels) / len(labels_temp) > _STAYED:
        done = True
    return i + 1, labels_temp, done or i + 1 == M


def statistical_fitting(
    features: np.ndarray,
    labels: np.ndarray | None,
    candidateKs: Sequence[int],
    K: int | None,
    reg_covar: float,
    i: int,
) -> tuple[np.ndarray, int, bool, np.ndarray]:
    """Fit Gaussian mixtures of several K to the features; the lowest BIC decides.

    All K are fitted with the same tolerance, and the clusters of the iteration before are one
    start more wherever there are as many of them.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
    labels : ndarray of int, shape (n,), or None
        Of the iteration before.
    candidateKs : sequence of int
    K : int or None
        Of the iteration before.
    reg_covar : float
    i : int
        Seed.

    Returns
    -------
    labels : ndarray of int, shape (n,)
        From 0 without gaps.
    K : int
    same_K : bool
    features_pca : ndarray of shape (n, at most 16)
    """
    features = np.asarray(features)
    samples = fit_projection(features, _DIMENSIONS)(features)
    fitter = MixtureFitter(
        samples,
        labels=None if labels is None else np.asarray(labels),
        n_starts=_STARTS,
        reg_covar=reg_covar,
        tol=_TOL,
        max_iterations=_MAX_ITERATIONS,
        seed=i,
    )
    with one_thread():
        mixtures = [fitter.fit(k).mixture for k in candidateKs]
    best = mixtures[int(np.argmin([mixture.bic(samples) for mixture in mixtures]))]
    found = remove_empty_cluster(best.posterior(samples).argmax(axis=1))
    n_found = int(found.max()) + 1
    return found, n_found, n_found == K, samples
