"""The mixture learnt from a stream: against plain moments and the batch mixture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal
from sklearn.metrics import adjusted_rand_score

from aitom_disca.clustering import FIGMN, fit_mixture


class Slow:
    """The same with covariances, inverses and determinants written out."""

    def __init__(self, p, spread, initial_fraction, novelty):
        self.first = np.diag(np.full(p, (initial_fraction * spread) ** 2))
        self.farthest = chi2.ppf(1 - novelty, p)
        self.means, self.covariances, self.masses = [], [], []

    def learn(self, x):
        distances = [
            (x - m) @ np.linalg.inv(c) @ (x - m)
            for m, c in zip(self.means, self.covariances, strict=True)
        ]
        if not distances or min(distances) > self.farthest:
            self.means.append(x.copy())
            self.covariances.append(self.first.copy())
            self.masses.append(1.0)
            return
        joint = [
            s * multivariate_normal(m, c).pdf(x)
            for s, m, c in zip(self.masses, self.means, self.covariances, strict=True)
        ]
        for k, p in enumerate(np.array(joint) / sum(joint)):
            self.masses[k] += p
            w, e = p / self.masses[k], x - self.means[k]
            self.means[k] = self.means[k] + w * e
            self.covariances[k] = (1 - w) * (self.covariances[k] + w * np.outer(e, e))


def planted(n=3000, p=3, seed=0, spread=10.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n)
    turns = np.linalg.qr(rng.normal(size=(4, p, p)))[0] * rng.uniform(0.5, 1.2, (4, 1, p))
    centres = spread * np.concatenate([np.zeros((1, p)), np.eye(p)])[:4]
    return np.einsum("nij,nj->ni", turns[labels], rng.normal(size=(n, p))) + centres[labels], labels


@pytest.mark.parametrize("p", [1, 3, 6])
def test_rank_one_updates_agree_with_inverses_and_determinants(rng, p):
    samples = rng.normal(size=(400, p)) + 4 * rng.integers(3, size=(400, 1))
    stream = FIGMN(p, initial_fraction=0.7, novelty=1e-3).partial_fit(samples)
    slow = Slow(p, 1.0, 0.7, 1e-3)
    for x in samples:
        slow.learn(x)
    assert stream.n_components == len(slow.masses) > 1
    np.testing.assert_allclose(stream._masses, slow.masses, rtol=1e-9)
    np.testing.assert_allclose(stream._means, slow.means, rtol=1e-9, atol=1e-9)
    covariances = np.array(slow.covariances)
    np.testing.assert_allclose(stream._precisions, np.linalg.inv(covariances), rtol=1e-6, atol=1e-7)
    expected = np.linalg.slogdet(covariances)[1]
    np.testing.assert_allclose(stream._log_determinants, expected, rtol=1e-9, atol=1e-9)


def test_one_component_holds_the_exact_moments(rng):
    samples = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    mixture = FIGMN(4, spread=samples.std(axis=0) * 10).partial_fit(samples).to_mixture()
    assert mixture.n_components == 1
    np.testing.assert_allclose(mixture.means[0], samples.mean(axis=0), atol=1e-9)
    # The first sample stands for one member with the covariance that a component begins with.
    first = np.diag((5 * samples.std(axis=0)) ** 2) / 500
    expected = np.cov(samples.T, bias=True) + first
    np.testing.assert_allclose(mixture.covariances[0], expected, rtol=1e-7, atol=1e-9)


def test_the_stream_agrees_with_the_batch_mixture():
    samples, labels = planted()
    stream = FIGMN(3, spread=2.0).partial_fit(samples).to_mixture()
    batch = fit_mixture(samples, 4)
    assert stream.n_components == 4
    found, expected = (m.posterior(samples).argmax(axis=1) for m in (stream, batch))
    assert adjusted_rand_score(found, expected) > 0.99
    assert adjusted_rand_score(found, labels) > 0.99
    assert stream.bic(samples) < batch.bic(samples) * 1.01  # both above 0
    order = [int(np.argmin(((batch.means - m) ** 2).sum(axis=1))) for m in stream.means]
    assert sorted(order) == [0, 1, 2, 3]
    np.testing.assert_allclose(stream.means, batch.means[order], atol=0.1)
    np.testing.assert_allclose(stream.weights, batch.weights[order], atol=0.01)


def test_too_many_components_are_merged_to_a_number_that_is_asked_for():
    samples, _ = planted(p=4)
    stream = FIGMN(4, spread=2.0, initial_fraction=0.25, min_mass=5).partial_fit(samples)
    assert stream.to_mixture().n_components > 4
    fewer = stream.to_mixture(4)
    assert fewer.n_components == 4
    batch = fit_mixture(samples, 4)
    assert fewer.bic(samples) < batch.bic(samples) * 1.01
    assert stream.to_mixture(1000).n_components == stream.to_mixture().n_components


@pytest.mark.parametrize("cut", [1, 7, 256, 3000])
def test_batches_change_nothing(cut):
    samples, _ = planted(n=1500)
    whole = FIGMN(3, spread=2.0, min_age=200).partial_fit(samples)
    pieces = FIGMN(3, spread=2.0, min_age=200)
    for start in range(0, len(samples), cut):
        pieces.partial_fit(samples[start : start + cut].astype(np.float64))
    assert pieces.n_seen == whole.n_seen == 1500
    for a, b in zip(
        vars(whole.to_mixture()).values(), vars(pieces.to_mixture()).values(), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_what_is_spurious_is_dropped():
    samples, _ = planted()
    places = np.arange(100, 3000, 300)
    samples[places] = 1e3 * np.arange(1, len(places) + 1)[:, None]  # each far from all
    with_outliers = FIGMN(3, spread=2.0, min_age=500).partial_fit(samples)
    assert with_outliers.n_components <= 4 + 3  # some are not old enough to be dropped
    assert with_outliers.to_mixture().n_components == 4
    kept = FIGMN(3, spread=2.0, min_age=10**9).partial_fit(samples)
    assert kept.n_components == 4 + len(places)


def test_what_is_too_light_for_a_covariance_is_no_component():
    """By default what has less than P + 1 samples."""
    first = np.array([[0.0, 0], [0.1, 0], [0, 0.1], [0.1, 0.1]])
    for n, expected in ((2, 1), (3, 2)):
        given = np.concatenate([first, first[:n] + 1e3])
        assert FIGMN(2).partial_fit(given).to_mixture().n_components == expected


def test_memory_is_that_of_the_components():
    samples, _ = planted(n=4000)
    stream = FIGMN(3, spread=2.0)
    sizes = []
    for batch in np.split(samples, 4):
        stream.partial_fit(batch)
        sizes.append(sum(a.nbytes for a in vars(stream).values() if isinstance(a, np.ndarray)))
    assert sizes[-1] == sizes[0]  # after the first thousand nothing is added
    assert sizes[-1] < 8 * (stream.n_components + 1) * (3 * 3 + 3 + 4)


def test_no_more_components_than_allowed():
    far = 1e3 * np.arange(30.0)[:, None]
    stream = FIGMN(1, max_components=5).partial_fit(far)
    assert stream.n_components == 5


def test_bad_batches_and_empty_streams_are_refused():
    stream = FIGMN(3)
    with pytest.raises(ValueError, match=r"shape \(n_samples, 3\); got \(4, 2\)"):
        stream.partial_fit(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="no component has members enough after 0 samples"):
        stream.to_mixture()
