"""Project a volume along the beam at any tilt, and back, by sparse matrices.

The tilt axis is y, so that every plane y of the volume projects alike: one matrix from a plane
(z, x) to a line of the detector does for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import fft
from scipy.sparse import csr_array

from aitom_disca.geometry import centre_index
from aitom_disca.progress import track


def projection_matrix(shape_zx: tuple[int, int], tilt_deg: float, *, copies: int = 0) -> csr_array:
    """Matrix of shape (x, z * x) from a plane (z, x) to a line of a detector as wide as the plane.

    A voxel at (x, z) from the centre falls on ``u = x cos(tilt) + z sin(tilt)``, shared by the two
    pixels next to it in proportion.

    Parameters
    ----------
    shape_zx : tuple of 2 int
    tilt_deg : float
    copies : int
        Of the plane on either side along x: a tilted detector sees more of the sample than the
        reconstruction holds.
    """
    nz, nx = shape_zx
    z = np.arange(nz)[:, None] - centre_index(nz)
    x = np.arange(nx)[None, :] - centre_index(nx)
    cosine, sine = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    voxel = np.arange(nz * nx)
    rows, columns, weights = [], [], []
    for copy in range(-copies, copies + 1):
        u = ((x + copy * nx) * cosine + z * sine).ravel() + centre_index(nx)
        low = np.floor(u).astype(int)
        for pixel, weight in ((low, 1 - (u - low)), (low + 1, u - low)):
            seen = (pixel >= 0) & (pixel < nx)
            rows.append(pixel[seen])
            columns.append(voxel[seen])
            weights.append(weight[seen].astype(np.float32))
    parts = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(parts, shape=(nx, nz * nx))


def project(volume_zyx: np.ndarray, tilts_deg: Iterable[float], *, copies: int = 0) -> np.ndarray:
    """Projections of a volume, summed over voxels along the beam.

    Parameters
    ----------
    volume_zyx : ndarray of shape (z, y, x)
    tilts_deg : iterable of T floats
    copies : int
        See `projection_matrix`.

    Returns
    -------
    ndarray of float32, shape (T, y, x)
    """
    nz, ny, nx = volume_zyx.shape
    planes = np.asarray(volume_zyx, np.float32).transpose(0, 2, 1).reshape(nz * nx, ny)
    tilts = track(list(tilts_deg), "projecting")
    images = [(projection_matrix((nz, nx), t, copies=copies) @ planes).T for t in tilts]
    return np.stack(images)


def back_project(images_yx: np.ndarray, tilts_deg: Iterable[float], depth_px: int) -> np.ndarray:
    """Weighted back-projection: a ramp filter across the tilt axis, then the transpose.

    Parameters
    ----------
    images_yx : ndarray of shape (T, y, x)
    tilts_deg : iterable of T floats
    depth_px : int
        Voxels along the beam.

    Returns
    -------
    ndarray of float32, shape (depth_px, y, x)
        On the scale of the density that was projected, as far as the tilts sample it.
    """
    tilts = list(tilts_deg)
    n_tilts, ny, nx = images_yx.shape
    planes = np.zeros((depth_px * nx, ny), np.float32)
    for image, tilt in track(list(zip(images_yx, tilts, strict=True)), "back-projecting"):
        smeared = projection_matrix((depth_px, nx), tilt).T.tocsr()  # by rows, as memory lies
        planes += smeared @ np.ascontiguousarray(ramp_filtered(image).T)
    step_rad = np.deg2rad(np.ptp(tilts) / (n_tilts - 1))
    planes *= np.float32(step_rad)
    return np.ascontiguousarray(planes.reshape(depth_px, nx, ny).transpose(0, 2, 1))


def ramp_filtered(image_yx: np.ndarray) -> np.ndarray:
    """An image with its frequencies along x weighed by their distance from the tilt axis.

    The image is padded to twice its width, and the ramp does not quite reach zero, as it is that
    of the finite image: the filter of Ramachandran and Lakshminarayanan (1971).
    """
    nx = image_yx.shape[1]
    n = fft.next_fast_len(2 * nx, real=True)
    lag = np.minimum(np.arange(n), n - np.arange(n))
    kernel = np.where(lag % 2 == 1, -1 / (np.pi * np.maximum(lag, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    ramp = fft.rfft(kernel).real
    padded = fft.rfft(image_yx, n, axis=1) * ramp
    return fft.irfft(padded, n, axis=1)[:, :nx].astype(np.float32)
