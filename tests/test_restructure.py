"""Clusters that are two, and clusters that are one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from aitom_disca.clustering import GaussianMixtureModel, mixture_of_labels, restructure
from aitom_disca.clustering.over_and_under_partition import separation

CENTRES = 8.0 * np.array([[0, 0], [1, 0], [0, 1]])


@pytest.fixture
def three(rng):
    labels = rng.integers(3, size=300)
    return rng.normal(size=(300, 2)) + CENTRES[labels], labels


def restructured(samples, labels, **options):
    return restructure(samples, mixture_of_labels(samples, labels), labels, **options)


def check(result, samples):
    """The mixture describes the labels."""
    names = np.unique(result.labels[result.labels >= 0])
    np.testing.assert_array_equal(names, np.arange(result.mixture.n_components))
    np.testing.assert_allclose(result.mixture.weights.sum(), 1)
    for name in names:
        mean = samples[result.labels == name].mean(axis=0)
        np.testing.assert_allclose(result.mixture.means[name], mean, atol=0.5)


def test_a_cluster_that_is_two_is_split_and_reported(three):
    samples, labels = three
    result = restructured(samples, np.minimum(labels, 1), split=True)
    assert adjusted_rand_score(labels, result.labels) > 0.98
    (change,) = result.changes
    assert change.kind == "split" and change.clusters == (1, 2)
    assert sum(change.sizes) == np.count_nonzero(labels > 0)
    assert change.bic_gain > 100 and change.separation > 4
    text = f"split cluster 2 into 2 and 3 ({change.sizes[0]} and {change.sizes[1]} members, "
    assert str(change) == text + f"BIC lower by {change.bic_gain:.1f})"
    check(result, samples)


def test_a_split_goes_on_until_every_cluster_is_one(three):
    samples, labels = three
    result = restructured(samples, np.zeros(300, int), split=True)
    assert len(result.changes) == 2
    assert adjusted_rand_score(labels, result.labels) > 0.98
    check(result, samples)


def test_two_clusters_that_are_one_are_merged_and_reported(three):
    samples, labels = three
    halves = np.where((labels == 0) & (samples[:, 0] > 0), 3, labels)
    result = restructured(samples, halves, merge=True)
    np.testing.assert_array_equal(result.labels, labels)
    (change,) = result.changes
    assert change.kind == "merge" and change.clusters == (0, 3)
    assert change.sizes == ((halves == 0).sum(), (halves == 3).sum())
    assert change.bic_gain > 0
    assert str(change).startswith("merged clusters 1 and 4 (")
    check(result, samples)


def test_many_pieces_of_one_cluster_become_one(three):
    samples, labels = three
    result = restructured(samples, 3 * labels + np.arange(300) % 3, merge=True)
    assert len(result.changes) == 6
    assert adjusted_rand_score(labels, result.labels) == 1
    check(result, samples)


def test_split_and_merge_together(three):
    samples, labels = three
    wrong = np.where(labels == 0, np.arange(300) % 2, 2)  # one in two, two in one
    result = restructured(samples, wrong, split=True, merge=True)
    assert {change.kind for change in result.changes} == {"split", "merge"}
    assert adjusted_rand_score(labels, result.labels) > 0.98
    check(result, samples)


def test_right_clusters_stay(three):
    samples, labels = three
    mixture = mixture_of_labels(samples, labels)
    for options in ({}, {"split": True}, {"merge": True}, {"split": True, "merge": True}):
        result = restructure(samples, mixture, labels, **options)
        assert result.changes == []
        np.testing.assert_array_equal(result.labels, labels)
        assert result.mixture is mixture


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_long_tails_are_not_split(seed):
    rng = np.random.default_rng(seed)
    for samples in (
        rng.normal(size=(200, 3)),
        rng.standard_t(3, size=(400, 2)),
        rng.normal(size=(300, 2)) * rng.choice([1, 3], size=(300, 1)),
    ):
        assert restructured(samples, np.zeros(len(samples), int), split=True).changes == []


def test_without_the_guard_long_tails_would_be_split():
    samples = np.random.default_rng(0).standard_t(3, size=(400, 2))
    assert restructured(samples, np.zeros(400, int), split=True, min_separation=0).changes


def test_samples_of_no_cluster_stay_so_and_do_not_count(three):
    samples, labels = three
    samples = np.concatenate([samples, np.full((40, 2), 50.0)])
    labels = np.concatenate([labels, np.full(40, -1)])
    result = restructured(samples, np.minimum(labels, 1), split=True, merge=True)
    assert (result.labels[-40:] == -1).all()
    assert adjusted_rand_score(labels, result.labels) > 0.98


def test_only_the_dimensions_of_the_mixture_count(three):
    samples, labels = three
    more = np.concatenate([samples, 100 * (np.arange(300) % 2)[:, None]], axis=1)
    mixture = mixture_of_labels(samples, labels)
    assert restructure(more, mixture, labels, split=True).changes == []


def test_too_few_members_are_left_alone():
    samples = np.array([[0.0, 0.0], [0.1, 0.0], [9.0, 9.0], [9.1, 9.0]])
    assert restructured(samples, np.zeros(4, int), split=True).changes == []
    labels = np.array([0, 0, 1, 1])
    restructured(samples, labels, merge=True)  # judged on four samples, and no error


def test_a_component_without_members_is_left_alone(three):
    samples, labels = three
    mixture = mixture_of_labels(samples, labels)
    spare = GaussianMixtureModel(
        np.append(mixture.weights * 0.99, 0.01),
        np.append(mixture.means, [[50.0, 50.0]], axis=0),
        np.append(mixture.covariances, [np.eye(2)], axis=0),
    )
    result = restructure(samples, spare, labels, merge=True, split=True)
    np.testing.assert_array_equal(result.labels, labels)
    assert result.mixture.n_components == 4


def test_separation_of_unit_gaussians_is_their_distance():
    two = GaussianMixtureModel(
        np.full(2, 0.5), np.array([[0.0, 0.0], [3.0, 4.0]]), np.tile(np.eye(2), (2, 1, 1))
    )
    assert separation(two) == pytest.approx(5)


def test_the_seed_decides(three):
    samples, labels = three
    first, again = (restructured(samples, labels * 0, split=True, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.changes == again.changes
