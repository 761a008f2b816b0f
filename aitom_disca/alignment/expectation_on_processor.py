"""The expectation step on a processor, in NumPy: what is negligible is left out early."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.exhaustive_search import real_view
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.config.sorting import SORTING

_SCORES_AT_ONCE = 2**21  # of one reference: 8 MB, which stay in the processor's cache


def expect_on_processor(
    particles: Particles,
    slices: np.ndarray,
    prior: np.ndarray,
    shifts_zyx_px: np.ndarray,
    n_halves: int,
    compared: np.ndarray,
    negligible: float = SORTING.rounds.negligible,
) -> Expectation:
    """Weigh every reference, rotation and shift for every subtomogram.

    Parameters
    ----------
    particles : Particles
    slices : ndarray of float32, shape (K, R, 2 n_coefficients)
        Real and imaginary part in turn.
    prior : ndarray of float32, shape (K, T, R)
        Log likelihoods are ``<x, slice> + prior``, for subtomograms of T tilt ranges.
    shifts_zyx_px : ndarray of shape (S, 3)
    n_halves : int
        Of the data, each of which is added up; 0 where no sums are wanted.
    compared : ndarray of bool, shape (n, K)
        Which references each subtomogram is compared with, at least one.
    negligible : float
        Poses whose log likelihood is this much below the best are left out.
    """
    n, (n_classes, n_ranges, n_rotations) = len(particles), prior.shape
    found = Expectation(
        np.zeros(n),
        np.zeros((n, n_classes)),
        np.zeros(n, int),
        particles.offset_zyx_px.copy(),
        np.zeros((n_halves, n_classes, n_rotations, slices.shape[2] // 2), np.complex64),
        np.zeros((n_halves, n_classes, n_rotations) + (n_ranges,) * (n_ranges > 1)),
    )
    block = max(1, _SCORES_AT_ONCE // (n_rotations * len(shifts_zyx_px)))
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n))
        some = particles.select(rows)
        _expect_block(some, slices, prior, shifts_zyx_px, rows, compared[rows], negligible, found)
    return found


def _expect_block(
    block: Particles,
    slices: np.ndarray,
    prior: np.ndarray,
    shifts_zyx_px: np.ndarray,
    rows: np.ndarray,
    compared: np.ndarray,
    negligible: float,
    found: Expectation,
) -> None:
    n, n_shifts = len(block), len(shifts_zyx_px)
    n_classes, n_rotations, _ = slices.shape
    phases = block.coefficients.shift_phases
    at_offset = block.values * phases(block.offset_zyx_px)
    shifted = real_view(at_offset * phases(shifts_zyx_px)[:, None])
    top = np.full(n, -np.inf, np.float32)
    parts = []
    for k in range(n_classes):
        mine = np.flatnonzero(compared[:, k])
        if len(mine):
            in_one = _near_top(shifted, slices[k], prior[k], mine, block.wedge, top, negligible)
            parts.append((k, *in_one))
    score, shift, row, rotation = (np.concatenate([p[i] for p in parts]) for i in range(1, 5))
    cluster = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])
    near = np.flatnonzero(score > top[row] - negligible)
    row, shift, cluster = row[near], shift[near], cluster[near]
    column = cluster * n_rotations + rotation[near]
    kept = score[near] - top[row]
    weight = np.exp(kept)
    total = np.bincount(row, weight, n)
    weight /= total[row]
    found.log_likelihood[rows] = top + np.log(total)
    by_class = np.bincount(row * n_classes + cluster, weight, n * n_classes)
    found.posterior[rows] = by_class.reshape(n, n_classes)
    best = np.flatnonzero(kept == 0)
    best = best[np.unique(row[best], return_index=True)[1]]
    found.rotation[rows] = column[best] % n_rotations
    found.offset_zyx_px[rows] += shifts_zyx_px[shift[best]]
    if not len(found.counts):
        return
    slot = block.half[row] * n_classes * n_rotations + column
    n_slots = int(np.prod(found.counts.shape[:3]))
    matrix = sparse.csr_matrix((weight, (slot, shift * n + row)), (n_slots, n_shifts * n))
    used = np.flatnonzero(np.diff(matrix.indptr))
    added = matrix[used] @ shifted.reshape(n_shifts * n, -1)
    found.sums.reshape(n_slots, -1)[used] += added.view(np.complex64)
    if block.wedge is not None:
        slot = slot * found.counts.shape[3] + block.wedge[row]
    found.counts.reshape(-1)[:] += np.bincount(slot, weight, found.counts.size)


def _near_top(
    shifted: np.ndarray,
    slices: np.ndarray,
    prior: np.ndarray,
    rows: np.ndarray,
    wedge: np.ndarray | None,
    top: np.ndarray,
    negligible: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log likelihoods under one reference that are not negligible beside the best so far.

    Parameters
    ----------
    shifted : ndarray of float32, shape (S, n, 2 n_coefficients)
    slices : ndarray of float32, shape (R, 2 n_coefficients)
    prior : ndarray of float32, shape (T, R)
    rows : ndarray of int
        Those of the n that are compared.
    wedge : ndarray of int, shape (n,), optional
        Tilt range of each; None where there is one.
    top : ndarray of float32, shape (n,)
        The best so far; raised here.
    negligible : float

    Returns
    -------
    log likelihood, shift, row and rotation, each of shape (m,)
    """
    n_shifts, n, n_values = shifted.shape
    mine = shifted if len(rows) == n else shifted[:, rows]
    score = (mine.reshape(-1, n_values) @ slices.T).reshape(n_shifts, len(rows), -1)
    score += prior[0] if wedge is None else prior[wedge[rows]]
    top[rows] = np.maximum(top[rows], score.max(axis=2).max(axis=0))
    place = np.flatnonzero(score > (top[rows] - negligible)[:, None])
    pose, rotation = np.divmod(place, len(slices))
    shift, row = np.divmod(pose, len(rows))
    return score.reshape(-1)[place], shift, rows[row], rotation
