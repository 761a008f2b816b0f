"""Layers of Gum-Net that Keras does not have. Arrays are (batch, x, y, z, channels)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import fft

_AXES = ("bxyzc,ix->biyzc", "bxyzc,iy->bxizc", "bxyzc,iz->bxyic")


@keras.saving.register_keras_serializable("aitom_disca")
class SpectralPooling(keras.layers.Layer):
    """Resample in the cosine spectrum: keep the lowest frequencies, and fewer voxels.

    The orthonormal DCT-II of every channel, its lowest ``keep``^3 coefficients, zeros up to
    ``size``^3, and back. Amplitudes are not compensated: a constant grows by
    ``(n / size)^1.5``.

    Parameters
    ----------
    size : int
        Edge of the output.
    keep : int
        Frequencies kept along each axis, at most ``size``.
    """

    def __init__(self, size: int, keep: int, **options: Any) -> None:
        super().__init__(**options)
        self.size, self.keep = size, keep

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the matrices that act on the axes."""
        self._matrices = [_resampling(n, self.size, self.keep) for n in shape[1:4]]

    def call(self, volumes: Any) -> Any:
        """Resample ``(batch, n, n, n, c)`` to ``(batch, size, size, size, c)``."""
        for equation, matrix in zip(_AXES, self._matrices, strict=True):
            volumes = ops.einsum(equation, volumes, ops.convert_to_tensor(matrix))
        return volumes

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Same batch and channels."""
        return shape[0], self.size, self.size, self.size, shape[4]

    def get_config(self) -> dict[str, Any]:
        """As Keras wants it."""
        return super().get_config() | {"size": self.size, "keep": self.keep}


@keras.saving.register_keras_serializable("aitom_disca")
class FeatureL2Norm(keras.layers.Layer):
    """Divide the features of every voxel by their length: ``f / sqrt(|f|^2 + 1e-6)``."""

    def call(self, features: Any) -> Any:
        """Same shape."""
        squared = ops.sum(ops.square(features), axis=-1, keepdims=True)
        return features / ops.sqrt(squared + 1e-6)


@keras.saving.register_keras_serializable("aitom_disca")
class FeatureCorrelation(keras.layers.Layer):
    """Products of all voxels' features of two volumes: ``out[i, j, k, n] = <A[k, j, i], B[n]>``.

    The axes of A come in reversed order, and n counts the voxels of B with its last axis fastest:
    so it is in the published weights.
    """

    def call(self, pair: Any) -> Any:
        """Correlate ``(batch, n, n, n, c)`` with the same: ``(batch, n, n, n, n^3)``."""
        first, second = pair
        n, channels = first.shape[1], first.shape[4]
        flat = ops.reshape(second, (-1, n**3, channels))
        return ops.einsum("bkjic,bnc->bijkn", first, flat)

    def compute_output_shape(self, shapes: Any) -> tuple[int, ...]:
        """n^3 channels."""
        first = shapes[0]
        return *first[:4], first[1] ** 3


def _resampling(n: int, size: int, keep: int) -> np.ndarray:
    """From n values to ``size``, through ``keep`` cosines; shape (size, n)."""
    forward = fft.dct(np.eye(n), norm="ortho", axis=0)[:keep]
    backward = fft.idct(np.eye(size), norm="ortho", axis=0)[:, :keep]
    return (backward @ forward).astype(np.float32)
