"""Pairs whose motion is known: a subtomogram, turned twice."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from aitom_disca.geometry.rotations import random_rotations
from aitom_disca.network.augmentation import impose_wedge
from aitom_disca.network.gumnet.model import as_motion
from aitom_disca.network.gumnet.transform import moved, rotation_matrices, shift_in_voxels

# No rotation is farther from the nearest of the cube's 24: arccos((2 sqrt 2 - 1) / 4) * 2.
FARTHEST_DEG = 62.8
# Motions to learn lie round this one. At theta = 0 phi and psi turn about one axis, so that the
# network could not begin to turn about another; at 90 degrees all three are independent.
MIDDLE = np.array([0.5, 0.75, 0.5, 0.5, 0.5, 0.5], np.float32)
_SHIFT_PX = 1.0  # of each copy, along each axis
_SHIFT_WEIGHT = 0.1  # a square voxel, beside the square of a matrix's error


class TurnedTwice(keras.layers.Layer):
    """Two copies of volumes (batch, x, y, z, 1), each moved and with the wedge of its own.

    Parameters
    ----------
    tilt_range_deg : tuple of 2 floats
    """

    def __init__(self, tilt_range_deg: tuple[float, float]) -> None:
        super().__init__(trainable=False, name="turned_twice")
        self._tilt_range_deg = tilt_range_deg

    def call(self, inputs: Any) -> Any:
        """Volumes, then matrices (batch, 2, 3, 3) and shifts (batch, 2, 3) as in `moved`."""
        volumes, matrices, shifts_px = inputs
        return [self._measured(volumes, matrices[:, i], shifts_px[:, i]) for i in (0, 1)]

    def _measured(self, volumes: Any, matrices: Any, shifts_px: Any) -> Any:
        turned = ops.transpose(moved(volumes[..., 0], matrices, shifts_px), (0, 3, 2, 1))
        seen = impose_wedge(turned, self._tilt_range_deg)
        return ops.transpose(seen, (0, 3, 2, 1))[..., None]


class Copies(keras.utils.PyDataset):
    """Batches of volumes, of two motions for each, and of what leads from one to the other.

    Parameters
    ----------
    volumes : ndarray of shape (N, x, y, z)
        Standardised.
    batch_size, seed : int
    """

    def __init__(self, volumes: np.ndarray, batch_size: int, seed: int) -> None:
        super().__init__()
        self._volumes, self._batch_size = volumes, batch_size
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-len(self._volumes) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        n = min(self._batch_size, len(self._volumes))
        rows = self._rng.choice(len(self._volumes), n, replace=False)
        first = random_rotations(n, self._rng).as_matrix()
        between = near_rotations(n, self._rng).as_matrix() @ middle_matrix()
        shifts = self._rng.uniform(-_SHIFT_PX, _SHIFT_PX, (n, 2, 3))
        # x(g) = v(A (g - s)) and y(g) = v(B (g - t)) give y(g) = x(R (g - u)):
        shift = shifts[:, 1] - np.einsum("nji,nj->ni", between, shifts[:, 0])
        motion = np.concatenate([between, shift[:, None]], axis=1).astype(np.float32)
        matrices = np.stack([first, first @ between], axis=1).astype(np.float32)
        return (self._volumes[rows][..., None], matrices, shifts.astype(np.float32)), motion


def motion_model(model: keras.Model, tilt_range_deg: tuple[float, float]) -> keras.Model:
    """What is trained on `Copies`; shares the weights of a Gum-Net."""
    shape = model.input_shape[0][1:]
    inputs = [keras.Input(shape), keras.Input((2, 3, 3)), keras.Input((2, 3))]
    finds = keras.Model(model.inputs[:2], model.outputs[1])
    return keras.Model(inputs, finds(TurnedTwice(tilt_range_deg)(inputs)))


def motion_loss(box_px: int) -> Any:
    """Squares of what the matrix and the shift are off by, for a box."""

    def loss(motion: Any, parameters: Any) -> Any:
        angles, shift = as_motion(parameters)
        turned = ops.square(rotation_matrices(angles) - motion[:, :3])
        shifted = ops.square(shift_in_voxels(shift, box_px) - motion[:, 3])
        return ops.sum(turned, axis=(1, 2)) + _SHIFT_WEIGHT * ops.sum(shifted, axis=1)

    return loss


def begin_in_the_middle(model: keras.Model) -> None:
    """Let a new network answer every pair with the middle of the motions that it is to learn."""
    model.get_layer("dense_3").bias.assign(np.log(MIDDLE / (1 - MIDDLE)))


def middle_matrix() -> np.ndarray:
    """R of the middle: one of the cube's rotations, so that these still come near every other."""
    angles, _ = as_motion(ops.convert_to_tensor(MIDDLE[None]))
    return np.asarray(ops.convert_to_numpy(rotation_matrices(angles))[0], float).round()


def near_rotations(n: int, rng: np.random.Generator) -> Rotation:
    """Uniform rotations of at most `FARTHEST_DEG`."""
    found = np.zeros((0, 4))
    while len(found) < n:
        drawn = random_rotations(16 * n, rng)
        found = np.concatenate(
            [found, drawn[drawn.magnitude() < np.deg2rad(FARTHEST_DEG)].as_quat()]
        )
    return Rotation.from_quat(found[:n])
