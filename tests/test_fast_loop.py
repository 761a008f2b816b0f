"""The fast way: what comes of alignment teaches the network. Both are played by stand-ins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

import aitom_disca.network
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError, IterationError
from aitom_disca.mining import fast_loop
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.mining.clusters_of_features import cluster_features
from aitom_disca.mining.fast_loop import run_aligned
from aitom_disca.mining.solution import Known
from aitom_disca.mining.sort_store import Sorted

N = 48
GROUPS = np.arange(N) % 3


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Three groups."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(N, 4)) + 12 * np.eye(4)[GROUPS]).astype(np.float32)


class Network:
    """Stands in for the classifier; some calls of a pass fail, one ends the process."""

    def __init__(self, fails: tuple[int, ...] = (), killed: int = 0) -> None:
        self.fails, self.killed = fails, killed
        self.heads: list[tuple[np.ndarray, np.ndarray, int]] = []
        self.rates: list[float] = []
        self.went_back_to: list[int] = []

    def new_head(self, features, labels, k, *, epochs):
        self.heads.append((features, labels, k))

    def train_epoch(self, read, labels, *, learning_rate, **options):
        self.rates.append(learning_rate)
        self.rows, self.labels = read(np.arange(len(labels))), labels
        if len(self.rates) == self.killed:
            raise KeyboardInterrupt
        if len(self.rates) in self.fails:
            raise IterationError("the loss was not a number")
        return float(len(self.rates))

    def state(self):
        return {"passes": [np.array(len(self.rates))]}, {"n": len(self.rates)}

    def set_state(self, arrays, meta):
        assert arrays["passes"] == [meta["n"]]
        self.went_back_to.append(meta["n"])


@pytest.fixture
def play(features, monkeypatch):
    def play(network: Network, known: Known | None = None, sort: Any = None, **options: Any) -> Any:
        checkpoint = options.pop("checkpoint", None)
        given = {"candidate_k": (3,), "n_starts": 1, "learning_rate": 0.08, **options}
        settings = MineSettings(**{"learning_rate_decay": 0.5, "max_iterations": 4, **given})
        calls: list[int] = []  # the network sees groups farther apart once it is trained

        def compute(*_):
            calls.append(len(network.rates))
            return features * (1 + len(network.rates))

        extractor = SimpleNamespace(get_weights=lambda: [np.array(len(network.rates))])
        monkeypatch.setattr(aitom_disca.network, "Classifier", lambda *_, **__: network)
        monkeypatch.setattr(fast_loop, "build_extractor", lambda *_: extractor)
        monkeypatch.setattr(fast_loop, "compute_features", compute)
        monkeypatch.setattr(fast_loop, "sort_source", sort)
        volumes: Any = SimpleNamespace(box_px=6, read=lambda rows: rows)
        return run_aligned(None, volumes, settings, (-60, 60), checkpoint, known)

    return play


# -- training --------------------------------------------------------------------------------


def test_a_pass_that_fails_is_repeated_with_half_the_rate(play):
    network = Network(fails=(2, 3))
    result = play(network, Known(GROUPS))
    np.testing.assert_allclose(network.rates, [0.08, 0.04, 0.02, 0.01, 0.005])
    assert network.went_back_to == [1, 1]  # as it was before that pass
    assert [row["loss"] for row in result.history] == [None, 5.0]
    assert result.best.weights == [5]


def test_a_pass_that_keeps_failing_is_left_out(play):
    network = Network(fails=(2, 3, 4, 5))
    result = play(network, Known(GROUPS))
    halved = [0.04 / 2**i for i in range(4)]
    np.testing.assert_allclose(network.rates, [0.08, *halved, 0.02 / 2**4])
    assert network.went_back_to == [1] * 4
    assert result.history[-1]["loss"] == 6


def test_only_members_of_clusters_are_trained_on(play, features):
    labels = np.where(np.arange(N) % 5 == 0, -1, GROUPS)
    network = Network()
    result = play(network, Known(labels))
    rows = np.flatnonzero(labels >= 0)
    np.testing.assert_array_equal(network.rows, rows)
    np.testing.assert_array_equal(network.labels, labels[rows])
    ((given, named, k),) = network.heads
    np.testing.assert_array_equal(given, features[rows])
    np.testing.assert_array_equal(named, labels[rows])
    assert k == 3 and len(network.rates) == 3
    best = result.best
    np.testing.assert_array_equal(best.labels, labels)
    for k in range(3):  # of the features of the trained network
        middle = best.embedding[labels == k].mean(axis=0)
        np.testing.assert_allclose(best.mixture.means[k], middle)
    assert best.embedding.std(axis=0)[0] == pytest.approx(1, abs=0.05)  # whitened


def test_one_cluster_teaches_nothing(play):
    network = Network()
    result = play(network, Known(np.zeros(N, int)))
    assert not network.rates and not network.heads
    assert result.best.k == 1 and result.history[1]["loss"] is None


def test_a_killed_training_goes_on_from_its_last_pass(play, tmp_path):
    expected = play(Network(), Known(GROUPS), checkpoint=Checkpoint(tmp_path / "a.h5", "these"))
    with pytest.raises(KeyboardInterrupt):
        play(Network(killed=3), Known(GROUPS), checkpoint=Checkpoint(tmp_path / "b.h5", "these"))
    network = Network()
    result = play(network, Known(GROUPS), checkpoint=Checkpoint(tmp_path / "b.h5", "these"))
    assert network.went_back_to == [2] and not network.heads
    np.testing.assert_allclose(network.rates, [0.02])
    np.testing.assert_array_equal(result.best.labels, expected.best.labels)


def test_halvings_are_remembered(play, tmp_path):
    kept = Checkpoint(tmp_path / "c.h5", "these")
    with pytest.raises(KeyboardInterrupt):
        play(Network(fails=(1, 2), killed=5), Known(GROUPS), checkpoint=kept)
    network = Network()
    play(network, Known(GROUPS), checkpoint=kept)
    np.testing.assert_allclose(network.rates, [0.02 / 4])


# -- what comes of alignment -----------------------------------------------------------------


def aligned(labels: np.ndarray, stable: bool = True) -> Any:
    """A sorting into these labels; the average of cluster k is full of k."""
    averages = np.arange(3.0)[:, None, None, None] * np.ones((3, 2, 2, 2))
    learnt = LearntAverages(averages, np.log([0.5, 0.3, 0.2]), np.ones(2), 0.0, (-60, 60))
    sorter = SimpleNamespace(
        averages=lambda: list(averages),
        learnt=lambda: learnt,
        classes=SimpleNamespace(stable=stable),
    )
    return lambda *_, **__: Sorted(labels, np.eye(3)[labels], sorter)


def test_clusters_keep_the_names_that_the_untrained_network_gave(play, features):
    first = cluster_features(features, None, MineSettings(candidate_k=(3,), n_starts=1), 1).labels
    labels = (first + 1) % 3
    labels[:2] = labels[1::-1]  # two are sorted otherwise
    result = play(Network(), sort=aligned(labels))
    best = result.best
    assert best.iteration == 2 and best.weights == [3]
    np.testing.assert_array_equal(best.labels[2:], first[2:])
    np.testing.assert_array_equal(best.posterior.argmax(axis=1), best.labels)
    np.testing.assert_array_equal(best.averages[:, 0, 0, 0], [1, 2, 0])  # what was k + 1
    np.testing.assert_array_equal(best.learnt.averages, best.averages)
    np.testing.assert_allclose(np.exp(best.learnt.log_prior), [0.3, 0.2, 0.5])
    assert [row["iteration"] for row in result.history] == [1, 2]
    np.testing.assert_allclose([row["label_change"] for row in result.history], [1, 2 / N])
    assert result.converged


def test_seconds_are_those_of_the_two_ways(play, monkeypatch):
    ticks = iter((10, 13, 20, 25))
    ticking = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(fast_loop, "time", ticking)
    assert [row["seconds"] for row in play(Network(), Known(GROUPS)).history] == [3, 5]


def test_known_clusters_keep_their_own_names(play, features):
    first = cluster_features(features, None, MineSettings(candidate_k=(3,), n_starts=1), 1).labels
    result = play(Network(), Known((first + 1) % 3, stable=False))
    np.testing.assert_array_equal(result.best.labels, (first + 1) % 3)
    assert result.history[1]["label_change"] == 1 and not result.converged
    assert result.best.posterior is None and result.best.learnt is None


@pytest.mark.parametrize("stable", [False, True])
def test_alignment_says_whether_it_came_to_rest(play, stable):
    assert play(Network(), sort=aligned(GROUPS, stable)).converged == stable


def test_what_was_aligned_is_kept_and_what_led_there_is_not(play, tmp_path):
    kept = Checkpoint(tmp_path / "checkpoint.h5", "these")
    for name in ("drawn", "pass 0", "pass 4"):
        kept.save(name, {})
    first = play(Network(), sort=aligned(GROUPS), checkpoint=kept)
    assert all(kept.load(name) is None for name in ("drawn", "pass 0", "pass 4"))

    def again(*_, **__):
        raise AssertionError("sorted again")

    second = play(Network(), sort=again, checkpoint=kept)
    for name in ("labels", "averages", "posterior", "embedding"):
        np.testing.assert_array_equal(getattr(second.best, name), getattr(first.best, name))
    np.testing.assert_array_equal(second.best.learnt.power, first.best.learnt.power)


def test_features_that_are_no_numbers_are_refused(play, monkeypatch):
    def fail(*_, **__):
        raise IterationError("the features were not numbers")

    monkeypatch.setattr(fast_loop, "cluster_features", fail)
    with pytest.raises(InputError, match="cannot be sorted, since the features were not numbers"):
        play(Network(), Known(GROUPS))


def test_references_begin_in_the_middle_of_a_finer_partition(features):
    settings = MineSettings(alignment_starts=3)
    found = fast_loop._starts(features, settings, 1, 12)
    nearest = [
        np.flatnonzero(GROUPS == k)[
            ((features[GROUPS == k] - features[GROUPS == k].mean(axis=0)) ** 2).sum(axis=1).argmin()
        ]
        for k in range(3)
    ]
    assert sorted(found) == sorted(nearest)
    usual = MineSettings()
    assert len(fast_loop._starts(features, usual, 1, 12)) == 4  # one for every twelve
    assert len(fast_loop._starts(features, usual, 6, 12)) == 6  # but not fewer than asked for
    many = np.tile(features, (8, 1)) + np.random.default_rng(0).normal(size=(8 * N, 4))
    assert len(fast_loop._starts(many, usual, 1, 4)) == 12
    assert len(fast_loop._starts(many, usual, 1, 15)) == 22
