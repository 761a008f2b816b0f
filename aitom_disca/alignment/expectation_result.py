"""What the expectation step gives: log likelihood, posterior, best poses, and sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Expectation:
    """What the subtomograms say about references of K clusters at R rotations.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n,)
        Log of the mean likelihood ratio to pure noise, over clusters, rotations and shifts.
    posterior : ndarray of shape (n, K)
    rotation : ndarray of int, shape (n,)
        Best one.
    offset_zyx_px : ndarray of shape (n, 3)
        Best one.
    sums : ndarray of complex64, shape (2, K, R, n_coefficients)
        Coefficients at each rotation, weighted by their probability, of each half of the
        data; empty where they were not wanted.
    counts : ndarray of shape (2, K, R), or (2, K, R, T) of T tilt ranges
        The sum of these weights.
    """

    log_likelihood: np.ndarray
    posterior: np.ndarray
    rotation: np.ndarray
    offset_zyx_px: np.ndarray
    sums: np.ndarray
    counts: np.ndarray
