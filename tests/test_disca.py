"""The estimator: it finds what was planted, repeats itself, and says what it cannot use."""

from __future__ import annotations

import math

import h5py
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score

pytest.importorskip("keras")

import aitom_disca
from aitom_disca import DISCA, InputError, pipeline, reembedding
from aitom_disca.io import StoreWriter, open_store
from aitom_disca.io.disk.checksums import seal
from aitom_disca.particles import ParticleSet
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

PHANTOMS = ("ring", "rod", "chaperone")
VOXEL_SIZE = 20.0
TINY = {
    "candidate_k": (2, 3, 4),
    "max_iterations": 2,
    "alignment": False,  # the loop of the network alone; test_aligned.py has the other way
    "working_box_px": 12,
    "width": 0.1,
    "n_convolutions": 3,
    "n_features": 32,
    "n_starts": 2,
    "batch_size": 75,
}


@pytest.fixture(scope="module")
def simulated():
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in PHANTOMS]
    return simulate_subtomograms(templates, 25, 16, VOXEL_SIZE, snr=1.0, seed=3)


@pytest.fixture(scope="module")
def fitted(simulated):
    return DISCA(seed=1, **TINY).fit(simulated.volumes, voxel_size_angstrom=VOXEL_SIZE)


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.h5"
    fitted.save(path)
    return path


@pytest.fixture
def store(tmp_path, simulated):
    """The same volumes in a store, at a voxel size of choice."""

    def write(voxel_size: float = VOXEL_SIZE):
        path = tmp_path / f"store_{voxel_size:g}.h5"
        n = len(simulated.volumes)
        particles = ParticleSet(np.full(n, "t"), np.zeros((n, 3)))
        with StoreWriter.create(path, (16,) * 3, voxel_size, (-60, 60)) as writer:
            writer.append(simulated.volumes, particles)
        return open_store(path)

    return write


# -- fitting -------------------------------------------------------------------------------


def test_the_planted_classes_are_found(simulated, fitted):
    assert adjusted_rand_score(simulated.labels, fitted.labels_) > 0.8
    assert abs(fitted.n_clusters_ - 3) <= 1


def test_fitted_attributes_agree_with_each_other(simulated, fitted):
    n = len(simulated.volumes)
    k = fitted.n_clusters_
    assert fitted.labels_.shape == fitted.posterior_.shape == (n,)
    sizes = np.bincount(fitted.labels_)
    assert len(sizes) == k and (np.diff(sizes) <= 0).all()  # the largest first
    assert (fitted.posterior_ >= 1 / k - 1e-9).all() and (fitted.posterior_ <= 1 + 1e-9).all()
    assert set(fitted.bic_) == {2, 3, 4}
    assert fitted.ddbi_ > 0
    assert fitted.embedding_.shape[0] == n
    assert isinstance(fitted.converged_, bool)


def test_history_records_every_iteration(simulated, fitted):
    assert 1 <= len(fitted.history_) <= TINY["max_iterations"]
    kept = [row for row in fitted.history_ if row["kept"]]
    assert len(kept) == 1
    assert kept[0]["ddbi"] == fitted.ddbi_ == min(row["ddbi"] for row in fitted.history_)
    assert kept[0]["k"] == fitted.n_clusters_
    assert kept[0]["bic"] == fitted.bic_
    for i, row in enumerate(fitted.history_, 1):
        assert row["iteration"] == i
        assert sum(row["sizes"]) == len(simulated.volumes) and len(row["sizes"]) == row["k"]
        assert 0 <= row["label_change"] <= 1
    assert fitted.history_[0]["label_change"] == 1
    assert fitted.history_[0]["loss"] > 0


def test_the_same_seed_repeats_the_run_whatever_came_before(simulated, fitted):
    volumes = simulated.volumes.copy()
    DISCA(seed=9, **{**TINY, "max_iterations": 1}).fit(volumes)
    np.random.default_rng().normal()
    np.random.seed(4)
    again = DISCA(seed=1, **TINY).fit(volumes)
    np.testing.assert_array_equal(again.labels_, fitted.labels_)
    np.testing.assert_array_equal(again.posterior_, fitted.posterior_)
    np.testing.assert_array_equal(again.embedding_, fitted.embedding_)

    def without_seconds(rows):
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]

    assert without_seconds(again.history_) == without_seconds(fitted.history_)
    np.testing.assert_array_equal(volumes, simulated.volumes)  # nor is the input changed


def test_another_seed_is_another_run(simulated, fitted):
    other = DISCA(seed=2, **{**TINY, "max_iterations": 1}).fit(simulated.volumes)
    assert other.history_[0]["bic"] != fitted.history_[0]["bic"]


def test_fit_predict_and_a_store_give_the_same(simulated, store):
    settings = {**TINY, "max_iterations": 1, "candidate_k": (3,)}
    labels = DISCA(**settings).fit_predict(simulated.volumes)
    with store() as source:
        from_store = DISCA(**settings).fit(source)
    np.testing.assert_array_equal(from_store.labels_, labels)


def test_one_kind_of_noise_is_one_cluster():
    # Features of noise are not quite Gaussian; in some draws BIC finds two by a hair.
    noise = np.random.default_rng(1).normal(size=(80, 12, 12, 12)).astype(np.float32)
    settings = {**TINY, "candidate_k": (1, 2), "pca_dimensions": 4, "n_cube_rotations": 1}
    disca = DISCA(**settings).fit(noise)
    assert disca.n_clusters_ == 1 and math.isnan(disca.ddbi_)
    assert disca.converged_ and len(disca.history_) == 1
    np.testing.assert_array_equal(disca.predict(noise), 0)


# -- prediction and keeping ----------------------------------------------------------------


def test_prediction_agrees_with_the_fit(simulated, fitted):
    np.testing.assert_array_equal(fitted.predict(simulated.volumes), fitted.labels_)
    probabilities = fitted.predict_proba(simulated.volumes)
    assert probabilities.shape == (len(simulated.volumes), fitted.n_clusters_)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities.max(axis=1), fitted.posterior_, atol=1e-4)
    np.testing.assert_allclose(fitted.transform(simulated.volumes), fitted.embedding_, atol=1e-3)


def test_saved_model_predicts_the_same(simulated, fitted, model):
    loaded = DISCA.load(model)
    assert loaded.settings == fitted.settings.changed(mask_diameter_angstrom=0.0)  # as resolved
    assert loaded.n_clusters_ == fitted.n_clusters_
    np.testing.assert_array_equal(loaded.predict(simulated.volumes), fitted.labels_)
    # One at a time or all together, in any order.
    few = [40, 3, 17]
    np.testing.assert_array_equal(loaded.predict(simulated.volumes[few]), fitted.labels_[few])


def test_saving_again_replaces_the_file_whole(fitted, model):
    before = sorted(p.name for p in model.parent.iterdir())
    fitted.save(model)
    assert sorted(p.name for p in model.parent.iterdir()) == before


def test_new_copies_of_the_same_structures_are_recognised(fitted):
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in PHANTOMS]
    new = simulate_subtomograms(templates, 12, 16, VOXEL_SIZE, snr=1.0, seed=77)
    assert adjusted_rand_score(new.labels, fitted.predict(new.volumes)) > 0.5


def test_another_voxel_size_is_refused(fitted, store):
    with store(25.0) as source, pytest.raises(InputError, match="expected a voxel size of 20 A"):
        fitted.predict(source)
    with store(20.1) as source:  # headers round
        assert len(fitted.predict(source)) == len(source)


def test_another_box_is_refused(fitted):
    with pytest.raises(InputError, match=r"expected subtomograms of 16 voxels.*these have 14"):
        fitted.predict(np.zeros((2, 14, 14, 14), np.float32))


def test_not_fitted(tmp_path):
    disca = DISCA(**TINY)
    for act in (
        lambda: disca.predict(np.zeros((2, 16, 16, 16))),
        lambda: disca.transform(np.zeros((2, 16, 16, 16))),
        lambda: disca.save(tmp_path / "model.h5"),
    ):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            act()
    assert not list(tmp_path.iterdir())


def test_loading_what_is_no_model(tmp_path, model):
    with pytest.raises(InputError, match="does not exist"):
        DISCA.load(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["x"] = 1
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(model.read_bytes())
    with h5py.File(damaged, "a") as file:
        del file["mixture"]
    strange = tmp_path / "strange.h5"
    strange.write_bytes(model.read_bytes())
    with h5py.File(strange, "a") as file:
        settings = file.attrs["settings"].replace(b'"seed": 1', b'"seed": -1')
        file.attrs["settings"] = np.bytes_(settings)
        seal(file)
    for path in (text, foreign, damaged, strange):
        with pytest.raises(InputError, match=rf"{path.name}.* (is not one|cannot be|is damaged).*"):
            DISCA.load(path)
    with pytest.raises(InputError, match=r"strange.h5 .*\(seed = -1 cannot be used"):
        DISCA.load(strange)


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 16, 16), (5, 16, 16, 16, 1), (7,)])
def test_not_four_axes(shape):
    with pytest.raises(InputError, match=rf"has {len(shape)} dimensions"):
        DISCA(**TINY).fit(np.zeros(shape, np.float32))


def test_not_cubic():
    with pytest.raises(InputError, match=r"expected cubic.*\(16, 16, 15\)"):
        DISCA(**TINY).fit(np.zeros((9, 16, 16, 15), np.float32))


@pytest.mark.parametrize(
    ("n", "candidates", "needed"), [(3, (2, 4), 4), (0, (2,), 2), (1, (1,), 2)]
)
def test_too_few(n, candidates, needed):
    with pytest.raises(InputError, match=f"expected at least {needed} subtomograms.*are {n};"):
        DISCA(**{**TINY, "candidate_k": candidates}).fit(np.zeros((n, 16, 16, 16), np.float32))


def test_box_too_small_for_the_network(rng):
    with pytest.raises(InputError, match=r"at least 7 voxels for 3 convolutions.*have 6"):
        DISCA(**TINY).fit(rng.normal(size=(9, 6, 6, 6)))


def test_constant_subtomograms(simulated):
    volumes = simulated.volumes.copy()
    volumes[4] = 2
    with pytest.raises(InputError, match="1 of 75 subtomograms are constant"):
        DISCA(**TINY).fit(volumes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(simulated, value):
    volumes = simulated.volumes.copy()
    volumes[4, 3, 2, 1] = value
    with pytest.raises(InputError, match="subtomogram 4 holds values that are not finite numbers"):
        DISCA(**TINY).fit(volumes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_iterations", 0),
        ("width", -1),
        ("width", "wide"),
        ("n_convolutions", 11),
        ("n_cube_rotations", 7),
        ("stop_fraction", 1.5),
        ("label_smoothing", 1),
        ("seed", -1),
        ("candidate_k", "a-b"),
        ("candidate_k", ()),
        ("candidate_k", (0, 2)),
        ("learning_rate", float("nan")),
    ],
)
def test_settings_that_cannot_be_used(name, value):
    with pytest.raises(InputError, match=name) as caught:
        DISCA(**{name: value}).fit(np.zeros((9, 16, 16, 16), np.float32))
    assert "\n" not in str(caught.value)


def test_unknown_preset():
    with pytest.raises(InputError, match="preset must be one of fast, paper; got 'slow'"):
        DISCA("slow").fit(np.zeros((9, 16, 16, 16), np.float32))


# -- the package ---------------------------------------------------------------------------


def test_public_names():
    for name in aitom_disca.__all__:
        assert getattr(aitom_disca, name) is not None
    assert set(aitom_disca.__all__) <= set(dir(aitom_disca))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = aitom_disca.nonsense
    assert aitom_disca.average is pipeline.average_store
    assert aitom_disca.embed is reembedding.embed_averages
