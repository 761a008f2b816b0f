"""Training of YOPO on its own clusters, the labels of the previous iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.spatial.transform import Rotation

from aitom_disca.computing import devices
from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.geometry.rotations import random_rotations
from aitom_disca.network.augmentation import RotatedCopies, inverse_matrices_zyx
from aitom_disca.network.batches import train_pass
from aitom_disca.network.yopo import build_classification_layer
from aitom_disca.progress import track
from aitom_disca.subtomograms.dataset import shuffled_rows

_RATE = 1e-3  # of the warm-up; each epoch sets its own
_LOSS = "categorical_crossentropy"

ReadVolumes = Callable[[np.ndarray], np.ndarray]
# Volumes (n, z, y, x) and n rotations A of (x, y, z) to volumes in which r went to A r.
RotateVolumes = Callable[[np.ndarray, Rotation], np.ndarray]


def smooth_labels(labels: np.ndarray, n_clusters: int, smoothing: float) -> np.ndarray:
    """One-hot rows (n, K), mixed with the uniform distribution by ``smoothing`` (0 to 1)."""
    return ((1 - smoothing) * np.eye(n_clusters)[labels] + smoothing / n_clusters).astype(
        np.float32
    )


class Classifier:
    """A feature extractor with the softmax layer on which it is trained.

    Parameters
    ----------
    extractor : keras.Model
        Trained in place.
    batch_size : int
        Subtomograms and copies at once, at most; halved where the device has too little memory.
    seed : int
        Seed of the softmax layers and of the order and rotations of the training data.
    tilt_range_deg : tuple of 2 floats, optional
        Of a missing wedge that is imposed on the rotated copies; none by default.
    rotate : callable, optional
        What rotates the copies, on the processor; by default the model itself, on its device.
    """

    def __init__(
        self,
        extractor: keras.Model,
        *,
        batch_size: int = 64,
        seed: int = 0,
        tilt_range_deg: tuple[float, float] | None = None,
        rotate: RotateVolumes | None = None,
    ) -> None:
        self.extractor = extractor
        self._rotate = rotate
        self.batch_size = BatchSize(batch_size)
        self._tilt_range_deg = tilt_range_deg
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._head: keras.Model | None = None
        self._model: keras.Model | None = None

    def new_head(
        self, features: np.ndarray, labels: np.ndarray, n_clusters: int, *, epochs: int
    ) -> None:
        """Make a softmax layer for K clusters and warm it up on features that are known.

        Parameters
        ----------
        features : ndarray of shape (n_subtomograms, n_features)
        labels : ndarray of int, shape (n_subtomograms,)
        n_clusters : int
        epochs : int
            Passes over the features.
        """
        head = self._new_layer(n_clusters)
        targets = smooth_labels(labels, n_clusters, 0.0)

        def make_batch(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return features[rows], targets[rows]

        devices.compile_model(head, keras.optimizers.Nadam, _RATE, _LOSS)
        for _ in track(range(epochs), "training a layer for the clusters"):
            train_pass(head, self._rng.permutation(len(features)), make_batch, self.batch_size)
        self._join(head)

    def _new_layer(self, n_clusters: int) -> keras.Model:
        n_features = self.extractor.output_shape[-1]
        with devices.scope_of(self.extractor):
            return build_classification_layer(n_features, n_clusters, seed=self._seed)

    def _join(self, head: keras.Model) -> None:
        """Put a softmax layer on the extractor, with a new optimiser for both.

        The subtomograms are rotated inside of the model, on the device and in step with training.
        """
        with devices.scope_of(self.extractor):
            volume = keras.Input(self.extractor.input_shape[1:])
            inverse_zyx = keras.Input((3, 3))
            turned = RotatedCopies(self._tilt_range_deg)((volume, inverse_zyx))
            self._head = head
            self._model = keras.Model((volume, inverse_zyx), head(self.extractor(turned)))
            devices.compile_model(self._model, keras.optimizers.Nadam, _RATE, _LOSS)

    def train_epoch(
        self,
        read: ReadVolumes,
        labels: np.ndarray,
        *,
        smoothing: float,
        learning_rate: float,
        rotated_copies: int = 1,
    ) -> float:
        """Train once over the subtomograms and their rotated copies, in random order.

        Parameters
        ----------
        read : callable
            Row numbers (n,) to volumes (n, z, y, x).
        labels : ndarray of int, shape (n_subtomograms,)
        smoothing : float
            Label smoothing, 0 to 1.
        learning_rate : float
        rotated_copies : int
            Uniformly rotated copies of every subtomogram, with the same label.

        Returns
        -------
        float
            Mean loss.

        Raises
        ------
        IterationError
            If the loss is not a finite number.
        """
        if self._model is None or self._head is None:
            raise RuntimeError("call new_head before train_epoch")
        self._model.optimizer.learning_rate = learning_rate
        targets = smooth_labels(labels, self._head.output_shape[-1], smoothing)
        per_row = 1 + rotated_copies  # entries row * per_row and following: itself, its copies

        def make_batch(entries: np.ndarray) -> tuple[Any, Any]:
            rows = entries // per_row
            is_copy = entries % per_row > 0
            volumes, inverse_zyx = read(rows), self._draw_rotations(is_copy)
            if self._rotate is not None:
                volumes, inverse_zyx = _turned(volumes, inverse_zyx, is_copy, self._rotate)
            return (volumes[..., None], inverse_zyx), targets[rows]

        entries = shuffled_rows(len(labels) * per_row, self._rng)
        return train_pass(self._model, entries, make_batch, self.batch_size)

    def state(self) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
        """All that decides the next training.

        Returns
        -------
        arrays : dict of str to list of ndarray
            Variables of extractor, softmax layer and optimiser, seeds of the dropout included.
        meta : dict
            Plain values that JSON can hold.
        """
        arrays = {
            name: [ops.convert_to_numpy(ops.convert_to_tensor(variable)) for variable in held]
            for name, held in self._variables().items()
        }
        n_clusters = None if self._head is None else self._head.output_shape[-1]
        meta = {"n_clusters": n_clusters, "batch_size": self.batch_size.value}
        return arrays, meta | {"rng": self._rng.bit_generator.state}

    def set_state(self, arrays: Mapping[str, list[np.ndarray]], meta: Mapping[str, Any]) -> None:
        """Go back to what `state` returned, for a network of the same settings."""
        self._rng.bit_generator.state = meta["rng"]
        self.batch_size.value = meta["batch_size"]
        self._head = self._model = None
        if meta["n_clusters"] is not None:
            self._join(self._new_layer(meta["n_clusters"]))
        for name, held in self._variables().items():
            for variable, value in zip(held, arrays[name], strict=True):
                variable.assign(value)

    def _variables(self) -> dict[str, list[keras.Variable]]:
        variables = {"extractor": self.extractor.variables}
        if self._head is not None and self._model is not None:
            variables["head"] = self._head.variables
            variables["optimizer"] = self._model.optimizer.variables
        return variables

    def _draw_rotations(self, is_copy: np.ndarray) -> np.ndarray:
        """Inverse matrices (n, 3, 3): random where there is a copy, the identity elsewhere."""
        inverse_zyx = np.tile(np.eye(3, dtype=np.float32), (len(is_copy), 1, 1))
        if is_copy.any():
            rotations = random_rotations(int(is_copy.sum()), self._rng)
            inverse_zyx[is_copy] = inverse_matrices_zyx(rotations)
        return inverse_zyx


def _turned(
    volumes: np.ndarray, inverse_zyx: np.ndarray, is_copy: np.ndarray, rotate: RotateVolumes
) -> tuple[np.ndarray, np.ndarray]:
    """Volumes whose copies are turned already, and matrices that leave all as they are."""
    volumes = np.array(volumes, np.float32)
    if is_copy.any():
        matrices = np.swapaxes(inverse_zyx[is_copy, ::-1, ::-1], 1, 2)
        volumes[is_copy] = rotate(volumes[is_copy], Rotation.from_matrix(matrices))
    return volumes, np.tile(np.eye(3, dtype=np.float32), (len(is_copy), 1, 1))
