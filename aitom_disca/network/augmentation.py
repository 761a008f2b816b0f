"""Rotated copies of subtomograms, a batch at a time on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from aitom_disca.geometry.box import centre_index


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
    batch, n = volumes.shape[0], volumes.shape[1]
    source = ops.convert_to_tensor(_source_coordinates(rotations, n))  # (batch, n^3, 3)
    lower = ops.floor(source)
    fraction = source - lower
    lower = ops.cast(lower, "int32")
    flat = ops.reshape(ops.convert_to_tensor(volumes, "float32"), (-1,))
    first = ops.reshape(ops.arange(batch, dtype="int32") * n**3, (batch, 1))
    rotated = ops.zeros((batch, n**3), "float32")
    for corner in np.ndindex(2, 2, 2):
        index = ops.mod(lower + ops.convert_to_tensor(np.array(corner, np.int32)), n)
        weight = ops.prod(
            ops.where(ops.convert_to_tensor(np.array(corner, bool)), fraction, 1 - fraction), -1
        )
        flat_index = (index[..., 0] * n + index[..., 1]) * n + index[..., 2] + first
        rotated = rotated + weight * ops.take(flat, flat_index, axis=0)
    return ops.reshape(rotated, (batch, n, n, n))


def _source_coordinates(rotations: Rotation, n: int) -> np.ndarray:
    """Where each output voxel comes from: (batch, n^3, 3) z, y, x indices, float32."""
    centre = centre_index(n)
    grid_zyx = np.indices((n, n, n)).reshape(3, -1).T - centre
    inverse_zyx = np.swapaxes(rotations.as_matrix(), -1, -2)[:, ::-1, ::-1]
    return (np.einsum("bij,vj->bvi", inverse_zyx, grid_zyx) + centre).astype(np.float32)
