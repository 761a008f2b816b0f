"""Single steps of fitting and judging mixtures, by hand or against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.clustering import (
    GaussianMixtureModel,
    calibration,
    fit_mixture,
    fitting,
    gaussian_mixture_em,
    initialisation,
    k_selection,
    mixture_of_labels,
    restructure,
)
from aitom_disca.clustering import quadratic_terms as terms
from aitom_disca.clustering.fitting import MixtureFitter, one_thread
from aitom_disca.clustering.gaussian_mixture_em import Gaussians
from aitom_disca.clustering.merge_and_split_components import merged, split_worst, with_two_for_one
from aitom_disca.clustering.outliers import OutlierScorer, fit_outliers

# -- where it starts -------------------------------------------------------------------------


def test_distances_and_nearest_centres_are_those_of_loops(rng):
    samples, centres = rng.normal(size=(30, 3)), rng.normal(size=(2, 4, 3))
    squares = (samples**2).sum(axis=1)
    found = initialisation._squared_distances(samples, squares, [4, 9])
    expected = [[((x - samples[row]) ** 2).sum() for x in samples] for row in (4, 9)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.min() >= 0
    nearest = initialisation._nearest(samples, centres)
    for labels, own in zip(nearest, centres, strict=True):
        expected = [((x - own) ** 2).sum(axis=1).argmin() for x in samples]
        np.testing.assert_array_equal(labels, expected)


def test_centres_are_means_and_stay_where_a_cluster_is_empty(rng):
    samples, before = rng.normal(size=(12, 2)), rng.normal(size=(3, 3, 2))
    labels = np.array([np.arange(12) % 3, np.arange(12) % 2, np.arange(12) // 11])
    found = initialisation._centres(samples, labels, before)
    for start, k in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1)):
        np.testing.assert_allclose(found[start, k], samples[labels[start] == k].mean(axis=0))
    np.testing.assert_array_equal(found[1, 2], before[1, 2])


def test_first_centres_lie_far_from_one_another():
    """Of six tight groups each gets one: the best of several draws, the likelier the farther."""
    groups = 100 * np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 0], [2, 2]])
    rng = np.random.default_rng(0)
    samples = np.repeat(groups, 20, axis=0) + rng.normal(size=(120, 2))
    squares = (samples**2).sum(axis=1)
    first = set()
    for seed in range(20):
        centres = initialisation._spread(samples, squares, 6, np.random.default_rng(seed))
        first.add(tuple(centres[0]))
        assert all((c == samples).all(axis=1).any() for c in centres)
        nearest = ((centres[:, None] - groups) ** 2).sum(axis=2).argmin(axis=1)
        assert sorted(nearest) == [0, 1, 2, 3, 4, 5]
    assert len(first) > 10


def test_the_last_sample_can_be_a_first_centre(rng):
    samples = np.concatenate([np.zeros((20, 2)), [[3.0, 4.0]]])
    squares = (samples**2).sum(axis=1)
    for seed in range(5):
        centres = initialisation._spread(samples, squares, 2, np.random.default_rng(seed))
        assert sorted(centres.tolist()) == [[0, 0], [3, 4]]


def test_a_start_is_moved_until_it_stays(rng, monkeypatch):
    samples = rng.normal(size=(200, 2))
    labels = initialisation.kmeans_labels(samples, 5, 3, np.random.default_rng(1))
    monkeypatch.setattr(initialisation, "_LLOYD_STEPS", 0)
    begun = initialisation.kmeans_labels(samples, 5, 3, np.random.default_rng(1))

    def spread(found):
        return [
            sum(((samples[own == k] - samples[own == k].mean(0)) ** 2).sum() for k in range(5))
            for own in found
        ]

    assert (np.array(spread(labels)) < 0.97 * np.array(spread(begun))).all()
    one = initialisation.kmeans_labels(samples, 1, 3, rng)
    np.testing.assert_array_equal(one, np.zeros((1, 200)))


def test_what_is_added_to_covariances_is_in_their_own_units(rng):
    samples = rng.normal(size=(60, 2)) * [0.01, 20] + 3
    expected = np.cov(samples.T, bias=True)
    for given, added in (({}, 1e-6), ({"reg_covar": 0.7}, 0.7)):
        found = fit_mixture(samples, 1, **given).covariances[0]
        np.testing.assert_allclose(found, expected + added * np.eye(2), rtol=1e-9)


# -- products --------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
def test_blocks_hold_every_sample_once(rng, monkeypatch, kept):
    monkeypatch.setattr(terms, "_BLOCK_BYTES", 8 * terms.n_products(3) * 70)
    if not kept:
        monkeypatch.setattr(terms, "_KEPT_BYTES", 0)
    samples, mean, scale = rng.normal(size=(150, 3)), np.array([1, 2, 3]), np.array([1, 2, 0.5])
    products = terms.Products(samples, mean, scale)
    assert (products._kept is not None) == kept and products.n_samples == 150
    rows = [np.arange(150)[products.rows(i)] for i in products.map(lambda i: i)]
    assert [len(block) for block in rows] == [70, 70, 10]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(150))
    x = np.column_stack([np.ones(150), (samples - mean) / scale])
    for d in (2, 3):
        found = np.concatenate([products.block(i, d) for i in range(3)], axis=1)
        expected = [x[:, i] * x[:, j] for i in range(d + 1) for j in range(i + 1)]
        np.testing.assert_allclose(found, expected)


# -- what goes wrong in an iteration ---------------------------------------------------------


def three(weights) -> Gaussians:
    means = np.array([[[5.0, 1.0], [0.0, 0.0], [9.0, 9.0]]])
    covariances = np.array([[np.diag([4.0, 1.0]), np.eye(2), 7 * np.eye(2)]])
    return Gaussians(np.array([weights], float), means, covariances)


def test_an_empty_component_takes_half_of_the_heaviest(rng):
    mixtures, events = three([0.8, 0.199, 0.001]), set()
    assert gaussian_mixture_em._refill(mixtures, 0, 1, events, 100) == 1
    np.testing.assert_allclose(mixtures.weights[0], [0.4, 0.199, 0.4])
    np.testing.assert_allclose(mixtures.means[0][:, 1], [1, 0, 1])
    # A standard deviation to either side, along the longer axis.
    np.testing.assert_allclose(np.sort(mixtures.means[0][[0, 2], 0]), [3, 7])
    np.testing.assert_array_equal(mixtures.covariances[0, 2], np.diag([4, 1]))
    assert events == {"a component lost its members and was placed anew"}


def test_half_a_member_is_none():
    for weight, expected in ((0.0049, 1), (0.0051, 0)):
        mixtures = three([0.8 - weight, 0.2, weight])
        assert gaussian_mixture_em._refill(mixtures, 0, 3, set(), 100) == expected


def test_what_is_empty_again_and_again_is_left_so():
    mixtures, events = three([0.998, 0.001, 0.001]), set()
    assert gaussian_mixture_em._refill(mixtures, 0, 1, events, 100) == 1
    assert gaussian_mixture_em._refill(three([0.9, 0.099, 0.001]), 0, -2, set(), 100) == 0
    np.testing.assert_allclose(mixtures.weights[0], [0.499, 0.499, 0], atol=1e-9)
    assert mixtures.weights[0, 2] > 0  # its logarithm is a number
    np.testing.assert_array_equal(mixtures.means[0, 2], [0, 0])
    np.testing.assert_array_equal(mixtures.covariances[0, 2], np.eye(2))
    assert "a component stayed without members" in events


def test_only_a_singular_covariance_is_raised_and_as_little_as_it_takes():
    singular = np.array([[1.0, 1.0], [1.0, 1.0]])
    covariances = np.array([[np.eye(2), singular], [2 * np.eye(2), 3 * np.eye(2)]])
    events: list[set[str]] = [set(), set()]
    given = Gaussians(np.full((2, 2), 0.5), np.zeros((2, 2, 2)), covariances)
    factors, repaired = gaussian_mixture_em._factorise(given, events)
    np.testing.assert_allclose(
        factors @ np.swapaxes(factors, -1, -2), repaired.covariances, atol=1e-12
    )
    added = repaired.covariances - covariances
    assert 0 < added[0, 1, 0, 0] < 1e-9 and added[0, 1, 0, 1] == 0
    added[0, 1] = 0
    assert (added == 0).all()
    assert [len(own) for own in events] == [1, 0]


# -- many samples ----------------------------------------------------------------------------


def test_starts_are_tried_on_a_part_of_many_samples(rng, monkeypatch):
    monkeypatch.setattr(fitting, "_FEW", 100)
    monkeypatch.setattr(fitting, "_FEW_PER_PARAMETER", 4)
    fitter = MixtureFitter(rng.normal(size=(1000, 3)))
    # 4 times 2 components of 6 products in 2 dimensions are 48: 100 are tried, and 300 of 240.
    for k, d, size in ((2, 2, 100), (4, 3, 200), (6, 3, 300), (13, 3, 1000)):
        assert fitter.drawn(k, d).shape == (size, d)
    assert len(MixtureFitter(rng.normal(size=(200, 3))).drawn(1, 2)) == 200
    assert len(MixtureFitter(rng.normal(size=(201, 3))).drawn(1, 2)) == 100
    rows, few = fitter._drawn(2, 2)
    assert (np.diff(rows) > 0).all() and rows[-1] > 800
    assert fitter._drawn(3, 2)[1] is few  # one set of each size
    np.testing.assert_array_equal(fitter.drawn(2, 2), fitter._samples[rows, :2])


def test_a_start_is_better_only_by_more_than_the_tolerance(rng):
    samples = rng.normal(size=(300, 2)) + 6 * (np.arange(300) % 2)[:, None]
    fitter = MixtureFitter(samples, n_starts=1)
    with one_thread():
        good = fitter.start(2, 2)
        assert fitter.improve(good, fitter.mixture(good)) is good
        labels = np.arange(300) // 150  # each half of both
        poor = gaussian_mixture_em.run_em(
            fitter._all,
            gaussian_mixture_em.maximise(
                gaussian_mixture_em.moments_of_labels(fitter._all, labels[None], 2, 2),
                fitter._ridge,
            ),
            fitter._ridge,
            tol=1e9,
            max_iterations=1,
        )
        assert fitter.improve(poor, fitter.mixture(good)) is not poor
        assert fitter.improve(good, fitter.mixture(poor)).log_likelihood >= good.log_likelihood


# -- one and two -----------------------------------------------------------------------------


def test_two_for_one_share_its_weight():
    one = GaussianMixtureModel(
        np.array([0.4, 0.6]), np.array([[0.0], [5.0]]), np.array([[[1.0]], [[2.0]]])
    )
    two = GaussianMixtureModel(
        np.array([0.25, 0.75]), np.array([[4.0], [6.0]]), np.array([[[0.3]], [[0.4]]])
    )
    found = with_two_for_one(one, 1, two)
    np.testing.assert_allclose(found.weights, [0.4, 0.15, 0.45])
    np.testing.assert_array_equal(found.means[:, 0], [0, 4, 6])
    np.testing.assert_array_equal(found.covariances[:, 0, 0], [1, 0.3, 0.4])
    np.testing.assert_array_equal(one.weights, [0.4, 0.6])
    back = merged(found, 2, 1)  # in the place of the first
    np.testing.assert_allclose(back.weights, [0.4, 0.6])
    np.testing.assert_allclose(back.means[:, 0], [0, 5.5])
    expected = 0.25 * (0.3 + 1.5**2) + 0.75 * (0.4 + 0.5**2)
    np.testing.assert_allclose(back.covariances[:, 0, 0], [1, expected])


def test_only_components_of_four_samples_a_dimension_are_split(rng):
    samples = np.concatenate([rng.normal(size=(8, 2)), rng.normal(size=(40, 2)) + 50])
    samples[28:] += 9
    mixture = GaussianMixtureModel(
        np.array([8, 40]) / 48, np.array([[0.0, 0], [54.5, 54.5]]), np.array([np.eye(2)] * 2) * 30
    )
    with one_thread():
        found = split_worst(mixture, samples, reg_covar=1e-6, seed=0)
        np.testing.assert_array_equal(found.means[0], [0, 0])  # the other gains more
        assert found.n_components == 3
        alone = GaussianMixtureModel(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
        assert split_worst(alone, samples[:7], reg_covar=1e-6, seed=0) is None
        assert split_worst(alone, samples[:8], reg_covar=1e-6, seed=0).n_components == 2


# -- outliers --------------------------------------------------------------------------------


def test_shares_inside_and_beyond_by_hand():
    distances = np.array([np.linspace(0, 9, 91), np.linspace(0, 90, 91)])
    scorer = OutlierScorer(distances, np.array([0.5, 4.0]))
    distance = np.array([0.0, 4.5, 4.55, 9.0, 9.5, 4.5, 94.0, 98.0])
    cluster = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    beyond = 1 - 0.1 * np.exp(-1)
    expected = [0, 0.45, 0.455, 0.9, beyond, 0.045, beyond, 1 - 0.1 * np.exp(-2)]
    np.testing.assert_allclose(scorer._shares(distance, cluster), expected)


@pytest.mark.parametrize("n_few", [9, 10])
def test_distances_of_members_are_those_from_all_others(rng, n_few):
    """And a cluster has a tail of its own from ten members on."""
    samples = rng.normal(size=(60 + n_few, 3))
    labels = np.repeat([0, 1], [60, n_few])
    groups = [samples[labels == k] for k in (0, 1)]
    mixture = GaussianMixtureModel(
        np.full(2, 0.5),
        np.array([group.mean(axis=0) for group in groups]),
        np.array([np.cov(group.T, bias=True) for group in groups]),
    )
    distance = []
    for group in groups:
        for i in range(len(group)):
            rest = np.delete(group, i, axis=0)
            away = group[i] - rest.mean(axis=0)
            squared = away @ np.linalg.solve(np.cov(rest.T, bias=True), away)
            distance.append(np.sqrt(squared))
    distance = np.array(distance)
    scorer = fit_outliers(mixture, samples, labels)
    shares = np.linspace(0, 0.9, 91)
    own = [distance[:60], distance[60:] if n_few >= 10 else distance]
    for k in (0, 1):
        quantiles = np.quantile(own[k], shares)
        np.testing.assert_allclose(scorer.distances[k], quantiles, rtol=1e-9)
        beyond = own[k][own[k] > quantiles[-1]] - quantiles[-1]
        assert scorer.tails[k] == pytest.approx(beyond.mean())


def test_of_two_members_each_is_measured_from_the_other():
    """As far as is allowed: a tenth of what would be infinite."""
    mixture = GaussianMixtureModel(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
    scorer = fit_outliers(mixture, np.array([[1.0], [-1.0]]), np.zeros(2, int))
    np.testing.assert_allclose(scorer.distances[0], np.sqrt(2 * 1 / 0.1))


def test_no_tail_is_no_harm(rng):
    """Half of the members lie equally far out, and none beyond: there strangers begin soon."""
    around = np.array([[np.cos(a), np.sin(a)] for a in 2 * np.pi * np.arange(12) / 12])
    around[::2] /= 2
    mixture = GaussianMixtureModel(np.ones(1), np.zeros((1, 2)), np.eye(2)[None] / 2)
    scorer = fit_outliers(mixture, np.round(around, 12), np.zeros(12, int))
    distance = np.sqrt(12 * 2 / (11 - 2))
    np.testing.assert_allclose(scorer.distances[0, 60:], distance)
    np.testing.assert_allclose(scorer.tails, 1e-3 * distance, rtol=1e-3)
    nothing = fit_outliers(mixture, np.zeros((12, 2)), np.zeros(12, int))
    assert nothing.tails[0] == 1e-12 and nothing.score(mixture, np.ones((1, 2)))[0] == 1


# -- Gaussians of labels ---------------------------------------------------------------------


def test_gaussians_of_labels_borrow_from_all(rng):
    """As if each cluster had p more members, with the covariance of all of them."""
    samples, labels = rng.normal(size=(30, 3)), np.repeat([0, 1, -1], [20, 6, 4])
    found = mixture_of_labels(samples, labels, reg_covar=0.5)
    groups = [samples[:20], samples[20:26]]
    scatter = [(group - group.mean(0)).T @ (group - group.mean(0)) for group in groups]
    pooled = (scatter[0] + scatter[1]) / 26
    for k, (group, own) in enumerate(zip(groups, scatter, strict=True)):
        expected = (own + 3 * pooled) / (len(group) + 3) + 0.5 * np.eye(3)
        np.testing.assert_allclose(found.covariances[k], expected)
        np.testing.assert_allclose(found.means[k], group.mean(axis=0))
    np.testing.assert_allclose(found.weights, [20 / 26, 6 / 26])


def test_a_cluster_of_one_member_has_no_spread(rng):
    samples = np.concatenate([rng.normal(size=(40, 2)), [[90.0, -70.0]]])
    fit = MixtureFitter(samples, reg_covar=1e-3).fit(2)
    assert sorted(fit.mixture.weights.round(4)) == [round(1 / 41, 4), round(40 / 41, 4)]
    assert fit.within == pytest.approx(((samples[:40] - samples[:40].mean(0)) ** 2).sum())


# -- calibration -----------------------------------------------------------------------------


def test_a_temperature_is_that_of_every_sample(rng, monkeypatch):
    monkeypatch.setattr(calibration, "_PIECE", 7)
    mixture = GaussianMixtureModel(
        np.array([0.3, 0.7]), np.array([[0.0], [3.0]]), np.array([[[1.0]], [[2.0]]])
    )
    samples = rng.normal(1, 2, size=(20, 1))
    joint = mixture.joint_log_density(samples) / 1.7
    expected = np.exp(joint) / np.exp(joint).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(calibration.calibrated_posterior(mixture, samples, 1.7), expected)


def test_a_mixture_is_fitted_anew_in_the_samples_own_units(rng):
    samples = rng.normal(size=(50, 2)) @ np.array([[30.0, 1], [0, 0.02]]) + [7, -5]
    start = GaussianMixtureModel(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    found = calibration._refitted(start, samples, np.zeros(50, int), 0.3)
    np.testing.assert_allclose(found.means[0], samples.mean(axis=0))
    np.testing.assert_allclose(
        found.covariances[0], np.cov(samples.T, bias=True) + 0.3 * np.eye(2), rtol=1e-9
    )
    flat = np.concatenate([samples, np.full((50, 1), 4.0)], axis=1)  # nor divided by nothing
    start = GaussianMixtureModel(np.ones(1), flat[:1], np.eye(3)[None])
    found = calibration._refitted(start, flat, np.zeros(50, int), 0.3)
    assert found.covariances[0, 2, 2] == pytest.approx(0.3)


# -- split or not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "n_changes"), [((4, 4), 1), ((4, 3), 0), ((5, 3), 0), ((8, 8), 1)]
)
def test_halves_have_two_members_a_dimension(rng, sizes, n_changes):
    groups = [rng.normal(size=(size, 2)) + 60 * i for i, size in enumerate(sizes)]
    samples, labels = np.concatenate(groups), np.zeros(sum(sizes), int)
    found = restructure(samples, mixture_of_labels(samples, labels), labels, split=True)
    assert len(found.changes) == n_changes


def test_a_split_gains_and_separates_as_much_as_is_asked_for(rng):
    samples = rng.normal(size=(80, 2)) + 7 * (np.arange(80) % 2)[:, None]
    labels = np.zeros(80, int)
    mixture = mixture_of_labels(samples, labels)
    (change,) = restructure(samples, mixture, labels, split=True).changes
    apart = samples[1::2].mean(axis=0) - samples[::2].mean(axis=0)
    both = np.cov(samples[::2].T, bias=True) + np.cov(samples[1::2].T, bias=True)
    expected = np.sqrt(2 * apart @ np.linalg.solve(both, apart))
    assert change.separation == pytest.approx(expected, rel=0.01) and change.sizes == (40, 40)
    for name, value in (("bic_gain", change.bic_gain), ("separation", change.separation)):
        for factor, n_changes in ((0.999, 1), (1.001, 0)):
            options = {f"min_{name}": factor * value}
            found = restructure(samples, mixture, labels, split=True, **options)
            assert len(found.changes) == n_changes, name


def test_k_beside_the_candidates_that_a_criterion_looks_at():
    for criterion, expected in (("bic", [1, 5]), ("jump", [1, 4, 5]), ("kl", [1, 2, 4, 5, 6])):
        assert k_selection._with_neighbours([1, 5], criterion, 6) == expected
    assert k_selection._with_neighbours([2, 5], "kl", 5) == [1, 2, 3, 4, 5]


def test_numbers_of_dimensions_that_are_tried(rng, monkeypatch):
    tried: list[list[int]] = []

    def first(self, candidates, dimensions):
        tried.append(list(dimensions))
        return dimensions[0]

    monkeypatch.setattr(k_selection._Search, "best_dimensions", first)
    samples = rng.normal(size=(60, 18))
    for d, expected in ((18, [2, 3, 4, 6, 8, 10, 12, 16, 18]), (8, [2, 3, 4, 6, 8]), (1, [1])):
        k_selection.choose_mixture(samples[:, :d], (1,), choose_dimensions=True, n_starts=1)
        assert tried[-1] == expected
    k_selection.choose_mixture(samples, (1,), n_starts=1)
    assert tried[-1] == [18]


def test_nothing_is_split_or_merged_unasked(rng):
    samples = rng.normal(size=(90, 2)) + 9 * (np.arange(90) % 3 > 1)[:, None]
    labels = np.where(np.arange(90) % 3 > 0, 1, 0)  # one of them is two, parts of both are one
    mixture = mixture_of_labels(samples, labels)
    assert restructure(samples, mixture, labels).changes == []
    kinds = {c.kind for c in restructure(samples, mixture, labels, merge=True, split=True).changes}
    assert kinds == {"merge", "split"}


def test_a_cluster_of_one_member_is_judged_by_all(rng):
    samples, labels = rng.normal(size=(31, 2)), np.arange(31) // 30
    scorer = fit_outliers(mixture_of_labels(samples, labels), samples, labels)
    assert np.isfinite(scorer.distances).all() and (scorer.tails > 0).all()
