"""Rotated copies of subtomograms, a batch at a time on the device."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.wedge import missing_wedge_mask


def rotate_volumes(volumes: Any, rotations: Rotation) -> Any:
    """Rotate every volume of a batch about its centre voxel; trilinear, periodic borders.

    A point ``r`` (x, y, z from the centre ``n // 2``) of a volume goes to ``A @ r``. What leaves
    the box comes back on the other side, so that the corners keep the noise's statistics.

    Parameters
    ----------
    volumes : tensor or ndarray of shape (batch, n, n, n)
        Axes z, y, x.
    rotations : scipy Rotation holding ``batch`` rotations A
        Acting on (x, y, z) vectors.

    Returns
    -------
    tensor of float32, shape (batch, n, n, n)
    """
    volumes = ops.convert_to_tensor(volumes, "float32")
    return turn(volumes, ops.convert_to_tensor(inverse_matrices_zyx(rotations)))


def inverse_matrices_zyx(rotations: Rotation) -> np.ndarray:
    """Matrices (batch, 3, 3) that say where a rotated voxel (z, y, x) comes from, float32."""
    return np.swapaxes(rotations.as_matrix(), -1, -2)[:, ::-1, ::-1].astype(np.float32)


def turn(volumes: Any, inverse_zyx: Any) -> Any:
    """Resample volumes (batch, n, n, n) at ``inverse_zyx @ (z, y, x)``, about the centre voxel.

    Everything is computed from the matrices (batch, 3, 3) on the device.
    """
    n = volumes.shape[1]
    centre = centre_index(n)
    grid_zyx = np.indices((n, n, n)).reshape(3, -1).astype(np.float32) - centre
    source = ops.matmul(inverse_zyx, ops.convert_to_tensor(grid_zyx)) + centre  # (batch, 3, n^3)
    lower = ops.floor(source)
    above = source - lower  # weight of the next voxel
    lower = ops.cast(lower, "int32")
    places = [ops.mod(lower, n), ops.mod(lower + 1, n)]
    weights = [1 - above, above]
    flat = ops.reshape(volumes, (-1, n**3))
    rotated = ops.zeros_like(flat)
    for z, y, x in np.ndindex(2, 2, 2):
        index = (places[z][:, 0] * n + places[y][:, 1]) * n + places[x][:, 2]
        weight = weights[z][:, 0] * weights[y][:, 1] * weights[x][:, 2]
        rotated = rotated + weight * ops.take_along_axis(flat, index, axis=1)
    return ops.reshape(rotated, (-1, n, n, n))


def impose_wedge(volumes: Any, tilt_range_deg: tuple[float, float]) -> Any:
    """Remove from volumes (batch, n, n, n) what a tilt series does not measure.

    The wedge of tilt axis y is the same for every y: a filter of the x-z planes, here as a matrix
    (n^2, n^2), since not every backend has a Fourier transform for every layout of memory.
    """
    n = volumes.shape[1]
    planes = ops.reshape(ops.transpose(volumes, (0, 2, 1, 3)), (-1, n, n * n))
    measured = ops.matmul(planes, ops.convert_to_tensor(_wedge_matrix(n, tilt_range_deg)))
    return ops.transpose(ops.reshape(measured, (-1, n, n, n)), (0, 2, 1, 3))


def _wedge_matrix(n: int, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """Row by row, what the wedge leaves of a single bright voxel of an x-z plane; float32."""
    mask_zx = missing_wedge_mask((n, n, n), tilt_range_deg)[:, 0]
    points_zx = np.eye(n * n).reshape(-1, n, n)
    return np.fft.ifft2(np.fft.fft2(points_zx) * mask_zx).real.reshape(n * n, -1).astype(np.float32)


class RotatedCopies(keras.layers.Layer):
    """Rotates volumes (batch, z, y, x, 1) by matrices (batch, 3, 3), as in `turn`.

    Parameters
    ----------
    tilt_range_deg : tuple of 2 floats, optional
        Of a wedge that is imposed after the rotation; none by default.
    """

    def __init__(self, tilt_range_deg: tuple[float, float] | None = None) -> None:
        super().__init__(trainable=False, dtype="float32", name="rotated_copies")
        self.tilt_range_deg = tilt_range_deg

    def call(self, inputs: Any) -> Any:
        """Rotate; ``inputs`` are volumes and matrices."""
        volumes, inverse_zyx = inputs
        turned = turn(volumes[..., 0], inverse_zyx)
        if self.tilt_range_deg is not None:
            turned = impose_wedge(turned, self.tilt_range_deg)
        return turned[..., None]
