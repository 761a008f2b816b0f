"""The plain way: slide a turned, masked template over a whole tomogram. Slow; a reference."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.geometry.wedge import apply_wedge
from aitom_disca.picking.peaks import Peaks, keep_apart, local_extrema


def template_search(
    volume: np.ndarray,
    template: np.ndarray,
    *,
    step_deg: float = 15.0,
    mask_radius_px: float,
    tilt_range_deg: tuple[float, float] = (-60.0, 60.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Locally normalised correlation with a template, the best of all rotations at every voxel.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Protein bright.
    template : ndarray of shape (n, n, n)
        Cubic, as sharp as the tomogram. The missing wedge is cut out of every turned copy.
    step_deg : float
        Mean distance of neighbouring rotations.
    mask_radius_px : float
        Of a soft sphere round the template.
    tilt_range_deg : tuple of 2 floats

    Returns
    -------
    score : ndarray of float32, shape (z, y, x)
        Correlation coefficient.
    rotation : ndarray of int32, same shape
        Number of the best rotation in `rotation_grid`.

    References
    ----------
    .. [1] Roseman (2003), Ultramicroscopy 94, 225: the local normalisation.
    """
    n = template.shape[0]
    mask = soft_sphere(n, mask_radius_px, 1.0, "gaussian")
    shape = [fft.next_fast_len(s + n, real=True) for s in volume.shape]
    spectrum = fft.rfftn(volume, shape)
    mean = _slid(spectrum, mask / mask.sum(), shape)
    square = _slid(fft.rfftn(volume**2, shape), mask / mask.sum(), shape)
    spread = np.sqrt(np.maximum(square - mean**2, 1e-12))
    best = np.full(shape, -1.0, np.float32)
    rotation = np.zeros(shape, np.int32)
    for number, turn in enumerate(rotations_of(step_deg)):
        turned = apply_wedge(_turned(template, turn), tilt_range_deg)
        turned = turned - (mask * turned).sum() / mask.sum()
        norm = np.sqrt((mask * turned**2).sum() * mask.sum())
        score = _slid(spectrum, mask * turned / norm, shape) / spread
        better = score > best
        best[better], rotation[better] = score[better], number
    inside = tuple(slice(s) for s in volume.shape)
    return best[inside], rotation[inside]


def template_peaks(score: np.ndarray, apart_px: float, border_px: int) -> Peaks:
    """Maxima of a score, best first, at least so far apart and from the faces."""
    maxima, _ = local_extrema(score)
    from_face = np.minimum(maxima.zyx, np.array(score.shape) - 1 - maxima.zyx).min(axis=1)
    return keep_apart(maxima.select(from_face >= border_px), apart_px)


def rotations_of(step_deg: float) -> Rotation:
    """As many rotations, evenly spread, as lie so far apart in the mean."""
    return rotation_grid(max(1, round(8 * math.pi**2 / math.radians(step_deg) ** 3)))


def _slid(spectrum: np.ndarray, kernel: np.ndarray, shape: list[int]) -> np.ndarray:
    """Correlation of a padded volume with a kernel whose centre is ``n // 2``."""
    placed = np.zeros(shape, np.float32)
    placed[tuple(slice(s) for s in kernel.shape)] = kernel
    placed = np.roll(placed, [-centre_index(s) for s in kernel.shape], (0, 1, 2))
    found = fft.irfftn(spectrum * np.conj(fft.rfftn(placed)), shape)
    return np.asarray(found, np.float32)


def _turned(volume: np.ndarray, turn: Rotation) -> np.ndarray:
    """``volume(A^-1 r)``."""
    inverse = turn.inv().as_matrix()[::-1, ::-1]  # acts on (z, y, x)
    centre = np.full(3, centre_index(volume.shape[0]), float)
    return ndimage.affine_transform(volume, inverse, centre - inverse @ centre, order=1)
