"""Gaussian mixtures against scipy, scikit-learn and the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from aitom_disca.clustering import (
    GaussianMixtureModel,
    fit_mixture,
    mixture,
    mixture_of_labels,
)

MEANS = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 1.0], [0.0, 7.0, -3.0]])
SIZES = (120, 80, 40)


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(3), SIZES)
    spread = np.array([[1.0, 0.4, 0.0], [0.0, 0.8, 0.3], [0.0, 0.0, 1.2]])
    return rng.normal(size=(len(labels), 3)) @ spread + MEANS[labels], labels


@pytest.fixture(scope="module")
def fitted(planted):
    return fit_mixture(planted[0], 3, n_starts=2)


def test_fit_finds_what_was_planted(planted, fitted):
    samples, labels = planted
    found = fitted.posterior(samples).argmax(axis=1)
    assert adjusted_rand_score(labels, found) > 0.97
    assert fitted.n_components == 3
    order = np.argsort(-fitted.weights)
    np.testing.assert_allclose(fitted.means[order], MEANS, atol=0.5)
    np.testing.assert_allclose(fitted.weights[order], np.array(SIZES) / sum(SIZES), atol=0.03)
    np.testing.assert_allclose(fitted.weights.sum(), 1)
    np.testing.assert_allclose(fitted.covariances, np.swapaxes(fitted.covariances, 1, 2))


@pytest.mark.parametrize(("k", "p"), [(1, 1), (2, 4), (5, 3)])
def test_joint_density_agrees_with_scipy(rng, k, p):
    model = random_model(rng, k, p)
    samples = rng.normal(scale=3, size=(50, p))
    joint = model.joint_log_density(samples)
    assert joint.shape == (50, k)
    for i in range(k):
        gaussian = multivariate_normal(model.means[i], model.covariances[i])
        expected = np.log(model.weights[i]) + gaussian.logpdf(samples)
        np.testing.assert_allclose(joint[:, i], expected, rtol=1e-9, atol=1e-9)
    total = np.log(np.exp(joint).sum(axis=1))
    np.testing.assert_allclose(model.log_likelihood(samples), total, rtol=1e-9)


def random_model(rng, k, p) -> GaussianMixtureModel:
    factors = rng.normal(size=(k, p, p)) + 2 * np.eye(p)
    weights = rng.dirichlet(np.ones(k))
    return GaussianMixtureModel(
        weights, rng.normal(size=(k, p)), factors @ np.swapaxes(factors, 1, 2)
    )


@pytest.mark.parametrize("scale", [1, 100])
def test_posterior_rows_are_probabilities_even_far_away(rng, scale):
    model = random_model(rng, 4, 3)
    posterior = model.posterior(scale * rng.normal(size=(60, 3)))
    assert ((posterior >= 0) & (posterior <= 1)).all()
    np.testing.assert_allclose(posterior.sum(axis=1), 1, rtol=1e-9)


def test_posterior_by_hand():
    model = GaussianMixtureModel(
        np.array([0.25, 0.75]), np.array([[-1.0], [1.0]]), np.ones((2, 1, 1))
    )
    # At 0 the densities are equal; at 1 they differ by exp(-2).
    posterior = model.posterior(np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(posterior[0], [0.25, 0.75])
    far = 0.25 * math.exp(-2)
    np.testing.assert_allclose(posterior[1], np.array([far, 0.75]) / (far + 0.75))


@pytest.mark.parametrize(("k", "p", "count"), [(1, 1, 2), (2, 2, 11), (3, 16, 458), (5, 4, 74)])
def test_number_of_parameters_by_hand(rng, k, p, count):
    assert random_model(rng, k, p).n_parameters == count


def test_bic_agrees_with_the_formula_written_out(planted, fitted):
    samples, _ = planted
    log_likelihood = 0.0
    for x in samples:
        density = 0.0
        for weight, mean, covariance in zip(
            fitted.weights, fitted.means, fitted.covariances, strict=True
        ):
            d = x - mean
            exponent = -0.5 * d @ np.linalg.inv(covariance) @ d
            norm = math.sqrt((2 * math.pi) ** 3 * np.linalg.det(covariance))
            density += weight * math.exp(exponent) / norm
        log_likelihood += math.log(density)
    n_parameters = 2 + 3 * 3 + 3 * 6
    expected = -2 * log_likelihood + n_parameters * math.log(len(samples))
    assert fitted.bic(samples) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_bic_agrees_with_scikit_learn(planted, k):
    samples, _ = planted
    theirs = GaussianMixture(k, random_state=0).fit(samples)
    ours = GaussianMixtureModel(theirs.weights_, theirs.means_, theirs.covariances_)
    assert ours.bic(samples) == pytest.approx(theirs.bic(samples), rel=1e-9)
    np.testing.assert_allclose(ours.posterior(samples), theirs.predict_proba(samples), atol=1e-9)


def test_bic_is_lowest_for_the_planted_number(planted):
    samples, _ = planted
    values = {k: fit_mixture(samples, k, n_starts=2).bic(samples) for k in (1, 2, 3, 4, 5)}
    assert min(values, key=values.__getitem__) == 3


def test_renamed_components_are_the_same_mixture(planted, fitted):
    samples, _ = planted
    names = np.array([2, 0, 1])
    renamed = fitted.renamed(names)
    np.testing.assert_array_equal(renamed.means[names], fitted.means)
    before, after = fitted.posterior(samples), renamed.posterior(samples)
    np.testing.assert_allclose(after[:, names], before)
    np.testing.assert_array_equal(after.argmax(axis=1), names[before.argmax(axis=1)])
    assert renamed.bic(samples) == pytest.approx(fitted.bic(samples))


def test_the_seed_decides_the_fit(rng):
    samples = rng.normal(size=(80, 3))
    first, again = (fit_mixture(samples, 4, n_starts=1, seed=5) for _ in range(2))
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_previous_labels_are_one_more_start(planted):
    samples, labels = planted
    helped = fit_mixture(samples, 3, n_starts=1, labels=labels, max_iterations=50)
    alone = fit_mixture(samples, 3, n_starts=1, max_iterations=50)
    total = [m.log_likelihood(samples).sum() for m in (alone, helped)]
    assert total[1] >= total[0] - 1e-3 * len(samples)
    # Labels of another K, or with a gap, are no start but no error either.
    for other in (labels % 2, labels * 2):
        assert fit_mixture(samples, 3, n_starts=1, labels=other).n_components == 3


def test_labels_with_a_cluster_of_one_member(planted):
    samples, labels = planted
    labels = np.where(labels == 2, 1, labels)
    labels[0] = 2
    model = fit_mixture(samples, 3, n_starts=1, labels=labels)
    assert np.isfinite(model.log_likelihood(samples)).all()


def test_samples_stay(planted):
    samples = planted[0].copy()
    fit_mixture(samples, 2, n_starts=1)
    np.testing.assert_array_equal(samples, planted[0])


def test_more_components_than_samples_are_refused(rng):
    with pytest.raises(ValueError, match=r"(?i)n_components.*n_samples|samples"):
        fit_mixture(rng.normal(size=(3, 2)), 4)


def test_samples_of_no_cluster_are_left_out_of_the_gaussians(planted):
    samples, labels = planted
    some = np.where(np.arange(len(labels)) % 3 == 0, -1, labels)
    left = mixture_of_labels(samples, some)
    alone = mixture_of_labels(samples[some >= 0], some[some >= 0])
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(left, name), getattr(alone, name))


def test_pieces_of_samples_give_what_the_whole_gives(planted, fitted, monkeypatch):
    samples, _ = planted
    posterior, total = fitted.posterior(samples), fitted.log_likelihood(samples)
    monkeypatch.setattr(mixture, "_PIECE", 7)
    np.testing.assert_allclose(fitted.posterior(samples), posterior)
    np.testing.assert_allclose(fitted.log_likelihood(samples), total)
