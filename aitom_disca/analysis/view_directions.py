"""Directions on the sphere: from where particles are seen, counts in cells, test statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import rotation_from_euler_zyz_deg

# -- view directions ---------------------------------------------------------------------------


def view_directions_xyz(poses: Rotation | np.ndarray) -> np.ndarray:
    """From where the beam sees each particle: the tomogram's z axis in the reference's frame.

    With ``r_tomogram = A @ r_reference`` it is ``A^-1 (0, 0, 1)``, which in RELION's angles is
    ``(cos rot sin tilt, sin rot sin tilt, cos tilt)``. Turning a particle in the plane of the
    tomogram (psi) does not change it.

    Parameters
    ----------
    poses : Rotation of n rotations A, or ndarray of shape (n, 3)
        Reference to tomogram, of (x, y, z) vectors; or RELION's rot, tilt, psi in degrees.

    Returns
    -------
    ndarray of shape (n, 3)
        Unit vectors x, y, z. Rows of angles that are not numbers are left out.

    Raises
    ------
    InputError
        If an array is not of shape (n, 3).
    """
    if not isinstance(poses, Rotation):
        angles = np.asarray(poses, float)
        if angles.ndim != 2 or angles.shape[1] != 3:
            raise InputError(
                f"Poses must be rotations or angles (rot, tilt, psi) of shape (n, 3), "
                f"but have shape {angles.shape}; give one row for each particle."
            )
        angles = angles[np.isfinite(angles).all(axis=1)]
        if not len(angles):
            return np.zeros((0, 3))
        poses = rotation_from_euler_zyz_deg(angles)
    return np.atleast_2d(poses.inv().apply([0.0, 0.0, 1.0]))


# -- the sphere in cells of one area -----------------------------------------------------------


@dataclass(frozen=True)
class SphereBins:
    """Counts in cells of one area: bands round the z axis, each cut into equal parts.

    Parameters
    ----------
    z_edges : ndarray of shape (n_bands + 1,)
        From 1 (the north pole) down to -1.
    counts : tuple of n_bands ndarrays of int
        Cells of a band by azimuth, from 0 to 360 degrees. Bands near the equator have more.
    """

    z_edges: np.ndarray
    counts: tuple[np.ndarray, ...]

    @property
    def n_cells(self) -> int:
        """The number of cells; each has the area ``4 pi / n_cells``."""
        return sum(len(band) for band in self.counts)

    @property
    def n(self) -> int:
        """The number of directions."""
        return int(sum(band.sum() for band in self.counts))


def bin_sphere(directions_xyz: np.ndarray, n_bands: int = 12) -> SphereBins:
    """Count directions in nearly square cells of exactly one area.

    The area of a band is proportional to its height along z, so heights follow the numbers of
    cells.

    Parameters
    ----------
    directions_xyz : ndarray of shape (n, 3)
        Unit vectors.
    n_bands : int, default 12
        Makes about ``4 n_bands^2 / pi`` cells.

    Raises
    ------
    InputError
        If there is no band.
    """
    if n_bands < 1:
        raise InputError(f"n_bands must be 1 or more, but is {n_bands}; 12 is a usual number.")
    colatitude = (np.arange(n_bands) + 0.5) * np.pi / n_bands
    n_parts = np.maximum(np.round(2 * n_bands * np.sin(colatitude)), 1).astype(int)
    z_edges = 1 - 2 * np.concatenate([[0], np.cumsum(n_parts)]) / n_parts.sum()
    x, y, z = directions_xyz.T
    band = np.clip(np.searchsorted(-z_edges, -z, side="right") - 1, 0, n_bands - 1)
    turn = np.arctan2(y, x) / (2 * np.pi) % 1
    part = np.minimum((turn * n_parts[band]).astype(int), n_parts[band] - 1)
    counts = (np.bincount(part[band == i], minlength=m) for i, m in enumerate(n_parts))
    return SphereBins(z_edges, tuple(counts))


# -- uniform or not ----------------------------------------------------------------------------


def rayleigh_statistic(directions_xyz: np.ndarray) -> np.ndarray:
    """How far the mean direction is from zero: ``3 n |mean|^2``.

    Chi-square with 3 degrees of freedom for many uniform directions. Finds a one-sided preference.

    Parameters
    ----------
    directions_xyz : ndarray of shape (..., n, 3)
        Unit vectors.

    References
    ----------
    .. [1] Mardia & Jupp (2000), Directional Statistics, section 10.4.1.
    """
    n = directions_xyz.shape[-2]
    return 3 * n * (directions_xyz.mean(axis=-2) ** 2).sum(axis=-1)


def bingham_statistic(directions_xyz: np.ndarray) -> np.ndarray:
    """How far the scatter matrix T is from a third: ``15/2 n (tr T^2 - 1/3)``, T = mean of x x^T.

    Chi-square with 5 degrees of freedom for many uniform directions. Finds a preferred axis or
    plane, which the mean direction does not see.

    Parameters
    ----------
    directions_xyz : ndarray of shape (..., n, 3)
        Unit vectors.

    References
    ----------
    .. [1] Mardia & Jupp (2000), Directional Statistics, section 10.7.1.
    """
    n = directions_xyz.shape[-2]
    scatter = np.swapaxes(directions_xyz, -1, -2) @ directions_xyz / n
    return 7.5 * n * ((scatter**2).sum(axis=(-1, -2)) - 1 / 3)
