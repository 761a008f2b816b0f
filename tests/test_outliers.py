"""An outlier score is the share of members less far out, for members and strangers alike."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.clustering import fit_mixture, mixture_of_labels
from aitom_disca.clustering.outliers import fit_outliers, squared_distances

MEANS = np.array([[0, 0, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0], [0, 9, 0, 0, 0, 0]], float)


def drawn(rng, per_class, tails=False):
    """Members of three clusters, Gaussian or with heavier tails."""
    truth = np.repeat(np.arange(3), per_class)
    noise = rng.normal(size=(len(truth), 6))
    if tails:
        noise /= np.sqrt(rng.chisquare(5, len(truth)) / 5)[:, None]
    return noise + MEANS[truth], truth


@pytest.mark.parametrize("tails", [False, True])
def test_new_members_score_as_their_share_says(rng, tails):
    samples, truth = drawn(rng, 120, tails)
    mixture = mixture_of_labels(samples, truth)
    score = fit_outliers(mixture, samples, truth).score(mixture, drawn(rng, 4000, tails)[0])
    for share in (0.5, 0.9, 0.99):
        assert share - 0.03 < np.mean(score <= share) < share + 0.1  # careful rather than rash
    assert np.mean(score > 0.99) < 0.02


def test_in_sample_distances_alone_would_call_new_members_strange(rng):
    samples, truth = drawn(rng, 30)
    mixture = fit_mixture(samples, 3, labels=truth, n_starts=1)
    others = drawn(rng, 3000)[0]
    labels = mixture.posterior(samples).argmax(axis=1)
    nearest = mixture.posterior(others).argmax(axis=1)
    inside = np.quantile(squared_distances(mixture, samples, labels), 0.95)
    assert np.mean(squared_distances(mixture, others, nearest) > inside) > 0.2
    score = fit_outliers(mixture, samples, labels).score(mixture, others)
    assert np.mean(score > 0.95) < 0.12


def test_a_member_left_out_is_as_far_as_the_formula_says(rng):
    samples = rng.normal(size=(25, 3))
    labels = np.zeros(25, int)
    mean, covariance = samples.mean(axis=0), np.cov(samples.T, bias=True)
    from aitom_disca.clustering import GaussianMixtureModel

    mixture = GaussianMixtureModel(np.ones(1), mean[None], covariance[None])
    squared = squared_distances(mixture, samples, labels)
    rest = samples[1:]
    difference = samples[0] - rest.mean(axis=0)
    direct = difference @ np.linalg.solve(np.cov(rest.T, bias=True), difference)
    np.testing.assert_allclose(25 * squared[0] / (24 - squared[0]), direct)


def test_strangers_score_near_one_and_order_by_distance(rng):
    samples, truth = drawn(rng, 100)
    mixture = mixture_of_labels(samples, truth)
    scorer = fit_outliers(mixture, samples, truth)
    line = np.zeros((60, 6))
    line[:, 5] = np.linspace(0, 12, 60)
    score = scorer.score(mixture, line)
    assert (np.diff(score) >= 0).all() and score[0] < 0.05 and score[-1] > 0.999
    assert ((score >= 0) & (score <= 1)).all()


def test_small_clusters_are_judged_by_all(rng):
    samples, truth = drawn(rng, 60)
    truth = np.where(np.arange(180) >= 175, 2, np.where(truth == 2, -1, truth))
    mixture = mixture_of_labels(samples, truth)
    scorer = fit_outliers(mixture, samples, truth)
    assert np.isfinite(scorer.distances).all() and (scorer.tails > 0).all()
    others = scorer.score(mixture, drawn(rng, 500)[0][-500:])
    assert np.isfinite(others).all()


def test_clusters_can_be_chosen(rng):
    samples, truth = drawn(rng, 60)
    scorer = fit_outliers(mixture_of_labels(samples, truth), samples, truth)
    np.testing.assert_array_equal(scorer.renamed(np.array([2, 0])).tails, scorer.tails[[2, 0]])
