"""Training of YOPO on its own clusters, the labels of the previous iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from aitom_disca.errors import IterationError
from aitom_disca.geometry.rotations import random_rotations
from aitom_disca.network.augmentation import rotate_volumes
from aitom_disca.network.yopo import build_classification_layer
from aitom_disca.progress import track

ReadVolumes = Callable[[np.ndarray], np.ndarray]


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
    seed : int
        Seed of the softmax layers and of the order and rotations of the training data.
    """

    def __init__(self, extractor: keras.Model, *, batch_size: int = 64, seed: int = 0) -> None:
        self.extractor = extractor
        self.batch_size = batch_size
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
        head = build_classification_layer(features.shape[1], n_clusters, seed=self._seed)
        head.compile(keras.optimizers.Nadam(1e-3), "categorical_crossentropy")
        targets = smooth_labels(labels, n_clusters, 0.0)
        for _ in range(epochs):
            for rows in self._batches(len(features)):
                head.train_on_batch(features[rows], targets[rows])
        self._join(head)

    def _join(self, head: keras.Model) -> None:
        """Put a softmax layer on the extractor, with a new optimiser for both."""
        volume = self.extractor.input
        self._head = head
        self._model = keras.Model(volume, head(self.extractor(volume)))
        self._model.compile(keras.optimizers.Nadam(1e-3), "categorical_crossentropy")

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
        """
        if self._model is None or self._head is None:
            raise RuntimeError("call new_head before train_epoch")
        self._model.optimizer.learning_rate = learning_rate
        targets = smooth_labels(labels, self._head.output_shape[-1], smoothing)
        n = len(labels)
        losses = []
        batches = list(self._batches(n * (1 + rotated_copies)))
        for entries in track(batches, "training"):
            rows = entries % n
            volumes = self._with_rotated_copies(read(rows), entries >= n)
            loss = self._model.train_on_batch(volumes[..., None], targets[rows])
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                raise IterationError("the loss was not a number")
        return float(np.mean(losses))

    def state(self) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
        """All that decides the next training.

        Returns
        -------
        arrays : dict of str to list of ndarray
            Variables of extractor, softmax layer and optimiser, seeds of the dropout included.
        meta : dict
            Plain values that JSON can hold.
        """
        variables = self._variables()
        arrays = {name: [v.numpy() for v in held] for name, held in variables.items()}
        n_clusters = None if self._head is None else self._head.output_shape[-1]
        return arrays, {"n_clusters": n_clusters, "rng": self._rng.bit_generator.state}

    def set_state(self, arrays: Mapping[str, list[np.ndarray]], meta: Mapping[str, Any]) -> None:
        """Go back to what `state` returned, for a network of the same settings."""
        self._rng.bit_generator.state = meta["rng"]
        self._head = self._model = None
        if meta["n_clusters"] is not None:
            n_features = self.extractor.output_shape[-1]
            self._join(build_classification_layer(n_features, meta["n_clusters"], seed=self._seed))
        for name, held in self._variables().items():
            for variable, value in zip(held, arrays[name], strict=True):
                variable.assign(value)

    def _variables(self) -> dict[str, list[keras.Variable]]:
        variables = {"extractor": self.extractor.variables}
        if self._head is not None and self._model is not None:
            optimizer = self._model.optimizer
            if not optimizer.built:
                optimizer.build(self._model.trainable_variables)
            variables |= {"head": self._head.variables, "optimizer": optimizer.variables}
        return variables

    def _batches(self, n: int) -> list[np.ndarray]:
        order = self._rng.permutation(n)
        return [order[i : i + self.batch_size] for i in range(0, n, self.batch_size)]

    def _with_rotated_copies(self, volumes: np.ndarray, is_copy: np.ndarray) -> np.ndarray:
        if not is_copy.any():
            return volumes
        volumes = volumes.copy()
        rotations = random_rotations(int(is_copy.sum()), self._rng)
        volumes[is_copy] = ops.convert_to_numpy(rotate_volumes(volumes[is_copy], rotations))
        return volumes
