"""Expectation-maximisation as matrix products: against loops and scikit-learn."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from aitom_disca.clustering import choose_mixture, fit_mixture, fitting, gaussian_mixture_em
from aitom_disca.clustering import quadratic_terms as products_module
from aitom_disca.clustering.fitting import MixtureFitter
from aitom_disca.clustering.initialisation import kmeans_labels


def planted(n, k, d, seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    turns = np.linalg.qr(rng.normal(size=(k, d, d)))[0] * rng.uniform(0.5, 1.5, (k, 1, d))
    samples = np.einsum("nij,nj->ni", turns[labels], rng.normal(size=(n, d)))
    return samples + spread * rng.normal(size=(k, d))[labels], labels


def products_of(samples, mean=None, scale=None):
    mean = samples.mean(axis=0) if mean is None else mean
    scale = samples.std(axis=0) if scale is None else scale
    return products_module.Products(samples, mean, scale)


def plain(samples):
    """Products of samples taken as they are."""
    return products_of(samples, np.zeros(samples.shape[1]), np.ones(samples.shape[1]))


def random_start(samples, n_mixtures, k, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=(n_mixtures, len(samples)))
    labels[:, :k] = np.arange(k)
    products = plain(samples)
    moments = gaussian_mixture_em.moments_of_labels(products, labels, k, samples.shape[1])
    return products, gaussian_mixture_em.maximise(moments, np.full(samples.shape[1], 1e-6)), labels


def slow_step(samples, weights, means, covariances, ridge):
    """One iteration in loops over components: log likelihood before it, Gaussians after it."""
    density = np.array(
        [
            w * multivariate_normal(m, c).pdf(samples)
            for w, m, c in zip(weights, means, covariances, strict=True)
        ]
    )
    posterior = density / density.sum(axis=0)
    counts = posterior.sum(axis=1)
    new_means = [r @ samples / r.sum() for r in posterior]
    new_covariances = [
        np.cov(samples.T, aweights=r, bias=True) + ridge * np.eye(samples.shape[1])
        for r in posterior
    ]
    return np.log(density.sum(axis=0)).sum(), counts / len(samples), new_means, new_covariances


def test_labels_as_a_start_give_their_means_and_covariances():
    samples, _ = planted(200, 3, 4)
    _, start, labels = random_start(samples, 2, 3)
    for s in range(2):
        for k in range(3):
            members = samples[labels[s] == k]
            np.testing.assert_allclose(start.means[s, k], members.mean(axis=0))
            expected = np.cov(members.T, bias=True) + 1e-6 * np.eye(4)
            np.testing.assert_allclose(start.covariances[s, k], expected, atol=1e-12)
            assert start.weights[s, k] == pytest.approx(len(members) / 200)


def test_labels_below_zero_belong_to_none():
    samples, labels = planted(90, 3, 2)
    without = np.where(np.arange(90) < 30, -1, labels)
    some = gaussian_mixture_em.moments_of_labels(plain(samples), without[None], 3, 2)
    rest = gaussian_mixture_em.moments_of_labels(plain(samples[30:]), labels[None, 30:], 3, 2)
    np.testing.assert_allclose(some, rest)
    np.testing.assert_allclose(gaussian_mixture_em.maximise(some, np.zeros(2)).weights.sum(), 1)


def test_one_iteration_agrees_with_loops():
    samples, _ = planted(300, 3, 4)
    products, start, _ = random_start(samples, 2, 3)
    ridge = np.full(4, 1e-6)
    after = gaussian_mixture_em.run_em(products, start, ridge, tol=0, max_iterations=1)
    for s in range(2):
        one = (start.weights[s], start.means[s], start.covariances[s])
        _, weights, means, covariances = slow_step(samples, *one, 1e-6)
        np.testing.assert_allclose(after.gaussians.weights[s], weights, rtol=1e-9)
        np.testing.assert_allclose(after.gaussians.means[s], means, atol=1e-9)
        np.testing.assert_allclose(after.gaussians.covariances[s], covariances, atol=1e-9)
        log_likelihood = slow_step(samples, weights, means, covariances, 0)[0]
        assert after.log_likelihood[s] == pytest.approx(log_likelihood, rel=1e-10)


def test_agrees_with_scikit_learn_from_the_same_start():
    samples, _ = planted(800, 4, 5, spread=1.5)
    products, start, _ = random_start(samples, 1, 4)
    ours = gaussian_mixture_em.run_em(
        products, start, np.full(5, 1e-6), tol=1e-5, max_iterations=500
    )
    theirs = GaussianMixture(
        4,
        tol=1e-5,
        max_iter=500,
        weights_init=start.weights[0] / start.weights[0].sum(),
        means_init=start.means[0],
        precisions_init=np.linalg.inv(start.covariances[0]),
    ).fit(samples)
    assert ours.converged.all() and theirs.converged_
    assert ours.log_likelihood[0] == pytest.approx(theirs.score(samples) * 800, rel=1e-4)
    np.testing.assert_allclose(ours.gaussians.means[0], theirs.means_, atol=0.02)
    np.testing.assert_allclose(ours.gaussians.covariances[0], theirs.covariances_, atol=0.05)


def test_mixtures_side_by_side_are_what_each_is_alone():
    samples, _ = planted(400, 3, 3, spread=1.5)
    products, start, _ = random_start(samples, 4, 3)
    ridge = np.full(3, 1e-6)
    together = gaussian_mixture_em.run_em(products, start, ridge, tol=1e-3, max_iterations=100)
    assert len(set(together.n_iterations)) > 1  # they end one after another
    for s in range(4):
        alone = gaussian_mixture_em.run_em(
            products, start[s : s + 1], ridge, tol=1e-3, max_iterations=100
        )
        assert alone.n_iterations[0] == together.n_iterations[s]
        np.testing.assert_allclose(alone.gaussians.means[0], together.gaussians.means[s])
        assert alone.log_likelihood[0] == pytest.approx(together.log_likelihood[s])
    assert together.best().log_likelihood == together.log_likelihood.max()


def test_likelihood_never_falls():
    samples, _ = planted(300, 3, 3, spread=1.0)
    products, start, _ = random_start(samples, 3, 5)
    ridge = np.full(3, 1e-9)
    values = [
        gaussian_mixture_em.run_em(products, start, ridge, tol=0, max_iterations=i).log_likelihood
        for i in range(9)
    ]
    assert (np.diff(values, axis=0) > -1e-6).all()


def test_leading_dimensions_are_the_leading_products():
    samples, _ = planted(50, 2, 5)
    products = products_of(samples)
    x = np.column_stack([np.ones(50), (samples - samples.mean(0)) / samples.std(0)])
    expected = [x[:, i] * x[:, j] for i in range(6) for j in range(i + 1)]
    np.testing.assert_allclose(products.block(0, 5), expected)
    np.testing.assert_allclose(products.block(0, 3), expected[: products_module.n_products(3)])


def test_blocks_and_cores_change_nothing(monkeypatch):
    samples, _ = planted(3000, 4, 4)
    whole = MixtureFitter(samples).fit(4)
    monkeypatch.setattr(products_module, "_BLOCK_BYTES", 0)
    monkeypatch.setattr(products_module, "_KEPT_BYTES", 0)
    found = []
    for n_cores in (1, 4):
        monkeypatch.setattr(products_module, "n_cores", lambda n=n_cores: n)
        found.append(MixtureFitter(samples.astype(np.float64)).fit(4))
    np.testing.assert_array_equal(found[0].mixture.means, found[1].mixture.means)
    order, whole_order = (  # rounding may number the components in another way
        np.lexsort(one.mixture.means.T.round(3)) for one in (found[0], whole)
    )
    np.testing.assert_allclose(
        found[0].mixture.means[order], whole.mixture.means[whole_order], atol=1e-6
    )
    assert found[0].log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-9)


def best_of_scikit_learn(samples, k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(k, n_init=2, random_state=0).fit(samples).bic(samples)


@pytest.mark.parametrize("k", [6, 8])
def test_many_samples_are_fitted_as_well_as_by_scikit_learn(monkeypatch, k):
    monkeypatch.setattr(fitting, "_FEW", 1024)
    monkeypatch.setattr(fitting, "_FEW_PER_PARAMETER", 1)
    samples, labels = planted(6_000, 6, 6)
    fitter = MixtureFitter(samples.astype(np.float32))
    fit = fitter.fit(k)
    assert fitter._few  # not all samples took part in the starts
    ours, theirs = fit.mixture.bic(samples), best_of_scikit_learn(samples, k)
    assert ours < theirs + 0.005 * abs(theirs)
    assert fit.log_likelihood == pytest.approx(fit.mixture.log_likelihood(samples).sum(), rel=1e-5)
    if k == 6:
        found = fit.mixture.posterior(samples).argmax(axis=1)
        assert adjusted_rand_score(labels, found) > 0.98


def test_units_and_origin_of_the_dimensions_change_nothing():
    samples, labels = planted(600, 3, 3)
    factor = np.array([1e-4, 1.0, 1e5])
    fit = fit_mixture(samples * factor + 1e4, 3, reg_covar=1e-12)
    found = fit.posterior(samples * factor + 1e4).argmax(axis=1)
    assert adjusted_rand_score(labels, found) > 0.95


def test_memory_stays_small(monkeypatch):
    monkeypatch.setattr(fitting, "_FEW", 1024)
    monkeypatch.setattr(products_module, "_KEPT_BYTES", 1 << 20)
    monkeypatch.setattr(products_module, "_BLOCK_BYTES", 1 << 18)
    samples = planted(60_000, 3, 8)[0].astype(np.float32)  # 2 MB; their products are 22 MB
    fitter = MixtureFitter(samples)
    tracemalloc.start()
    fitter.fit(4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_within_is_the_distance_to_the_centres_of_the_clusters():
    samples, _ = planted(500, 3, 4, spread=2.0)
    fit = MixtureFitter(samples).fit(3)
    found = fit.mixture.posterior(samples).argmax(axis=1)
    expected = sum(
        ((samples[found == k] - samples[found == k].mean(axis=0)) ** 2).sum() for k in range(3)
    )
    assert fit.within == pytest.approx(expected)


# -- what goes wrong ---------------------------------------------------------------------------


def test_an_empty_component_is_placed_anew_and_reported():
    samples, labels = planted(600, 3, 2, spread=8.0)
    products = plain(samples)
    means = np.array([[samples[labels == 0].mean(axis=0), samples.mean(axis=0), [1e3, 1e3]]])
    start = gaussian_mixture_em.Gaussians(
        np.full((1, 3), 1 / 3), means, np.tile(np.eye(2), (1, 3, 1, 1))
    )
    fitted = gaussian_mixture_em.run_em(
        products, start, np.full(2, 1e-6), tol=1e-6, max_iterations=200
    )
    assert fitted.events == [{"a component lost its members and was placed anew"}]
    assert fitted.gaussians.weights.min() > 0.2
    assert np.isfinite(fitted.log_likelihood).all()


def test_more_components_than_different_samples(rng):
    samples = np.repeat(rng.normal(size=(3, 2)), 10, axis=0)
    fit = MixtureFitter(samples).fit(5)
    assert fit.mixture.n_components == 5
    assert np.isfinite(fit.log_likelihood) and np.isfinite(fit.mixture.covariances).all()


def test_a_singular_covariance_gets_a_ridge_and_is_reported(rng):
    samples = rng.normal(size=(200, 3))
    samples[:, 2] = samples[:, 0] + samples[:, 1]
    fit = MixtureFitter(samples, reg_covar=0.0).fit(2)
    assert any("singular" in event and "raised" in event for event in fit.events)
    assert np.isfinite(fit.mixture.log_likelihood(samples)).all()
    assert MixtureFitter(samples, reg_covar=1e-3).fit(2).events == ()


def test_a_dimension_without_variance_is_no_harm(rng):
    samples = np.column_stack([planted(200, 2, 2, spread=6.0)[0], np.full(200, 5.0)])
    mixture = fit_mixture(samples, 2)
    np.testing.assert_allclose(mixture.means[:, 2], 5)
    np.testing.assert_allclose(mixture.covariances[:, 2, 2], 1e-6)


# -- starts ------------------------------------------------------------------------------------


def test_k_means_finds_separate_clusters_in_every_start():
    samples, labels = planted(300, 4, 3, spread=12.0)
    found = kmeans_labels(samples, 4, 3, np.random.default_rng(0))
    assert found.shape == (3, 300)
    for start in found:
        assert adjusted_rand_score(labels, start) > 0.99
    # Clusters are those of the nearest centre.
    centres = np.array([samples[found[0] == k].mean(axis=0) for k in range(4)])
    nearest = np.linalg.norm(samples[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found[0], nearest)


def test_k_means_of_equal_samples():
    found = kmeans_labels(np.ones((20, 2)), 3, 2, np.random.default_rng(0))
    assert found.shape == (2, 20)


def test_k_of_many_samples_is_chosen_on_a_part_and_fitted_to_all(monkeypatch):
    monkeypatch.setattr(fitting, "_FEW", 1024)
    monkeypatch.setattr(fitting, "_FEW_PER_PARAMETER", 1)
    finished = []
    run = MixtureFitter.finish
    monkeypatch.setattr(
        MixtureFitter, "finish", lambda self, x: finished.append(self._few) or run(self, x)
    )
    samples, labels = planted(6_000, 6, 6, spread=2.0)
    choice = choose_mixture(samples.astype(np.float32), range(2, 10), n_starts=2)
    assert choice.mixture.n_components == 6
    assert sum(bool(few) for few in finished) == 8  # once for every K, after all starts
    found = choice.mixture.posterior(samples).argmax(axis=1)
    assert adjusted_rand_score(labels, found) > 0.95
    assert choice.bic[6] == pytest.approx(choice.mixture.bic(samples), rel=1e-5)
    assert choice.bic[6] < best_of_scikit_learn(samples, 6) * 1.0001
