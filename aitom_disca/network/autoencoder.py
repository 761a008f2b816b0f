"""A convolutional autoencoder: the plain baseline, and the decoding half of `decoder`."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from aitom_disca.computing.devices import compile_model
from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.network.batches import train_pass
from aitom_disca.network.features import extract_features
from aitom_disca.progress import track
from aitom_disca.subtomograms.dataset import PreparedVolumes, shuffled_rows

_CHANNELS = (16, 32)  # of the two levels, each of half the edge of the one before
_KERNEL = 3
_LEARNING_RATE = 1e-3


def build_encoder(box_px: int, n_features: int, *, seed: int = 0) -> keras.Model:
    """Two convolutions of stride 2 and a dense layer: (batch, z, y, x, 1) to features."""
    seeds = iter(range(1000 * seed, 1000 * seed + 100))
    volume = keras.Input((box_px, box_px, box_px, 1), name="subtomogram")
    x = volume
    for channels in _CHANNELS:
        x = layers.Conv3D(
            channels, _KERNEL, strides=2, padding="same", activation="elu",
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        )(x)  # fmt: skip
    features = layers.Dense(
        n_features, kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds))
    )(layers.Flatten()(x))
    return keras.Model(volume, features, name="encoder")


def build_decoder(box_px: int, n_features: int, *, seed: int = 0) -> keras.Model:
    """The way back: a dense layer and two convolutions, doubled twice, to (batch, z, y, x, 1).

    Parameters
    ----------
    box_px : int
        Edge of the volume, odd or even.
    n_features : int
    seed : int
        Seed of the initial weights.
    """
    seeds = iter(range(1000 * seed + 500, 1000 * seed + 600))
    coarse_px = -(-box_px // 4)
    features = keras.Input((n_features,), name="features")
    x = layers.Dense(
        coarse_px**3 * _CHANNELS[-1], activation="elu",
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
    )(features)  # fmt: skip
    x = layers.Reshape((coarse_px, coarse_px, coarse_px, _CHANNELS[-1]))(x)
    x = layers.UpSampling3D(2)(x)
    # Eight values of a voxel are its eight halves: far cheaper than to convolve the fine grid.
    for channels, activation in ((_CHANNELS[0], "elu"), (8, None)):
        x = layers.Conv3D(
            channels,
            _KERNEL,
            padding="same",
            activation=activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        )(x)
    half_px = 2 * coarse_px
    x = layers.Reshape((half_px, half_px, half_px, 2, 2, 2))(x)
    x = layers.Permute((1, 4, 2, 5, 3, 6))(x)
    x = layers.Reshape((2 * half_px, 2 * half_px, 2 * half_px, 1))(x)
    surplus = 4 * coarse_px - box_px
    x = layers.Cropping3D(((surplus // 2, surplus - surplus // 2),) * 3)(x)
    return keras.Model(features, x, name="decoder")


def autoencoder_features(
    volumes: PreparedVolumes,
    *,
    n_features: int = 32,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
) -> np.ndarray:
    """Train a convolutional autoencoder on subtomograms and return its bottleneck.

    The baseline of the published comparison: what is learned when only the voxels have to be
    given back, with orientation, position and noise among them.

    Parameters
    ----------
    volumes : PreparedVolumes
        Of any box of 12 voxels or more.
    n_features : int
        Width of the bottleneck.
    epochs : int
    batch_size : int
    seed : int
        Decides weights and order; the same seed gives the same features.

    Returns
    -------
    ndarray of float32, shape (n_subtomograms, n_features)
    """
    encoder = build_encoder(volumes.box_px, n_features, seed=seed)
    decoder = build_decoder(volumes.box_px, n_features, seed=seed)
    model = keras.Model(encoder.input, decoder(encoder.output))
    compile_model(model, keras.optimizers.Adam, _LEARNING_RATE, "mean_squared_error")

    def make_batch(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = volumes.read(rows)[..., None]
        return given, given

    rng = np.random.default_rng(seed)
    size = BatchSize(batch_size)
    for _ in track(range(epochs), "training the autoencoder"):
        train_pass(model, shuffled_rows(len(volumes), rng), make_batch, size)
    return extract_features(encoder, volumes.batches(batch_size))
