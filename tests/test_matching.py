"""Names of clusters carried from one iteration to the next."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aitom_disca.clustering import contingency, match_labels


def test_contingency_by_hand():
    table = contingency(np.array([0, 0, 1, 1, 1]), np.array([2, 0, 0, 0, 2]))
    np.testing.assert_array_equal(table, [[1, 0, 1], [2, 0, 1]])


def test_contingency_agrees_with_a_plain_count(rng):
    first, second = rng.integers(0, 4, 200), rng.integers(0, 6, 200)
    table = contingency(first, second)
    assert table.shape == (4, 6) and table.sum() == 200
    for i in range(4):
        for j in range(6):
            assert table[i, j] == sum((a, b) == (i, j) for a, b in zip(first, second, strict=True))


@given(order=st.permutations(range(5)))
@settings(deadline=None)
def test_a_renaming_is_undone(order):
    reference = np.arange(60) % 5
    labels = np.array(order)[reference]
    np.testing.assert_array_equal(match_labels(reference, labels)[labels], reference)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_agreement_is_the_largest_possible(rng, k):
    reference, labels = rng.integers(0, k, 80), rng.integers(0, k, 80)
    reference[:k] = labels[:k] = np.arange(k)
    names = match_labels(reference, labels)
    assert sorted(names) == list(range(k))
    best = max((np.array(p)[labels] == reference).sum() for p in permutations(range(k)))
    assert (names[labels] == reference).sum() == best


def test_the_best_pairing_is_not_the_greedy_one():
    # Greedy would pair cluster 0 with name 0 (6 samples) and leave 1 with name 1 (0): 6.
    table = np.array([[6, 5], [5, 0]])
    reference = np.concatenate([[i] * table[i, j] for i in (0, 1) for j in (0, 1)])
    labels = np.concatenate([[j] * table[i, j] for i in (0, 1) for j in (0, 1)])
    names = match_labels(reference.astype(int), labels.astype(int))
    np.testing.assert_array_equal(names, [1, 0])


def test_more_clusters_than_before_are_numbered_after_the_others():
    reference = np.array([0, 0, 0, 1, 1, 1])
    labels = np.array([3, 3, 2, 0, 0, 1])
    names = match_labels(reference, labels)
    np.testing.assert_array_equal(names, [1, 2, 3, 0])


def test_fewer_clusters_than_before_keep_their_names():
    reference = np.array([0, 0, 1, 1, 2, 2])
    labels = np.array([0, 0, 1, 1, 1, 1])
    names = match_labels(reference, labels)
    assert names[0] == 0 and names[1] in (1, 2)


def test_input_stays():
    reference, labels = np.array([0, 1, 1]), np.array([1, 0, 0])
    match_labels(reference, labels)
    np.testing.assert_array_equal(reference, [0, 1, 1])
    np.testing.assert_array_equal(labels, [1, 0, 0])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="must have one length; got 3 and 2"):
        match_labels(np.array([0, 1, 1]), np.array([0, 1]))


def test_samples_that_belong_to_none_do_not_count():
    first = np.array([0, 0, 1, 1, -1, -1, 2])
    second = np.array([1, 1, 0, -1, 2, -1, 2])
    np.testing.assert_array_equal(contingency(first, second), [[0, 2, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(match_labels(first, second), [1, 0, 2])
