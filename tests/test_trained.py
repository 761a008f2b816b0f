"""What an estimator keeps of a fit, and what it asks of what fits: both are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aitom_disca import DISCA, InputError, MineSettings
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.clustering import Projection, ddbi, mixture_of_labels
from aitom_disca.clustering.calibration import fit_temperature
from aitom_disca.clustering.outliers import fit_outliers
from aitom_disca.mining import disca as disca_module
from aitom_disca.mining.feature_extraction import FitInput
from aitom_disca.mining.solution import LoopResult, Solution
from aitom_disca.subtomograms.dataset import ArraySource

SIZES = (20, 60, 60, 30)  # of the clusters as they come
ORDER = [1, 2, 3, 0]  # the largest first
N = sum(SIZES)


@pytest.fixture(scope="module")
def solution() -> Solution:
    """Four clusters in the first two of three components, and five that belong to none."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), SIZES)
    embedding = rng.normal(size=(N, 3))
    embedding[:, :2] += 4 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])[labels]
    labels[::34] = -1
    labels = labels.copy()
    mixture = mixture_of_labels(embedding[labels >= 0, :2], labels[labels >= 0], reg_covar=1e-2)
    posterior = rng.dirichlet(np.ones(4), N)
    averages = np.arange(4.0)[:, None, None, None] * np.ones((4, 2, 2, 2))
    learnt = LearntAverages(averages, np.arange(4.0), np.ones(2), 0.0, (-60, 60), box_share=0.75)
    return Solution(
        2,
        labels,
        mixture,
        Projection(np.zeros(5), np.ones((3, 5))),
        embedding,
        [np.ones(3)],
        {4: -7.0},
        0.25,
        posterior=posterior,
        averages=averages,
        learnt=learnt,
    )


def kept(best: Solution, **settings: Any) -> DISCA:
    """An estimator after a fit that ended with this solution."""
    disca = DISCA(seed=3, reg_covar=1e-2, **settings)
    source = ArraySource(np.zeros((1, 9, 9, 9)))
    given = FitInput(source, None, 12.5, 80.0, 3.2)  # type: ignore[arg-type]
    history = [{"iteration": i, "k": 4} for i in (1, 2)]
    disca._keep(LoopResult(best, history, True), given)
    return disca


def test_the_largest_cluster_comes_first(solution):
    disca = kept(solution)
    members = solution.labels >= 0
    sizes = np.bincount(solution.labels[members])[ORDER]
    np.testing.assert_array_equal(np.bincount(disca.labels_[disca.labels_ >= 0]), sizes)
    for new, old in enumerate(ORDER):
        np.testing.assert_array_equal(disca.labels_ == new, solution.labels == old)
    np.testing.assert_array_equal(disca.labels_ < 0, ~members)
    np.testing.assert_array_equal(disca.averages_[:, 0, 0, 0], ORDER)
    np.testing.assert_array_equal(disca._model.learnt.log_prior, ORDER)
    np.testing.assert_allclose(disca._model.mixture.means, solution.mixture.means[ORDER])
    own = solution.posterior[np.arange(N), solution.labels]
    np.testing.assert_allclose(disca.posterior_, np.where(members, own, 0))
    assert disca.n_clusters_ == 4 and disca.averages_box_share_ == 0.75


def test_what_else_is_kept(solution):
    disca = kept(solution)
    model = disca._model
    assert (model.box_px, model.voxel_size_angstrom) == (9, 12.5)
    assert model.settings == disca.settings.changed(mask_diameter_angstrom=80.0)
    assert model.weights is solution.weights and model.projection is solution.projection
    assert (disca.ddbi_, disca.bic_, disca.converged_) == (0.25, {4: -7.0}, True)
    assert disca.embedding_ is solution.embedding
    assert [row["kept"] for row in disca.history_] == [False, True]
    assert disca._trained().settings.mask_diameter_angstrom == 80.0
    disca.set_params(outlier_quantile=0.5)
    disca.temperature_ = 9.0
    assert disca._trained().settings.outlier_quantile == 0.5
    assert disca._trained().temperature == 9.0
    assert disca._n_features_out == 3


@pytest.mark.parametrize("alignment", [False, True])
def test_how_sure_it_is_and_what_lies_outside(solution, alignment):
    disca = kept(solution, alignment=alignment)
    leading = solution.embedding[:, :2]
    mixture = disca._model.mixture
    options = {"own_labels": not alignment, "reg_covar": 1e-2, "seed": 3}
    expected = fit_temperature(mixture, leading, disca.labels_, **options)
    assert disca.temperature_ == disca._model.temperature == expected
    scorer = fit_outliers(mixture, leading, disca.labels_)
    np.testing.assert_array_equal(disca._model.outliers.tails, scorer.tails)
    np.testing.assert_array_equal(disca._model.outliers.distances, scorer.distances)


def test_without_alignment_the_calibrated_mixture_says_how_sure(solution):
    disca = kept(replace(solution, posterior=None, averages=None, learnt=None), alignment=False)
    assert disca.averages_ is None and disca.averages_box_share_ == 1.0
    joint = disca._model.mixture.joint_log_density(solution.embedding[:, :2]) / disca.temperature_
    hot = np.exp(joint) / np.exp(joint).sum(axis=1, keepdims=True)
    rows = disca.labels_ >= 0
    own = hot[np.arange(N), disca.labels_]
    np.testing.assert_allclose(disca.posterior_, np.where(rows, own, 0))
    disca.take_consensus(disca.labels_, np.arange(4))
    np.testing.assert_allclose(disca.posterior_, np.where(rows, own, 0))


def test_a_consensus_names_and_leaves_out_clusters(solution):
    disca = kept(solution)
    before, posterior = disca._model, solution.posterior[:, ORDER]
    labels = np.where(disca.labels_ == 2, 0, np.where(disca.labels_ == 0, 1, -1))
    disca.take_consensus(labels, np.array([2, 0]))
    np.testing.assert_array_equal(disca.labels_, labels)
    np.testing.assert_array_equal(disca.averages_[:, 0, 0, 0], [ORDER[2], ORDER[0]])
    np.testing.assert_array_equal(disca._model.learnt.log_prior, [ORDER[2], ORDER[0]])
    np.testing.assert_allclose(disca._model.mixture.means, before.mixture.means[[2, 0]])
    assert disca._model.mixture.weights.sum() == pytest.approx(1) and disca.n_clusters_ == 2
    two = posterior[:, [2, 0]] / posterior[:, [2, 0]].sum(axis=1, keepdims=True)
    own = two[np.arange(N), np.maximum(labels, 0)]
    np.testing.assert_allclose(disca.posterior_, np.where(labels < 0, 0, own))
    leading = solution.embedding[:, :2]
    assert disca.ddbi_ == pytest.approx(ddbi(leading, labels, reg_covar=1e-2))
    disca.take_consensus(np.full(N, -1), np.array([], int))
    assert (disca.posterior_ == 0).all() and disca.n_clusters_ == 0


# -- what is asked of what fits --------------------------------------------------------------


class Store(ArraySource):
    """An array that knows how it was measured."""

    voxel_size_angstrom = 10.0
    tilt_range_deg = (-51.0, 49.0)


@pytest.fixture
def asked(monkeypatch, solution) -> list[Any]:
    """What a fit asks of alignment and of the loop; either ends with the solution."""
    asked: list[Any] = []

    def run(name):
        def run(*args, **options):
            asked.append(SimpleNamespace(by=name, args=args, **options))
            return LoopResult(solution, [], False)

        return run

    monkeypatch.setattr(disca_module, "run_aligned", run("alignment"))
    monkeypatch.setattr(disca_module, "run_loop", run("loop"))
    return asked


@pytest.fixture(scope="module")
def volumes() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(N, 7, 7, 7)).astype(np.float32)


TINY: dict[str, Any] = {"candidate_k": (2,), "n_convolutions": 2}


def test_alignment_is_asked_with_tilts_mask_and_workers(asked, volumes):
    store, workers = Store(volumes), object()
    disca = DISCA(mask_diameter_angstrom=40.0, rotate=max, **TINY).fit(store, workers=workers)
    (one,) = asked
    source, seen, settings, tilts, steps = one.args
    assert one.by == "alignment" and source is store and tilts == (-51.0, 49.0)
    assert len(seen) == N and settings == disca.settings and steps.path is None
    assert (one.rotate, one.mask_radius_px, one.workers) == (max, 2.0, workers)
    DISCA(**TINY).fit(store, tilt_range_deg=(-40, 40))
    assert asked[-1].args[3] == (-40, 40) and asked[-1].mask_radius_px == np.inf
    DISCA(**TINY).fit(volumes)
    assert asked[-1].args[3] == (-60.0, 60.0)


def test_the_mask_that_was_used_is_kept_with_the_model(asked, volumes):
    """That of the store, and none where it would not fit into the box of 70 A."""
    store = Store(volumes)
    for diameter, kept_angstrom, radius_px in ((None, 0, np.inf), (40, 40, 2), (70, 0, np.inf)):
        store.particle_diameter_angstrom = diameter
        disca = DISCA(**TINY).fit(store)
        assert disca._model.settings.mask_diameter_angstrom == kept_angstrom
        assert asked[-1].mask_radius_px == radius_px
        assert disca._model.voxel_size_angstrom == 10.0
    disca = DISCA(**TINY).fit(store, voxel_size_angstrom=12.0)  # as is told, not as is stored
    assert disca._model.voxel_size_angstrom == 12.0
    assert asked[-1].mask_radius_px == pytest.approx(70 / 24)


def test_the_loop_is_asked_where_nothing_is_aligned(asked, volumes):
    disca = DISCA("paper", **TINY, rotate=max).fit(volumes, voxel_size_angstrom=4.0)
    (one,) = asked
    seen, settings, steps, rotate = one.args
    assert one.by == "loop" and rotate is max and steps.path is None
    assert len(seen) == N and settings == disca.settings
    assert disca._model.voxel_size_angstrom == 4.0


def test_a_checkpoint_knows_data_settings_and_tilts(asked, volumes, tmp_path):
    path = tmp_path / "checkpoint.h5"

    def saved(tilts=(-60, 60), **changes) -> bool:
        """Whether what was kept before is gone on with; keeps it then."""
        DISCA(**{**TINY, **changes}).fit(volumes, tilt_range_deg=tilts, checkpoint=path)
        steps = asked[-1].args[4]
        known = steps.load("step") is not None
        steps.save("step", {})
        return known

    assert [saved(), saved(), saved((-50, 60)), saved((-50, 60)), saved((-50, 60), seed=1)] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_known_clusters_are_taught(asked, volumes, solution):
    labels, posterior, averages = np.arange(N) % 3, np.ones((N, 3)), np.zeros((3, 2, 2, 2))
    labels[0] = -1
    known = {"posterior": posterior, "averages": averages, "learnt": solution.learnt}
    disca = DISCA(rotate=max, **TINY).teach(volumes, labels.tolist(), **known)
    (one,) = asked
    np.testing.assert_array_equal(one.known.labels, labels)
    for name, value in known.items():
        assert getattr(one.known, name) is value
    assert one.args[3] == (-60.0, 60.0) and one.rotate is max and disca.n_clusters_ == 4


@pytest.mark.parametrize(
    "labels",
    [np.arange(N - 1) % 3, np.arange(N) % 2 * 2, np.full(N, -1), np.arange(N) % 2 + 1],
    ids=["too few", "a gap", "none", "not from 0"],
)
def test_labels_that_fit_no_subtomograms_are_refused(asked, volumes, labels):
    with pytest.raises(InputError, match=f"for each of {N} subtomograms, but got {len(labels)}"):
        DISCA(**TINY).teach(volumes, labels)
    assert not asked


def test_the_rotation_of_aitom_needs_a_function(asked, volumes):
    with pytest.raises(InputError, match="the rotation 'aitom' is done by a function"):
        DISCA(rotation="aitom", **TINY).fit(volumes)
    DISCA(rotation="aitom", rotate=max, **TINY).fit(volumes)
    assert asked[-1].rotate is max


def test_a_loaded_model_has_settings_temperature_and_clusters(solution, tmp_path):
    disca = kept(solution, outlier_quantile=0.5)
    disca.save(tmp_path / "model.h5")
    again = DISCA.load(tmp_path / "model.h5")
    assert again.settings == MineSettings(
        seed=3, reg_covar=1e-2, outlier_quantile=0.5, mask_diameter_angstrom=80.0
    )
    assert again.temperature_ == disca.temperature_ and again.n_clusters_ == 4
