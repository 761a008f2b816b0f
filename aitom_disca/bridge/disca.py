"""The functions of AITom's DISCA under their names, on current libraries.

For scripts that were written against ``aitom.classify.deep.unsupervised.disca``: they import from
here instead. Volumes are (n, x, y, z, 1), labels run from 0, and randomness follows
``np.random.seed``, as there. What these functions do differently is said with each.

The names ``keras``, ``np`` and ``Input`` come along with ``import *``. They have what scripts of
that time use and the libraries have no more: ``keras.backend.set_value``, ``np.float`` and so on,
and inputs whose layer has an ``input``. So AITom's own ``DISCA.py`` runs with this line in place of
that which imports its ``util``, provided it is the last of the imports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

import aitom_disca.network  # noqa: F401  Keras without the messages of its start
from aitom_disca.bridge.pickles import read_pickle, write_pickle
from aitom_disca.clustering import contingency, ddbi, fit_projection
from aitom_disca.clustering.fitting import MixtureFitter, one_thread
from aitom_disca.errors import InputError
from aitom_disca.geometry import random_rotations

import keras as _keras  # isort: skip

__all__ = [
    "DDBI",
    "Input",
    "YOPO_classification",
    "YOPO_feature",
    "align_cluster_index",
    "convergence_check",
    "data_augmentation",
    "image_normalization",
    "keras",
    "np",
    "one_hot",
    "pickle_dump",
    "pickle_load",
    "prepare_training_data",
    "random_rotation_matrix",
    "remove_empty_cluster",
    "rotate3d_zyz",
    "smooth_labels",
    "statistical_fitting",
    "update_output_layer",
]

_DIMENSIONS, _STARTS, _TOL, _MAX_ITERATIONS = 16, 5, 1e-3, 100
_HEAD_RATE, _HEAD_EPOCHS = 1e-4, 10
_STAYED = 0.999
_SMOOTHING_DECAY = 0.9
_LOSS = "categorical_hinge"
_AT_ONCE = 64

if TYPE_CHECKING:
    import numpy as np
else:  # with the names that NumPy has no more
    np = ModuleType("numpy")
    np.__dict__.update({kind.__name__: kind for kind in (bool, int, float, complex, object, str)})
    np.__dict__.update(vars(numpy))


# -- clusters ----------------------------------------------------------------------------------


def align_cluster_index(ref_cluster: np.ndarray, map_cluster: np.ndarray) -> np.ndarray:
    """Rename clusters so that as many samples as possible keep the name they had.

    Parameters
    ----------
    ref_cluster, map_cluster : ndarray of int, shape (n,)
        Equally many clusters, from 0 without gaps.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    InputError
        If the numbers of clusters differ, where AITom prints that and returns an empty tuple; or
        if labels have gaps, which AITom mixes up.
    """
    ref, given = np.asarray(ref_cluster), np.asarray(map_cluster)
    names = [np.unique(labels) for labels in (ref, given)]
    if len(ref) != len(given) or len(names[0]) != len(names[1]):
        raise InputError(
            f"expected two clusterings of equally many clusters; got {len(names[0])} and "
            f"{len(names[1])} clusters of {len(ref)} and {len(given)} samples."
        )
    if any(not np.array_equal(found, np.arange(len(found))) for found in names):
        raise InputError("expected clusters from 0 without gaps; see remove_empty_cluster.")
    _, partner = linear_sum_assignment(len(ref) - contingency(ref, given))
    new = np.empty(len(partner), given.dtype)
    new[partner] = np.arange(len(partner))
    return new[given]


def remove_empty_cluster(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from 0 without gaps; the array given stays as it is."""
    labels = np.asarray(labels)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(labels.dtype)


def DDBI(features: np.ndarray, labels: np.ndarray, reg_covar: float = 1e-5) -> float:
    """Distortion-based Davies-Bouldin index; lower is better.

    ``reg_covar`` is the script's own in AITom. For one cluster, where the index is not defined,
    NaN comes and not 0.
    """
    return ddbi(np.asarray(features), np.asarray(labels), reg_covar=reg_covar)


def convergence_check(
    i: int, M: int, labels_temp: np.ndarray, labels: np.ndarray | None, done: bool
) -> tuple[int, np.ndarray, bool]:
    """Count an iteration, and say whether the loop ends: labels stayed, or M iterations are done.

    Returns
    -------
    i, labels, done
        The number of the next iteration, the labels of this one, and whether to stop.
    """
    if i > 0 and np.sum(np.asarray(labels_temp) == labels) / len(labels_temp) > _STAYED:
        done = True
    return i + 1, labels_temp, done or i + 1 == M


def statistical_fitting(
    features: np.ndarray,
    labels: np.ndarray | None,
    candidateKs: Sequence[int],
    K: int | None,
    reg_covar: float,
    i: int,
) -> tuple[np.ndarray, int, bool, np.ndarray]:
    """Fit Gaussian mixtures of several K to the features; the lowest BIC decides.

    All K are fitted with the same tolerance, and the clusters of the iteration before are one
    start more wherever there are as many of them.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
    labels : ndarray of int, shape (n,), or None
        Of the iteration before.
    candidateKs : sequence of int
    K : int or None
        Of the iteration before.
    reg_covar : float
    i : int
        Seed.

    Returns
    -------
    labels : ndarray of int, shape (n,)
        From 0 without gaps.
    K : int
    same_K : bool
    features_pca : ndarray of shape (n, at most 16)
    """
    features = np.asarray(features)
    samples = fit_projection(features, _DIMENSIONS)(features)
    fitter = MixtureFitter(
        samples,
        labels=None if labels is None else np.asarray(labels),
        n_starts=_STARTS,
        reg_covar=reg_covar,
        tol=_TOL,
        max_iterations=_MAX_ITERATIONS,
        seed=i,
    )
    with one_thread():
        mixtures = [fitter.fit(k).mixture for k in candidateKs]
    best = mixtures[int(np.argmin([mixture.bic(samples) for mixture in mixtures]))]
    found = remove_empty_cluster(best.posterior(samples).argmax(axis=1))
    n_found = int(found.max()) + 1
    return found, n_found, n_found == K, samples


# -- the network -------------------------------------------------------------------------------


@_keras.saving.register_keras_serializable("aitom_disca")
class ScriptInput(_keras.layers.InputLayer):  # type: ignore[misc]
    """An input whose ``input`` is its tensor, as before Keras 3."""

    @property
    def input(self) -> Any:
        """The tensor that goes in."""
        return self.output


def Input(shape: Sequence[int], name: str | None = None) -> Any:
    """Where volumes go into a network; its layer has an ``input``, as before Keras 3."""
    return ScriptInput(shape, name=name).output


@_keras.saving.register_keras_serializable("aitom_disca")
class ScriptNadam(_keras.optimizers.Nadam):  # type: ignore[misc]
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
    return _keras.models.clone_model(extractor, input_tensors=begin, clone_function=copy)


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
    model = _keras.models.Model(model_feature.input, head(model_feature.output))
    model.compile(optimizer=ScriptNadam(lr), loss=_LOSS, metrics=["accuracy"])
    return model


# -- training data -----------------------------------------------------------------------------


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
            parts.append(_keras.ops.convert_to_numpy(turned)[..., None])
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


def pickle_load(path: str | Path) -> Any:
    """Read a pickle of arrays and plain containers; anything else in it is refused."""
    return read_pickle(path)


def pickle_dump(o: Any, path: str | Path, protocol: int = 2) -> None:
    """Write a pickle of protocol 2, which AITom reads with any NumPy."""
    write_pickle(path, o)


def _seed() -> int:
    """A seed that follows ``np.random.seed``."""
    return int(np.random.randint(2**31 - 1))


def _with_set_value() -> ModuleType:
    """Keras, and the function of its backend that scripts set the learning rate with."""
    backend = ModuleType("keras.backend")
    backend.__dict__.update(vars(_keras.backend))
    backend.set_value = lambda variable, value: variable.assign(value)  # type: ignore[attr-defined]
    module = ModuleType("keras")
    module.__dict__.update(vars(_keras), backend=backend)
    return module


keras = _with_set_value()
