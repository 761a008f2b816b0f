"""The loop: when it stops, what it keeps, when the network gets a new head."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import adjusted_rand_score

import aitom_disca.network
from aitom_disca.clustering import GaussianMixtureModel, Projection, choose_mixture
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError, IterationError
from aitom_disca.mining import clusters_of_features as clusters_module
from aitom_disca.mining import published_loop
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.mining.published_loop import Solution, cluster_features, record, run_loop
from aitom_disca.progress import shown

N = 200


class Script:
    """Stands in for network and clustering: plays clusters, records what the loop asks for."""

    def __init__(self, labels, indices=None):
        self.labels = labels
        self.indices = indices or [1.0] * len(labels)
        self.heads, self.trainings, self.went_back_to = [], [], []

    def cluster(self, features, previous, settings, iteration):
        labels = np.asarray(self.labels[iteration - 1])
        k = labels.max() + 1
        mixture = GaussianMixtureModel(np.full(k, 1 / k), np.zeros((k, 1)), np.ones((k, 1, 1)))
        return Solution(
            iteration,
            labels,
            mixture,
            Projection(np.zeros(1), np.ones((1, 1))),
            np.zeros((N, 1)),
            [],
            {int(k): 0.0},
            self.indices[iteration - 1],
        )

    def new_head(self, features, labels, n_clusters, *, epochs):
        self.heads.append(int(n_clusters))

    def train_epoch(self, read, labels, **options):
        self.trainings.append(SimpleNamespace(labels=labels, **options))
        self.read = read
        return 0.5

    def state(self):
        return {"trained": [np.array(len(self.trainings))]}, {}

    def set_state(self, arrays, meta):
        self.went_back_to.append(int(arrays["trained"][0]))


@pytest.fixture
def play(monkeypatch):
    def play(script, indices=None, *, checkpoint=None, **settings):
        script = script if isinstance(script, Script) else Script(script, indices)
        extractor = SimpleNamespace(get_weights=lambda: [np.array(len(script.trainings))])
        monkeypatch.setattr(aitom_disca.network, "Classifier", lambda *_, **__: script)
        monkeypatch.setattr(published_loop, "build_extractor", lambda *_: extractor)
        monkeypatch.setattr(published_loop, "compute_features", lambda *_: np.zeros((N, 1)))
        monkeypatch.setattr(published_loop, "cluster_features", script.cluster)
        volumes = SimpleNamespace(box_px=16, read=lambda rows: rows)
        result = run_loop(volumes, MineSettings(**settings), checkpoint)
        return result, script

    return play


def clusters(k: int, n_changed: int = 0) -> np.ndarray:
    """Labels of K clusters, the first ones moved to the next cluster."""
    labels = np.arange(N) % k
    labels[:n_changed] = (labels[:n_changed] + 1) % k
    return labels


def test_stops_when_the_labels_stay_three_times(play):
    # Two of 200 labels change: 99 % stay, which is enough.
    labels = [clusters(3), clusters(3, 50), clusters(3, 52), clusters(3, 50), clusters(3, 52)]
    result, script = play(labels + [clusters(3)] * 5, max_iterations=10)
    assert result.converged
    assert len(result.history) == 5
    assert len(script.trainings) == 4  # none after the last clustering


def test_one_label_too_many_starts_the_count_again(play):
    labels = [clusters(3), clusters(3), clusters(3), clusters(3, 3)] + [clusters(3, 3)] * 6
    result, _ = play(labels, max_iterations=10)
    assert result.converged
    assert len(result.history) == 7
    np.testing.assert_allclose(
        [row["label_change"] for row in result.history], [1, 0, 0, 0.015, 0, 0, 0]
    )


@pytest.mark.parametrize(("fraction", "iterations", "expected"), [(0.9, 1, 2), (1.0, 2, 5)])
def test_stop_settings(play, fraction, iterations, expected):
    labels = [clusters(2), clusters(2, 18), *[clusters(2)] * 4]
    result, _ = play(labels, max_iterations=6, stop_fraction=fraction, stop_iterations=iterations)
    assert result.converged and len(result.history) == expected


def test_a_change_of_k_is_no_stay_even_of_equal_labels(play):
    labels = [clusters(2), clusters(4), clusters(2), clusters(4)]
    result, _ = play(labels, max_iterations=4, stop_iterations=1)
    assert not result.converged
    assert [row["label_change"] for row in result.history] == [1, 1, 1, 1]


def test_ends_after_the_last_iteration_without_training(play):
    result, script = play([clusters(2), clusters(2, 90), clusters(2)], max_iterations=3)
    assert not result.converged
    assert [row["iteration"] for row in result.history] == [1, 2, 3]
    assert [row["loss"] for row in result.history] == [0.5, 0.5, None]
    assert len(script.trainings) == 2
    assert all(row["seconds"] >= 0 for row in result.history)


def test_seconds_are_those_of_clustering_and_of_the_training_after_it(play, monkeypatch):
    clock = iter(range(100))
    ticking = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(published_loop, "time", ticking)
    result, _ = play([clusters(2), clusters(2, 90), clusters(2)], max_iterations=3)
    assert [row["seconds"] for row in result.history] == [2, 2, 1]


def test_the_lowest_ddbi_is_kept_with_its_weights(play):
    labels = [clusters(3, n) for n in (0, 40, 80, 120)]
    result, _ = play(labels, [0.9, 0.4, 0.7, 0.5], max_iterations=4)
    assert result.best.iteration == 2
    assert result.best.ddbi == 0.4
    np.testing.assert_array_equal(result.best.labels, labels[1])
    assert result.best.weights == [1]  # as after one training, not as at the end


@pytest.mark.parametrize(
    ("indices", "kept"), [([0.4, 0.4, 0.5], 1), ([math.inf, 3.0, 3.1], 2), ([0.5, 0.6, 0.1], 3)]
)
def test_which_iteration_is_kept(play, indices, kept):
    labels = [clusters(3, n) for n in (0, 40, 80)]
    result, _ = play(labels, indices, max_iterations=3)
    assert result.best.iteration == kept


def test_one_cluster_ends_the_loop(play):
    result, script = play([clusters(1)], [math.nan], max_iterations=5)
    assert result.converged
    assert result.best.mixture.n_components == 1
    assert not script.heads and not script.trainings


def test_an_index_that_is_no_number_is_said_to_be_none(play):
    said = io.StringIO()
    with shown(Console(file=said, width=200)):
        play([clusters(2), clusters(3)], [1.25, float("nan")], max_iterations=2)
    assert "K = 2, DDBI 1.250," in said.getvalue()
    assert "K = 3, DDBI not defined," in said.getvalue()


def test_an_index_that_is_no_number_replaces_nothing(play):
    labels = [clusters(3, n) for n in (0, 40, 80)]
    result, _ = play(labels, [0.5, math.nan, 0.4], max_iterations=3)
    assert result.best.iteration == 3
    result, _ = play(labels, [math.inf, math.nan, math.nan], max_iterations=3)
    assert result.best.iteration == 1


def test_a_new_head_where_k_changed_and_only_there(play):
    labels = [clusters(3), clusters(3, 50), clusters(4), clusters(4, 50), clusters(2), clusters(2)]
    _, script = play(labels, max_iterations=6)
    assert script.heads == [3, 4, 2]


def test_smoothing_and_rate_decay_iteration_by_iteration(play):
    labels = [clusters(2, n) for n in (0, 50, 0, 50)]
    _, script = play(labels, max_iterations=4, label_smoothing=0.2, learning_rate=1e-3)
    smoothing = [t.smoothing for t in script.trainings]
    rates = [t.learning_rate for t in script.trainings]
    np.testing.assert_allclose(np.divide(smoothing[1:], smoothing[:-1]), 0.9)
    np.testing.assert_allclose(np.divide(rates[1:], rates[:-1]), 0.95)
    assert (smoothing[0], rates[0]) == (0.2, 1e-3)  # the first training decays nothing
    for training, expected in zip(script.trainings, labels, strict=False):
        np.testing.assert_array_equal(training.labels, expected)


# -- what goes wrong -----------------------------------------------------------------------


class Failing(Script):
    """Fails in the training before an iteration, so many times."""

    def __init__(self, labels, iteration, times):
        super().__init__(labels)
        self.iteration, self.times = iteration, times

    def train_epoch(self, read, labels, **options):
        super().train_epoch(read, labels, **options)
        if len(self.trainings) >= self.iteration - 1 and self.times:
            self.times -= 1
            raise IterationError("the loss was not a number")
        return 0.5


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_failed_iteration_is_tried_again_with_half_the_rate(play, times):
    labels = [clusters(2, n) for n in (0, 50, 0, 50)]
    settings = {"max_iterations": 4, "learning_rate": 1e-3, "learning_rate_decay": 0.5}
    said, script = io.StringIO(), Failing(labels, 3, times)
    with shown(Console(file=said, width=200)):
        result, _ = play(script, **settings)
    assert [row["iteration"] for row in result.history] == [1, 2, 3, 4]
    rates = [training.learning_rate for training in script.trainings]
    halved = [5e-4 / 2**i for i in range(times + 1)]
    np.testing.assert_allclose(rates, [1e-3, *halved, halved[-1] / 2])
    smoothing = [training.smoothing for training in script.trainings]
    np.testing.assert_allclose(smoothing, [0.2, *[0.18] * (times + 1), 0.162])
    assert script.went_back_to == [1] * times  # the network as it was before this training
    event = "the loss was not a number; went back to iteration 2 with half the rate"
    assert [row["event"] for row in result.history] == ["", "", "; ".join([event] * times), ""]
    assert said.getvalue().count(f"iteration 3: {event}") == times


def test_after_a_failure_a_new_head_is_made_again(play):
    script = Failing([clusters(2), clusters(3), clusters(3, 50)], 3, 1)
    result, _ = play(script, max_iterations=3)
    assert [row["k"] for row in result.history] == [2, 3, 3]
    assert script.heads == [2, 3, 3]


def test_a_new_head_after_a_stop_is_begun_by_features_computed_anew(play, tmp_path):
    kept, labels = Checkpoint(tmp_path / "kept.h5", "of these"), [clusters(2), clusters(3), None]
    with pytest.raises(TypeError):  # at the third iteration
        play(labels, checkpoint=kept, max_iterations=3)
    labels[2] = clusters(3, 50)
    result, script = play(labels, checkpoint=kept, max_iterations=3)
    assert [row["k"] for row in result.history] == [2, 3, 3]
    assert script.heads == [3] and script.went_back_to == [1]


def test_an_iteration_that_keeps_failing_ends_the_loop_with_the_last_good_result(play):
    labels = [clusters(2, n) for n in (0, 50, 0, 50)]
    result, script = play(Failing(labels, 3, 99), max_iterations=4)
    assert [row["iteration"] for row in result.history] == [1, 2]
    assert not result.converged
    assert result.best.iteration == 1
    event = "stopped here: in 4 attempts at the next iteration the loss was not a number"
    assert [row["event"] for row in result.history] == ["", event]
    assert [row["loss"] for row in result.history] == [0.5, None]
    assert len(script.went_back_to) == 4


def test_a_loss_that_is_not_a_number_is_a_failure_whoever_trains(play):
    script = Script([clusters(2), clusters(2)])
    script.train_epoch = lambda *_, **__: math.nan
    result, _ = play(script, max_iterations=2)
    assert len(result.history) == 1 and len(script.went_back_to) == 4


def test_all_in_one_cluster_is_a_failure(play):
    result, script = play([clusters(3), clusters(1)], [0.5, math.nan], max_iterations=5)
    assert len(result.history) == 1 and not result.converged
    assert result.best.iteration == 1
    assert "all subtomograms fell into one cluster" in result.history[0]["event"]
    assert len(script.trainings) == len(script.went_back_to) == 4


def test_features_that_cannot_be_clustered_at_all_are_refused(play, monkeypatch):
    def fail(*_):
        raise IterationError("the features were not numbers")

    script = Script([clusters(2)])
    script.cluster = fail
    with pytest.raises(InputError, match="cannot be sorted, since the features were not numbers"):
        play(script)


def test_subtomograms_in_no_cluster_are_not_trained_on(play):
    labels = clusters(3)
    labels[::7] = -1
    result, script = play([labels, labels], max_iterations=2)
    np.testing.assert_array_equal(script.trainings[0].labels, labels[labels >= 0])
    np.testing.assert_array_equal(script.read(np.arange(4)), [1, 2, 3, 4])
    assert sum(result.history[0]["sizes"]) == (labels >= 0).sum()
    assert result.history[1]["label_change"] == 0
    names = np.array([2, 0, 1])
    renamed = result.best.renamed(names).labels
    np.testing.assert_array_equal(renamed[labels < 0], -1)
    np.testing.assert_array_equal(renamed[labels >= 0], names[labels[labels >= 0]])


# -- one clustering ------------------------------------------------------------------------


def features_of(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(len(labels), 10)) + 9 * np.eye(10)[labels]).astype(np.float32)


@pytest.fixture(scope="module")
def settings():
    return MineSettings(candidate_k=(1, 2, 3, 4, 5), n_starts=2, pca_dimensions=6)


def test_clusters_of_features(settings):
    labels = np.arange(240) % 3
    solution = cluster_features(features_of(labels), None, settings, 1)
    assert solution.mixture.n_components == 3
    assert adjusted_rand_score(labels, solution.labels) > 0.98
    assert sorted(solution.bic) == [1, 2, 3, 4, 5]
    assert min(solution.bic, key=solution.bic.__getitem__) == 3
    assert solution.posterior is None  # the mixture says it
    assert solution.embedding.shape == (240, 6)
    assert 0 < solution.ddbi < 0.5


def test_names_follow_the_previous_iteration(settings):
    labels = np.arange(240) % 3
    first = cluster_features(features_of(labels), None, settings, 1)
    for iteration in (2, 3, 4):
        again = cluster_features(features_of(labels, iteration), first, settings, iteration)
        assert (again.labels == first.labels).mean() > 0.98
        d = again.mixture.means.shape[1]
        posterior = again.mixture.posterior(again.embedding[:, :d])
        np.testing.assert_array_equal(posterior.argmax(axis=1), again.labels)


def test_one_kind_is_one_cluster(settings):
    solution = cluster_features(features_of(np.zeros(240, int)), None, settings, 1)
    assert solution.mixture.n_components == 1
    assert math.isnan(solution.ddbi)
    np.testing.assert_array_equal(solution.labels, 0)


def test_components_without_samples_are_left_out():
    mixture = GaussianMixtureModel(
        np.array([0.5, 0.1, 0.4]), np.array([[0.0], [1.0], [2.0]]), np.ones((3, 1, 1))
    )
    posterior = np.array([[0.6, 0.2, 0.2], [0.1, 0.4, 0.5]])
    left, rows, _ = clusters_module._without_empty(mixture, posterior)
    np.testing.assert_allclose(left.weights, [5 / 9, 4 / 9])
    np.testing.assert_array_equal(left.means[:, 0], [0, 2])
    np.testing.assert_allclose(rows, [[0.75, 0.25], [1 / 6, 5 / 6]])
    same, _, event = clusters_module._without_empty(left, rows)
    assert same is left and event == ""


def test_bad_features_are_a_failure_with_a_reason(settings):
    features = features_of(np.arange(240) % 3)
    for spoil, reason in (
        (lambda f: f + np.where(np.arange(240) == 7, np.nan, 0)[:, None], "were not numbers"),
        (lambda f: f * np.inf, "were not numbers"),
        (lambda f: f * 0 + 3, "had the same features"),
    ):
        with pytest.raises(IterationError, match=reason):
            cluster_features(spoil(features), None, settings, 1)


@pytest.mark.parametrize(
    "error",
    [
        np.linalg.LinAlgError("Matrix is not positive definite"),
        ValueError("some components have ill-defined empirical covariance"),
    ],
)
def test_a_singular_covariance_is_met_with_more_regularisation(settings, monkeypatch, error):
    used = []

    def choose(*args, reg_covar, **options):
        used.append(reg_covar)
        if len(used) < 3:
            raise error
        return choose_mixture(*args, reg_covar=reg_covar, **options)

    monkeypatch.setattr(clusters_module, "choose_mixture", choose)
    labels = np.arange(240) % 3
    solution = cluster_features(features_of(labels), None, settings, 1)
    np.testing.assert_allclose(used, [0.01, 1, 100])
    assert solution.event == "a covariance was singular; reg_covar was raised to 100"

    def never(*_, **__):
        raise error

    monkeypatch.setattr(clusters_module, "choose_mixture", never)
    with pytest.raises(IterationError, match="stayed singular"):
        cluster_features(features_of(labels), None, settings, 1)


def test_other_errors_are_not_taken_for_a_singular_covariance(settings):
    with pytest.raises(ValueError, match="candidates must hold"):
        cluster_features(features_of(np.arange(4)), None, settings, 1)


def test_clusters_without_members_are_left_out_and_reported(settings, monkeypatch):
    def choose(samples, *args, **options):
        choice = choose_mixture(samples, *args, **options)
        m = choice.mixture  # and two more, far from every sample
        far = np.full((2, m.means.shape[1]), 1e3)
        crowded = GaussianMixtureModel(
            np.append(m.weights * 0.9, [0.05, 0.05]),
            np.concatenate([m.means[:1], far, m.means[1:]]),
            np.concatenate([m.covariances[:1]] * 3 + [m.covariances[1:]]),
        )
        return replace(choice, mixture=crowded)

    monkeypatch.setattr(clusters_module, "choose_mixture", choose)
    labels = np.arange(240) % 3
    solution = cluster_features(features_of(labels), None, settings, 1)
    assert solution.k == 3 and (solution.sizes > 0).all()
    assert adjusted_rand_score(labels, solution.labels) > 0.98
    assert solution.event == "left out 2 of 5 clusters without members"


@pytest.mark.parametrize(
    ("candidates", "option", "word"),
    [((2,), "split_clusters", "split cluster"), ((5,), "merge_clusters", "merged clusters")],
)
def test_clusters_are_split_and_merged_when_asked(settings, candidates, option, word):
    labels = np.arange(240) % 3
    features = features_of(labels)
    wrong = settings.model_copy(update={"candidate_k": candidates})
    without = cluster_features(features, None, wrong, 1)
    assert without.k == candidates[0] and without.event == ""
    solution = cluster_features(features, None, wrong.model_copy(update={option: True}), 1)
    assert solution.k == 3 and word in solution.event
    assert adjusted_rand_score(labels, solution.labels) > 0.98
    assert record(None, solution, 1.0, 0.0).history[0]["event"] == solution.event
