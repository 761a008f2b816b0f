"""A calibrated posterior is right as often as it says, and chooses the same clusters."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.clustering import GaussianMixtureModel, fit_mixture, mixture_of_labels
from aitom_disca.clustering.calibration import (
    best_temperature,
    calibrated,
    calibration_error,
    fit_temperature,
)

K, D = 4, 12


def drawn(rng, n, means):
    truth = rng.integers(0, len(means), n)
    return rng.normal(size=(n, means.shape[1])) + means[truth], truth


def overlapping(seed):
    """Few samples for the number of parameters, and many others to judge by."""
    rng = np.random.default_rng(seed)
    means = 1.1 * rng.normal(size=(K, D))
    return drawn(rng, 240, means), drawn(rng, 6000, means)


def errors(mixture, samples, truth, temperature):
    joint = mixture.joint_log_density(samples)
    found = {}
    for name, t in (("before", 1.0), ("after", temperature)):
        posterior = calibrated(joint, t)
        right = posterior.argmax(axis=1) == truth
        found[name] = calibration_error(posterior.max(axis=1), right)
    return found


def test_labels_from_elsewhere_give_a_temperature_that_holds_for_new_samples():
    found = []
    for seed in range(4):
        (samples, truth), others = overlapping(seed)
        mixture = mixture_of_labels(samples, truth)
        temperature = fit_temperature(mixture, samples, truth, own_labels=False)
        assert temperature > 1.1
        found.append(errors(mixture, *others, temperature))
    before, after = (np.mean([error[name] for error in found]) for name in ("before", "after"))
    assert after < 0.6 * before


def test_a_mixtures_own_labels_do_too():
    found = []
    for seed in range(4):
        (samples, truth), others = overlapping(seed)
        mixture = fit_mixture(samples, K, labels=truth, reg_covar=1e-2)
        labels = mixture.posterior(samples).argmax(axis=1)
        temperature = fit_temperature(mixture, samples, labels, own_labels=True, reg_covar=1e-2)
        names = np.array([np.bincount(truth[labels == k]).argmax() for k in range(K)])
        assert sorted(names) == list(range(K))
        assert temperature > 1.1
        found.append(errors(mixture.renamed(names), *others, temperature))
    before, after = (np.mean([error[name] for error in found]) for name in ("before", "after"))
    assert after < 0.7 * before


def test_a_mixture_that_is_right_stays_as_it_is(rng):
    means = 1.5 * rng.normal(size=(3, 4))
    samples, truth = drawn(rng, 6000, means)
    right = GaussianMixtureModel(np.full(3, 1 / 3), means, np.stack([np.eye(4)] * 3))
    labels = right.posterior(samples).argmax(axis=1)
    assert fit_temperature(right, samples, labels, own_labels=True) < 1.1
    assert fit_temperature(right, samples, truth, own_labels=False) < 1.1


def test_the_order_of_the_clusters_stays():
    (samples, truth), _ = overlapping(0)
    joint = mixture_of_labels(samples, truth).joint_log_density(samples)
    cold, hot = calibrated(joint, 1.0), calibrated(joint, 3.0)
    np.testing.assert_array_equal(cold.argmax(axis=1), hot.argmax(axis=1))
    np.testing.assert_allclose(hot.sum(axis=1), 1)
    assert (hot.max(axis=1) <= cold.max(axis=1) + 1e-12).all()
    mixture = mixture_of_labels(samples, truth)
    np.testing.assert_allclose(cold, mixture.posterior(samples), atol=1e-12)


def test_best_temperature_is_that_of_a_search(rng):
    joint = rng.normal(scale=6, size=(500, 3))
    noisy = np.array([rng.choice(3, p=p) for p in calibrated(joint, 2.5)])
    wanted = np.eye(3)[noisy]
    grid = np.linspace(1, 6, 501)
    costs = [-np.log(calibrated(joint, t)[np.arange(500), noisy]).sum() for t in grid]
    assert best_temperature(joint, wanted) == pytest.approx(grid[np.argmin(costs)], abs=0.02)
    assert best_temperature(joint, np.eye(3)[joint.argmax(axis=1)]) == 1.0  # never below


def test_calibration_error_is_the_gap_between_confidence_and_truth():
    right = np.repeat([True, False], [70, 30])
    assert calibration_error(np.full(100, 0.9), right, n_bins=1) == pytest.approx(0.2)
    two = np.where(right, 0.8, 0.1)
    assert calibration_error(two, right, n_bins=10) == pytest.approx(0.7 * 0.2 + 0.3 * 0.1)


def test_what_cannot_be_parted_stays_as_it_is(rng):
    samples, truth = drawn(rng, 40, np.zeros((1, 3)))
    one = mixture_of_labels(samples, truth)
    assert fit_temperature(one, samples, truth, own_labels=False) == 1.0
    labels = np.where(np.arange(40) < 3, 1, 0)
    assert (
        fit_temperature(mixture_of_labels(samples, labels), samples, labels, own_labels=False) == 1
    )


def test_labels_of_none_take_no_part():
    (samples, truth), _ = overlapping(0)
    mixture = mixture_of_labels(samples, truth)
    far = np.concatenate([samples, np.full((20, D), 40.0)])
    labels = np.concatenate([truth, np.full(20, -1)])
    with_none = fit_temperature(mixture, far, labels, own_labels=False)
    without = fit_temperature(mixture, samples, truth, own_labels=False)
    assert with_none == pytest.approx(without, rel=0.25)  # other parts, as others are drawn
