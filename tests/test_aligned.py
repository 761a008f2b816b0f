"""The preset fast: alignment sorts, the network learns it."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from few_rotations import QUICK
from sklearn.metrics import adjusted_rand_score

from aitom_disca.alignment import Coefficients, Slicer, align, rotation_grid
from aitom_disca.classification import AlignmentSorter
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError, IterationError
from aitom_disca.mining import DISCA
from aitom_disca.mining.model_file import Bundle
from aitom_disca.network import Classifier
from aitom_disca.simulation import SimulatedSubtomograms, load_phantoms, simulate_subtomograms

SMALL: dict[str, Any] = {
    "width": 0.2,
    "n_convolutions": 3,
    "max_iterations": 3,
    "n_starts": 1,
    "candidate_k": (1, 2, 3, 4),
    "alignment_starts": 6,
    "sorting": QUICK,
}
NAMES = ("two_lobes", "rod", "chaperone")
TILT = (-60, 60)


def copies(n: int, seed: int) -> SimulatedSubtomograms:
    phantoms = load_phantoms()
    chosen = [phantoms[name] for name in NAMES]
    return simulate_subtomograms(chosen, n, 14, 22.0, 0.5, shift_max_px=1.0, seed=seed)


@pytest.fixture(scope="module")
def simulated() -> SimulatedSubtomograms:
    return copies(30, seed=4)


@pytest.fixture(scope="module")
def fitted(simulated: SimulatedSubtomograms) -> DISCA:
    return DISCA(seed=1, **SMALL).fit(simulated.volumes, tilt_range_deg=TILT)


@pytest.fixture(scope="module")
def cut_off(simulated: SimulatedSubtomograms, tmp_path_factory) -> Path:
    """The checkpoint of the same fit, which was cut off in its second pass of training."""
    original, calls = Classifier.train_epoch, []

    def stop(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)

    kept = tmp_path_factory.mktemp("cut off") / "checkpoint.h5"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Classifier, "train_epoch", stop)
        DISCA(seed=1, **SMALL).fit(simulated.volumes, tilt_range_deg=TILT, checkpoint=kept)
    return kept


def gone_on(simulated: SimulatedSubtomograms, checkpoint: Path, monkeypatch: Any) -> DISCA:
    """What was sorted is not sorted again."""
    monkeypatch.setattr(AlignmentSorter, "sort", None)
    return DISCA(seed=1, **SMALL).fit(simulated.volumes, tilt_range_deg=TILT, checkpoint=checkpoint)


def test_the_structures_are_told_apart_and_counted(simulated, fitted):
    assert fitted.n_clusters_ == 3
    assert adjusted_rand_score(simulated.labels, fitted.labels_) > 0.95
    shuffled = np.random.default_rng(0).permutation(fitted.labels_)
    assert adjusted_rand_score(simulated.labels, shuffled) < 0.2


def test_the_history_has_the_networks_start_and_the_aligned_end(fitted):
    first, second = fitted.history_
    assert not first["kept"] and second["kept"]
    assert first["loss"] is None and second["loss"] > 0
    assert second["k"] == fitted.n_clusters_ == len(second["sizes"])
    assert set(fitted.bic_) == {1, 2, 3, 4}
    sizes = np.bincount(fitted.labels_)
    assert list(sizes) == sorted(sizes, reverse=True)


def test_averages_are_in_the_order_of_the_clusters(simulated, fitted):
    assert fitted.averages_.shape == (3, 14, 14, 14)
    coefficients, grid = Coefficients(14, 5, TILT), rotation_grid(300)
    values = coefficients.of(simulated.volumes)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    slicer, still = Slicer(coefficients, grid), np.zeros((1, 3))
    fit = np.array(
        [
            align(values, coefficients, slicer(v), still, np.zeros((len(values), 3))).score
            for v in fitted.averages_
        ]
    )
    for k in range(3):
        assert fit[:, fitted.labels_ == k].mean(axis=1).argmax() == k


@pytest.mark.parametrize("by", ["alignment", "network"])
def test_the_model_has_learnt_the_clusters(simulated, fitted, tmp_path, by):
    found = fitted.predict_all(simulated.volumes, by=by)
    assert (found.labels == fitted.labels_).mean() > 0.9
    assert found.posterior[found.labels == fitted.labels_].mean() > 0.7
    fitted.save(tmp_path / "model.h5")
    again = DISCA.load(tmp_path / "model.h5").predict_all(simulated.volumes, by=by)
    np.testing.assert_array_equal(again.labels, found.labels)
    np.testing.assert_array_equal(again.posterior, found.posterior)


def test_a_saved_model_keeps_how_the_wedge_falls_off(fitted, tmp_path):
    falls = np.linspace(0.2, 1, 120).reshape(2, 60)
    graded = replace(fitted._model, learnt=replace(fitted._model.learnt, fall_off=falls))
    for model, expected in ((graded, falls), (fitted._model, None)):
        model.save(tmp_path / "model.h5")
        again = Bundle.load(tmp_path / "model.h5").learnt.fall_off
        np.testing.assert_array_equal(again, expected)


def test_averages_sort_what_the_network_cannot(simulated, fitted):
    """Without a network's weights alignment still decides, unless the network is to."""
    more = copies(20, seed=77)
    assert adjusted_rand_score(more.labels, fitted.predict(more.volumes)) > 0.9
    blind = copy.copy(fitted)
    nothing = [np.zeros_like(w) for w in fitted._model.weights]
    blind._model = replace(fitted._model, weights=nothing, outliers=None)
    assert adjusted_rand_score(more.labels, blind.predict(more.volumes)) > 0.9
    found = blind.predict_all(more.volumes)
    assert found.posterior.mean() > 0.9  # what decides says how sure it is
    members = found.labels >= 0
    likeliest = blind.predict_proba(more.volumes).argmax(axis=1)
    np.testing.assert_array_equal(found.labels[members], likeliest[members])
    by_network = blind.predict_all(more.volumes, by="network").labels
    assert adjusted_rand_score(more.labels, by_network) < 0.2


def test_a_consensus_that_leaves_a_cluster_out_leaves_its_members_unsure(fitted):
    some = copy.copy(fitted)
    some._aligned = np.eye(3)[fitted.labels_]
    labels = np.where(fitted.labels_ == 2, 0, fitted.labels_)
    some.take_consensus(labels, np.array([0, 1]))
    np.testing.assert_array_equal(some.posterior_, fitted.labels_ < 2)


def test_a_model_without_averages_says_so(simulated, fitted):
    blind = copy.copy(fitted)
    blind._model = replace(fitted._model, learnt=None)
    with pytest.raises(InputError, match="--by network"):
        blind.predict_all(simulated.volumes, by="alignment")


def test_all_are_sorted_where_some_were_drawn(simulated, tmp_path):
    kept, settings = tmp_path / "steps.h5", {**SMALL, "max_iterations": 2, "alignment_most": 60}
    disca = DISCA(seed=0, **settings).fit(simulated.volumes, checkpoint=kept)
    assert adjusted_rand_score(simulated.labels, disca.labels_) > 0.95
    assert disca.posterior_.mean() > 0.9
    with h5py.File(kept) as file:
        assert set(file) == {"features", "sorted", "trained"}  # of the passes nothing is left


def test_the_candidates_bound_the_number_of_clusters(simulated):
    disca = DISCA(seed=0, **{**SMALL, "candidate_k": (2,), "max_iterations": 1})
    assert disca.fit(simulated.volumes[:45]).n_clusters_ == 2


def test_a_loss_that_is_no_number_is_tried_again_with_half_the_rate(
    simulated, cut_off, monkeypatch, tmp_path
):
    rates, original = [], Classifier.train_epoch

    def train(self, *arguments, learning_rate, **options):
        rates.append(learning_rate)
        if len(rates) == 1:
            self.extractor.set_weights([w * np.nan for w in self.extractor.get_weights()])
            raise IterationError("the loss was not a number")
        return original(self, *arguments, learning_rate=learning_rate, **options)

    monkeypatch.setattr(Classifier, "train_epoch", train)
    untrained = Path(shutil.copy(cut_off, tmp_path))
    with h5py.File(untrained, "a") as file:
        del file["trained"]
    disca = gone_on(simulated, untrained, monkeypatch)
    decay = MineSettings().learning_rate_decay
    np.testing.assert_allclose(rates, rates[0] * np.array([1, 1 / 2, decay / 2]))
    assert np.isfinite(disca.history_[-1]["loss"])
    assert np.isfinite(disca.embedding_).all()


def test_a_fit_that_was_cut_off_ends_as_the_one_that_was_not(
    simulated, fitted, cut_off, monkeypatch, tmp_path
):
    """And so the same seed repeats it exactly."""
    rates, original = [], Classifier.train_epoch

    def train(self, *arguments, learning_rate, **options):
        rates.append(learning_rate)
        return original(self, *arguments, learning_rate=learning_rate, **options)

    monkeypatch.setattr(Classifier, "train_epoch", train)
    again = gone_on(simulated, Path(shutil.copy(cut_off, tmp_path)), monkeypatch)
    assert len(rates) == 1  # the pass that was cut off, and no other
    np.testing.assert_array_equal(again.labels_, fitted.labels_)
    np.testing.assert_array_equal(again.posterior_, fitted.posterior_)
    np.testing.assert_array_equal(again.averages_, fitted.averages_)
    np.testing.assert_array_equal(again.embedding_, fitted.embedding_)
