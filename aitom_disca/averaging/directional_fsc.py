"""Whether an average is as fine along one axis as across it."""

from __future__ import annotations

import numpy as np
from scipy import fft

from aitom_disca.averaging.check_maps import as_cube, check_positive
from aitom_disca.averaging.fsc import FscCurve, half_shells

_ALONG_DEG, _ACROSS_DEG = 45.0, 60.0  # a cone of 29 % of all directions, a belt of 50 %
_FEWEST = 5  # coefficients; in a shell with fewer all directions count


def conical_fsc(
    half1: np.ndarray,
    half2: np.ndarray,
    axis_xyz: np.ndarray,
    voxel_size_angstrom: float,
    angles_deg: tuple[float, float] = (0.0, _ALONG_DEG),
) -> FscCurve:
    """Fourier shell correlation over the directions that make certain angles with an axis.

    Parameters
    ----------
    half1, half2 : ndarray of shape (n, n, n)
        Axes z, y, x; masked, if that is wanted.
    axis_xyz : ndarray of shape (3,)
    voxel_size_angstrom : float
    angles_deg : tuple of 2 floats
        Smallest and largest, within 0 and 90.

    Raises
    ------
    InputError
        If the maps are no finite cubes, or the voxel size is not positive.

    References
    ----------
    .. [1] Tan et al. (2017), Nature Methods 14, 793-796: the correlation in cones.
    """
    half1, half2 = as_cube(half1, "the first map"), as_cube(half2, "the second map")
    check_positive(voxel_size_angstrom, "the voxel size")
    n = half1.shape[0]
    shell, weight = half_shells(n)
    kz, ky, kx = fft.fftfreq(n)[:, None, None], fft.fftfreq(n)[:, None], fft.rfftfreq(n)
    x, y, z = np.asarray(axis_xyz, float) / np.linalg.norm(axis_xyz)
    length = np.maximum(np.sqrt(kz**2 + ky**2 + kx**2), 1e-12)
    cosine = np.abs(kz * z + ky * y + kx * x) / length
    inside = cosine >= np.cos(np.deg2rad(angles_deg[1])) - 1e-9
    inside &= cosine <= np.cos(np.deg2rad(angles_deg[0])) + 1e-9
    count = np.bincount(shell[inside], minlength=shell.max() + 1)
    inside |= (count < _FEWEST)[shell]
    weight = weight * inside
    first, second = fft.rfftn(half1), fft.rfftn(half2)

    def over_shells(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell.ravel(), (weight * values).ravel())[: n // 2 + 1]

    power = over_shells(np.abs(first) ** 2) * over_shells(np.abs(second) ** 2)
    shared = over_shells((first * second.conj()).real)
    correlation = np.clip(
        np.where(power > 0, shared / np.sqrt(np.maximum(power, 1e-300)), 0), -1, 1
    )
    correlation[0] = 1
    return FscCurve(np.arange(n // 2 + 1) / (n * voxel_size_angstrom), correlation)


def along_and_across(
    half1: np.ndarray, half2: np.ndarray, axis_xyz: np.ndarray, voxel_size_angstrom: float
) -> tuple[FscCurve, FscCurve]:
    """Correlation within 45 degrees of an axis, and beyond 60; see `conical_fsc`."""
    along = conical_fsc(half1, half2, axis_xyz, voxel_size_angstrom)
    across = conical_fsc(half1, half2, axis_xyz, voxel_size_angstrom, (_ACROSS_DEG, 90.0))
    return along, across
