"""Poses refined one subtomogram at a time, round what is known of each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients, centred_fft
from aitom_disca.alignment.interpolation import trilinear
from aitom_disca.alignment.slices import padded_for_slices, turned_frequencies
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.config.alignment import TO_REFERENCE

_VALUES_AT_ONCE = 2**22  # bounds the memory: 32 MB of slices a thread
_CROSS = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])


def slices_at(volume: np.ndarray, coefficients: Coefficients, rotations: Rotation) -> np.ndarray:
    """Fourier slices of a volume at any rotations; slow beside `Slicer`, which knows its own.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
    coefficients : Coefficients
    rotations : Rotation of m rotations A
        The turned volume is ``volume(A^-1 r)``.

    Returns
    -------
    ndarray of complex64, shape (m, n_coefficients)
    """
    return _slices(_spectrum(volume), coefficients, rotations)


def refine_poses(
    values: np.ndarray,
    coefficients: Coefficients,
    reference: np.ndarray,
    rotations: Rotation,
    offsets_zyx_px: np.ndarray,
    steps: Iterable[tuple[float, float]] = ((8.0, 0.8), (4.0, 0.5), (2.0, 0.3), (1.0, 0.15)),
    wedge: np.ndarray | None = None,
    passes: int = TO_REFERENCE.passes,
) -> tuple[Rotation, np.ndarray, np.ndarray]:
    """Climb to the pose of highest constrained correlation with a reference.

    Each step is taken several times, until the pose stays; 7 rotations and 7 shifts round
    every subtomogram's own are tried.

    Parameters
    ----------
    values : ndarray of complex64, shape (n, n_coefficients)
    coefficients : Coefficients
    reference : ndarray of shape (n, n, n)
    rotations : Rotation of n rotations
    offsets_zyx_px : ndarray of shape (n, 3)
        Where each particle lies, from the box centre.
    steps : iterable of (degrees, voxels)
        Of rotation and shift, first to last.
    wedge : ndarray of int, shape (n,), optional
        Which of the tilt ranges of the coefficients each has, where there are several.
    passes : int
        Each step is taken at most so often.

    Returns
    -------
    rotations : Rotation of n rotations
    offsets_zyx_px : ndarray of shape (n, 3)
    score : ndarray of shape (n,)
        Correlation over the coefficients that were measured, -1 to 1.
    """
    spectrum = _spectrum(reference)
    block = max(1, _VALUES_AT_ONCE // (len(_CROSS) * len(coefficients)))
    pieces = [slice(start, start + block) for start in range(0, len(values), block)]
    steps = list(steps)

    def refined(rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen, turn, offset = values[rows], rotations[rows].as_quat(), offsets_zyx_px[rows].copy()
        score = np.zeros(len(seen))
        measured = coefficients.measured_by(None if wedge is None else wedge[rows])
        for step in steps:
            moving = np.arange(len(seen))
            for _ in range(passes):
                turn[moving], offset[moving], score[moving], moved = _step(
                    seen[moving],
                    coefficients,
                    spectrum,
                    turn[moving],
                    offset[moving],
                    step,
                    None if measured is None else measured[moving],
                )
                moving = moving[moved]  # what stayed would stay again
                if not len(moving):
                    break
        return turn, offset, score

    quaternions, offset, score = (
        np.concatenate(part) for part in zip(*on_all_cores(refined, pieces), strict=True)
    )
    return Rotation.from_quat(quaternions), offset, score


def correlations(
    values: np.ndarray,
    coefficients: Coefficients,
    reference: np.ndarray,
    rotations: Rotation,
    offsets_zyx_px: np.ndarray,
    wedge: np.ndarray | None = None,
) -> np.ndarray:
    """Constrained correlation (n,) of subtomograms with a reference in given poses, -1 to 1.

    Parameters as in `refine_poses`.
    """
    slices = slices_at(reference, coefficients, rotations)
    if (measured := coefficients.measured_by(wedge)) is not None:
        slices *= measured
    seen = values * coefficients.shift_phases(offsets_zyx_px)
    norm = np.linalg.norm(slices, axis=1) * np.linalg.norm(seen, axis=1)
    return np.asarray((slices.conj() * seen).real.sum(axis=1) / np.maximum(norm, 1e-12))


def _step(
    values: np.ndarray,
    coefficients: Coefficients,
    spectrum: np.ndarray,
    quaternions: np.ndarray,
    offsets_zyx_px: np.ndarray,
    step: tuple[float, float],
    measured: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The best of the poses near each: quaternion, offset, score, and whether it is another."""
    step_deg, step_px = step
    n, n_near = len(values), len(_CROSS)
    small = Rotation.from_rotvec(np.deg2rad(step_deg) * np.tile(_CROSS, (n, 1)))
    near = Rotation.from_quat(np.repeat(quaternions, n_near, axis=0)) * small
    slices = _slices(spectrum, coefficients, near).reshape(n, n_near, -1)
    if measured is not None:
        slices *= measured[:, None]
    slices /= np.maximum(np.linalg.norm(slices, axis=2, keepdims=True), 1e-12)
    at_offset = values * coefficients.shift_phases(offsets_zyx_px)
    shifts = step_px * _CROSS
    shifted = at_offset[:, None] * coefficients.shift_phases(shifts)
    shifted /= np.maximum(np.linalg.norm(values, axis=1), 1e-12)[:, None, None]
    score = (slices.conj() @ shifted.transpose(0, 2, 1)).real.reshape(n, -1)
    best = score.argmax(axis=1)
    chosen = near.as_quat()[np.arange(n) * n_near + best // len(shifts)]
    offsets = offsets_zyx_px + shifts[best % len(shifts)]
    return chosen, offsets, score[np.arange(n), best], best > 0


def _spectrum(volume: np.ndarray) -> np.ndarray:
    return centred_fft(padded_for_slices(volume)).astype(np.complex64)


def _slices(spectrum: np.ndarray, coefficients: Coefficients, rotations: Rotation) -> np.ndarray:
    places = turned_frequencies(coefficients, rotations).reshape(-1, 3)
    slices = trilinear(spectrum, places).reshape(len(rotations), len(coefficients))
    return slices if coefficients.amplitude is None else slices * coefficients.amplitude
