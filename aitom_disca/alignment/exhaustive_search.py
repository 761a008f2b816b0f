"""Exhaustive alignment of many subtomograms to references, as matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.alignment.coefficients import Coefficients

_SCORES_AT_ONCE = 2**24  # bounds the memory: 64 MB of scores


@dataclass
class Poses:
    """Best pose of every subtomogram on one reference.

    Parameters
    ----------
    score : ndarray of shape (n,)
        Constrained correlation, -1 to 1, over the coefficients that both have.
    rotation : ndarray of int, shape (n,)
        Number in the rotation grid.
    shift_zyx_px : ndarray of shape (n, 3)
        Where the particle lies, from the box centre.
    """

    score: np.ndarray
    rotation: np.ndarray
    shift_zyx_px: np.ndarray


def align(
    values: np.ndarray,
    coefficients: Coefficients,
    reference: np.ndarray,
    shifts_zyx_px: np.ndarray,
    offsets_zyx_px: np.ndarray,
    wedge: np.ndarray | None = None,
) -> Poses:
    """Find the rotation and shift of highest constrained correlation with a reference.

    Only coefficients that the subtomogram measured enter, in both norms: the missing wedge
    counts neither for nor against a pose.

    Parameters
    ----------
    values : ndarray of complex64, shape (n, n_coefficients)
        Of the subtomograms, each of norm one.
    coefficients : Coefficients
    reference : ndarray of complex64, shape (n_rotations, n_coefficients)
        Slices of the reference at all rotations that are tried.
    shifts_zyx_px : ndarray of shape (m, 3)
        Those tried, added to each subtomogram's own offset.
    offsets_zyx_px : ndarray of shape (n, 3)
    wedge : ndarray of int, shape (n,), optional
        Which of the tilt ranges of the coefficients each has, where there are several.
    """
    norm = np.maximum(np.linalg.norm(reference, axis=1, keepdims=True), 1e-12)
    share = shares_of_norm(reference, coefficients)
    columns = real_view(reference / norm).T
    n, n_shifts = len(values), len(shifts_zyx_px)
    best = Poses(np.zeros(n, np.float32), np.zeros(n, int), np.zeros((n, 3)))
    block = max(1, _SCORES_AT_ONCE // (n_shifts * len(reference)))
    for start in range(0, n, block):
        rows = slice(start, start + block)
        at_offset = values[rows] * coefficients.shift_phases(offsets_zyx_px[rows])
        shifted = at_offset[:, None] * coefficients.shift_phases(shifts_zyx_px)
        score = real_view(shifted.reshape(-1, len(coefficients))) @ columns
        if share is not None and wedge is not None:
            score = score.reshape(len(at_offset), n_shifts, -1) / share[wedge[rows], None]
        score = score.reshape(len(at_offset), -1)  # shifts and rotations in one row
        winner = score.argmax(axis=1)
        best.score[rows] = score[np.arange(len(score)), winner]
        best.rotation[rows] = winner % len(reference)
        best.shift_zyx_px[rows] = offsets_zyx_px[rows] + shifts_zyx_px[winner // len(reference)]
    return best


def shares_of_norm(slices: np.ndarray, coefficients: Coefficients) -> np.ndarray | None:
    """Norm of what each tilt range leaves of slices (R, n_coefficients), over that of the whole.

    Shape (T, R); None where there is one tilt range, which leaves all.
    """
    if coefficients.measured is None:
        return None
    power = np.abs(slices) ** 2
    left = coefficients.measured @ power.T / np.maximum(power.sum(axis=1), 1e-24)
    return np.maximum(np.sqrt(left), 1e-12).astype(np.float32)


def real_view(values: np.ndarray) -> np.ndarray:
    """Real and imaginary part of each complex64 in turn, (..., 2 n), as they lie in memory.

    A product of two such is the real part of ``<a, b>``, and nothing is copied for it.
    """
    return np.ascontiguousarray(values, np.complex64).view(np.float32)
