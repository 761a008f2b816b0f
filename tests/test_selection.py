"""The number of clusters and of dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from aitom_disca.clustering import choose_mixture, fit_mixture

CORNERS = np.array([[0, 0], [8, 0], [0, 8], [8, 8], [16, 4]], float)


def planted(k: int, per_cluster: int = 50, n_noise: int = 0, seed: int = 0):
    """K separate blobs in two dimensions, then dimensions that tell nothing."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(k), per_cluster)
    samples = rng.normal(size=(len(labels), 2)) + CORNERS[labels]
    return np.concatenate([samples, rng.normal(size=(len(labels), n_noise))], axis=1), labels


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_planted_k_is_found(k):
    samples, labels = planted(k)
    choice = choose_mixture(samples, range(1, 8), n_starts=2)
    assert choice.mixture.n_components == k
    assert choice.n_dimensions == 2
    assert sorted(choice.bic) == list(range(1, 8))
    assert min(choice.bic, key=choice.bic.__getitem__) == k
    if k > 1:
        found = choice.mixture.posterior(samples).argmax(axis=1)
        assert adjusted_rand_score(labels, found) > 0.95


def test_only_candidates_are_tried():
    samples, _ = planted(3)
    choice = choose_mixture(samples, (2, 6), n_starts=1)
    assert sorted(choice.bic) == [2, 6]
    assert choice.mixture.n_components in (2, 6)


def test_bic_is_the_mixtures_own_in_all_dimensions():
    samples, _ = planted(3)
    choice = choose_mixture(samples, (3,), n_starts=2, seed=4)
    assert choice.bic[3] == pytest.approx(choice.mixture.bic(samples))
    alone = fit_mixture(samples, 3, n_starts=2, seed=4)
    assert choice.bic[3] == pytest.approx(alone.bic(samples))


@pytest.mark.parametrize("n_noise", [6, 10])
def test_dimensions_that_tell_nothing_are_left_out(n_noise):
    samples, labels = planted(4, n_noise=n_noise)
    choice = choose_mixture(samples, (2, 3, 4, 5, 6), choose_dimensions=True, n_starts=2)
    assert choice.n_dimensions <= 3
    assert choice.mixture.means.shape == (4, choice.n_dimensions)
    found = choice.mixture.posterior(samples[:, : choice.n_dimensions]).argmax(axis=1)
    assert adjusted_rand_score(labels, found) > 0.95


def test_left_out_dimensions_count_as_one_gaussian_each():
    samples, _ = planted(3, n_noise=6)
    choice = choose_mixture(samples, (3,), choose_dimensions=True, n_starts=2)
    d = choice.n_dimensions
    assert d < 8
    total = choice.mixture.bic(samples[:, :d])
    for column in samples[:, d:].T:
        z = (column - column.mean()) / column.std()
        log_density = -0.5 * z**2 - np.log(column.std()) - 0.5 * np.log(2 * np.pi)
        total += -2 * log_density.sum() + 2 * np.log(len(column))
    assert choice.bic[3] == pytest.approx(total)


def test_dimensions_that_tell_something_are_kept():
    rng = np.random.default_rng(2)
    labels = np.arange(600) % 4
    samples = rng.normal(size=(600, 8))
    samples[:, 4:] += 6 * np.eye(4)[labels]  # the clusters differ in the last four
    choice = choose_mixture(samples, (2, 3, 4, 5), choose_dimensions=True, n_starts=2)
    assert choice.n_dimensions == 8
    assert choice.mixture.n_components == 4


def test_without_choosing_all_dimensions_are_used():
    samples, _ = planted(3, n_noise=6)
    choice = choose_mixture(samples, (2, 3), n_starts=1)
    assert choice.n_dimensions == 8
    assert choice.mixture.means.shape[1] == 8


def test_the_seed_decides_and_nothing_is_shared():
    samples, _ = planted(3, n_noise=3, seed=1)

    def choose(seed):
        return choose_mixture(samples, (2, 3, 4), choose_dimensions=True, n_starts=1, seed=seed)

    first = choose(1)
    choose(2)
    again = choose(1)
    np.testing.assert_array_equal(first.mixture.means, again.mixture.means)
    assert first.bic == again.bic


def test_previous_labels_of_their_own_k_help():
    samples, labels = planted(5, per_cluster=30)
    choice = choose_mixture(samples, (5,), labels=labels, n_starts=1)
    found = choice.mixture.posterior(samples).argmax(axis=1)
    assert adjusted_rand_score(labels, found) > 0.95


@pytest.mark.parametrize("candidates", [(), (2, 11)])
def test_bad_candidates_are_refused(rng, candidates):
    with pytest.raises(ValueError, match="candidates must hold at least one K"):
        choose_mixture(rng.normal(size=(10, 2)), candidates)
