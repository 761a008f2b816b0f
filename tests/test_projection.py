"""Principal components."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

from aitom_disca.clustering import fit_projection


@pytest.fixture
def features(rng):
    """Seven dimensions of falling spread, turned into each other, far from the origin."""
    spread = np.array([9.0, 5.0, 3.0, 1.0, 0.5, 0.2, 0.1])
    rotation, _ = np.linalg.qr(rng.normal(size=(7, 7)))
    return (rng.normal(size=(200, 7)) * spread) @ rotation + 20


def by_eigenvectors(features):
    """Variances and axes, largest first, by another road than the package's."""
    values, vectors = np.linalg.eigh(np.cov(features.T))
    return values[::-1], vectors[:, ::-1].T


@pytest.mark.parametrize("p", [1, 3, 7])
@pytest.mark.parametrize("whiten", [False, True])
def test_agrees_with_the_eigenvectors_of_the_covariance(features, p, whiten):
    projection = fit_projection(features, p, whiten=whiten)
    values, axes = by_eigenvectors(features)
    expected = (features - features.mean(axis=0)) @ axes[:p].T
    if whiten:
        expected /= np.sqrt(values[:p])
    found = projection(features)
    assert found.shape == (200, p) and found.dtype == np.float64
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-8)


@pytest.mark.parametrize("whiten", [False, True])
def test_components_are_centred_and_uncorrelated(features, whiten):
    found = fit_projection(features, 5, whiten=whiten)(features)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    covariance = np.cov(found.T)
    expected = np.eye(5) if whiten else np.diag(by_eigenvectors(features)[0][:5])
    np.testing.assert_allclose(covariance, expected, atol=1e-8)


def test_pieces_give_what_the_whole_gives_and_little_memory(features):
    projection = fit_projection(features, 3)
    many = np.tile(features.astype(np.float32), (100, 1))  # 20,000 samples: several pieces
    expected = np.tile(
        (features.astype(np.float32) - projection.mean) @ projection.axes.T, (100, 1)
    )
    np.testing.assert_allclose(projection(many), expected, atol=1e-10)
    tracemalloc.start()
    projection(many)
    assert tracemalloc.get_traced_memory()[1] < 1.5 * 20_000 * 3 * 8 + 2 * 4096 * 7 * 8
    tracemalloc.stop()


def test_no_dimensions_keeps_the_features(features):
    found = fit_projection(features, None, whiten=True)(features)
    np.testing.assert_array_equal(found, features)


def test_new_samples_are_projected_alike(features):
    projection = fit_projection(features[:150], 4)
    np.testing.assert_allclose(projection(features)[150:], projection(features[150:]))


def test_fewer_features_or_samples_than_dimensions(features):
    assert fit_projection(features, 16)(features).shape == (200, 7)
    assert fit_projection(features[:4], 16)(features[:4]).shape[1] <= 3


@pytest.mark.parametrize("whiten", [False, True])
def test_directions_without_variance_are_left_out(features, whiten):
    flat = np.concatenate([features, np.full((200, 2), 3.0), features[:, :1]], axis=1)
    found = fit_projection(flat, 10, whiten=whiten)(flat)
    assert found.shape == (200, 7)
    assert np.isfinite(found).all()


def test_the_seed_decides_large_data():
    features = np.random.default_rng(0).normal(size=(600, 600)).astype(np.float32)
    first, again = (fit_projection(features, 4, seed=3).axes for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_features_stay(features):
    kept = features.copy()
    fit_projection(features, 3, whiten=True)(features)
    np.testing.assert_array_equal(features, kept)


@pytest.mark.parametrize("whiten", [False, True])
def test_agrees_with_scikit_learn(features, whiten):
    theirs = PCA(4, whiten=whiten, svd_solver="full").fit(features)
    ours = fit_projection(features, 4, whiten=whiten)
    expected, found = theirs.transform(features), ours(features)
    np.testing.assert_allclose(found * np.sign((found * expected).sum(axis=0)), expected, atol=1e-8)


def test_axes_point_to_their_largest_entry(features):
    for some in (features, -features):
        axes = fit_projection(some, 7).axes
        assert (axes[np.arange(7), np.abs(axes).argmax(axis=1)] > 0).all()


def test_fitting_takes_little_memory(features):
    many = np.tile(features.astype(np.float32), (100, 1))
    tracemalloc.start()
    projection = fit_projection(many, 3)
    assert tracemalloc.get_traced_memory()[1] < 3 * 4096 * 7 * 8  # in float64 all are 20,000 x 7
    tracemalloc.stop()
    np.testing.assert_allclose(projection.mean, features.mean(axis=0), rtol=1e-6)
    axes = fit_projection(features, 3).axes
    np.testing.assert_allclose(projection.axes, axes, atol=1e-5)
