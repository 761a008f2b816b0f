"""Values of a Fourier volume between its voxels."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 2**14  # places; what lies between two steps then stays in the processor's cache


def trilinear(volume: np.ndarray, places_zyx: np.ndarray) -> np.ndarray:
    """Interpolate between the eight voxels round each place.

    It gives what `scipy.ndimage.map_coordinates` gives at order 1, for complex values in a third
    of its time: that goes through real and imaginary parts one after the other.

    Parameters
    ----------
    volume : ndarray of complex64, shape (n, n, n)
    places_zyx : ndarray of shape (m, 3)
        In voxels, from 0 to below n - 1.

    Returns
    -------
    ndarray of complex64, shape (m,)

    Raises
    ------
    ValueError
        If a place lies outside.
    """
    values = np.empty(len(places_zyx), np.complex64)
    for start in range(0, len(values), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        values[rows] = _some(volume, places_zyx[rows])
    return values


def _some(volume: np.ndarray, places: np.ndarray) -> np.ndarray:
    n, flat = volume.shape[0], volume.reshape(-1)
    lower = np.floor(places).astype(np.int32)
    if lower.min() < 0 or lower.max() > n - 2:
        raise ValueError(f"places must lie between 0 and {n - 1}")
    z, y, x = (places - lower).astype(np.float32).T
    first = (lower[:, 0] * n + lower[:, 1]) * n + lower[:, 2]

    def along_x(step: int) -> np.ndarray:
        index = first + step
        return flat[index] * (1 - x) + flat[index + 1] * x

    near = along_x(0) * (1 - y) + along_x(n) * y
    far = along_x(n * n) * (1 - y) + along_x(n * n + n) * y
    return np.asarray(near * (1 - z) + far * z)
