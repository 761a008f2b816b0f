"""Simulated subtomograms and tomograms with known truth.

Noise is white before the missing wedge. The signal-to-noise ratio is
``var(signal) / var(noise)`` over the box, both after the wedge. No CTF.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import (
    apply_wedge,
    box_slices,
    euler_zyz_deg_from_rotation,
    random_rotations,
)
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.progress import track
from aitom_disca.simulation.phantoms import Template

NOISE = -1  # label of a subtomogram without a particle
_CANDIDATES = 512  # places tried at once
_ROUNDS = 60


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


@dataclass(frozen=True)
class SimulatedTomogram:
    """A tomogram and its truth.

    Parameters
    ----------
    volume : ndarray of float32, shape (z, y, x)
        Signal and noise, zero mean and unit variance, protein bright.
    clean : ndarray of float32, shape (z, y, x)
        The signal alone, after the wedge, on the scale of ``volume``.
    truth : ParticleSet
        Centres, angles and true classes (``cluster``: index in ``class_names``).
    class_names : tuple of str
    """

    volume: np.ndarray
    clean: np.ndarray
    truth: ParticleSet
    class_names: tuple[str, ...]

    @property
    def voxel_size_angstrom(self) -> float:
        """Edge of a voxel."""
        return next(iter(self.truth.tomograms.values())).voxel_size_angstrom


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
    _check(templates, sum(counts), voxel_size_angstrom, snr)
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
            volume = _noise(volumes.shape[1:], tilt_range_deg, rng, 1.0)
        else:
            template = templates[labels[i]]
            drawn = template.density(box_px, voxel_size_angstrom, rotations[i], shifts[i])
            signal = apply_wedge(drawn, tilt_range_deg)
            noise = _noise(drawn.shape, tilt_range_deg, rng, signal.var() / snr)
            volume = signal * np.float32(gains[i]) + noise
        volumes[i] = _standardised(volume) * gains[i] + offsets[i]
    return SimulatedSubtomograms(volumes, labels, rotations, shifts)


def simulate_tomogram(
    templates: Sequence[Template],
    n_particles: int,
    shape_zyx: tuple[int, int, int],
    voxel_size_angstrom: float,
    snr: float,
    tilt_range_deg: tuple[float, float] = (-60.0, 60.0),
    seed: int = 0,
    *,
    gap_px: float = 1.0,
    border_px: float = 2.0,
    name: str = "simulated",
) -> SimulatedTomogram:
    """Simulate a tomogram with particles of every template in turn, which do not overlap.

    The signal variance of the SNR is the mean over cubes round the particles.

    Parameters
    ----------
    templates : sequence of Phantom or MapTemplate
    n_particles : int
        Particles in all.
    shape_zyx : tuple of 3 int
    voxel_size_angstrom : float
    snr : float
        ``inf`` for no noise.
    tilt_range_deg : tuple of 2 floats
        Smallest and largest measured tilt.
    seed : int
    gap_px : float
        Smallest distance between the spheres that hold two particles.
    border_px : float
        Smallest distance of such a sphere from the faces of the tomogram.
    name : str
        The tomogram's name in the particle set.

    Raises
    ------
    InputError
        If there are no templates, a number is out of range, or the particles do not fit.
    """
    _check(templates, n_particles, voxel_size_angstrom, snr)
    nz, ny, nx = shape_zyx
    rng = np.random.default_rng(seed)
    labels = np.arange(n_particles) % len(templates)
    reach = np.array([t.radius_angstrom for t in templates])[labels] / voxel_size_angstrom
    centres = _place(reach, shape_zyx, gap_px, border_px, rng)
    rotations = random_rotations(n_particles, rng)
    clean = np.zeros(shape_zyx, np.float32)
    cubes = []
    for i in track(range(n_particles), "simulating particles"):
        box_px = 2 * int(np.ceil(reach[i])) + 3
        cubes.append(box_slices(centres[i], box_px))
        shift = centres[i] - np.floor(centres[i] + 0.5)
        drawn = templates[labels[i]].density(box_px, voxel_size_angstrom, rotations[i], shift)
        _add(clean, drawn, cubes[i])
    clean = apply_wedge(clean, tilt_range_deg)
    variance = np.mean([clean[_inside(cube, shape_zyx)].var() for cube in cubes])
    volume = clean + _noise(shape_zyx, tilt_range_deg, rng, variance / snr)
    scale = volume.std()
    info = TomogramInfo(name, voxel_size_angstrom, (nz, ny, nx), tilt_range_deg)
    truth = ParticleSet(
        tomogram_name=np.full(n_particles, name),
        center_zyx_px=centres,
        euler_zyz_deg=euler_zyz_deg_from_rotation(rotations),
        cluster=labels,
        tomograms={name: info},
    )
    names = tuple(template.name for template in templates)
    return SimulatedTomogram(_standardised(volume), clean / scale, truth, names)


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


def _check(templates: Sequence[Template], count: int, voxel_size: float, snr: float) -> None:
    if not len(templates):
        raise InputError("at least one template is needed to simulate; got none.")
    for name, value in (("number of particles", count), ("voxel size", voxel_size), ("SNR", snr)):
        if not value > 0:
            raise InputError(f"the {name} must be positive; got {value:g}.")


def _noise(
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


def _standardised(volume: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance."""
    return ((volume - volume.mean()) / volume.std()).astype(np.float32)


def _place(
    reach: np.ndarray,
    shape_zyx: tuple[int, int, int],
    gap_px: float,
    border_px: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Random centres (N, 3) of spheres that do not meet; the largest go first, as they must."""
    size = np.asarray(shape_zyx, float)
    centres = np.empty((len(reach), 3))
    order = np.argsort(-reach, kind="stable")
    for n_placed, i in enumerate(order):
        placed = order[:n_placed]
        low, high = reach[i] + border_px, size - 1 - reach[i] - border_px
        if (high < low).any():
            raise InputError(
                f"a particle of radius {reach[i]:.1f} voxels does not fit into a tomogram of "
                f"{tuple(shape_zyx)} voxels (z, y, x); enlarge the tomogram."
            )
        for _ in range(_ROUNDS):
            candidates = rng.uniform(low, high, (_CANDIDATES, 3))
            distances = np.linalg.norm(candidates[:, None] - centres[placed], axis=2)
            free = (distances >= reach[i] + reach[placed] + gap_px).all(axis=1)
            if free.any():
                centres[i] = candidates[np.argmax(free)]
                break
        else:
            raise InputError(
                f"only {n_placed} of {len(reach)} particles fit into a tomogram of "
                f"{tuple(shape_zyx)} voxels (z, y, x); enlarge it or ask for fewer."
            )
    return centres


def _inside(cube: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of a cube that lies inside the volume."""
    return tuple(slice(max(s.start, 0), min(s.stop, n)) for s, n in zip(cube, shape, strict=True))


def _add(volume: np.ndarray, drawn: np.ndarray, cube: tuple[slice, ...]) -> None:
    """Add a box to the volume in place, without what lies outside."""
    inside = _inside(cube, volume.shape)
    part = tuple(
        slice(i.start - c.start, i.stop - c.start) for i, c in zip(inside, cube, strict=True)
    )
    volume[inside] += drawn[part]
