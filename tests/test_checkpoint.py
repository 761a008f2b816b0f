"""What a checkpoint keeps, and that a fit goes on from it as if it had never stopped."""

from __future__ import annotations

from dataclasses import fields

import h5py
import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.clustering import GaussianMixtureModel, Projection
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.mining import DISCA, checkpoint, published_loop
from aitom_disca.mining.checkpoint import Checkpoint, fingerprint
from aitom_disca.mining.solution import Solution, pack, unpack_solution
from aitom_disca.network import Classifier, build_feature_extractor
from aitom_disca.simulation import load_phantoms, simulate_subtomograms
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes

pytestmark = pytest.mark.usefixtures("uncompiled_file")

TINY = MineSettings.from_preset(
    "paper",
    candidate_k=(2, 3),
    max_iterations=3,
    width=0.1,
    n_convolutions=1,
    n_features=12,
    pca_dimensions=4,
    n_starts=1,
    reg_covar=1e-3,
    batch_size=48,
    learning_rate=1e-2,
    stop_fraction=1.0,
)


class Killed(BaseException):
    """As if the process were gone."""


# -- the file ------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.h5"


def test_steps_come_back_as_they_were(path):
    arrays = {
        "labels": np.array([0, -1, 2]),
        "weights": [np.zeros((2, 3), np.float32), np.array(7), np.array([])],
        "none": [],
    }
    meta = {
        "rate": 0.1 + 0.2,
        "seed": 2**100,
        "nothing": None,
        "rows": [{"k": 3}],
        "nan": float("nan"),
        "text": "x" * 100_000,
    }
    Checkpoint(path, "a").save("sorted", arrays, meta)
    kept, known = Checkpoint(path, "a").load("sorted")
    assert set(kept) == set(arrays) and kept["none"] == []
    np.testing.assert_array_equal(kept["labels"], arrays["labels"])
    for was, now in zip(arrays["weights"], kept["weights"], strict=True):
        assert now.dtype == was.dtype and now.shape == was.shape
        np.testing.assert_array_equal(now, was)
    assert np.isnan(known.pop("nan")) and np.isnan(meta.pop("nan"))
    assert known == meta


def test_a_step_is_replaced_and_the_others_stay(path):
    kept = Checkpoint(path, "a")
    for name, value in (("first", 1), ("second", 2), ("first", 3)):
        kept.save(name, {"value": np.array(value)})
    values = {name: int(kept.load(name)[0]["value"]) for name in ("first", "second")}
    assert values == {"first": 3, "second": 2}
    kept.discard("first")
    assert kept.load("first") is None and kept.load("second") is not None
    assert kept.load("third") is None


def test_steps_of_other_data_are_not_used(path):
    Checkpoint(path, "a").save("first", {})
    other = Checkpoint(path, "b")
    assert other.load("first") is None
    assert Checkpoint(path, "a").load("first") is not None  # nor removed, until one is saved
    other.save("second", {})
    assert Checkpoint(path, "a").load("first") is None
    assert Checkpoint(path, "b").load("first") is None
    assert Checkpoint(path, "b").load("second") is not None


@pytest.mark.parametrize("content", [b"", b"not HDF5", None])
def test_a_file_that_is_no_checkpoint_is_not_used(path, content):
    if content is None:
        h5py.File(path, "w").close()
    else:
        path.write_bytes(content)
    kept = Checkpoint(path, "a")
    assert kept.load("first") is None
    kept.save("first", {})
    assert kept.load("first") is not None


def test_a_save_that_is_killed_leaves_the_earlier_steps(path, monkeypatch):
    kept = Checkpoint(path, "a")
    kept.save("first", {"value": np.array(1)})

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", killed)
        for name in ("first", "second"):
            with pytest.raises(Killed):
                kept.save(name, {"value": np.array(2)})

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", full)
        with pytest.raises(InputError, match=r"No space left.*make room.*--resume"):
            kept.save("first", {"value": np.array(2)})
    assert int(kept.load("first")[0]["value"]) == 1 and kept.load("second") is None
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_step_is_done_once(path):
    calls = []

    def work():
        calls.append(1)
        return {"value": np.arange(3)}, {"n": len(calls)}

    for _ in range(3):
        arrays, meta = Checkpoint(path, "a").step("first", work)
        np.testing.assert_array_equal(arrays["value"], np.arange(3))
        assert meta == {"n": 1}
    nowhere = Checkpoint.nowhere()
    assert nowhere.step("first", work)[1] == {"n": 2}
    assert nowhere.step("first", work)[1] == {"n": 3}
    nowhere.discard("first")


def test_the_fingerprint_sees_data_and_settings(rng):
    volumes = rng.normal(size=(200, 6, 6, 6)).astype(np.float32)

    def of(volumes=volumes, settings=TINY, *others):
        return fingerprint(PreparedVolumes(ArraySource(volumes)), settings, *others)

    assert of() == of(volumes.copy(), TINY.model_copy())
    changed = volumes.copy()
    changed[-1, 2, 2, 2] += 1
    different = [
        of(volumes[:-1]),
        of(volumes[::-1]),
        of(volumes[:, :4, :4, :4]),
        of(changed),
        of(volumes, TINY.model_copy(update={"seed": 1})),
        of(volumes, TINY, [-50.0, 60.0]),
    ]
    assert len({of(), *different}) == 7


# -- what is kept --------------------------------------------------------------------------


def test_a_solution_comes_back_whole(path, rng):
    mixture = GaussianMixtureModel(np.full(2, 0.5), rng.normal(size=(2, 1)), np.ones((2, 1, 1)))
    projection = Projection(rng.normal(size=3), rng.normal(size=(2, 3)))
    labels, embedding = np.array([0, 1, -1]), rng.normal(size=(3, 2))
    solution = Solution(
        iteration=4,
        labels=labels,
        posterior=rng.random((3, 2)),
        mixture=mixture,
        projection=projection,
        embedding=embedding,
        weights=[rng.normal(size=(2, 2)), np.zeros(1)],
        bic={2: 0.1, 11: -3.0},
        ddbi=float("inf"),
        event="something",
    )
    for averages in (None, rng.normal(size=(2, 3, 3, 3))):
        given = Solution(**{**vars(solution), "averages": averages})
        Checkpoint(path, "a").save("best", *pack(given))
        back = unpack_solution(*Checkpoint(path, "a").load("best"))
        for field in fields(Solution):
            was, now = getattr(given, field.name), getattr(back, field.name)
            if field.name in ("mixture", "projection"):
                was, now = vars(was), vars(now)
                assert was.keys() == now.keys()
                was, now = list(was.values()), list(now.values())
            if isinstance(was, list):
                for a, b in zip(was, now, strict=True):
                    np.testing.assert_array_equal(a, b)
            else:
                np.testing.assert_array_equal(was, now)


def test_training_goes_on_exactly_where_it_was(path, rng):
    volumes = rng.normal(size=(24, 6, 6, 6)).astype(np.float32)
    labels = np.arange(24) % 3

    def new_classifier():
        extractor = build_feature_extractor(6, width=0.05, n_convolutions=1, n_features=8, seed=1)
        return Classifier(extractor, batch_size=8, seed=1)

    def train(classifier):
        return classifier.train_epoch(
            lambda rows: volumes[rows], labels, smoothing=0.1, learning_rate=1e-2
        )

    first, second, kept = new_classifier(), new_classifier(), Checkpoint(path, "a")
    first.new_head(rng.normal(size=(24, 8)).astype(np.float32), labels, 3, epochs=1)
    train(first)
    kept.save("trained", *first.state())
    losses = [train(first), train(first)]
    second.set_state(*kept.load("trained"))
    assert [train(second), train(second)] == losses
    for a, b in zip(second.extractor.get_weights(), first.extractor.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# -- a fit that is killed ------------------------------------------------------------------


@pytest.fixture(scope="module")
def volumes():
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in ("ring", "rod", "chaperone")]
    return simulate_subtomograms(templates, 16, 8, 35.0, snr=0.5, seed=3).volumes


@pytest.fixture(scope="module")
def whole(volumes):
    return DISCA.from_settings(TINY).fit(volumes)


def assert_same(fitted: DISCA, expected: DISCA) -> None:
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)
    np.testing.assert_array_equal(fitted.posterior_, expected.posterior_)
    np.testing.assert_array_equal(fitted.embedding_, expected.embedding_)
    for a, b in zip(fitted._model.weights, expected._model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    histories = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in disca.history_]
        for disca in (fitted, expected)
    ]
    assert histories[0] == histories[1]


def calling(patch, owner, name, *, kill_at=0, after=False) -> list:
    """Count the calls of a function; kill before or after the n-th."""
    calls, original = [], getattr(owner, name)

    def counted(*args, **kwargs):
        calls.append(name)
        if len(calls) == kill_at and not after:
            raise Killed
        result = original(*args, **kwargs)
        if len(calls) == kill_at:
            raise Killed
        return result

    patch.setattr(owner, name, counted)
    return calls


@pytest.mark.parametrize(
    ("owner", "name", "kill_at", "after", "trainings_left"),
    [
        (published_loop, "cluster_features", 1, False, 2),
        (Checkpoint, "save", 1, True, 2),
        (PreparedVolumes, "read", 7, False, 1),  # in the second training
        (checkpoint, "_write", 30, False, 2),  # while iteration 2 is written
    ],
)
def test_a_killed_fit_goes_on_to_the_same_end(
    volumes, whole, path, monkeypatch, owner, name, kill_at, after, trainings_left
):
    with monkeypatch.context() as patch:
        calling(patch, owner, name, kill_at=kill_at, after=after)
        with pytest.raises(Killed):
            DISCA.from_settings(TINY).fit(volumes, checkpoint=path)
    trainings = calling(monkeypatch, Classifier, "train_epoch")
    assert_same(DISCA.from_settings(TINY).fit(volumes, checkpoint=path), whole)
    assert len(trainings) == trainings_left
    assert_same(DISCA.from_settings(TINY).fit(volumes, checkpoint=path), whole)
    assert len(trainings) == trainings_left  # a finished fit is not done again


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(volumes, whole, path):
    for seed in (1, 0):
        settings = TINY.model_copy(update={"seed": seed, "max_iterations": 1})
        disca = DISCA.from_settings(settings).fit(volumes, checkpoint=path)
        same = disca.history_[0]["ddbi"] == whole.history_[0]["ddbi"]
        assert same == (seed == 0)


# -- a training that fails -----------------------------------------------------------------


def test_a_network_that_is_spoilt_in_training_is_taken_back(volumes, monkeypatch):
    read, calls = PreparedVolumes.read, []

    def spoilt(*args):
        calls.append(1)
        return read(*args) * (np.nan if len(calls) == 5 else 1)  # in the second training

    monkeypatch.setattr(PreparedVolumes, "read", spoilt)
    disca = DISCA.from_settings(TINY).fit(volumes)
    event = "the loss was not a number; went back to iteration 2 with half the rate"
    assert [row["event"] for row in disca.history_] == ["", "", event]
    assert all(np.isfinite(weights).all() for weights in disca._model.weights)
    assert np.isfinite([row["loss"] for row in disca.history_[:2]]).all()
