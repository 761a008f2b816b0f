"""Signal-to-noise ratio of single particles of unknown pose, shell by shell.

Every particle is aligned to a known map, turned back, and masked; what two particles share, the
cross terms of all pairs, is signal. Aligned noise shares the map as well. How much is measured by
aligning the same particles to maps of the same spectrum and random phases, and taken off. With it
goes what looks the same from everywhere, the particle's mean over all rotations, so that the figure
is somewhat low; it is so in the same way for all data that are measured alike.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.align_averages import turned
from aitom_disca.alignment.to_reference import align_to_reference
from aitom_disca.geometry.fourier import frequency_grid_zyx
from aitom_disca.geometry.sphere import soft_sphere

_EDGE_PX = 2.0
_FINEST_DEG = 3.0  # alignment then looks no farther than 0.4 rad / 3 degrees, 7.6 shells
_LARGEST_SHIFT_PX = 2.0


def single_particle_ssnr(
    volumes: np.ndarray,
    reference: np.ndarray,
    tilt_range_deg: tuple[float, float],
    radius_px: float,
    *,
    n_chance: int = 4,
    seed: int = 0,
) -> np.ndarray:
    """Spectral signal-to-noise ratio of one particle inside a mask, chance taken off.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Protein bright, the particles near the box centres.
    reference : ndarray of shape (n, n, n)
        The particle as these volumes show it, but for wedge and noise.
    tilt_range_deg : tuple of 2 floats
    radius_px : float
        Of the soft mask.
    n_chance : int
        References with random phases.
    seed : int

    Returns
    -------
    ndarray of shape (n // 2,)
        By shell, in steps of 1 / box; NaN at zero. Signal over all the rest, so that neighbours
        inside the mask count as noise.
    """
    box_px = len(reference)
    mask = soft_sphere(box_px, radius_px, _EDGE_PX)
    whitening = _whitening(volumes)
    volumes = np.array([_filtered(volume, whitening) for volume in volumes])
    rng = np.random.default_rng(seed)
    amplitude = np.abs(np.fft.fftn(reference))
    references = [reference]
    for _ in range(n_chance):
        noise = np.fft.fftn(rng.standard_normal(reference.shape))
        references.append(np.fft.ifftn(amplitude * noise / np.abs(noise)).real)
    found = []
    for one in references:
        known = _filtered(one, whitening) * mask
        poses = align_to_reference(
            volumes * mask,
            known,
            tilt_range_deg,
            largest_shift_px=_LARGEST_SHIFT_PX,
            finest_deg=_FINEST_DEG,
        )
        found.append(
            shared_power(volumes, poses.rotations, poses.shifts_zyx_px, tilt_range_deg, mask)
        )
    share = found[0] - np.mean(found[1:], axis=0) if n_chance else found[0]
    return share / (1 - share)


def shared_power(
    volumes: np.ndarray,
    rotations: Rotation,
    shifts_zyx_px: np.ndarray,
    tilt_range_deg: tuple[float, float],
    mask: np.ndarray,
) -> np.ndarray:
    """Part of the power of volumes, turned back by their poses, that any two of them share.

    Only Fourier coefficients that both measured count.

    Returns
    -------
    ndarray of shape (n // 2,)
        By shell; NaN at zero.
    """
    box_px = volumes.shape[-1]
    total: np.ndarray = np.zeros(mask.shape, complex)
    power, measured = np.zeros(mask.shape), np.zeros(mask.shape)
    for volume, rotation, shift in zip(volumes, rotations, shifts_zyx_px, strict=True):
        back = rotation.inv()
        one = turned(volume, back, -back.apply(shift[::-1])[::-1])
        one = (one - np.average(one, weights=mask)) * mask
        seen = _measured(box_px, rotation, tilt_range_deg)
        spectrum = np.fft.fftn(np.fft.ifftshift(one)) * seen
        total += spectrum
        power += np.abs(spectrum) ** 2
        measured += seen
    cross = np.abs(total) ** 2 - power  # twice the cross terms of all pairs
    pairs = measured**2 - measured
    shell = _shells(box_px)
    sums = [np.bincount(shell.ravel(), x.ravel()) for x in (cross, pairs, power, measured)]
    shared, n_pairs, own, n_own = (x[: box_px // 2] for x in sums)
    share = np.full(box_px // 2, np.nan)
    share[1:] = (shared / n_pairs)[1:] / (own / n_own)[1:]
    return share


def _measured(box_px: int, rotation: Rotation, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """Which coefficients of a volume that was turned back had been inside the wedge."""
    kz, ky, kx = np.broadcast_arrays(*frequency_grid_zyx((box_px,) * 3))
    x, _, z = rotation.apply(np.stack([kx, ky, kz], axis=-1).reshape(-1, 3)).T
    angle_deg = np.rad2deg(np.arctan2(np.where(x < 0, -z, z), np.abs(x)))
    low, high = tilt_range_deg
    return np.asarray((angle_deg >= low) & (angle_deg <= high)).reshape((box_px,) * 3)


def _whitening(volumes: np.ndarray) -> np.ndarray:
    """One over the mean amplitude of each shell."""
    shell = _shells(volumes.shape[-1])
    power = np.mean([np.abs(np.fft.fftn(volume)) ** 2 for volume in volumes], axis=0)
    mean = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    whitening = 1 / np.sqrt(np.maximum(mean, 1e-12 * mean.max()))[shell]
    whitening[0, 0, 0] = 0
    return np.asarray(whitening)


def _filtered(volume: np.ndarray, by_frequency: np.ndarray) -> np.ndarray:
    return np.fft.ifftn(np.fft.fftn(volume) * by_frequency).real.astype(np.float32)


def _shells(box_px: int) -> np.ndarray:
    kz, ky, kx = frequency_grid_zyx((box_px,) * 3)
    return np.rint(np.sqrt(kz**2 + ky**2 + kx**2) * box_px).astype(int)
