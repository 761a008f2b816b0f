"""An average and the places where it belongs; what of it is drawn: its density alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from aitom_disca.errors import InputError
from aitom_disca.geometry.sphere import soft_sphere

_EDGE_PX = 3.0
_LEAST_THRESHOLD = 0.1  # share of the maximum: below it, an average is noise
_TRUNCATE = 4.0  # sigmas to which a Gaussian reaches


@dataclass(frozen=True, eq=False)
class PlacedAverage:
    """An average and the N places where it belongs.

    Parameters
    ----------
    number : int
        Of the cluster, from 1.
    average : ndarray of shape (n, n, n)
        Protein bright, its centre at voxel ``n // 2``.
    voxel_size_angstrom : float
        Of the average; may differ from that of the tomogram.
    center_zyx_px : ndarray of shape (N, 3)
        Voxels of the tomogram, from 0. A particle may lie outside, in part or wholly.
    euler_zyz_deg : ndarray of shape (N, 3)
        RELION's rot, tilt, psi.
    mask : ndarray of shape (n, n, n), optional
        0 to 1: what of the average is drawn. The inscribed sphere, unless given.
    """

    number: int
    average: np.ndarray
    voxel_size_angstrom: float
    center_zyx_px: np.ndarray
    euler_zyz_deg: np.ndarray
    mask: np.ndarray | None = None


def isolated_density(
    one: PlacedAverage, sigma_px: float, threshold: float | None
) -> tuple[np.ndarray, int]:
    """What stands out in an average, padded and smoothed, 1 at its surface; and the padding.

    Parameters
    ----------
    one : PlacedAverage
    sigma_px : float
        Of the Gaussian that smooths it, in voxels of the average; 0 for none.
    threshold : float, optional
        Density at the surface as a share of the largest; see `embed_tomogram`.

    Returns
    -------
    density : ndarray of shape (m, m, m)
    padding_px : int
        On every side of the average.

    Raises
    ------
    InputError
        If the average is no cube, not finite or empty, or its mask does not fit.
    """
    average, mask = _checked(one)
    density = (average - _background(average, mask)) * mask
    pad = 2 + int(np.ceil(_TRUNCATE * sigma_px))
    density, mask = np.pad(density, pad), np.pad(mask, pad)
    if sigma_px > 0:
        density = gaussian_filter(density, sigma_px, mode="constant", truncate=_TRUNCATE)
    largest = float(density.max())
    if largest <= 1e-6 * float(np.abs(average).max()):
        raise InputError(
            f"nothing stands out in the average of cluster {one.number}; is protein bright in it?"
        )
    if threshold is None:
        level = max(_otsu(density[mask > 0.5]), _LEAST_THRESHOLD * largest)
    else:
        level = threshold * largest
    return density / level, pad


def _checked(one: PlacedAverage) -> tuple[np.ndarray, np.ndarray]:
    """Average and mask, whose edge is soft and lies within the box at every rotation."""
    average = np.asarray(one.average, float)
    if average.ndim != 3 or len(set(average.shape)) != 1:
        raise InputError(
            f"the average of cluster {one.number} has the shape {average.shape}; expected a cube: "
            "pad or crop it."
        )
    if not np.isfinite(average).all():
        raise InputError(
            f"the average of cluster {one.number} has voxels that are not finite numbers; "
            "average it again."
        )
    n = len(average)
    edge_px = min(_EDGE_PX, n / 4)
    mask = soft_sphere(n, max((n - 1) // 2 - edge_px, 0.5), edge_px).astype(float)
    if one.mask is None:
        return average, mask
    if np.shape(one.mask) != average.shape:
        raise InputError(
            f"the mask of cluster {one.number} has the shape {np.shape(one.mask)}, its average "
            f"{average.shape}; they must be of one size."
        )
    return average, np.minimum(mask, np.clip(one.mask, 0, 1))


def _background(average: np.ndarray, mask: np.ndarray) -> float:
    """Mean along the soft edge of the mask: what is subtracted so that the edge makes no step."""
    edge = mask * (1 - mask)
    return float((average * edge).sum() / edge.sum()) if edge.any() else float(np.median(average))


def _otsu(values: np.ndarray) -> float:
    """The value that splits others in two of the largest variance between them."""
    if len(values) < 2:
        return 0.0
    values = np.sort(values)
    share = np.arange(1, len(values)) / len(values)
    below = np.cumsum(values)[:-1] / len(values)
    between = (values.mean() * share - below) ** 2 / (share * (1 - share))
    split = int(between.argmax())
    return float(values[split] + values[split + 1]) / 2
