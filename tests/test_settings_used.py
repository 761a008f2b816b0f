"""Every setting of the sorting does what it is for: in a tiny training, clustering or alignment."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

import aitom_disca.network
from aitom_disca.clustering import ddbi, fitting
from aitom_disca.computing import devices
from aitom_disca.config import PRESETS, MineSettings
from aitom_disca.config.sorting import SORTING
from aitom_disca.geometry.rotations import cube_rotations, rotate_by_cube
from aitom_disca.mining import (
    DISCA,
    clusters_of_features,
    fast_loop,
    feature_extraction,
    published_loop,
)
from aitom_disca.mining.fast_loop import run_aligned
from aitom_disca.mining.published_loop import cluster_features
from aitom_disca.mining.solution import Known
from aitom_disca.network import Classifier
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes

BOX = 6
TINY: dict[str, Any] = {
    "candidate_k": (2,),
    "max_iterations": 1,
    "alignment": False,
    "working_box_px": None,
    "low_pass_sigma_px": 0.0,
    "width": 0.05,
    "n_convolutions": 1,
    "n_features": 6,
    "n_cube_rotations": 1,
}


@pytest.fixture(scope="module")
def volumes() -> np.ndarray:
    rng = np.random.default_rng(8)
    made = rng.normal(size=(24, BOX, BOX, BOX)).astype(np.float32)
    made[::2, 2:4, 2:4] += 3
    return made


# -- the preset of the paper -------------------------------------------------------------------

# Where each value comes from. paper: Zeng et al. (2023), PNAS 120(15) e2213149120, and its SI;
# code: the authors' own, AITom's classify/deep/unsupervised/disca; ours: neither, with the reason.
PAPER: dict[str, tuple[Any, str]] = {
    "preset": ("paper", "ours: its name"),
    "candidate_k": (tuple(range(2, 13)), "ours: the code leaves them to the user (5, 10, 20)"),
    "max_iterations": (20, "code: M"),
    "working_box_px": (None, "code: boxes as they are given"),
    "low_pass_sigma_px": (0.0, "code: no filter"),
    "mask_diameter_angstrom": (None, "ours: a mask where a store says how large particles are"),
    "graded_wedge": (True, "ours: of alignment, which there is none of"),
    "width": (1.0, "paper: SI Fig. S2, 64 to 208 channels"),
    "n_convolutions": (10, "paper: SI Fig. S2"),
    "n_features": (1024, "paper: SI Fig. S2; code: fc2"),
    "n_cube_rotations": (1, "code: features of one orientation"),
    "rotation": ("own", "ours: on the device, and uniform, which the code's is not"),
    "precision": ("auto", "ours: float32 on processors, as the code"),
    "n_devices": (1, "code: one"),
    "alignment": (False, "paper: the network alone decides"),
    "alignment_most": (2000, "ours: of alignment, which there is none of"),
    "alignment_starts": (None, "ours: of alignment, which there is none of"),
    "alignment_splits": (2, "ours: of alignment, which there is none of"),
    "k_criterion": ("bic", "paper: the lowest BIC; code: scikit-learn's count of parameters"),
    "merge_clusters": (False, "code: clusters are not merged"),
    "split_clusters": (False, "code: clusters are not split"),
    "pca_dimensions": (16, "code: PCA"),
    "whiten": (False, "code: PCA"),
    "choose_dimensions": (False, "code: all 16"),
    "n_starts": (5, "code: n_init"),
    "reg_covar": (1e-5, "code: reg_covar"),
    "batch_size": (64, "code: batch_size"),
    "learning_rate": (1e-5, "code: lr"),
    "learning_rate_decay": (0.95, "code: lr *= 0.95"),
    "rotated_copies": (1, "code: data_augmentation with factor 2"),
    "label_smoothing": (0.2, "code: label_smoothing_factor"),
    "label_smoothing_decay": (0.9, "code: prepare_training_data"),
    "head_epochs": (10, "code: update_output_layer"),
    "outlier_quantile": (0.99, "ours: of new subtomograms alone"),
    "stop_fraction": (0.99, "paper: 99 % of the labels stay; code: 99.9 %, once"),
    "stop_iterations": (3, "paper: in three iterations in a row"),
    "seed": (0, "ours"),
}


def test_the_preset_paper_is_this_table():
    settings = MineSettings.from_preset("paper").model_dump()
    assert settings == {name: value for name, (value, _) in PAPER.items()}
    assert DISCA("paper").settings.model_dump() == settings
    assert {source.split(":")[0] for _, source in PAPER.values()} == {"paper", "code", "ours"}


def test_a_preset_names_only_what_differs():
    usual = MineSettings()
    assert PRESETS["fast"] == {}
    assert all(value != getattr(usual, name) for name, value in PRESETS["paper"].items())


# -- what the network sees, and the network ----------------------------------------------------


def prepared(volumes: np.ndarray, **changes: Any) -> np.ndarray:
    settings = MineSettings(**{**TINY, **changes})
    seen = feature_extraction.prepare_volumes(ArraySource(volumes), settings)
    return seen.read(np.arange(len(volumes)))


def test_box_and_low_pass_of_what_the_network_sees(volumes):
    few = volumes[:3]
    assert prepared(few).shape[1:] == (BOX,) * 3
    assert prepared(few, working_box_px=4).shape[1:] == (4,) * 3
    fine, smooth = prepared(few), prepared(few, low_pass_sigma_px=1.0)
    power = [
        np.abs(np.fft.rfftn(seen, axes=(1, 2, 3))[:, 2, 2, 2]).mean() for seen in (fine, smooth)
    ]
    assert power[1] < 0.5 * power[0]
    np.testing.assert_allclose(prepared(few, low_pass_sigma_px=1e-3), fine, atol=1e-4)


def shapes(**changes: Any) -> list[tuple[int, ...]]:
    extractor = feature_extraction.build_extractor(BOX, MineSettings(**{**TINY, **changes}))
    return [w.shape for w in extractor.get_weights() if w.ndim > 1]


def test_size_of_the_network():
    assert shapes() == [(3, 3, 3, 1, 3), (3, 6)]
    assert shapes(width=0.1)[0] == (3, 3, 3, 1, 6)
    assert shapes(n_features=9)[-1][-1] == 9
    assert len(shapes(n_convolutions=2)) == 3
    assert len(shapes(n_convolutions=None)) == 3  # as many as the box has room for


def test_seed_and_precision_of_the_network():
    def built(**changes):
        return feature_extraction.build_extractor(BOX, MineSettings(**{**TINY, **changes}))

    one, same, other = (built(seed=seed).get_weights()[0] for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    kinds = {p: built(precision=p).layers[1].compute_dtype for p in ("float32", "mixed")}
    assert kinds == {"float32": "float32", "mixed": "bfloat16"}


def test_number_of_devices(monkeypatch):
    asked, whole = [], devices.data_parallel
    monkeypatch.setattr(devices, "data_parallel", lambda n: asked.append(n) or whole(1))
    feature_extraction.build_extractor(BOX, MineSettings(**TINY, n_devices=3))
    assert asked == [3]


def test_features_are_means_over_rotations_of_the_cube(volumes):
    seen = PreparedVolumes(ArraySource(volumes[:2]))
    settings = MineSettings(**TINY)
    extractor = feature_extraction.build_extractor(BOX, settings)
    for n in (1, 4):
        turned = [rotate_by_cube(seen.read(np.arange(2)), r) for r in cube_rotations()[:n]]
        each = [np.asarray(extractor(np.array(t)[..., None])) for t in turned]
        changed = settings.changed(n_cube_rotations=n)
        found = feature_extraction.compute_features(extractor, seen, changed)
        np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-4)


# -- training ----------------------------------------------------------------------------------


def trained(volumes: np.ndarray, *, head: float | None = None, **options: Any) -> Any:
    """One pass over all in one batch: loss, and how far the weights went."""
    extractor = feature_extraction.build_extractor(BOX, MineSettings(**TINY))
    classifier = Classifier(extractor, batch_size=99, rotate=options.pop("rotate", None))
    labels = np.arange(len(volumes)) % 2
    classifier.new_head(np.zeros((len(volumes), 6), np.float32), labels, 2, epochs=0)
    if head is not None:
        classifier._head.set_weights(
            [np.full_like(w, head) for w in classifier._head.get_weights()]
        )
    before = [w.numpy() for w in classifier._model.trainable_variables]
    given = {"smoothing": 0.0, "learning_rate": 1e-9, "rotated_copies": 0, **options}
    loss = classifier.train_epoch(lambda rows: volumes[rows], labels, **given)
    after = [w.numpy() for w in classifier._model.trainable_variables]
    steps = np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)])
    return SimpleNamespace(loss=loss, steps=np.abs(steps), classifier=classifier)


def test_the_learning_rate_is_that_of_the_pass(volumes, uncompiled):
    slow, fast = (trained(volumes, learning_rate=rate).steps.max() for rate in (1e-4, 1e-2))
    assert fast / slow == pytest.approx(100, rel=0.05)


def test_the_optimiser_is_nadam(volumes, uncompiled):
    """Its first step is 1.063 times the rate, whatever the gradient; Adam's would be the rate."""
    steps = trained(volumes, learning_rate=1e-2).steps
    assert np.median(steps[steps > 1e-3]) == pytest.approx(1.0628e-2, rel=1e-3)


def test_the_loss_is_cross_entropy_with_smoothed_labels(volumes, uncompiled):
    assert trained(volumes, head=0.0).loss == pytest.approx(np.log(2), rel=1e-5)
    assert trained(volumes, head=0.0, smoothing=0.99).loss == pytest.approx(np.log(2), rel=1e-5)
    sharp, half, even = (trained(volumes, smoothing=s).loss for s in (0.0, 0.5, 1.0))
    assert half == pytest.approx((sharp + even) / 2, rel=1e-4)  # it is linear in the labels
    assert abs(even - sharp) > 1e-3


def test_copies_are_turned_by_any_angle(volumes, uncompiled):
    turned = []

    def rotate(copies, rotations):
        turned.append(rotations)
        return copies

    trained(np.tile(volumes, (8, 1, 1, 1)), rotated_copies=2, rotate=rotate)
    angles = np.concatenate([r.magnitude() for r in turned])
    assert len(angles) == 2 * 8 * len(volumes)
    assert np.rad2deg(angles.mean()) == pytest.approx(126.5, abs=8)  # of uniform rotations
    assert np.abs(np.concatenate([r.as_matrix() for r in turned]).mean(axis=0)).max() < 0.12


class Recorded:
    """Stands in for the classifier: keeps what it is asked for."""

    def __init__(self, extractor, *, batch_size, seed, rotate):
        self.made = {"batch_size": batch_size, "seed": seed}
        self.heads: list[int] = []
        self.passes: list[dict[str, Any]] = []
        self.labels: list[np.ndarray] = []

    def new_head(self, features, labels, n_clusters, *, epochs):
        self.heads.append(epochs)

    def train_epoch(self, read, labels, **options):
        self.passes.append(options)
        return 0.5

    def state(self):
        return {}, {}


@pytest.fixture(params=["the loop", "after alignment"])
def asked_of_training(request, volumes, monkeypatch):
    """What settings ask of a training: of the published loop, and of known clusters."""
    made: list[Recorded] = []

    def classifier(*args, **options):
        made.append(Recorded(*args, **options))
        return made[-1]

    monkeypatch.setattr(aitom_disca.network, "Classifier", classifier)

    def ask(**changes) -> Recorded:
        settings = MineSettings(**{**TINY, "max_iterations": 4, "stop_iterations": 9, **changes})
        source = ArraySource(volumes)
        seen = feature_extraction.prepare_volumes(source, settings)
        if request.param == "the loop":
            published_loop.run_loop(seen, settings)
        else:
            labels = np.arange(len(volumes)) % 2
            run_aligned(source, seen, settings, (-60, 60), known=Known(labels))
        return made[-1]

    return ask


def test_settings_of_the_training_reach_it(asked_of_training):
    asked = asked_of_training(
        batch_size=17, seed=5, head_epochs=3, rotated_copies=2, max_iterations=3
    )
    assert asked.made == {"batch_size": 17, "seed": 5}
    assert asked.heads == [3]
    assert [options["rotated_copies"] for options in asked.passes] == [2, 2]


def test_rate_and_smoothing_of_each_pass(asked_of_training):
    asked = asked_of_training(
        learning_rate=0.02,
        learning_rate_decay=0.5,
        label_smoothing=0.4,
        label_smoothing_decay=0.25,
    )
    found = [[options[name] for options in asked.passes] for name in ("learning_rate", "smoothing")]
    np.testing.assert_allclose(found, [[0.02, 0.01, 0.005], [0.4, 0.1, 0.025]])


# -- one clustering ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Three groups, apart in two of eight features that are not of one size."""
    rng = np.random.default_rng(3)
    made = rng.normal(size=(120, 8)) * [4, 3, 1, 1, 1, 0.5, 0.5, 0.5]
    made[:, :2] += 25 * np.array([[0, 0], [1, 0], [0, 1]])[np.arange(120) % 3]
    return made.astype(np.float32)


def clustered(features: np.ndarray, previous: Any = None, **changes: Any) -> Any:
    given = {"candidate_k": (3,), "n_starts": 1, "whiten": False, "choose_dimensions": False}
    return cluster_features(features, previous, MineSettings(**{**given, **changes}), 1)


def test_principal_components(features):
    assert clustered(features).embedding.shape == (120, 8)
    assert clustered(features, pca_dimensions=3).embedding.shape == (120, 3)
    as_they_are = clustered(features, pca_dimensions=None).embedding
    np.testing.assert_allclose(as_they_are, features, atol=1e-5)


def test_whitening(features):
    plain, white = (clustered(features, whiten=w).embedding.std(axis=0) for w in (False, True))
    np.testing.assert_allclose(white, 1, atol=0.01)
    assert plain[0] > 10 * plain[-1]
    known = Known(np.arange(120) % 3)
    first = clustered(features)
    for whiten, expected in ((False, plain), (True, white)):
        settings = MineSettings(whiten=whiten)
        taught = fast_loop._second(features, known.labels, first, settings)
        np.testing.assert_allclose(taught.embedding.std(axis=0), expected, rtol=1e-3)


def test_ddbi_is_of_all_components(features):
    """Also where the mixture looks at fewer, so that iterations can be compared."""
    found = clustered(features, choose_dimensions=True)
    assert found.mixture.means.shape[1] < 8
    every, leading = (
        ddbi(found.embedding[:, :d], found.labels, reg_covar=1e-2)
        for d in (8, found.mixture.means.shape[1])
    )
    assert found.ddbi == pytest.approx(every) and found.ddbi != pytest.approx(leading, rel=0.01)
    taught = fast_loop._second(features, found.labels, found, MineSettings(whiten=False))
    assert taught.ddbi == pytest.approx(every)
    assert clustered(features, choose_dimensions=False).mixture.means.shape[1] == 8


def test_regularisation_of_the_mixture(features):
    found = [clustered(features, reg_covar=r).mixture.covariances for r in (1e-6, 10.0)]
    added = found[1] - found[0]
    np.testing.assert_allclose(added, 10 * np.tile(np.eye(8), (3, 1, 1)), atol=0.5)


def test_what_decides_k(features):
    ks = {"candidate_k": (1, 2, 3, 4), "pca_dimensions": 3}
    found = clustered(features, **ks)
    assert found.k == min(found.bic, key=found.bic.get) == 3
    group = features[::3]  # of one kind, where Calinski-Harabasz cannot say so
    one, two = (clustered(group, k_criterion=c, **ks) for c in ("bic", "ch"))
    assert one.k == 1 < two.k == max(two.criteria["ch"], key=two.criteria["ch"].get)


@pytest.fixture
def asked_of_mixtures(features, monkeypatch):
    """What settings ask of the choice of a mixture."""
    whole, asked = clusters_of_features.choose_mixture, []

    def choose(samples, candidates, **options):
        asked.append({**options, "candidates": candidates})
        return whole(samples, candidates, **options)

    monkeypatch.setattr(clusters_of_features, "choose_mixture", choose)

    def ask(*args, **changes):
        clustered(features, *args, **changes)
        return asked[-1]

    return ask


def test_starts_and_seeds_of_the_mixture(asked_of_mixtures):
    usual = asked_of_mixtures()
    assert asked_of_mixtures(n_starts=4) == {**usual, "n_starts": 4}
    assert asked_of_mixtures(seed=6) == {**usual, "seed": usual["seed"] + 6}
    assert asked_of_mixtures(candidate_k=None)["candidates"] == tuple(range(1, 13))


def test_previous_labels_start_the_next_mixture(monkeypatch):
    """Where the random starts are poor they alone find the clusters."""
    rng = np.random.default_rng(2)
    labels = np.arange(400) % 8
    centres = np.array([(100 * (k // 4), 3.5 * (k % 4)) for k in range(8)])
    features = (centres[labels] + rng.normal(size=(400, 2)) * 0.4).astype(np.float32)

    def poor(samples, k, n_starts, rng):
        return rng.integers(k, size=(n_starts, len(samples)))

    monkeypatch.setattr(fitting, "kmeans_labels", poor)
    given = {"candidate_k": (8,), "pca_dimensions": None}
    first = clustered(features, **given)
    bic = first.bic[8]
    known = replace(first, labels=labels)
    second = clustered(features, known, **given)
    assert second.bic[8] < bic - 100
    np.testing.assert_array_equal(second.labels, labels)


# -- alignment ---------------------------------------------------------------------------------


class Caught(Exception):
    """Ends a fit where it would begin to align."""


@pytest.fixture
def asked_of_alignment(volumes, monkeypatch):
    """What settings ask of the sorting by alignment."""
    asked: dict[str, Any] = {}

    def sort_source(source, rows, begin, tilt_range_deg, **options):
        asked.update(options, n_rows=len(rows), tilt_range_deg=tilt_range_deg)
        begin(SimpleNamespace(sort=lambda starts, **how: asked.update(how, starts=len(starts))))
        raise Caught

    monkeypatch.setattr(fast_loop, "sort_source", sort_source)
    many = np.tile(volumes, (10, 1, 1, 1))
    many = many + np.random.default_rng(0).normal(size=many.shape).astype(np.float32)

    def ask(**changes) -> dict[str, Any]:
        given = {**TINY, "alignment": True, "candidate_k": None, **changes}
        with pytest.raises(Caught):
            DISCA(**given).fit(many, voxel_size_angstrom=10.0, tilt_range_deg=(-50, 40))
        return dict(asked)

    return ask


def test_settings_of_the_alignment_reach_it(asked_of_alignment):
    usual = asked_of_alignment()
    assert usual == {
        "n_rows": 240,
        "starts": 18,  # 1.5 times the largest K
        "fewest": 1,
        "most": 12,
        "splits": 2,
        "looks": 4,
        "graded_wedge": True,
        "mask_radius_px": np.inf,
        "seed": 0,
        "settings": SORTING,
        "tilt_range_deg": (-50, 40),
        "checkpoint": usual["checkpoint"],
        "workers": None,
    }
    for changes, expected in (
        ({"alignment_most": 60}, {"n_rows": 60, "starts": 5}),  # one for 12 subtomograms
        ({"alignment_starts": 7}, {"starts": 7}),
        ({"alignment_splits": 0}, {"splits": 0, "looks": 0}),
        ({"candidate_k": (3, 8)}, {"starts": 12, "fewest": 3, "most": 8}),
        ({"graded_wedge": False}, {"graded_wedge": False}),
        ({"mask_diameter_angstrom": 50.0}, {"mask_radius_px": 2.5}),
        ({"seed": 4}, {"seed": 4}),
        ({"sorting": {"box_px": 16}}, {"settings": SORTING.changed(box_px=16)}),
    ):
        found = asked_of_alignment(**changes)
        assert found | {"checkpoint": None} == usual | expected | {"checkpoint": None}


# Settings that other tests pin, and where.
ELSEWHERE = {
    "preset": "test_estimator.py",
    "merge_clusters": "test_loop.py",
    "split_clusters": "test_loop.py",
    "outlier_quantile": "test_trust.py",
    "rotation": "test_bridge_rotating.py",
    "stop_fraction": "test_loop.py",
    "stop_iterations": "test_loop.py",
}


def test_no_setting_is_forgotten():
    own = Path(__file__)
    here = own.read_text().split("# -- what the network sees")[1].split("ELSEWHERE = ")[0]
    for name in MineSettings.model_fields:
        text = own.with_name(ELSEWHERE[name]).read_text() if name in ELSEWHERE else here
        assert re.search(rf"\b{name}\b", text), name
