"""Which half of a cluster each member goes into."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

_LARGEST = 0.125  # share of all members in one group: what is larger is cut


def neighbour_groups(
    tomogram: np.ndarray, places_zyx: np.ndarray, distance: float
) -> tuple[np.ndarray, int]:
    """Members whose boxes share voxels, directly or through others.

    Parameters
    ----------
    tomogram : ndarray of shape (N,)
        Name or number of the tomogram of each member.
    places_zyx : ndarray of shape (N, 3)
        NaN where a member's place is not known; it is then a group of its own.
    distance : float
        Below which two boxes share voxels, in the unit of the places.

    Returns
    -------
    groups : ndarray of int, shape (N,)
    n_cut : int
        How many groups were larger than an eighth of all members, and were cut into pieces along
        their longest direction, so that halves can be balanced.
    """
    places_zyx = np.asarray(places_zyx, float)
    n, known = len(places_zyx), np.isfinite(places_zyx).all(axis=1)
    pairs = [np.zeros((0, 2), int)]
    for name in np.unique(tomogram[known]):
        rows = np.flatnonzero(known & (tomogram == name))
        pairs.append(rows[cKDTree(places_zyx[rows]).query_pairs(distance, output_type="ndarray")])
    first, second = np.concatenate(pairs).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), (n, n))
    groups = connected_components(graph, directed=False)[1].astype(int)
    most, n_cut = max(2, int(n * _LARGEST)), 0
    for number, size in enumerate(np.bincount(groups)):
        if size <= most:
            continue
        n_cut += 1
        rows = np.flatnonzero(groups == number)
        from_middle = places_zyx[rows] - places_zyx[rows].mean(axis=0)
        along = from_middle @ np.linalg.svd(from_middle, full_matrices=False)[2][0]
        pieces = np.array_split(rows[np.argsort(along, kind="stable")], -(-size // most))
        for i, piece in enumerate(pieces[1:], start=groups.max() + 1):
            groups[piece] = i
    return groups, n_cut


def balanced_halves(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 or 1 for every member: groups stay together, and the halves are as equal as that allows.

    Parameters
    ----------
    groups : ndarray of int, shape (N,)
    rng : numpy.random.Generator
        Draws who goes where.

    Returns
    -------
    ndarray of int, shape (N,)
    """
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if (sizes == 1).all():
        return np.asarray(rng.permutation(len(groups)) % 2)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]  # the largest first
    half, filled = np.empty(len(sizes), int), [0, 0]
    for group in order:
        half[group] = int(filled[1] < filled[0])
        filled[half[group]] += sizes[group]
    return half[number]
