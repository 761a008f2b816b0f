"""Simulated tomograms with known truth: particles that do not overlap, a missing wedge, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
from aitom_disca.simulation.subtomograms import check_numbers, standardised, wedge_filtered_noise

_CANDIDATES = 512  # places tried at once
_ROUNDS = 60


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
    check_numbers(templates, n_particles, voxel_size_angstrom, snr)
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
    volume = clean + wedge_filtered_noise(shape_zyx, tilt_range_deg, rng, variance / snr)
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
    return SimulatedTomogram(standardised(volume), clean / scale, truth, names)


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
