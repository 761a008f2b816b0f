"""The expectation step, one subtomogram after the other: what the fast ones must agree with."""

from __future__ import annotations

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation_result import Expectation

NEGLIGIBLE = 5.0  # poses whose log likelihood is this much below the best are left out


def plain_expect(
    particles: Particles,
    references: np.ndarray,
    log_prior: np.ndarray,
    shifts_zyx_px: np.ndarray,
    *,
    by_half: bool = True,
    compared: np.ndarray | None = None,
    shell_weight: np.ndarray | None = None,
) -> Expectation:
    """As `aitom_disca.alignment.expectation.expect`; sums are always wanted."""
    coefficients, n = particles.coefficients, len(particles)
    k, r, c = references.shape
    weight = np.ones((k, c)) if shell_weight is None else shell_weight[:, coefficients.shell]
    measured = np.ones((n, c)) if particles.measured is None else particles.measured
    ranges = 1 if particles.wedge is None else particles.wedge.max() + 1
    found = Expectation(
        np.zeros(n),
        np.zeros((n, k)),
        np.zeros(n, int),
        np.zeros((n, 3)),
        np.zeros((1 + by_half, k, r, c), complex),
        np.zeros((1 + by_half, k, r, ranges)),
    )
    for i in range(n):
        at = particles.offset_zyx_px[i] + shifts_zyx_px
        moved = particles.values[i] * coefficients.shift_phases(at)
        joint = np.einsum("sc,krc->ksr", moved, references.conj() * weight[:, None]).real
        energy = (np.abs(references) ** 2 * weight[:, None]) @ measured[i]
        joint += (log_prior[:, None] - energy / 2)[:, None] - np.log(r * len(at))
        if compared is not None:
            joint[~compared[i]] = -np.inf
        top = joint.max()
        share = np.where(joint > top - NEGLIGIBLE, np.exp(joint - top), 0)
        found.log_likelihood[i] = top + np.log(share.sum())
        share /= share.sum()
        found.posterior[i] = share.sum(axis=(1, 2))
        _, shift, found.rotation[i] = np.unravel_index(joint.argmax(), joint.shape)
        found.offset_zyx_px[i] = at[shift]
        half = particles.half[i] if by_half else 0
        found.sums[half] += np.einsum("ksr,sc->krc", share, moved)
        own = 0 if particles.wedge is None else particles.wedge[i]
        found.counts[half, :, :, own] += share.sum(axis=1)
    return found
