"""The network, layer by layer, against SI Fig. S2 of Zeng et al. 2023."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from aitom_disca.network import build_classification_layer, build_feature_extractor  # noqa: E402
from aitom_disca.network.yopo import CHANNELS, deepest_that_fits  # noqa: E402

PUBLISHED_CHANNELS = (64, 80, 96, 112, 128, 144, 160, 176, 192, 208)


@pytest.fixture(scope="module")
def full():
    """The published network for boxes of 24 voxels."""
    return build_feature_extractor(24)


def test_shapes_layer_by_layer(full):
    assert full.input_shape == (None, 24, 24, 24, 1)
    assert CHANNELS == PUBLISHED_CHANNELS
    edge = 24
    for i, channels in enumerate(PUBLISHED_CHANNELS, 1):
        edge -= 2  # a valid convolution of 3
        for name in (f"convolution_{i}", f"elu_{i}", f"normalisation_{i}"):
            assert full.get_layer(name).output.shape == (None, edge, edge, edge, channels)
        assert full.get_layer(f"pool_{i}").output.shape == (None, channels)
    assert edge == 4
    assert full.get_layer("pooled").output.shape == (None, 1360)
    assert full.get_layer("pooled_normalisation").output.shape == (None, 1360)
    assert full.output_shape == (None, 1024)


def test_layers_are_of_the_published_kinds_in_order(full):
    kinds = [type(layer).__name__ for layer in full.layers]
    assert kinds[:2] == ["InputLayer", "GaussianDropout"]
    assert full.layers[1].rate == 0.5
    assert [kinds.count(k) for k in ("Conv3D", "ELU", "GlobalMaxPooling3D")] == [10, 10, 10]
    assert kinds.count("BatchNormalization") == 11
    assert kinds[-3:] == ["Concatenate", "BatchNormalization", "Dense"]
    for i in range(1, 11):
        convolution = full.get_layer(f"convolution_{i}")
        assert convolution.kernel_size == (3, 3, 3)
        assert convolution.padding == "valid"
        assert convolution.strides == (1, 1, 1)
        # Convolution, then ELU, then normalisation, which feeds the pool.
        assert full.get_layer(f"elu_{i}").input is convolution.output
        assert full.get_layer(f"normalisation_{i}").input is full.get_layer(f"elu_{i}").output
        assert full.get_layer(f"pool_{i}").input is full.get_layer(f"normalisation_{i}").output


def test_kernels_are_orthogonal_and_biases_zero(full):
    names = [*(f"convolution_{i}" for i in range(1, 11)), "features"]
    for name in names:
        kernel, bias = full.get_layer(name).get_weights()
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(float)
        rows, columns = matrix.shape
        gram = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
        np.testing.assert_allclose(gram, np.eye(min(rows, columns)), atol=1e-4, err_msg=name)
        assert not bias.any()


def test_one_volume_gives_its_features(full, rng):
    volume = rng.normal(size=(1, 24, 24, 24, 1)).astype(np.float32)
    features = np.asarray(full.predict_on_batch(volume))
    assert features.shape == (1, 1024)
    assert np.isfinite(features).all() and features.std() > 0
    np.testing.assert_array_equal(features, np.asarray(full.predict_on_batch(volume)))


@pytest.mark.parametrize(
    ("box", "depth"), [(3, 1), (4, 1), (5, 2), (13, 6), (16, 7), (21, 10), (22, 10), (64, 10)]
)
def test_depth_that_fits(box, depth):
    assert deepest_that_fits(box) == depth


@pytest.mark.parametrize("box", [5, 8, 11])
def test_depth_and_width_follow_the_box_and_the_settings(box):
    model = build_feature_extractor(box, width=0.1, n_features=7)
    depth = deepest_that_fits(box)
    assert sum(isinstance(x, keras.layers.Conv3D) for x in model.layers) == depth
    assert model.get_layer(f"normalisation_{depth}").output.shape[1] == box - 2 * depth >= 1
    assert model.get_layer("convolution_2").filters == 8
    assert model.output_shape == (None, 7)


def test_one_convolution_and_no_dropout():
    model = build_feature_extractor(6, width=0.001, n_convolutions=1, n_features=3, dropout=0.0)
    assert model.get_layer("convolution_1").filters == 1
    assert not any(isinstance(x, keras.layers.GaussianDropout) for x in model.layers)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(("box", "depth"), [(16, 8), (16, 0), (2, None), (30, 11)])
def test_depth_that_does_not_fit_is_refused(box, depth):
    with pytest.raises(ValueError, match="n_convolutions must be between 1 and"):
        build_feature_extractor(box, n_convolutions=depth)


def small(seed: int) -> list[np.ndarray]:
    return build_feature_extractor(9, width=0.1, n_features=8, seed=seed).get_weights()


def test_the_seed_decides_the_weights():
    first, again, other = small(3), small(3), small(4)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [i for i, a in enumerate(first) if a.ndim > 1]
    assert kernels and all((first[i] != other[i]).any() for i in kernels)


def test_every_layer_has_its_own_seed(full):
    layers = [x for x in full.layers if hasattr(x, "kernel_initializer")]
    seeds = [x.kernel_initializer.seed for x in layers]
    assert len(seeds) == len(set(seeds)) == 11


def test_classification_layer_gives_probabilities(rng):
    layer = build_classification_layer(12, 5, seed=1)
    probabilities = np.asarray(layer(rng.normal(size=(40, 12)).astype(np.float32)))
    assert probabilities.shape == (40, 5)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    kernels = [build_classification_layer(12, 5, seed=s).get_weights()[0] for s in (1, 1, 2)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()
