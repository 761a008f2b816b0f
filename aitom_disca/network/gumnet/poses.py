"""Poses from Gum-Net, in this project's convention."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry.rotations import CubeRotation, cube_rotations, rotate_by_cube
from aitom_disca.network.gumnet.model import as_motion
from aitom_disca.network.gumnet.training import inputs_of, masks_of, standardised
from aitom_disca.network.gumnet.transform import rotation_matrices, shift_in_voxels

_BATCH = 16
ALL_STARTS = 24


def predict_poses(
    model: keras.Model,
    volumes: np.ndarray,
    targets: np.ndarray,
    tilt_range_deg: tuple[float, float],
    *,
    starts: int = ALL_STARTS,
) -> tuple[Rotation, np.ndarray]:
    """How volumes lie, as the motion that the network finds from each to a target.

    Each volume is also turned by the rotations of the cube, which is exact. Of what the network
    makes of these, the motion after which volume and target correlate best is taken.

    Parameters
    ----------
    model : keras.Model
        Of `train_gumnet` or `build_gumnet`.
    volumes : ndarray of shape (N, n, n, n)
        Axes z, y, x.
    targets : ndarray of shape (n, n, n) or (N, n, n, n)
        One for all, such as an average, or one for each.
    tilt_range_deg : tuple of 2 floats
    starts : int
        How many of the 24 rotations to try; 1 for the network as published.

    Returns
    -------
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from the target to the volume.
    offsets_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre ``n // 2``.

    Raises
    ------
    InputError
        If the boxes are not those of the model, there are neither one nor N targets, or the
        starts are not 1 to 24.
    """
    targets = targets[None] if targets.ndim == 3 else targets
    _check(model, volumes, targets, starts)
    box_px = volumes.shape[-1]
    masks = masks_of(box_px, tilt_range_deg)
    moving = standardised(volumes)
    still = np.broadcast_to(standardised(targets), moving.shape)
    best = np.full(len(moving), -np.inf)
    parameters = np.empty((len(moving), 6))
    turns = np.empty((len(moving), 3, 3))
    for turn in cube_rotations()[:starts]:
        turned = _turned_spectrum(masks[0], turn), _turned_spectrum(masks[1], turn)
        correlation, found = _laid(model, rotate_by_cube(moving, turn), still, turned)
        better = correlation > best
        best[better], parameters[better] = correlation[better], found[better]
        turns[better] = _matrix(turn)
    return pose_of_parameters(parameters, box_px, turns)


def _check(model: keras.Model, volumes: np.ndarray, targets: np.ndarray, starts: int) -> None:
    box = model.input_shape[0][1:4]
    if volumes.shape[1:] != box or targets.shape[1:] != box:
        raise InputError(
            f"this Gum-Net takes boxes of {box[0]} voxels, but the volumes are "
            f"{volumes.shape[1:]} and the target is {targets.shape[1:]}; train another."
        )
    if len(targets) not in (1, len(volumes)):
        raise InputError(
            f"expected one target, or one for each of {len(volumes)} volumes; got {len(targets)}."
        )
    if not 1 <= starts <= ALL_STARTS:
        raise InputError(f"expected 1 to {ALL_STARTS} starts; got {starts}.")


def _laid(
    model: keras.Model,
    moving: np.ndarray,
    still: np.ndarray,
    masks: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation with the target after the network's motion, and its parameters."""
    correlation, parameters = [], []
    for start in range(0, len(moving), _BATCH):
        rows = np.arange(start, start + _BATCH).clip(max=len(moving) - 1)  # one length: one graph
        inputs, target = inputs_of(moving[rows], still[rows], masks)
        laid, found = (ops.convert_to_numpy(part) for part in model.predict_on_batch(inputs))
        a, b = (x.reshape(len(rows), -1) - x.mean(axis=(1, 2, 3)) for x in (laid, target))
        power = (a * a).sum(axis=1) * (b * b).sum(axis=1)
        correlation.append((a * b).sum(axis=1) / np.sqrt(power + 1e-12))
        parameters.append(found)
    n = len(moving)
    return np.concatenate(correlation)[:n], np.concatenate(parameters)[:n]


def _matrix(turn: CubeRotation) -> np.ndarray:
    """C of a turn of (x, y, z) arrays: ``turned(g) = v(C g)``."""
    order, signs = turn
    matrix = np.zeros((3, 3))
    matrix[order, range(3)] = signs
    return matrix


def _turned_spectrum(mask: np.ndarray, turn: CubeRotation) -> np.ndarray:
    """Turn a mask about zero frequency, ``n // 2``, rather than the middle of the box."""
    n = len(mask)
    padded = np.pad(mask, (0, 1 - n % 2), mode="wrap")
    return rotate_by_cube(padded, turn)[:n, :n, :n]


def pose_of_parameters(
    parameters: np.ndarray, box_px: int, turns: np.ndarray | None = None
) -> tuple[Rotation, np.ndarray]:
    """The pose that the network's parameters (N, 6), from 0 to 1, mean for the moving volume.

    The network moves x onto y, ``y(g) = x(R (g - t))``, about ``(n - 1) / 2``. Then
    ``x(r) = y(A^-1 (r - o))`` about ``n // 2``, with ``A = R`` and ``o = -A t - (I - A) h``, where
    h is what lies between the two centres: half a voxel in even boxes. Where x was turned first,
    by ``turns`` (N, 3, 3) as ``x(C g)``, A is ``C R``.
    """
    angles, shift = as_motion(ops.convert_to_tensor(parameters.astype(np.float32)))
    matrices = np.asarray(ops.convert_to_numpy(rotation_matrices(angles)), float)
    if turns is not None:
        matrices = turns @ matrices
    shifts = np.asarray(ops.convert_to_numpy(shift_in_voxels(shift, box_px)), float)
    between = np.full(3, box_px // 2 - (box_px - 1) / 2)
    turned = np.einsum("nij,nj->ni", matrices, shifts - between)
    return Rotation.from_matrix(matrices), -(turned + between)[:, ::-1]
