"""Runs that differ are matched, scored and brought to a consensus."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.analysis import compare_runs
from aitom_disca.analysis.stability import found_in_words, jaccard

TRUTH = np.repeat([0, 1, 2], (30, 20, 10))


def noisy(rng, share: float) -> np.ndarray:
    """The truth under other names, with some labels wrong."""
    labels = rng.permutation(3)[TRUTH]
    wrong = rng.random(60) < share
    return np.where(wrong, rng.integers(0, 3, 60), labels)


def test_jaccard_is_common_by_either():
    table = jaccard(np.array([0, 0, 1, 1, -1]), np.array([0, 1, 1, -1, 1]))
    np.testing.assert_allclose(table, [[1 / 2, 1 / 4], [0, 1 / 4]])


def test_equal_runs_agree_wholly_whatever_the_clusters_are_called(rng):
    found = compare_runs([rng.permutation(3)[TRUTH] for _ in range(4)])
    np.testing.assert_array_equal(found.labels, TRUTH)
    np.testing.assert_array_equal(found.found, [4, 4, 4])
    assert (found.agreement == 1).all() and (found.jaccard == 1).all() and found.rand == 1


def test_the_consensus_is_nearer_to_the_truth_than_the_runs(rng):
    runs = [noisy(rng, 0.3) for _ in range(9)]
    found = compare_runs(runs)
    errors = [1 - jaccard(TRUTH, run).max(axis=1).mean() for run in runs]
    assert np.mean(found.labels == TRUTH) > 0.98
    assert min(errors) > 0.05
    right = found.labels == TRUTH
    assert found.agreement[right].mean() < 0.95


def test_a_cluster_that_one_run_alone_splits_is_not_in_the_consensus():
    split = TRUTH.copy()
    split[:12] = 3
    found = compare_runs([split, TRUTH, TRUTH])
    np.testing.assert_array_equal(found.labels, TRUTH)
    assert found.n_clusters == (4, 3, 3)
    np.testing.assert_allclose(found.jaccard[0], [18 / 30, 1, 1])
    np.testing.assert_allclose(found.agreement[:12], 2 / 3)
    np.testing.assert_array_equal(found.found, [3, 3, 3])


def test_a_cluster_that_few_runs_know_has_a_low_score():
    together = np.where(TRUTH == 2, 1, TRUTH)
    found = compare_runs([TRUTH, TRUTH, TRUTH, together, together])
    np.testing.assert_array_equal(found.labels, TRUTH)
    np.testing.assert_array_equal(found.found, [5, 5, 3])
    assert found.rows()[2]["found"] == 3 and found.rows()[2]["runs"] == 5
    assert found.jaccard[2].mean() < found.jaccard[1].mean() < 1


def test_none_of_the_above_is_voted_for_too():
    noise = TRUTH.copy()
    noise[:5] = -1
    found = compare_runs([noise, noise, TRUTH])
    assert (found.labels[:5] == -1).all()
    np.testing.assert_allclose(found.agreement[:5], 2 / 3)
    assert (found.labels[5:] == TRUTH[5:]).all()
    assert (compare_runs([noise, TRUTH, TRUTH]).labels == TRUTH).all()


def test_the_closest_run_names_the_clusters(rng):
    runs = [noisy(rng, 0.4), rng.permutation(3)[TRUTH], noisy(rng, 0.4), noisy(rng, 0.4)]
    found = compare_runs(runs)
    assert found.closest == 1
    assert np.mean(found.names[found.labels] == runs[1]) > 0.95
    assert found.summary()["kept_run"] == 2


def test_one_run_is_its_own_consensus():
    found = compare_runs([TRUTH])
    np.testing.assert_array_equal(found.labels, TRUTH)
    assert found.n_runs == 1 and (found.found == 1).all()


def test_all_in_no_cluster_is_possible():
    found = compare_runs([np.full(6, -1), np.full(6, -1)])
    assert (found.labels == -1).all() and found.rows() == []


def test_runs_of_different_length_are_refused():
    with pytest.raises(ValueError, match="same subtomograms"):
        compare_runs([TRUTH, TRUTH[:-1]])


def test_words_name_every_cluster_unless_all_are_alike():
    assert found_in_words([4, 4], 4) == "every cluster was found in all 4 runs"
    assert found_in_words([4, 1], 4) == "of 4 runs: cluster 1 in 4, cluster 2 in 1"
