"""Fourier space: frequencies and cropping, always with the box centre at n // 2."""

from __future__ import annotations

import numpy as np
from scipy import fft

from aitom_disca.geometry.box import centre_index


def frequency_grid_zyx(
    shape_zyx: tuple[int, ...], *, half: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies (cycles per voxel) that broadcast to a volume's transform, zero first.

    Parameters
    ----------
    shape_zyx : tuple of 3 int
    half : bool
        For ``rfftn``, whose last axis holds non-negative frequencies only.
    """
    nz, ny, nx = shape_zyx
    kx = fft.rfftfreq(nx) if half else fft.fftfreq(nx)
    return fft.fftfreq(nz)[:, None, None], fft.fftfreq(ny)[:, None], kx


def fourier_crop(volumes: np.ndarray, box_px: int) -> np.ndarray:
    """Resample cubic volumes to fewer voxels by cutting their Fourier transform.

    The voxel at ``n // 2`` stays at ``box_px // 2``; values keep their scale.

    Parameters
    ----------
    volumes : ndarray of shape (..., n, n, n)
        Axes z, y, x.
    box_px : int
        New edge, at most n.

    Returns
    -------
    ndarray of float32, shape (..., box_px, box_px, box_px)
        The voxel size grows by ``n / box_px``.

    Raises
    ------
    ValueError
        If ``box_px`` is larger than the volumes.
    """
    n = volumes.shape[-1]
    if not 0 < box_px <= n:
        raise ValueError(f"box_px must be between 1 and {n}, the edge of the volumes; got {box_px}")
    if box_px == n:
        return np.asarray(volumes, np.float32)
    axes = (-3, -2, -1)
    spectrum = fft.fftshift(fft.fftn(fft.ifftshift(volumes, axes), axes=axes), axes)
    start = centre_index(n) - centre_index(box_px)
    cut = (..., *(slice(start, start + box_px),) * 3)
    kept = spectrum[cut]
    if box_px % 2 == 0:  # the planes of frequency -1/2 have no partner
        kept = _without_nyquist(kept)
    cropped = fft.fftshift(fft.ifftn(fft.ifftshift(kept, axes), axes=axes).real, axes)
    return (cropped * (box_px / n) ** 3).astype(np.float32)


def _without_nyquist(spectrum: np.ndarray) -> np.ndarray:
    """Zero the planes of frequency -1/2, so that the volume is exactly band-limited."""
    spectrum = spectrum.copy()
    spectrum[..., 0, :, :] = 0
    spectrum[..., :, 0, :] = 0
    spectrum[..., :, :, 0] = 0
    return spectrum
