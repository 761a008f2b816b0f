"""What is known of clusters while they are sorted: every step beside the plain arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.classification.assignments_of_all import Standing, joined_blocks, side_by_side
from aitom_disca.classification.classes import Classes, equal_detail

N = 10  # subtomograms


def averages_named(*names: float) -> list[np.ndarray]:
    return [np.full((2, 2, 2), float(name)) for name in names]


def names_of(averages) -> list[float]:
    return [float(average[0, 0, 0]) for average in averages]


@pytest.fixture
def classes(rng) -> Classes:
    """Three clusters of 10; nobody is in the second."""
    posterior = rng.dirichlet(np.ones(3), N)
    return Classes(
        averages_named(1, 2, 3),
        np.log([0.2, 0.3, 0.5]),
        np.array([0, 2, 0, 0, 2, -1, 2, 2, 0, 2]),
        posterior,
        rng.normal(size=N),
        rng.integers(0, 50, N),
        rng.normal(size=(N, 3)),
        rng.uniform(size=(3, 8)),
        True,
    )


def test_a_start_knows_nothing() -> None:
    start = Classes.start(averages_named(1, 2, 3, 4), np.ones((N, 3)))
    assert start.log_prior.tolist() == [0] * 4
    assert start.labels.tolist() == start.rotation.tolist() == start.log_likelihood.tolist()
    assert start.labels.tolist() == [0] * N and start.labels.dtype.kind == "i"
    np.testing.assert_array_equal(start.posterior, np.full((N, 4), 0.25))
    np.testing.assert_array_equal(start.offset_zyx_px, np.ones((N, 3)))
    assert start.shell_weight is None and not start.stable


def test_a_round_leaves_the_references_that_kept_members(rng) -> None:
    posterior = rng.dirichlet(np.ones(4), N)
    likelihood, rotation, offset = rng.normal(size=N), np.arange(N), rng.normal(size=(N, 3))
    found = Expectation(likelihood, posterior, rotation, offset, np.zeros(0), np.zeros(0))
    weight = np.ones((2, 5))
    classes = Classes.of(found, np.array([1, 3]), averages_named(1, 3), weight)
    np.testing.assert_array_equal(classes.labels, posterior[:, 3] > posterior[:, 1])
    np.testing.assert_array_equal(classes.posterior, posterior[:, [1, 3]])
    size = posterior[:, [1, 3]].sum(axis=0)
    np.testing.assert_allclose(np.exp(classes.log_prior), size / size.sum())
    assert classes.log_likelihood is likelihood and classes.rotation is rotation
    assert classes.offset_zyx_px is offset and classes.shell_weight is weight


def test_priors(classes) -> None:
    np.testing.assert_allclose(classes.with_even_prior().log_prior, np.log([1 / 3] * 3))
    nobody = replace(classes, posterior=np.array([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]]))
    size = np.array([2, 1e-3, 1])
    np.testing.assert_allclose(nobody.with_learnt_prior().log_prior, np.log(size / size.sum()))


def test_others_meet_the_same_averages(classes) -> None:
    others = classes.for_others(np.ones((4, 3)))
    assert len(others.labels) == 4 and not others.log_likelihood.any()
    assert others.averages is classes.averages
    assert others.log_prior is classes.log_prior and others.shell_weight is classes.shell_weight


def test_some_are_chosen_and_counted_by_cluster(classes) -> None:
    rows = np.array([5, 1, 0])
    some = classes.select(rows)
    for name in ("labels", "posterior", "log_likelihood", "rotation", "offset_zyx_px"):
        np.testing.assert_array_equal(getattr(some, name), getattr(classes, name)[rows])
    assert some.averages is classes.averages
    assert [rows.tolist() for rows in some.members()] == [[2], [], [1]]
    assert [len(rows) for rows in classes.members()] == [4, 0, 5]


def test_misfits_are_those_that_lie_lowest_in_their_own_cluster() -> None:
    """A likelihood low for all counts as little as one where all are spread wide."""
    low, wide = np.array([1.0, 2, 3, 4, -3]), 100 + 10 * np.array([-1.0, 0, 1, 2, -3])
    classes = replace(
        Classes.start(averages_named(1, 2, 3), np.zeros((N, 3))),
        labels=np.repeat([0, 2], 5),
        log_likelihood=np.concatenate([low, wide]),
    )
    # By median and median distance from it: -5 in the first, -3 in the other.
    assert classes.misfits(0.1).tolist() == [4]
    assert classes.misfits(0.2).tolist() == [4, 9]
    assert classes.misfits(0.29).tolist() == [4, 9]
    assert classes.misfits(0.05).tolist() == []


def test_regrouped_clusters_have_the_rows_and_averages_given(classes) -> None:
    rows = [np.array([7, 2]), np.zeros(0, int), np.array([0, 1, 9])]
    found = classes.regrouped(list(zip(rows, averages_named(4, 5, 6), strict=True)))
    assert found.labels.tolist() == [2, 2, 0, -1, -1, -1, -1, 0, -1, 2]
    assert names_of(found.averages) == [4, 5, 6] and found.shell_weight is None
    np.testing.assert_allclose(np.exp(found.log_prior), np.array([2, 1, 3]) / 6)
    np.testing.assert_array_equal(found.posterior[[0, 7]], [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(found.offset_zyx_px, classes.offset_zyx_px)


@pytest.mark.parametrize("weighed", [True, False])
def test_clusters_that_lose_all_members_go(classes, weighed) -> None:
    if not weighed:
        classes = replace(classes, shell_weight=None)
    found = classes.without(np.isin(np.arange(N), [0, 6]))
    assert found.labels.tolist() == [-1, 1, 0, 0, 1, -1, -1, 1, 0, 1]
    assert names_of(found.averages) == [1, 3]
    np.testing.assert_array_equal(found.posterior, classes.posterior[:, [0, 2]])
    np.testing.assert_array_equal(found.log_prior, classes.log_prior[[0, 2]])
    if weighed:
        np.testing.assert_array_equal(found.shell_weight, classes.shell_weight[[0, 2]])
    else:
        assert found.shell_weight is None


def test_shells_count_by_the_least_signal_over_their_own(rng) -> None:
    signal = rng.uniform(0.1, 1, (3, 4))
    weight = equal_detail(signal, 6)
    assert weight.shape == (3, 6)
    np.testing.assert_array_equal(weight[:, [0, 4, 5]], 1)  # no detail is in the first
    for k, shell in np.ndindex(3, 4):
        if shell:
            assert weight[k, shell] == pytest.approx(signal[:, shell].min() / signal[k, shell])


# -- all subtomograms ----------------------------------------------------------------------------


def test_what_was_in_a_cluster_that_goes_may_belong_to_any_other(classes) -> None:
    posterior = np.array([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [5e-4, 0.9990, 5e-4]])
    posterior = np.concatenate([posterior, [[4e-4, 0.9992, 4e-4]]])
    standing = Standing(
        replace(classes, posterior=posterior),
        np.arange(12.0).reshape(3, 4, 1, 1, 1),
        np.array([[0.1], [0.2], [0.3]]),
        np.array([0, 1, 2]),
        np.ones((4, 3)),
    )
    left = standing.without_clusters(np.array([1]))
    np.testing.assert_array_equal(left.classes.posterior, [[0.6, 0], [1, 1], [5e-4] * 2, [1, 1]])
    assert names_of(left.classes.averages) == [1, 3]
    np.testing.assert_allclose(np.exp(left.classes.log_prior), [0.2, 0.5])
    assert left.found_in.tolist() == [0, 2] and left.signal.ravel().tolist() == [0.1, 0.3]
    assert left.without[:, 0].ravel().tolist() == [0, 8]
    assert len(standing.found_in) == 3 and standing.classes.posterior[1, 0] == 0
    np.testing.assert_array_equal(left.seen_at_zyx_px, standing.seen_at_zyx_px)


def test_blocks_are_joined_in_the_order_wanted(classes) -> None:
    rows = np.array([3, 1, 4, 0, 2, 9, 8, 7, 6, 5])
    blocks = [classes.select(rows[:4]), classes.select(rows[4:])]
    for order, expected in ((None, rows), (np.argsort(rows), np.arange(N))):
        whole = joined_blocks(classes, blocks, order)
        for name in ("labels", "log_likelihood", "rotation", "offset_zyx_px"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(classes, name)[expected])
        np.testing.assert_allclose(whole.posterior, classes.posterior[expected], rtol=1e-6)
        assert whole.posterior.dtype == np.float32


def compared(likelihood: np.ndarray, log_prior: np.ndarray, names, rng) -> Classes:
    """Clusters of subtomograms that fit averages so well, by Bayes' rule."""
    joint = likelihood + log_prior
    n = len(joint)
    return replace(
        Classes.start(averages_named(*names), rng.normal(size=(n, 3))),
        log_prior=log_prior,
        labels=joint.argmax(axis=1),
        posterior=softmax(joint, axis=1),
        log_likelihood=logsumexp(joint, axis=1),
        rotation=rng.integers(0, 50, n),
    )


def test_two_comparisons_side_by_side_are_one_with_all_averages(rng) -> None:
    """As if all had been compared at once, all being as probable."""
    likelihood = rng.normal(0, 2, (N, 5))
    likelihood[0, 1] = -np.inf  # was not compared
    known = compared(likelihood[:, :2], np.log([0.9, 0.1]), (1, 2), rng)
    new = compared(likelihood[:, 2:], np.log([0.5, 0.2, 0.3]), (3, 4, 5), rng)
    both = side_by_side(known, new)
    np.testing.assert_allclose(both.posterior, softmax(likelihood, axis=1), atol=1e-6)
    np.testing.assert_allclose(both.log_likelihood, logsumexp(likelihood - np.log(5), axis=1))
    np.testing.assert_array_equal(both.labels, likelihood.argmax(axis=1))
    np.testing.assert_allclose(np.exp(both.log_prior), 1 / 5)
    assert names_of(both.averages) == [1, 2, 3, 4, 5]
    assert 0 < (both.labels > 1).sum() < N
    for i, label in enumerate(both.labels):
        one = known if label < 2 else new
        assert both.rotation[i] == one.rotation[i]
        np.testing.assert_array_equal(both.offset_zyx_px[i], one.offset_zyx_px[i])
