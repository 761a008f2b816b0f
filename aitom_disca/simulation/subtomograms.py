"""Simulated subtomograms with known truth.

Noise is white before the missing wedge. The signal-to-noise ratio is
``var(signal) / var(noise)`` over the box, both after the wedge. No CTF.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import apply_wedge, random_rotations
from aitom_disca.progress import track
from aitom_disca.simulation.phantoms import Template

NOISE = -1  # label of a subtomogram without a particle


class SimulatedSubtomograms(NamedTuple):
    """Subtomograms and their truth.

    Parameters
    ----------
    volumes : ndarray of float32, shape (N, z, y, x)
        Zero mean and unit variance each, unless gains and offsets were asked for.
    labels : ndarray of int, shape (N,)
        Index of the template; -1 for noise alone.
    rotations : Rotation
        N rotations A of (x, y, z) vectors, ``r_tomogram = A @ r_reference``.
    shifts_zyx_px : ndarray of shape (N, 3)
        Applied after the rotation.
    """

    volumes: np.ndarray
    labels: np.ndarray
    rotations: Rotation
    shifts_zyx_px: np.ndarray


def simulate_subtomograms(
    templates: Sequence[Template],
    per_class: int | Sequence[int],
    box_px: int,
    voxel_size_angstrom: float,
    snr: float,
    tilt_range_deg: tuple[float, float] = (-60.0, 60.0),
    shift_max_px: float = 2.0,
    seed: int = 0,
    *,
    n_noise: int = 0,
    gain_spread: float = 0.0,
    offset_spread: float = 0.0,
) -> SimulatedSubtomograms:
    """Simulate subtomograms of every template, in random order.

    Parameters
    ----------
    templates : sequence of Phantom or MapTemplate
    per_class : int or sequence of int
        Subtomograms of every template, or of each of them.
    box_px : int
        Edge of the boxes; the centre is voxel ``box_px // 2``.
    voxel_size_angstrom : float
    snr : float
        ``inf`` for no noise.
    tilt_range_deg : tuple of 2 floats
        Smallest and largest measured tilt.
    shift_max_px : float
        Largest uniform random shift along each axis.
    seed : int
    n_noise : int
        Subtomograms of wedge-filtered noise alone (false picks), in addition; label -1.
    gain_spread : float
        Contrast as a nuisance, 0 to below 1: the signal is multiplied by a uniform random gain
        between ``1 - gain_spread`` and ``1 + gain_spread`` before noise is added (the SNR holds for
        a gain of 1), and the standardised whole by the same gain once more.
    offset_spread : float
        Brightness as a nuisance: a uniform random number between ``-offset_spread`` and
        ``offset_spread`` is added at the end.

    Raises
    ------
    InputError
        If there are no templates or a number is out of range.
    """
    counts = _counts(templates, per_class)
    check_numbers(templates, sum(counts), voxel_size_angstrom, snr)
    _check_nuisance(n_noise, gain_spread, offset_spread)
    rng = np.random.default_rng(seed)
    classes = [*np.repeat(np.arange(len(templates)), counts), *[NOISE] * n_noise]
    labels = rng.permutation(np.array(classes, int))
    rotations = random_rotations(len(labels), rng)
    shifts = rng.uniform(-shift_max_px, shift_max_px, (len(labels), 3))
    nuisance = np.random.default_rng((seed, 1))  # its own, so that all else stays as without it
    gains = nuisance.uniform(1 - gain_spread, 1 + gain_spread, len(labels))
    offsets = nuisance.uniform(-offset_spread, offset_spread, len(labels))
    volumes = np.empty((len(labels), box_px, box_px, box_px), np.float32)
    for i in track(range(len(labels)), "simulating subtomograms"):
        if labels[i] == NOISE:
            volume = wedge_filtered_noise(volumes.shape[1:], tilt_range_deg, rng, 1.0)
        else:
            template = templates[labels[i]]
            drawn = template.density(box_px, voxel_size_angstrom, rotations[i], shifts[i])
            signal = apply_wedge(drawn, tilt_range_deg)
            noise = wedge_filtered_noise(drawn.shape, tilt_range_deg, rng, signal.var() / snr)
            volume = signal * np.float32(gains[i]) + noise
        volumes[i] = standardised(volume) * gains[i] + offsets[i]
    return SimulatedSubtomograms(volumes, labels, rotations, shifts)


def _counts(templates: Sequence[Template], per_class: int | Sequence[int]) -> list[int]:
    """How many of each template."""
    if isinstance(per_class, int | np.integer):
        return [int(per_class)] * len(templates)
    if len(per_class) != len(templates) or min(per_class, default=0) < 0:
        raise InputError(
            f"per_class must be one number, or one from 0 for each of the {len(templates)} "
            f"templates; got {list(per_class)}."
        )
    return [int(n) for n in per_class]


def _check_nuisance(n_noise: int, gain_spread: float, offset_spread: float) -> None:
    if n_noise < 0 or offset_spread < 0 or not 0 <= gain_spread < 1:
        raise InputError(
            "n_noise and offset_spread must not be negative, and gain_spread must be from 0 to "
            f"below 1; got {n_noise}, {offset_spread:g} and {gain_spread:g}."
        )


def check_numbers(templates: Sequence[Template], count: int, voxel_size: float, snr: float) -> None:
    """Refuse to simulate without templates, or with numbers that are not positive.

    Raises
    ------
    InputError
    """
    if not len(templates):
        raise InputError("at least one template is needed to simulate; got none.")
    for name, value in (("number of particles", count), ("voxel size", voxel_size), ("SNR", snr)):
        if not value > 0:
            raise InputError(f"the {name} must be positive; got {value:g}.")


def wedge_filtered_noise(
    shape: tuple[int, ...],
    tilt_range_deg: tuple[float, float],
    rng: np.random.Generator,
    variance: float,
) -> np.ndarray:
    """Wedge-filtered white noise of a given variance."""
    if variance == 0:
        return np.zeros(shape, np.float32)
    noise = apply_wedge(rng.standard_normal(shape, np.float32), tilt_range_deg)
    return noise * np.float32(np.sqrt(variance) / noise.std())


def standardised(volume: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance."""
    return ((volume - volume.mean()) / volume.std()).astype(np.float32)
