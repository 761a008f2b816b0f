"""What a model says of subtomograms; its network and its alignment are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.clustering import GaussianMixtureModel, Projection
from aitom_disca.clustering.outliers import OutlierScorer
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.mining import Bundle, predicting
from aitom_disca.mining.predicting import Prediction, Predictor, chunks, predict, probability

# One feature decides, the other only lies beside it in the embedding.
FEATURES = np.array([[-4.0, 9], [-1, 9], [0.5, 9], [3, 9], [30, 9]])
TILTS = np.array([[-60.0, 60], [-40, 50], [-60, 60], [-60, 60], [-40, 50]])


class Source:
    """Five subtomograms that nobody reads."""

    box_shape_zyx = (8, 8, 8)
    voxel_size_angstrom = 10.0
    tilt_range_deg = TILTS

    def __len__(self) -> int:
        return 5


@pytest.fixture
def model() -> Bundle:
    return Bundle(
        MineSettings(outlier_quantile=0.95, n_cube_rotations=12),
        8,
        10.0,
        [np.ones(3)],
        Projection(np.zeros(2), np.eye(2)),
        GaussianMixtureModel(np.full(2, 0.5), np.array([[-2.0], [2.0]]), np.ones((2, 1, 1))),
        2.0,
        OutlierScorer(np.tile(np.linspace(0, 2, 91), (2, 1)), np.ones(2)),
    )


@pytest.fixture
def learnt(model: Bundle) -> Bundle:
    averages = LearntAverages(np.zeros((2, 4, 4, 4)), np.zeros(2), np.ones(2), 0.0, (-60, 60))
    return replace(model, learnt=averages)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is asked of network and alignment."""
    asked: dict[str, Any] = {"built": 0, "read": []}

    def prepare(source: Any, settings: Any, voxel: float, rows: Any = None) -> Any:
        rows = np.arange(5) if rows is None else rows
        asked["read"].append(rows)
        return SimpleNamespace(box_px=8, rows=rows)

    def build(box_px: int, settings: MineSettings) -> Any:
        asked["built"] += 1
        return SimpleNamespace(set_weights=lambda weights: asked.update(weights=weights))

    def compute(extractor: Any, volumes: Any, settings: MineSettings) -> np.ndarray:
        asked["rotations"] = settings.n_cube_rotations
        return FEATURES[volumes.rows]

    def assign(source: Any, rows: np.ndarray, assigner: Any, wedge: Any) -> Any:
        asked.update(assigner=assigner, wedge=wedge)
        return np.array([1, 0, -1, 0, 1])[rows], np.tile([0.3, 0.7], (len(rows), 1))

    monkeypatch.setattr(predicting, "prepare_volumes", prepare)
    monkeypatch.setattr(predicting, "build_extractor", build)
    monkeypatch.setattr(predicting, "compute_features", compute)
    monkeypatch.setattr(predicting, "assign_rows", assign)
    monkeypatch.setattr(predicting, "Assigner", lambda *given, settings: (*given, settings))
    return asked


# With means at -2 and 2 and temperature 2 the log odds are 4 x / 2.
SURE = 1 / (1 + np.exp(-2 * np.abs(FEATURES[:, 0])))


def test_the_network_decides_where_there_are_no_averages(model: Bundle, asked: dict) -> None:
    found = predict(model, Source())
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1, -1])  # the last is far out
    np.testing.assert_allclose(found.posterior, SURE)
    np.testing.assert_allclose(found.outlier_score[1:4], [0.45, 0.675, 0.45])
    assert found.outlier_score[4] > 0.99
    assert asked["built"] == 1 and asked["rotations"] == 12
    np.testing.assert_array_equal(asked["weights"], model.weights)
    table = probability(model, Source())
    np.testing.assert_allclose(table[np.arange(5), [0, 0, 1, 1, 1]], SURE)
    np.testing.assert_allclose(table.sum(axis=1), 1)


def test_the_averages_decide_where_there_are_some(learnt: Bundle, asked: dict) -> None:
    found = predict(learnt, Source())
    np.testing.assert_array_equal(found.labels, [1, 0, -1, 0, -1])
    np.testing.assert_allclose(found.posterior, [0.7, 0.3, 0, 0.3, 0.7])  # 0 for noise
    given, ranges, constants = asked["assigner"]
    assert given is learnt.learnt and constants == learnt.settings.constants
    np.testing.assert_array_equal(np.asarray(ranges)[asked["wedge"]], TILTS)
    np.testing.assert_allclose(probability(learnt, Source()), np.tile([0.3, 0.7], (5, 1)))
    by_network = predict(learnt, Source(), by="network")
    np.testing.assert_array_equal(by_network.labels, [0, 0, 1, 1, -1])
    np.testing.assert_allclose(probability(learnt, Source(), by="network").max(axis=1), SURE)


def test_a_source_without_tilts_has_those_of_the_averages(learnt: Bundle, asked: dict) -> None:
    source = Source()
    source.tilt_range_deg = None  # type: ignore[assignment]
    predict(learnt, source)
    assert asked["assigner"][1] is None and asked["wedge"] is None


def test_averages_must_be_there_to_decide(model: Bundle) -> None:
    for asks in (predict, probability, Predictor):
        with pytest.raises(InputError, match="holds no averages to align to"):
            asks(model, Source(), by="alignment")


def test_the_threshold_is_above_what_it_names(model: Bundle) -> None:
    for quantile, n_out in ((None, 0), (1.0, 0), (0.6, 3), (0.44, 5)):
        changed = model.settings.changed(outlier_quantile=quantile)
        found = predict(replace(model, settings=changed), Source())
        assert np.count_nonzero(found.labels < 0) == n_out
    score = predict(model, Source()).outlier_score
    exactly = model.settings.changed(outlier_quantile=float(score[2]))
    assert predict(replace(model, settings=exactly), Source()).labels[2] == 1
    none = predict(replace(model, outliers=None), Source())
    assert np.isnan(none.outlier_score).all() and (none.labels >= 0).all()


def test_pieces_are_joined_in_order(
    model: Bundle, asked: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(model, Source())
    monkeypatch.setattr(predicting, "_CHUNK", 2)
    assert [len(piece) for piece in chunks(5)] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(chunks(5)), np.arange(5))
    asked.update(built=0, read=[])
    for one, other in zip(whole, predict(model, Source()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert asked["built"] == 1 and len(asked["read"]) == 3  # the network is built once
    parts = [Prediction(*(np.full(n, 10 * n + i) for i in range(3))) for n in (1, 2)]
    for i, column in enumerate(Prediction.joined(parts)):
        np.testing.assert_array_equal(column, [10 + i, 20 + i, 20 + i])


def test_features_may_be_of_one_orientation(model: Bundle, asked: dict) -> None:
    np.testing.assert_array_equal(predicting.features(model, Source()), FEATURES)
    assert asked["rotations"] == 12
    predicting.features(model, Source(), n_cube_rotations=1)
    assert asked["rotations"] == 1


def test_other_boxes_are_refused(model: Bundle) -> None:
    other = replace(model, box_px=9)
    for asks in (predict, predicting.features, Predictor):
        with pytest.raises(InputError, match="of 9 voxels"):
            asks(other, Source())
