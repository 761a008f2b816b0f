"""Exhaustive alignment of many subtomograms to references, as matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.alignment.coefficients import Coefficients

_BLOCK = 512  # subtomograms at a time: bounds the memory of a product


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

    def select(self, rows: np.ndarray) -> Poses:
        """Poses of some rows, in that order."""
        return Poses(self.score[rows], self.rotation[rows], self.shift_zyx_px[rows])


def align(
    values: np.ndarray,
    coefficients: Coefficients,
    reference: np.ndarray,
    shifts_zyx_px: np.ndarray,
    offsets_zyx_px: np.ndarray,
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
    """
    norm = np.maximum(np.linalg.norm(reference, axis=1, keepdims=True), 1e-12)
    reference = reference / norm
    columns = np.ascontiguousarray(_as_real(reference).T)
    n = len(values)
    best = Poses(np.full(n, -2, np.float32), np.zeros(n, int), np.array(offsets_zyx_px, float))
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        at_offset = values[rows] * coefficients.shift_phases(offsets_zyx_px[rows])
        for shift in shifts_zyx_px:
            shifted = at_offset * coefficients.shift_phases(shift[None])
            score = _as_real(shifted) @ columns
            winner = score.argmax(axis=1)
            top = score[np.arange(len(score)), winner]
            better = np.flatnonzero(top > best.score[rows])
            chosen = start + better
            best.score[chosen] = top[better]
            best.rotation[chosen] = winner[better]
            best.shift_zyx_px[chosen] = offsets_zyx_px[chosen] + shift
    return best


def _as_real(values: np.ndarray) -> np.ndarray:
    """Real and imaginary parts side by side: a real product is the product's real part."""
    return np.concatenate([values.real, values.imag], axis=1).astype(np.float32)
