"""A plain exhaustive alignment with SciPy: slow, and easy to believe."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.to_reference import AlignedPoses
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.wedge import missing_wedge_mask


def align_plainly(
    volumes: np.ndarray,
    reference: np.ndarray,
    tilt_range_deg: tuple[float, float],
    rotations: Rotation,
    *,
    largest_shift_px: int,
    radius: float | None = None,
) -> AlignedPoses:
    """Turn the reference by every rotation, and correlate it with every volume at every shift.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
    reference : ndarray of shape (n, n, n)
    tilt_range_deg : tuple of 2 floats
    rotations : Rotation of m rotations
    largest_shift_px : int
        Along each axis.
    radius : float, optional
        Largest frequency, in steps of 1 / box; by default all but the last.
    """
    n = reference.shape[0]
    counted = _counted(n, tilt_range_deg, n / 2 - 1 if radius is None else radius)
    spectra = [fft.fftn(volume) * counted for volume in volumes]
    norms = [np.sqrt((np.abs(spectrum) ** 2).sum()) for spectrum in spectra]
    near = (np.indices((n,) * 3) + n // 2) % n - n // 2
    allowed = (np.abs(near) <= largest_shift_px).all(axis=0)
    best = np.full(len(volumes), -np.inf)
    winner, shift = np.zeros(len(volumes), int), np.zeros((len(volumes), 3))
    for number, rotation in enumerate(rotations):
        slice_ = fft.fftn(turned_plainly(reference, rotation)) * counted
        slice_norm = np.sqrt((np.abs(slice_) ** 2).sum())
        for i, (spectrum, norm) in enumerate(zip(spectra, norms, strict=True)):
            score = fft.ifftn(spectrum * slice_.conj()).real * n**3 / (norm * slice_norm)
            score[~allowed] = -np.inf
            place = np.unravel_index(score.argmax(), score.shape)
            if score[place] > best[i]:
                best[i], winner[i] = score[place], number
                shift[i] = near[(slice(None), *place)]
    return AlignedPoses(rotations[winner], shift, best)


def turned_plainly(volume: np.ndarray, rotation: Rotation) -> np.ndarray:
    """``volume(A^-1 r)`` about the centre voxel, by cubic splines."""
    matrix = rotation.inv().as_matrix()[::-1, ::-1]  # acts on (z, y, x)
    centre = np.full(3, centre_index(volume.shape[0]), float)
    return np.asarray(ndimage.affine_transform(volume, matrix, centre - matrix @ centre))


def _counted(n: int, tilt_range_deg: tuple[float, float], radius: float) -> np.ndarray:
    """1 where a coefficient was measured, is not the mean, and lies inside a radius."""
    frequency = np.stack(np.meshgrid(*[fft.fftfreq(n, 1 / n)] * 3, indexing="ij"))
    length = np.sqrt((frequency**2).sum(axis=0))
    half = missing_wedge_mask((n,) * 3, tilt_range_deg)
    return np.asarray(np.broadcast_to(half, (n,) * 3) * (length > 0) * (length <= radius))
