"""How well picks agree with the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aitom_disca.errors import InputError


@dataclass(frozen=True)
class PickScore:
    """Agreement of picks with the truth.

    Parameters
    ----------
    pairs : ndarray of int, shape (P, 2)
        Row of ``found`` and row of ``true`` of every match, in the order of ``true``.
    distances_px : ndarray of shape (P,)
    n_found, n_true : int
    """

    pairs: np.ndarray
    distances_px: np.ndarray
    n_found: int
    n_true: int

    @property
    def precision(self) -> float:
        """Part of the picks that are particles, 0 to 1; 0 without picks."""
        return len(self.pairs) / self.n_found if self.n_found else 0.0

    @property
    def recall(self) -> float:
        """Part of the particles that were picked, 0 to 1; 0 without particles."""
        return len(self.pairs) / self.n_true if self.n_true else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: matches per mean of both counts."""
        total = self.n_found + self.n_true
        return 2 * len(self.pairs) / total if total else 0.0


def match_picks(
    found_zyx: np.ndarray, true_zyx: np.ndarray, tolerance_px: float | np.ndarray
) -> PickScore:
    """Match picks with particles one to one: as many as possible, then as near as possible.

    Parameters
    ----------
    found_zyx : ndarray of shape (N, 3)
    true_zyx : ndarray of shape (M, 3)
    tolerance_px : float or ndarray of shape (M,)
        Largest distance of a match, for all particles or for each of them.

    Raises
    ------
    InputError
        If an array is not (N, 3), or the tolerance is not positive.
    """
    found, true = _points("found_zyx", found_zyx), _points("true_zyx", true_zyx)
    tolerance = np.broadcast_to(np.asarray(tolerance_px, float), len(true))
    if not (np.asarray(tolerance_px) > 0).all():
        raise InputError(f"tolerance_px must be positive; got {np.min(tolerance_px):g}.")
    if not len(found) or not len(true):
        return PickScore(np.empty((0, 2), int), np.empty(0), len(found), len(true))
    near = cKDTree(found).sparse_distance_matrix(
        cKDTree(true), tolerance.max(), output_type="coo_matrix"
    )
    may = near.data <= tolerance[near.col]
    pairs = _match(near.row[may], near.col[may], near.data[may], len(found), len(true))
    pairs = pairs[np.argsort(pairs[:, 1])]
    distances = np.linalg.norm(found[pairs[:, 0]] - true[pairs[:, 1]], axis=1)
    return PickScore(pairs, distances, len(found), len(true))


def _points(name: str, points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, float)
    if points.size == 0:
        return points.reshape(0, 3)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"{name} must have shape (N, 3): z, y, x; got {points.shape}.")
    return points


def _match(
    rows: np.ndarray, columns: np.ndarray, distances: np.ndarray, n_rows: int, n_columns: int
) -> np.ndarray:
    """Solve the assignment in every group of points that neighbourhood connects."""
    n = n_rows + n_columns
    graph = coo_array((np.ones(len(rows)), (rows, columns + n_rows)), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group[rows], kind="stable")
    cuts = np.flatnonzero(np.diff(group[rows][order])) + 1
    matched = [np.empty((0, 2), int)]
    for edges in np.split(order, cuts) if len(order) else []:
        matched.append(_assign(rows[edges], columns[edges], distances[edges]))
    return np.concatenate(matched)


def _assign(rows: np.ndarray, columns: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Cheapest one-to-one matching of one group; a forbidden pair outweighs all others."""
    row_ids, r = np.unique(rows, return_inverse=True)
    column_ids, c = np.unique(columns, return_inverse=True)
    forbidden = distances.sum() + 1.0
    cost = np.full((len(row_ids), len(column_ids)), forbidden)
    cost[r, c] = distances
    r, c = linear_sum_assignment(cost)
    allowed = cost[r, c] < forbidden
    return np.column_stack([row_ids[r[allowed]], column_ids[c[allowed]]])
