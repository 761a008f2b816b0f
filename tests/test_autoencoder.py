"""The convolutional autoencoder of the comparison."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.network.autoencoder import autoencoder_features, build_decoder, build_encoder
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes


@pytest.mark.parametrize("box", [12, 13, 15, 22])
def test_any_box_comes_back_in_its_own_shape(box):
    encoder, decoder = build_encoder(box, 5), build_decoder(box, 5)
    assert encoder.input_shape == decoder.output_shape == (None, box, box, box, 1)
    assert encoder.output_shape == decoder.input_shape == (None, 5)


@pytest.fixture(scope="module")
def two_sizes():
    """Balls of two sizes in noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    radius_px = np.sqrt(((np.indices((13,) * 3) - 6) ** 2).sum(axis=0))
    balls = np.stack([radius_px < 2.2, radius_px < 4.4]).astype(np.float32)
    volumes = rng.normal(size=(60, 13, 13, 13)) + 3 * balls[labels]
    return PreparedVolumes(ArraySource(volumes.astype(np.float32))), labels


def test_features_tell_sizes_apart_and_the_seed_decides_them(two_sizes):
    volumes, labels = two_sizes
    options = {"n_features": 4, "epochs": 6, "batch_size": 16}
    features = autoencoder_features(volumes, **options, seed=1)
    assert features.shape == (60, 4) and features.dtype == np.float32
    centres = np.array([features[labels == k].mean(axis=0) for k in (0, 1)])
    nearest = ((features[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.95
    np.testing.assert_array_equal(features, autoencoder_features(volumes, **options, seed=1))


def test_training_is_what_makes_the_features(two_sizes):
    volumes, _ = two_sizes
    untrained = autoencoder_features(volumes, n_features=4, epochs=0)
    trained = autoencoder_features(volumes, n_features=4, epochs=1)
    assert np.abs(trained - untrained).max() > 1e-3
