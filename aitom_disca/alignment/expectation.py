"""How likely every subtomogram is under every reference, rotation and shift; what that adds up to.

The expectation step of maximum-likelihood classification, as matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aitom_disca.alignment.coefficients import Coefficients, Particles
from aitom_disca.alignment.exhaustive_search import real_view
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.computing.chosen_device import accelerator
from aitom_disca.config.sorting import SORTING


def whitened(
    values: np.ndarray, shell: np.ndarray, power: np.ndarray, measured: np.ndarray | None = None
) -> np.ndarray:
    """Divide coefficients (n, n_coefficients) by the amplitude of their shell.

    Afterwards every subtomogram has the same norm, for so many coefficients as it measured
    (``measured``, all unless given), so that its contrast does not count.
    """
    flat = values / np.sqrt(power / 2)[shell]
    n_measured = len(shell) if measured is None else measured.sum(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True) / np.sqrt(2 * n_measured)
    return (flat / np.maximum(norm, 1e-12)).astype(np.complex64)


def shell_power(
    values: np.ndarray, shell: np.ndarray, measured: np.ndarray | None = None
) -> np.ndarray:
    """Mean squared amplitude by shell, shape (1 + largest shell,); 1 where there is none.

    Of the coefficients that were measured (``measured``, of the shape of ``values``; all unless
    given).
    """
    share = None if measured is None else measured.mean(axis=0)
    members = np.maximum(np.bincount(shell, share), 1 if share is None else 1e-12)
    power = np.bincount(shell, (np.abs(values) ** 2).mean(axis=0)) / members
    return np.where(power > 0, power, 1.0)


def expect(
    particles: Particles,
    references: np.ndarray,
    log_prior: np.ndarray,
    shifts_zyx_px: np.ndarray,
    *,
    add_up: bool = True,
    by_half: bool = True,
    compared: np.ndarray | None = None,
    shell_weight: np.ndarray | None = None,
    negligible: float = SORTING.rounds.negligible,
) -> Expectation:
    """Weigh every reference, rotation and shift for every subtomogram.

    With noise of unit variance the log likelihood ratio of subtomogram x and reference slice a
    to pure noise is ``Re<x, a> - |a|^2 / 2``, over the coefficients that were measured, where a
    shell may count less.

    Parameters
    ----------
    particles : Particles
    references : ndarray of complex64, shape (K, R, n_coefficients)
        Slices of each reference, in whitened units.
    log_prior : ndarray of shape (K,)
    shifts_zyx_px : ndarray of shape (S, 3)
        Those tried, added to each particle's offset.
    add_up : bool
        Whether ``sums`` and ``counts`` are wanted; they are empty otherwise.
    by_half : bool
        Whether each half of the data is added up by itself; else their first axis is 1.
    compared : ndarray of bool, shape (n, K), optional
        Which references each particle is compared with, at least one; with all, unless given.
    shell_weight : ndarray of shape (K, at least 1 + largest shell), optional
        How much the log likelihood of each shell counts for each reference, 0 to 1; 1, unless
        given. See `equal_detail`.
    negligible : float
        Poses whose log likelihood is this much below the best are left out.

    References
    ----------
    .. [1] Scheres et al. (2009), Structure 17, 1563: maximum likelihood for subtomograms.
    """
    n_classes, n_rotations, _ = references.shape
    slices, prior = _terms(particles.coefficients, references, shell_weight)
    prior += log_prior[:, None, None] - np.log(n_rotations * len(shifts_zyx_px))
    if not by_half:
        particles = replace(particles, half=np.zeros(len(particles), int))
    if compared is None:
        compared = np.ones((len(particles), n_classes), bool)
    given = (particles, slices, prior, shifts_zyx_px, add_up * (1 + by_half), compared)
    if (device := accelerator()) is None:
        from aitom_disca.alignment.expectation_on_processor import expect_on_processor

        return expect_on_processor(*given, negligible)
    from aitom_disca.alignment.expectation_on_device import expect_on_device

    return expect_on_device(device, *given, negligible=negligible)


def _terms(
    coefficients: Coefficients, references: np.ndarray, shell_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What a log likelihood is made of: ``<x, slice> + prior`` is ``Re<x, a> - |a|^2 / 2``.

    Returns
    -------
    slices : ndarray of float32, shape (K, R, 2 n_coefficients)
        Real and imaginary part in turn, as complex numbers lie in memory.
    prior : ndarray of float32, shape (K, T, R)
        For each of T tilt ranges, which leave each its own part of a slice.
    """
    slices = real_view(references)
    weighted = slices
    if shell_weight is not None:
        weight = shell_weight[:, coefficients.shell].astype(np.float32)
        weighted = slices * np.repeat(weight, 2, axis=1)[:, None]
    if coefficients.measured is None:
        energy = np.einsum("krc,krc->kr", slices, weighted)[:, None]
    else:
        seen = np.repeat(coefficients.measured, 2, axis=1).astype(np.float32)
        energy = seen @ (slices * weighted).transpose(0, 2, 1)
    return weighted, (energy / -2).astype(np.float32)


def log_likelihood_held_out(
    particles: Particles,
    references_by_half: Sequence[np.ndarray],
    shifts_zyx_px: np.ndarray,
    negligible: float = SORTING.rounds.negligible,
) -> np.ndarray:
    """Log likelihood (n,) where each half of the subtomograms meets the average of the other.

    A subtomogram that is part of an average fits it better for that alone.

    Parameters
    ----------
    particles : Particles
    references_by_half : two ndarrays of complex64, shape (1, R, n_coefficients)
        Slices of the average of each half.
    shifts_zyx_px : ndarray of shape (S, 3)
    negligible : float
        As in `expect`.
    """
    found = np.zeros(len(particles))
    for half in (0, 1):
        rows = np.flatnonzero(particles.half == half)
        reference = references_by_half[1 - half]
        met = expect(
            particles.select(rows),
            reference,
            np.zeros(1),
            shifts_zyx_px,
            add_up=False,
            negligible=negligible,
        )
        found[rows] = met.log_likelihood
    return found
