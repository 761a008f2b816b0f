"""The distortion-based Davies-Bouldin index."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aitom_disca.clustering import ddbi


def slow_ddbi(features: np.ndarray, labels: np.ndarray, reg_covar: float) -> float:
    """SI Eq. 1-3, written out."""
    names = sorted(set(labels.tolist()))
    p = features.shape[1]
    means, precisions, distortions = {}, {}, {}
    for k in names:
        members = [x for x, label in zip(features, labels, strict=True) if label == k]
        mean = sum(members) / len(members)
        covariance = np.zeros((p, p))
        for x in members:
            covariance += np.outer(x - mean, x - mean) / max(1, len(members) - 1)
        means[k] = mean
        precisions[k] = np.linalg.inv(covariance + reg_covar * np.eye(p))
        distortions[k] = sum((x - mean) @ precisions[k] @ (x - mean) for x in members)
        distortions[k] /= len(members)
    worst = []
    for k in names:
        ratios = []
        for m in names:
            if m != k:
                d = means[k] - means[m]
                apart = d @ precisions[k] @ d + d @ precisions[m] @ d
                ratios.append((distortions[k] + distortions[m]) / apart)
        worst.append(max(ratios))
    return sum(worst) / len(names)


def blobs(rng, sizes, p):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    means = rng.normal(scale=5, size=(len(sizes), p))
    return rng.normal(size=(len(labels), p)) + means[labels], labels


@pytest.mark.parametrize(
    ("sizes", "p"), [((9, 12), 1), ((20, 7, 30), 3), ((8, 9, 10, 11), 6), ((2, 12), 2)]
)
@pytest.mark.parametrize("reg_covar", [1e-6, 0.3])
def test_agrees_with_the_formula_written_out(rng, sizes, p, reg_covar):
    features, labels = blobs(rng, sizes, p)
    expected = slow_ddbi(features, labels, reg_covar)
    assert ddbi(features, labels, reg_covar=reg_covar) == pytest.approx(expected, rel=1e-9)


def test_by_hand_in_one_dimension():
    # Means 1 and 11, variances 2 and 8 (of n - 1), distortions 1/2 each,
    # D = 100 / 2 + 100 / 8 = 62.5, index 1 / 62.5.
    features = np.array([[0.0], [2.0], [9.0], [13.0]])
    labels = np.array([0, 0, 1, 1])
    assert ddbi(features, labels, reg_covar=0) == pytest.approx(1 / 62.5)


@given(order=st.permutations(range(4)), offset=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_names_of_clusters_do_not_matter(order, offset):
    features, labels = blobs(np.random.default_rng(3), (8, 10, 12, 9), 3)
    renamed = np.array(order)[labels] * 3 + offset
    assert ddbi(features, renamed) == pytest.approx(ddbi(features, labels), rel=1e-12)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_invertible_linear_maps_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    features, labels = blobs(rng, (15, 20, 12), 4)
    rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    mapped = features @ (rotation * rng.uniform(0.2, 5, 4)) @ rotation.T + rng.normal(size=4)
    before, after = ddbi(features, labels, reg_covar=0), ddbi(mapped, labels, reg_covar=0)
    assert after == pytest.approx(before, rel=1e-6)


def test_order_of_samples_does_not_matter(rng):
    features, labels = blobs(rng, (15, 20, 12), 4)
    order = rng.permutation(len(labels))
    assert ddbi(features[order], labels[order]) == pytest.approx(ddbi(features, labels))


def test_clusters_further_apart_score_better(rng):
    features, labels = blobs(rng, (30, 30), 2)
    away = np.array([10.0, 0.0]) * labels[:, None] * np.sign(np.ptp(features[:, 0]))
    near = features - np.array([features[labels == k].mean(axis=0) for k in (0, 1)])[labels]
    values = [ddbi(near + factor * away, labels) for factor in (0.1, 0.3, 1)]
    assert values[0] > values[1] > values[2] > 0


@pytest.mark.parametrize("p", [1, 3])
def test_cluster_of_one_member(rng, p):
    features, labels = blobs(rng, (20, 1, 15), p)
    value = ddbi(features, labels, reg_covar=0.1)
    assert math.isfinite(value)
    assert value == pytest.approx(slow_ddbi(features, labels, 0.1))


def test_only_clusters_of_one_member():
    assert ddbi(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([0, 1])) == 0


def test_negative_labels_are_left_out(rng):
    features, labels = blobs(rng, (20, 15, 9), 3)
    unassigned = np.where(labels == 2, -1, labels)
    expected = ddbi(features[labels < 2], labels[labels < 2])
    assert ddbi(features, unassigned) == pytest.approx(expected)


@pytest.mark.parametrize("labels", [np.zeros(12, int), np.full(12, 7), np.full(12, -1)])
def test_not_defined_for_fewer_than_two_clusters(rng, labels):
    assert math.isnan(ddbi(rng.normal(size=(12, 3)), labels))


def test_equal_means_are_infinitely_bad():
    features = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    assert ddbi(features, np.array([0, 0, 1, 1])) == math.inf


def test_input_stays_and_may_be_float32(rng):
    features, labels = blobs(rng, (15, 20), 4)
    single = features.astype(np.float32)
    kept = single.copy(), labels.copy()
    assert ddbi(single, labels) == pytest.approx(ddbi(features, labels), rel=1e-3)
    np.testing.assert_array_equal(single, kept[0])
    np.testing.assert_array_equal(labels, kept[1])


def test_memory_grows_linearly(rng):
    n, p = 20_000, 4
    features, labels = rng.normal(size=(n, p)), rng.integers(0, 5, n)
    ddbi(features[:100], labels[:100])  # whatever is loaded on first use
    tracemalloc.start()
    ddbi(features, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * features.nbytes  # 6 MB; an n x n array would be 3.2 GB


def test_memory_does_not_grow_with_the_samples(rng):
    features = rng.normal(size=(40_000, 8)).astype(np.float32)
    labels = (features[:, 0] > 1).astype(int)
    tracemalloc.start()
    value = ddbi(features, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * features.size * 8  # less than a copy in float64
    assert value == pytest.approx(ddbi(features.astype(np.float64), labels), rel=1e-6)
