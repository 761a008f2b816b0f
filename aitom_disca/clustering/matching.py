"""Give the clusters of this iteration the names that they had in the one before."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def contingency(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Count samples by pair of labels: shape (1 + max first, 1 + max second).

    Samples whose label is below 0 in either are not counted.
    """
    table = np.zeros((first.max() + 1, second.max() + 1), int)
    both = (first >= 0) & (second >= 0)
    np.add.at(table, (first[both], second[both]), 1)
    return table


def match_labels(reference: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rename ``labels`` so that as many samples as possible agree with ``reference``.

    Parameters
    ----------
    reference, labels : ndarray of int, shape (n_samples,)
        Labels from 0; those below 0 belong to no cluster and do not count.

    Returns
    -------
    ndarray of int, shape (n_clusters,)
        The new name of every cluster of ``labels``: ``names[labels]`` are the matched labels.
        Where ``labels`` has more clusters, those left over are numbered after the others.

    Raises
    ------
    ValueError
        If the two differ in length.

    References
    ----------
    .. [1] Zeng et al. (2023), PNAS 120(15) e2213149120, SI Eq. 5 (Hungarian algorithm).
    """
    if len(reference) != len(labels):
        raise ValueError(
            f"reference and labels must have one length; got {len(reference)} and {len(labels)}"
        )
    table = contingency(reference, labels)
    rows, columns = linear_sum_assignment(table, maximize=True)
    names = np.full(table.shape[1], -1)
    names[columns] = rows
    left_over = np.flatnonzero(names < 0)
    names[left_over] = table.shape[0] + np.arange(left_over.size)
    return names
