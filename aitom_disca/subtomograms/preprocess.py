"""Make subtomograms comparable: normalise, smooth, crop."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

from aitom_disca.errors import InputError
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.fourier import frequency_grid_zyx
from aitom_disca.geometry.sphere import soft_sphere

_AXES = (-3, -2, -1)
_BATCH_VOXELS = 2**24  # bounds the memory of a transform: about 0.2 GB
_FLAT = 1e-6  # a spread this small beside the values is rounding


def normalise(volumes: np.ndarray) -> np.ndarray:
    """Give every volume zero mean and unit variance.

    Parameters
    ----------
    volumes : ndarray of shape (..., z, y, x)

    Returns
    -------
    ndarray of float32, same shape

    Raises
    ------
    InputError
        If a volume is constant.
    """
    volumes = np.asarray(volumes)
    flat = is_constant(volumes)
    if flat.any():
        raise InputError(
            f"{int(flat.sum())} of {flat.size} subtomograms are constant and cannot be normalised; "
            "leave them out."
        )
    centred = volumes - volumes.mean(_AXES, dtype=float, keepdims=True)
    centred /= centred.std(_AXES, keepdims=True)
    return centred.astype(np.float32)


def is_constant(volumes: np.ndarray) -> np.ndarray:
    """Which volumes (..., z, y, x) hold one value only, but for rounding: bool, shape (...)."""
    spread = np.std(volumes, axis=_AXES, dtype=float)
    return spread <= _FLAT * np.abs(volumes).max(axis=_AXES)


def low_pass(volumes: np.ndarray, sigma_px: float) -> np.ndarray:
    """Smooth volumes with a Gaussian, in Fourier space.

    The transfer function is ``exp(-2 pi^2 sigma^2 k^2)``, k in cycles per voxel; the box is
    taken as periodic.

    Parameters
    ----------
    volumes : ndarray of shape (..., z, y, x)
    sigma_px : float
        Sigma in voxels, real space; 0 changes nothing.

    Returns
    -------
    ndarray of float32, same shape

    Raises
    ------
    InputError
        If ``sigma_px`` is negative or not finite.
    """
    if not (math.isfinite(sigma_px) and sigma_px >= 0):
        raise InputError(f"the low-pass sigma must be 0 or more voxels; got {sigma_px}.")
    volumes = np.asarray(volumes, np.float32)
    if sigma_px == 0:
        return volumes.copy()
    shape = volumes.shape[-3:]
    k_squared = sum(k**2 for k in frequency_grid_zyx(shape, half=True))
    transfer = np.exp(-2 * (np.pi * sigma_px) ** 2 * k_squared).astype(np.float32)
    stack = volumes.reshape(-1, *shape)
    smooth = np.empty_like(stack)
    step = max(1, _BATCH_VOXELS // math.prod(shape))
    for start in range(0, len(stack), step):
        part = slice(start, start + step)
        spectrum = fft.rfftn(stack[part], axes=_AXES)
        spectrum *= transfer
        smooth[part] = fft.irfftn(spectrum, s=shape, axes=_AXES)
    return smooth.reshape(volumes.shape)


def in_spheres(
    volumes: np.ndarray, radius_px: float, offset_zyx_px: np.ndarray | None = None
) -> np.ndarray:
    """Keep what lies in a soft sphere round each particle; beyond it is the mean of what was there.

    That mean is set to 0, so that a particle denser than its surroundings stays so.

    Parameters
    ----------
    volumes : ndarray of shape (n, z, y, x)
        Cubic.
    radius_px : float
        Of the spheres; infinite: nothing is changed.
    offset_zyx_px : ndarray of shape (n, 3), optional
        Where the particles lie, from the box centre ``n // 2``; there, unless given.

    Returns
    -------
    ndarray of float32, same shape
    """
    volumes = np.asarray(volumes, np.float32)
    if np.isinf(radius_px):
        return volumes
    box_px = volumes.shape[-1]
    offsets = np.zeros((len(volumes), 3)) if offset_zyx_px is None else offset_zyx_px
    inside = np.empty_like(volumes)
    step = max(1, _BATCH_VOXELS // box_px**3)
    for start in range(0, len(volumes), step):
        part = slice(start, start + step)
        mask = soft_sphere(box_px, radius_px, mask_edge_px(box_px), "gaussian", offsets[part])
        weight = np.maximum((1 - mask).sum(_AXES, keepdims=True), 1e-6)
        beyond = ((1 - mask) * volumes[part]).sum(_AXES, keepdims=True) / weight
        inside[part] = mask * (volumes[part] - beyond)
    return inside


def mask_edge_px(box_px: int) -> float:
    """Sigma of the edge of a mask: a sixteenth of the box, at least one voxel."""
    return max(1.0, box_px / 16)


def crop(volumes: np.ndarray, box_px: int) -> np.ndarray:
    """Cut the middle out of cubic volumes: the voxel at n // 2 comes to ``box_px // 2``.

    Parameters
    ----------
    volumes : ndarray of shape (..., n, n, n)
    box_px : int
        New edge, at most n.

    Returns
    -------
    ndarray of shape (..., box_px, box_px, box_px)
        A view.

    Raises
    ------
    InputError
        If the box is not between 1 and n voxels.
    """
    n = min(volumes.shape[-3:])
    if not 1 <= box_px <= n:
        raise InputError(
            f"a box of {box_px} voxels cannot be cut out of volumes of {n}; "
            f"choose one between 1 and {n}."
        )
    z, y, x = (centre_index(edge) - centre_index(box_px) for edge in volumes.shape[-3:])
    return volumes[..., z : z + box_px, y : y + box_px, x : x + box_px]
