"""The network of AITom's DISCA and the volumes that it is trained on, under its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

import aitom_disca.network  # noqa: F401  Keras without the messages of its start
from aitom_disca.geometry import random_rotations

import keras  # isort: skip

_HEAD_RATE, _HEAD_EPOCHS = 1e-4, 10
_SMOOTHING_DECAY = 0.9
_LOSS = "categorical_hinge"
_AT_ONCE = 64


@keras.saving.register_keras_serializable("aitom_disca")
class ScriptInput(keras.layers.InputLayer):  # type: ignore[misc]
    """An input whose ``input`` is its tensor, as before Keras 3."""

    @property
    def input(self) -> Any:
        """The tensor that goes in."""
        return self.output


def Input(shape: Sequence[int], name: str | None = None) -> Any:
    """Where volumes go into a network; its layer has an ``input``, as before Keras 3."""
    return ScriptInput(shape, name=name).output


@keras.saving.register_keras_serializable("aitom_disca")
class ScriptNadam(keras.optimizers.Nadam):  # type: ignore[misc]
    """Nadam whose rate is also called ``lr``, as before Keras 3."""

    @property
    def lr(self) -> Any:
        """The learning rate."""
        return self.learning_rate


def YOPO_feature(image_size: int) -> Any:
    """YOPO without its classification layer: (n, x, y, z, 1) to 1024 features.

    Layers are called ``input_1`` and ``fc2`` at the ends. A box below 21 voxels has fewer than ten
    convolutions. Weights are drawn with ``np.random``.
    """
    from aitom_disca.network.yopo import build_feature_extractor

    extractor = build_feature_extractor(image_size, seed=_seed() % 10_000)
    named = {"features": "fc2"}

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        return layer.__class__.from_config({**config, "name": named.get(layer.name, layer.name)})

    begin = Input(extractor.input_shape[1:], name="input_1")
    return keras.models.clone_model(extractor, input_tensors=begin, clone_function=copy)


def YOPO_classification(num_labels: int, vector_size: int = 1024) -> Any:
    """The layer from features to the probability of each cluster."""
    from aitom_disca.network.yopo import build_classification_layer

    return build_classification_layer(vector_size, num_labels, seed=_seed())


def update_output_layer(
    K: int,
    label_one_hot: np.ndarray,
    batch_size: int,
    model_feature: Any,
    features: np.ndarray,
    lr: float,
) -> Any:
    """YOPO with a new classification layer of K clusters, warmed up on features that are known.

    Returns
    -------
    keras.Model
        Compiled; ``model.optimizer.lr`` is its rate.
    """
    head = YOPO_classification(K, features.shape[1])
    head.compile(optimizer=ScriptNadam(_HEAD_RATE), loss=_LOSS, metrics=["accuracy"])
    head.fit(
        np.asarray(features, np.float32),
        np.asarray(label_one_hot, np.float32),
        epochs=_HEAD_EPOCHS,
        batch_size=batch_size,
        verbose=0,
    )
    model = keras.models.Model(model_feature.input, head(model_feature.output))
    model.compile(optimizer=ScriptNadam(lr), loss=_LOSS, metrics=["accuracy"])
    return model


def prepare_training_data(
    x_train: np.ndarray, labels: np.ndarray, label_smoothing_factor: float
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Subtomograms and a rotated copy of each, in random order, with smoothed labels.

    Parameters
    ----------
    x_train : ndarray of shape (n, x, y, z, 1)
    labels : ndarray of int, shape (n,)
        From 0 without gaps.
    label_smoothing_factor : float

    Returns
    -------
    label_one_hot : ndarray of shape (n, K)
        As the name says; AITom's are smoothed by its own next step.
    x_train_permute : ndarray of shape (2 n, x, y, z, 1)
    label_smoothing_factor : float
        0.9 times what was given, and what was used.
    labels_permute : ndarray of shape (2 n, K)
    """
    labels = np.asarray(labels)
    label_one_hot = one_hot(labels, len(np.unique(labels)))
    label_smoothing_factor *= _SMOOTHING_DECAY
    smoothed = smooth_labels(label_one_hot, label_smoothing_factor)
    index = np.random.permutation(2 * len(x_train))
    copies = data_augmentation(x_train, 2)
    return label_one_hot, copies[index], label_smoothing_factor, np.tile(smoothed, (2, 1))[index]


def data_augmentation(x_train: np.ndarray, factor: int = 2) -> np.ndarray:
    """Volumes (n, x, y, z, 1), and ``factor - 1`` copies of each after all of them.

    Rotations are uniform, corners filled from the other side of the box; the array given stays
    as it is.
    """
    from aitom_disca.network.augmentation import rotate_volumes

    rng = np.random.default_rng(_seed())
    parts = [np.asarray(x_train)]
    for _ in range(1, factor):
        for start in range(0, len(x_train), _AT_ONCE):
            volumes = parts[0][start : start + _AT_ONCE, ..., 0]
            turned = rotate_volumes(volumes, random_rotations(len(volumes), rng))
            parts.append(keras.ops.convert_to_numpy(turned)[..., None])
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def one_hot(a: np.ndarray, num_classes: int) -> np.ndarray:
    """Rows (n, K) with a 1 at the label."""
    return np.eye(num_classes)[np.asarray(a).reshape(-1)]


def smooth_labels(labels: np.ndarray, factor: float = 0.1) -> np.ndarray:
    """Rows mixed with the uniform distribution by ``factor``; those given stay as they are."""
    return (1 - factor) * labels + factor / labels.shape[1]


def random_rotation_matrix() -> np.ndarray:
    """A uniform rotation, (3, 3); AITom's favours the diagonals of the cube."""
    return random_rotations(1, np.random.default_rng(_seed())).as_matrix()[0]


def rotate3d_zyz(
    data: np.ndarray, Inv_R: np.ndarray, center: Sequence[float] | None = None, order: int = 2
) -> np.ndarray:
    """``out(g) = data(Inv_R g)``, points from ``n / 2`` or another centre; zero outside."""
    middle = np.array(data.shape) / 2 if center is None else np.asarray(center, float)
    turn = np.asarray(Inv_R, float)
    return ndimage.affine_transform(data, turn, middle - turn @ middle, order=order)


def image_normalization(img_list: Sequence[np.ndarray]) -> list[Any]:
    """Every image with zero mean and unit (sample) standard deviation, as nested lists."""
    images = [np.asarray(image, float) for image in img_list]
    return [((image - image.mean()) / image.std(ddof=1)).tolist() for image in images]


def _seed() -> int:
    """A seed that follows ``np.random.seed``."""
    return int(np.random.randint(2**31 - 1))
