"""Poses from Gum-Net, in this project's convention."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from aitom_disca.network.gumnet.model import as_motion
from aitom_disca.network.gumnet.training import inputs_of, masks_of, standardised
from aitom_disca.network.gumnet.transform import rotation_matrices, shift_in_voxels

_BATCH = 16


def predict_poses(
    model: keras.Model,
    volumes: np.ndarray,
    target: np.ndarray,
    tilt_range_deg: tuple[float, float],
) -> tuple[Rotation, np.ndarray]:
    """How volumes lie, as the motion that the network finds from each to a target.

    Parameters
    ----------
    model : keras.Model
        Of `train_gumnet` or `build_gumnet`.
    volumes : ndarray of shape (N, n, n, n)
        Axes z, y, x.
    target : ndarray of shape (n, n, n)
        Such as an average.
    tilt_range_deg : tuple of 2 floats

    Returns
    -------
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from the target to the volume.
    offsets_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre ``n // 2``.
    """
    masks = masks_of(volumes.shape[-1], tilt_range_deg)
    moving, still = standardised(volumes), standardised(target[None])
    found = []
    for start in range(0, len(moving), _BATCH):
        batch = moving[start : start + _BATCH]
        inputs, _ = inputs_of(batch, np.broadcast_to(still, batch.shape), masks)
        found.append(np.asarray(model.predict_on_batch(inputs)[1]))
    return pose_of_parameters(np.concatenate(found), volumes.shape[-1])


def pose_of_parameters(parameters: np.ndarray, box_px: int) -> tuple[Rotation, np.ndarray]:
    """The pose that the network's parameters (N, 6), from 0 to 1, mean for the moving volume.

    The network moves x onto y, ``y(g) = x(R (g - t))``, about ``(n - 1) / 2``. Then
    ``x(r) = y(A^-1 (r - o))`` about ``n // 2``, with ``A = R`` and ``o = -A t - (I - A) h``, where
    h is what lies between the two centres: half a voxel in even boxes.
    """
    angles, shift = as_motion(ops.convert_to_tensor(parameters.astype(np.float32)))
    matrices = np.asarray(ops.convert_to_numpy(rotation_matrices(angles)), float)
    shifts = np.asarray(ops.convert_to_numpy(shift_in_voxels(shift, box_px)), float)
    between = np.full(3, box_px // 2 - (box_px - 1) / 2)
    turned = np.einsum("nij,nj->ni", matrices, shifts - between)
    return Rotation.from_matrix(matrices), -(turned + between)[:, ::-1]
