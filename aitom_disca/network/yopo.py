"""YOPO, "you only pool once": a 3D network whose features do not depend on position."""

from __future__ import annotations

import keras
from keras import layers

from aitom_disca.computing import devices

# SI Fig. S2: channels of the ten convolutions.
CHANNELS = (64, 80, 96, 112, 128, 144, 160, 176, 192, 208)
N_FEATURES = 1024
_KERNEL = 3


def deepest_that_fits(box_px: int) -> int:
    """Number of 3x3x3 `valid` convolutions, at most ten, that leave at least one voxel."""
    return min(len(CHANNELS), (box_px - 1) // (_KERNEL - 1))


def build_feature_extractor(
    box_px: int,
    *,
    width: float = 1.0,
    n_convolutions: int | None = None,
    n_features: int = N_FEATURES,
    dropout: float = 0.5,
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """Build YOPO without its classification layer.

    Gaussian dropout; 3x3x3 `valid` convolutions, each followed by ELU and batch normalisation;
    a global max pool of every one of them, concatenated (1360 values at full width); batch
    normalisation; a dense layer that gives the features. Kernels are orthogonal, biases zero.

    Parameters
    ----------
    box_px : int
        Edge of the cubic subtomograms.
    width : float
        Factor on the number of channels; 1 is the published network.
    n_convolutions : int, optional
        1 to 10; by default as many as the box allows.
    n_features : int
        Length of the feature vector.
    dropout : float
        Rate of the Gaussian dropout at the input.
    precision : {"auto", "float32", "mixed"}
        As in `aitom_disca.computing.devices.dtype_policy`; the features are float32 always.
    seed : int
        Seed of the initial weights and of the dropout.

    Returns
    -------
    keras.Model
        ``(batch, z, y, x, 1)`` to ``(batch, n_features)``.

    Raises
    ------
    ValueError
        If that many convolutions do not fit into the box.

    References
    ----------
    .. [1] Zeng et al. (2023), PNAS 120(15) e2213149120, SI Fig. S2.
    """
    deepest = deepest_that_fits(box_px)
    n_convolutions = deepest if n_convolutions is None else n_convolutions
    if not 1 <= n_convolutions <= deepest:
        raise ValueError(
            f"n_convolutions must be between 1 and {deepest} for a box of {box_px} voxels; "
            f"got {n_convolutions}"
        )
    seeds = iter(range(1000 * seed, 1000 * seed + 100))
    policy = devices.dtype_policy(precision)
    across = {"synchronized": True} if devices.normalises_across_devices() else {}
    volume = keras.Input((box_px, box_px, box_px, 1), name="subtomogram")
    x = (
        layers.GaussianDropout(dropout, seed=next(seeds), dtype=policy)(volume)
        if dropout
        else volume
    )
    pooled = []
    for i, channels in enumerate(CHANNELS[:n_convolutions], 1):
        x = layers.Conv3D(
            max(1, round(channels * width)),
            _KERNEL,
            padding="valid",
            kernel_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            dtype=policy,
            name=f"convolution_{i}",
        )(x)
        x = layers.ELU(dtype=policy, name=f"elu_{i}")(x)
        x = layers.BatchNormalization(dtype=policy, name=f"normalisation_{i}", **across)(x)
        pooled.append(layers.GlobalMaxPooling3D(dtype=policy, name=f"pool_{i}")(x))
    x = layers.Concatenate(name="pooled")(pooled) if len(pooled) > 1 else pooled[0]
    x = layers.BatchNormalization(name="pooled_normalisation", **across)(x)
    features = layers.Dense(
        n_features,
        kernel_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        name="features",
    )(x)
    return keras.Model(volume, features, name="yopo")


def build_classification_layer(n_features: int, n_clusters: int, *, seed: int = 0) -> keras.Model:
    """The softmax layer that exists only for training: features to cluster probabilities."""
    features = keras.Input((n_features,), name="features")
    probabilities = layers.Dense(
        n_clusters,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        name="classification",
    )(features)
    return keras.Model(features, probabilities, name="classification")
