"""What a model says of its own answers: calibrated posteriors, strangers, repeated runs."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca import DISCA, InputError, MineSettings
from aitom_disca.analysis import fit_repeatedly
from aitom_disca.simulation import load_phantoms, simulate_subtomograms
from aitom_disca.subtomograms.dataset import ArraySource

BOX, VOXEL_SIZE = 16, 20.0
KNOWN = ("ring", "rod", "chaperone")
TINY = {
    "candidate_k": (2, 3, 4),
    "max_iterations": 2,
    "alignment": False,
    "width": 0.1,
    "n_convolutions": 3,
    "n_features": 32,
    "n_starts": 2,
    "batch_size": 75,
}


def simulate(names, per_class, seed, **more):
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in names]
    return simulate_subtomograms(
        templates, per_class, BOX, VOXEL_SIZE, snr=1.0, seed=seed, **more
    ).volumes


@pytest.fixture(scope="module")
def fitted():
    return DISCA(seed=1, **TINY).fit(simulate(KNOWN, 40, seed=3))


def test_strangers_belong_to_no_cluster_and_members_do(fitted):
    assert np.mean(fitted.predict(simulate(KNOWN, 50, seed=100)) < 0) < 0.05
    for strangers in (simulate(("shell", "barrel", "two_lobes"), 20, seed=102), noise(60)):
        found = fitted.predict_all(strangers)
        assert np.mean(found.labels < 0) > 0.8
        assert np.median(found.outlier_score) > 0.99
        assert ((found.outlier_score >= 0) & (found.outlier_score <= 1)).all()


def noise(n):
    return simulate(("rod",), [1], seed=101, n_noise=n)


def test_the_threshold_can_be_moved_and_taken_away(fitted, tmp_path):
    strangers = noise(30)
    score = fitted.outlier_score(strangers)
    fitted.save(tmp_path / "model.h5")
    loaded = DISCA.load(tmp_path / "model.h5")
    for quantile in (0.5, None, 1.0):
        loaded.set_params(outlier_quantile=quantile)
        labels = loaded.predict(strangers)
        wanted = np.zeros(len(score), bool) if quantile is None else score > quantile
        np.testing.assert_array_equal(labels < 0, wanted)
        kept = labels >= 0
        likeliest = loaded.predict_proba(strangers).argmax(axis=1)
        np.testing.assert_array_equal(labels[kept], likeliest[kept])
    with pytest.raises(InputError, match="outlier_quantile"):
        loaded.set_params(outlier_quantile=1.5).predict(strangers)


def test_a_saved_model_keeps_temperature_and_outliers(fitted, tmp_path):
    volumes = simulate(KNOWN, 5, seed=8)
    fitted.temperature_, before = 2.5, fitted.temperature_
    try:
        fitted.save(tmp_path / "model.h5")
        loaded = DISCA.load(tmp_path / "model.h5")
        assert loaded.temperature_ == 2.5
        for ours, theirs in zip(
            fitted.predict_all(volumes), loaded.predict_all(volumes), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(loaded.predict_proba(volumes), fitted.predict_proba(volumes))
    finally:
        fitted.temperature_ = before


def test_a_model_from_before_these_entries_still_sorts(fitted, tmp_path):
    fitted.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        del file.attrs["crc32"]
        del file["outliers"]
        del file["mixture"].attrs["temperature"]
    old = DISCA.load(tmp_path / "model.h5")
    found = old.predict_all(noise(10))
    assert old.temperature_ == 1.0
    assert (found.labels >= 0).all() and np.isnan(found.outlier_score).all()


def test_the_posterior_of_the_fit_is_the_calibrated_one(fitted):
    samples = fitted.embedding_[:, : fitted._model.mixture.means.shape[1]]
    joint = fitted._model.mixture.joint_log_density(samples) / fitted.temperature_
    hot = np.exp(joint - joint.max(axis=1, keepdims=True))
    hot /= hot.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        fitted.posterior_, hot[np.arange(len(hot)), fitted.labels_], atol=1e-12
    )


# -- repeated runs -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repeated():
    settings = MineSettings(seed=4, **{**TINY, "max_iterations": 1})
    volumes = simulate(KNOWN, 25, seed=3)
    disca, stability = fit_repeatedly(settings, ArraySource(volumes), 3)
    singles = [DISCA(**{**TINY, "max_iterations": 1}, seed=s).fit(volumes) for s in (4, 5, 6)]
    return volumes, disca, stability, singles


def test_every_run_has_a_seed_of_its_own(repeated):
    _, disca, stability, singles = repeated
    assert stability.n_runs == 3
    assert stability.n_clusters == tuple(single.n_clusters_ for single in singles)
    assert disca.settings.seed == 4 + stability.closest


def test_the_kept_fit_holds_the_consensus(repeated):
    volumes, disca, stability, singles = repeated
    np.testing.assert_array_equal(disca.labels_, stability.labels)
    assert disca.n_clusters_ == len(stability.jaccard) == stability.labels.max() + 1
    assert (np.diff(np.bincount(disca.labels_)) <= 0).all()
    closest = singles[stability.closest]
    wanted = closest.predict_proba(volumes)[:, stability.names].argmax(axis=1)
    np.testing.assert_array_equal(disca.predict_proba(volumes).argmax(axis=1), wanted)
    assert np.mean(wanted == disca.labels_) > 0.8


def test_none_of_the_above_has_no_posterior(repeated):
    _, disca, stability, _ = repeated
    labels = stability.labels.copy()
    labels[:5] = -1
    disca.take_consensus(labels, np.arange(disca.n_clusters_))
    assert (disca.posterior_[:5] == 0).all() and (disca.posterior_[5:] > 0).all()
    np.testing.assert_array_equal(disca.labels_, labels)


def test_a_consensus_on_no_cluster_at_all_is_kept_as_such(fitted, tmp_path):
    fitted.save(tmp_path / "model.h5")
    disca = DISCA.load(tmp_path / "model.h5")
    disca.take_consensus(np.full(7, -1), np.array([], int))
    assert (disca.labels_ == -1).all() and (disca.posterior_ == 0).all()
    assert disca.n_clusters_ == 0
