"""Criteria for the number of clusters, against the formulas written out and planted K."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score
from sklearn.mixture import GaussianMixture
from typer.testing import CliRunner

from aitom_disca import pipeline
from aitom_disca.cli import printed_tables
from aitom_disca.cli.app import app
from aitom_disca.clustering import choose_mixture, criteria_for_k, estimate_k, fitting
from aitom_disca.clustering.fitting import MixtureFitter, one_thread
from aitom_disca.clustering.merge_and_split_components import (
    merge_closest,
    merging_costs,
    split_worst,
    two_or_one,
)
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.mining import clusters_of_features

CENTRES = 9.0 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def four():
    rng = np.random.default_rng(3)
    labels = rng.integers(4, size=400)
    return rng.normal(size=(400, 3)) + CENTRES[labels], labels


@pytest.fixture(scope="module")
def chosen(four):
    return choose_mixture(four[0], range(1, 8), n_starts=2)


# -- parameters, BIC, AIC ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "d", "usual", "si"), [(1, 1, 2, 3), (2, 2, 11, 14), (3, 16, 458, 819)]
)
def test_parameters_by_hand(k, d, usual, si):
    assert criteria_for_k.count_parameters(k, d) == usual
    assert criteria_for_k.count_parameters_si(k, d) == si


def test_likelihood_criteria_agree_with_scikit_learn(four, chosen):
    samples, _ = four
    theirs = GaussianMixture(4, n_init=3, random_state=0).fit(samples)
    assert chosen.criteria["bic"][4] == pytest.approx(theirs.bic(samples), rel=1e-4)
    assert chosen.criteria["aic"][4] == pytest.approx(theirs.aic(samples), rel=1e-4)
    more = criteria_for_k.count_parameters_si(4, 3) - criteria_for_k.count_parameters(4, 3)
    difference = chosen.criteria["bic_si"][4] - chosen.criteria["bic"][4]
    assert difference == pytest.approx(more * np.log(400))


# -- criteria of the partition -----------------------------------------------------------------

WITHIN = {1: 100.0, 2: 40.0, 3: 10.0, 4: 8.0}


def test_calinski_harabasz_by_hand():
    values = criteria_for_k.calinski_harabasz(WITHIN, 20)
    assert values == pytest.approx(
        {2: 60 / (40 / 18), 3: (90 / 2) / (10 / 17), 4: 30.67 / 0.5}, rel=1e-3
    )


def test_calinski_harabasz_agrees_with_scikit_learn(four):
    samples, labels = four
    within = {
        4: sum(((x - x.mean(0)) ** 2).sum() for x in (samples[labels == k] for k in range(4)))
    }
    within[1] = ((samples - samples.mean(0)) ** 2).sum()
    expected = calinski_harabasz_score(samples, labels)
    assert criteria_for_k.calinski_harabasz(within, 400)[4] == pytest.approx(expected)


def test_krzanowski_lai_by_hand():
    # In two dimensions K^(2/d) is K: 100, 80, 30, 32, so the gains are 20, 50 and -2.
    assert criteria_for_k.krzanowski_lai(WITHIN, 2) == pytest.approx({2: 20 / 50, 3: 50 / 2})


def test_jump_by_hand():
    # In two dimensions the transformed distortion is 1 / D_K, in units of D_1: 1, 2.5, 10, 12.5.
    assert criteria_for_k.jump(WITHIN, 20, 2) == pytest.approx({2: 1.5, 3: 7.5, 4: 2.5})


def test_jump_without_distortion_is_infinite():
    values = criteria_for_k.jump({1: 4.0, 2: 0.0, 3: 0.0}, 4, 2)
    assert values == {2: np.inf, 3: -np.inf}
    assert criteria_for_k.best_k(values, "jump") == 2


def test_best_is_lowest_or_highest_and_the_smaller_on_a_tie():
    table = {2: 5.0, 3: 7.0, 4: 7.0, 5: float("nan"), 6: 5.0}
    assert criteria_for_k.best_k(table, "bic") == 2
    assert criteria_for_k.best_k(table, "ch") == 3


# -- in the choice of a mixture ----------------------------------------------------------------


@pytest.mark.parametrize("criterion", criteria_for_k.CRITERIA)
def test_every_criterion_finds_separate_clusters(four, criterion):
    found = estimate_k(four[0], range(1, 8), criterion=criterion, n_starts=2)
    assert found >= 4 if criterion == "aic" else found == 4  # AIC is known to choose too many


def test_all_criteria_are_reported_where_they_are_defined(chosen):
    assert list(chosen.criteria) == list(criteria_for_k.CRITERIA)
    for name in ("bic", "bic_si", "aic"):
        assert list(chosen.criteria[name]) == list(range(1, 8))
    assert list(chosen.criteria["ch"]) == list(range(2, 8))
    assert list(chosen.criteria["jump"]) == list(range(2, 8))
    assert list(chosen.criteria["kl"]) == list(range(2, 7))  # the last has no neighbour above
    assert chosen.bic == chosen.criteria["bic"]
    assert chosen.criterion == "bic" and chosen.events == ()


@pytest.mark.parametrize("criterion", ["kl", "jump"])
def test_neighbours_are_fitted_but_not_chosen(four, criterion):
    choice = choose_mixture(four[0], (2, 4, 6), criterion=criterion, n_starts=1)
    assert choice.mixture.n_components == 4
    assert sorted(choice.criteria[criterion]) == [2, 4, 6]
    assert sorted(choice.bic) == [2, 4, 6]
    within = {k: MixtureFitter(four[0]).fit(k).within for k in range(1, 8)}
    plain = {
        "kl": criteria_for_k.krzanowski_lai(within, 3),
        "jump": criteria_for_k.jump(within, 400, 3),
    }
    assert choice.criteria[criterion][4] == pytest.approx(plain[criterion][4], rel=0.05)


@pytest.mark.parametrize("criterion", ["ch", "kl", "jump"])
def test_one_cluster_alone_cannot_be_judged_by_the_partition(four, criterion):
    with pytest.raises(ValueError, match="two clusters and more"):
        choose_mixture(four[0], (1,), criterion=criterion, n_starts=1)
    assert 1 not in choose_mixture(four[0], (1, 2), criterion=criterion).criteria[criterion]


def test_an_unknown_criterion_is_refused(four):
    with pytest.raises(ValueError, match="criterion must be one of bic, bic_si"):
        choose_mixture(four[0], (1, 2), criterion="gap")


def test_the_criterion_chooses_in_the_dimensions_that_bic_chooses(four):
    rng = np.random.default_rng(0)
    samples = np.concatenate([four[0], rng.normal(size=(400, 5))], axis=1)
    by = {
        c: choose_mixture(samples, range(1, 7), criterion=c, choose_dimensions=True, n_starts=2)
        for c in ("bic", "ch")
    }
    assert by["bic"].n_dimensions == by["ch"].n_dimensions < 8
    assert by["ch"].mixture.n_components == 4
    assert by["ch"].criteria["ch"] == by["bic"].criteria["ch"]


# -- neighbours teach each other -----------------------------------------------------------------


def test_merging_costs_are_the_divergence_of_gaussians(four):
    samples, _ = four
    mixture = MixtureFitter(samples).fit(4).mixture
    costs = merging_costs(mixture)
    np.testing.assert_array_equal(costs, costs.T)
    for a in range(4):
        for b in set(range(4)) - {a}:
            w, m, c = (x[[a, b]] for x in vars(mixture).values())
            mean = w @ m / w.sum()
            together = (
                sum(w[i] * (c[i] + np.outer(m[i] - mean, m[i] - mean)) for i in range(2)) / w.sum()
            )
            own = sum(w[i] * np.log(np.linalg.det(c[i])) for i in range(2))
            expected = (w.sum() * np.log(np.linalg.det(together)) - own) / 2
            assert costs[a, b] == pytest.approx(expected)


def test_merging_and_splitting_undo_a_wrong_partition(four):
    samples, _ = four
    with one_thread():
        right = MixtureFitter(samples).fit(4).mixture
        fewer = merge_closest(right)
        back = split_worst(fewer, samples, reg_covar=1e-6, seed=0)
    assert fewer.n_components == 3 and back.n_components == 4
    np.testing.assert_allclose(fewer.weights.sum(), 1)
    np.testing.assert_allclose(back.weights.sum(), 1)
    # Mean and covariance of the whole stay.
    np.testing.assert_allclose(fewer.weights @ fewer.means, right.weights @ right.means)
    assert back.bic(samples) == pytest.approx(right.bic(samples), rel=0.01)


def test_two_or_one(four):
    samples, labels = four
    with one_thread():
        one = two_or_one(samples[labels == 0])
        two = two_or_one(samples[labels < 2])
    assert one.bic_gain < 0 < two.bic_gain
    n = np.count_nonzero(labels < 2)
    assert two.bic_gain == pytest.approx(2 * two.log_likelihood_gain - 10 * np.log(n))


def test_a_bad_start_is_mended_by_its_neighbours(four, monkeypatch):
    samples, labels = four
    halves = np.where(samples[:, 0] > samples[labels == 0, 0].mean(), 0, 3)
    # Two starts alike: one cluster cut in halves, two others taken for one.
    astray = np.tile(np.where(labels == 0, halves, np.minimum(labels, 2)), (2, 1))
    plain = fitting.kmeans_labels

    def kmeans(samples, k, n_starts, rng):
        misled = k == 4 and len(samples) == len(labels)
        return astray if misled else plain(samples, k, n_starts, rng)

    best = choose_mixture(samples, (3, 4, 5), n_starts=2).bic[4]
    monkeypatch.setattr(fitting, "kmeans_labels", kmeans)
    assert choose_mixture(samples, (4,), n_starts=2).bic[4] > best + 100
    for candidates in ((3, 4), (4, 5)):  # from the one below, from the one above
        assert choose_mixture(samples, candidates, n_starts=2).bic[4] == pytest.approx(best)


# -- in the settings and on the command line -----------------------------------------------------


def test_the_setting_reaches_the_choice(four, monkeypatch):
    used = []

    def choose(*args, criterion, **options):
        used.append(criterion)
        return choose_mixture(*args, criterion=criterion, **options)

    monkeypatch.setattr(clusters_of_features, "choose_mixture", choose)
    settings = MineSettings(k_criterion="jump", candidate_k=(2, 3, 4, 5))
    assert clusters_of_features.cluster_features(four[0], None, settings, 1).k == 4
    assert used == ["jump"]


@pytest.mark.parametrize("criterion", ["ch", "kl", "jump"])
def test_a_partition_criterion_needs_a_choice(criterion):
    with pytest.raises(InputError, match="candidate_k needs a number above 1"):
        MineSettings.from_preset(k_criterion=criterion, candidate_k=(1,))


def test_the_command_takes_the_criterion(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(pipeline, "mine", lambda *args, **_: given.append(args[2]))
    monkeypatch.setattr(printed_tables, "print_run", lambda folder: None)
    for options in ([], ["--k-criterion", "kl"]):
        CliRunner().invoke(app, ["mine", "store.h5", "-o", str(tmp_path), *options])
    assert [settings.k_criterion for settings in given] == ["bic", "kl"]
