"""The network: two volumes in, six parameters of a rigid motion out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.disk.reading import reading
from aitom_disca.network.gumnet.layers import FeatureCorrelation, FeatureL2Norm, SpectralPooling
from aitom_disca.network.gumnet.transform import (
    imputed,
    moved,
    rotation_matrices,
    shift_in_voxels,
)

PUBLISHED_BOX_PX = 32
_CHANNELS = (32, 64, 128, 256, 512)
_SHRINKS = (4, 6, 4, 2)  # voxels that each pooling takes from the published box
_KEPT = ((22, 26), (15, 18), (10, 12), (7, 8))  # frequencies of voxels, of each pooling
_MATCHED_PX = 6  # edge at which features are compared
_FEWEST_PX = _MATCHED_PX + 2 * len(_CHANNELS)
_MATCHING, _DENSE = 1024, 2000
_MOMENTUM = 0.9  # with Keras' 0.99 a short training would end with the statistics of its start


@keras.saving.register_keras_serializable("aitom_disca")
class RigidMotion(keras.layers.Layer):
    """Move a volume by six parameters, and fill its missing wedge from the target."""

    def call(self, inputs: Any) -> Any:
        """Parameters (batch, 6), volumes and masks (batch, n, n, n, 1); same shape as these."""
        parameters, moving, target, observed, missing = inputs
        n = moving.shape[1]
        angles, shift = as_motion(parameters)
        matrices = rotation_matrices(angles)
        still = ops.zeros_like(shift)
        turned = [
            moved(mask[..., 0], matrices, still, outside="nearest") for mask in (observed, missing)
        ]
        laid = moved(moving[..., 0], matrices, shift_in_voxels(shift, n))
        return imputed(laid, target[..., 0], *turned)[..., None]


def as_motion(parameters: Any) -> tuple[Any, Any]:
    """Angles (radians, -pi to pi) and shifts (-1 to 1) of parameters from 0 to 1."""
    return 2 * np.pi * parameters[:, :3] - np.pi, 2 * parameters[:, 3:] - 1


def pooling_sizes(box_px: int) -> list[tuple[int, int]]:
    """Size and kept frequencies of the four spectral poolings.

    The last features have 6 voxels an edge in every box; the poolings share what is left.

    Raises
    ------
    InputError
        If the box is too small.
    """
    if box_px < _FEWEST_PX:
        raise InputError(
            f"Gum-Net needs a box of at least {_FEWEST_PX} voxels; this one has {box_px}: extract "
            "with a larger box or a smaller voxel size."
        )
    spare, total = box_px - _FEWEST_PX, sum(_SHRINKS)
    ends = np.round(np.cumsum(_SHRINKS) * spare / total).astype(int)
    shrinks = np.diff(ends, prepend=0)
    sizes, n = [], box_px
    for shrink, (kept, of) in zip(shrinks, _KEPT, strict=True):
        n = n - 2 - int(shrink)
        sizes.append((n, max(1, round(n * kept / of))))
    return sizes


def build_gumnet(
    box_px: int = PUBLISHED_BOX_PX, *, width: float = 1.0, seed: int = 0
) -> keras.Model:
    """Build Gum-Net.

    Parameters
    ----------
    box_px : int
        Edge of the volumes; at 32 everything is as published (110,069,318 trainable parameters at
        full width).
    width : float
        Factor on all channels.
    seed : int

    Returns
    -------
    keras.Model
        Named ``gumnet``: moving and target volume, observed and missing mask, each
        ``(batch, x, y, z, 1)``, to the moved and filled volume of the same shape, and the six
        parameters ``(batch, 6)``, 0 to 1.

    Raises
    ------
    InputError
        If the box is too small.

    References
    ----------
    .. [1] Zeng and Xu (2020), CVPR: Gum-Net.
    """
    sizes = pooling_sizes(box_px)
    kernels = (keras.initializers.GlorotUniform(seed=1000 * seed + i) for i in itertools.count())
    shape = (box_px, box_px, box_px, 1)
    names = ("moving", "target", "observed", "missing")
    inputs = [keras.Input(shape, name=name) for name in names]
    convolutions = [
        layers.Conv3D(
            _scaled(channels, width),
            3,
            kernel_initializer=next(kernels),
            name=f"feature_convolution_{i}",
        )
        for i, channels in enumerate(_CHANNELS, 1)
    ]
    first, second = (
        _features(inputs[i], convolutions, sizes, name) for i, name in ((0, "x"), (1, "y"))
    )
    forth = FeatureL2Norm()(FeatureCorrelation()([first, second]))
    back = FeatureL2Norm()(FeatureL2Norm()(FeatureCorrelation()([second, first])))
    matched = [_matched(forth, "ab", width, kernels), _matched(back, "ba", width, kernels)]
    x = layers.Concatenate()(matched)
    for i in (1, 2):
        x = layers.Dense(
            _scaled(_DENSE, width), kernel_initializer=next(kernels), name=f"dense_{i}"
        )(x)
    x = layers.Dense(
        6,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.RandomUniform(-0.5, 0.5, seed=seed),
        name="dense_3",
    )(x)
    parameters = layers.Activation("sigmoid", name="parameters")(x)
    laid = RigidMotion(name="laid")([parameters, *inputs])
    return keras.Model(inputs, [laid, parameters], name="gumnet")


def save_gumnet(model: keras.Model, path: str | Path) -> None:
    """Write a model, architecture and weights, without pickles (``.keras``)."""
    with replacing(Path(path).with_suffix(".keras")) as temporary:
        model.save(temporary)


def load_gumnet(path: str | Path) -> keras.Model:
    """Read what `save_gumnet` wrote.

    Raises
    ------
    InputError
        If it is not such a file.
    """
    with reading(path, "a Gum-Net model (.keras)"):
        model = keras.saving.load_model(Path(path), compile=False, safe_mode=True)
    if model.name != "gumnet":
        raise InputError(f"expected a Gum-Net model, but {path} holds {model.name}.")
    return model


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _features(volume: Any, convolutions: list[Any], sizes: list[tuple[int, int]], name: str) -> Any:
    """Features of one of the volumes; convolutions are shared, normalisations are not."""
    x = volume
    for i, (convolution, size) in enumerate(zip(convolutions[:-1], sizes, strict=True), 1):
        x = layers.ReLU()(convolution(x))
        x = _normalised(x, f"{name}_{i}")
        x = SpectralPooling(*size)(x)
    return FeatureL2Norm()(_normalised(convolutions[-1](x), f"{name}_{len(convolutions)}"))


def _matched(correlations: Any, name: str, width: float, kernels: Iterator[Any]) -> Any:
    x = correlations
    for i in (1, 2):
        x = layers.Conv3D(
            _scaled(_MATCHING, width),
            3,
            kernel_initializer=next(kernels),
            name=f"matching_{name}_{i}",
        )(x)
        x = layers.ReLU()(_normalised(x, f"{name}_{i}"))
    return layers.Flatten()(x)


def _normalised(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=_MOMENTUM, name=f"normalisation_{name}")(x)
