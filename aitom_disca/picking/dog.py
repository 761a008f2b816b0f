"""Difference of Gaussians: a blob filter whose maxima are bright particles."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from aitom_disca.errors import InputError

_TRUNCATE = 4.0  # kernels end at this many sigma: their tail holds less than 1e-4 of their weight


def sigma_from_diameter(diameter_angstrom: float, voxel_size_angstrom: float) -> float:
    """Sigma in voxels at which a solid ball answers most strongly.

    For a ball of radius r the scale-normalised Laplacian of a Gaussian, which a narrow
    Difference of Gaussians approximates, is extreme at its centre for ``sigma = r / sqrt(3)``.

    Parameters
    ----------
    diameter_angstrom : float
        Diameter of the particle.
    voxel_size_angstrom : float

    Raises
    ------
    InputError
        If a length is not a positive number.
    """
    for name, value in (("diameter", diameter_angstrom), ("voxel size", voxel_size_angstrom)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"the {name} must be a positive number of Angstrom; got {value}.")
    return diameter_angstrom / (2 * math.sqrt(3)) / voxel_size_angstrom


def kernel_radius_px(sigma_px: float, sigma_ratio: float) -> int:
    """How many voxels away a voxel can change the filtered value: the radius of the kernel."""
    return math.ceil(_TRUNCATE * sigma_px * sigma_ratio)


def difference_of_gaussians(
    volume: np.ndarray, sigma_px: float, sigma_ratio: float = 1.1, *, mode: str = "nearest"
) -> np.ndarray:
    """Filter a volume with ``G(sigma) - G(sigma * sigma_ratio)``.

    The narrow Gaussian comes first, so that bright particles become maxima. SI Eq. 6 of Zeng et
    al. (2023) writes I(s1) - I(s2) with s1 > s2, the same map with its sign turned, in which
    bright particles are minima and dark ones, as in an unprocessed tomogram, maxima.


    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Protein bright.
    sigma_px : float
        Sigma of the narrow Gaussian in voxels.
    sigma_ratio : float, default 1.1
        Wide sigma divided by narrow sigma, above 1.
    mode : str
        How the volume goes on beyond its faces, as in `scipy.ndimage`; by default with its
        outermost value.

    Returns
    -------
    ndarray of float32, shape (z, y, x)

    Raises
    ------
    InputError
        If ``sigma_px`` is not positive, or ``sigma_ratio`` is not above 1.
    """
    if not (math.isfinite(sigma_px) and sigma_px > 0):
        raise InputError(f"sigma_px must be a positive number of voxels; got {sigma_px}.")
    if not (math.isfinite(sigma_ratio) and sigma_ratio > 1):
        raise InputError(f"sigma_ratio must be above 1 (1.1 is usual); got {sigma_ratio}.")
    volume = np.asarray(volume, np.float32)
    difference = _gaussian(volume, sigma_px, mode)
    difference -= _gaussian(volume, sigma_px * sigma_ratio, mode)
    return difference


def _gaussian(volume: np.ndarray, sigma_px: float, mode: str) -> np.ndarray:
    return ndimage.gaussian_filter(volume, sigma_px, mode=mode, truncate=_TRUNCATE)
