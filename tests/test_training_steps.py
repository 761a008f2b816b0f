"""Single steps of a training: what a batch holds, who turns copies, what a head is given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.computing import devices
from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.errors import IterationError
from aitom_disca.network import Classifier, batches, build_feature_extractor
from aitom_disca.network import training as training_module
from aitom_disca.network.augmentation import RotatedCopies, rotate_volumes
from aitom_disca.network.training import smooth_labels

BOX, N = 6, 5
VOLUMES = np.random.default_rng(0).normal(size=(N, BOX, BOX, BOX)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1, 0])


@pytest.fixture(scope="module")
def extractor() -> Any:
    return build_feature_extractor(BOX, width=0.02, n_convolutions=1, n_features=4)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The passes that are asked for, each with its batch of all entries; none is done."""
    asked: list[Any] = []

    def train_pass(model: Any, entries: np.ndarray, make_batch: Any, size: BatchSize) -> float:
        batch = make_batch(np.arange(len(entries)))
        asked.append(SimpleNamespace(model=model, entries=entries, batch=batch, size=size.value))
        return 0.25

    monkeypatch.setattr(training_module, "train_pass", train_pass)
    return asked


def read(rows: np.ndarray) -> np.ndarray:
    return VOLUMES[rows]


def test_every_entry_has_its_volume_label_and_copies(extractor, passes):
    classifier = Classifier(extractor, batch_size=7, seed=1)
    classifier.new_head(np.zeros((N, 4), np.float32), LABELS, 3, epochs=0)
    options = {"smoothing": 0.3, "learning_rate": 0.125, "rotated_copies": 2}
    assert classifier.train_epoch(read, LABELS, **options) == 0.25
    (one,) = passes
    np.testing.assert_array_equal(np.sort(one.entries), np.arange(3 * N))
    assert (np.diff(one.entries) < 0).any() and one.size == 7
    (volumes, inverse_zyx), targets = one.batch
    rows = np.repeat(np.arange(N), 3)  # itself, then its two copies
    np.testing.assert_array_equal(volumes[..., 0], VOLUMES[rows])
    np.testing.assert_allclose(targets, smooth_labels(LABELS, 3, 0.3)[rows])
    still = np.array([np.array_equal(m, np.eye(3)) for m in inverse_zyx])
    np.testing.assert_array_equal(still, np.arange(3 * N) % 3 == 0)
    np.testing.assert_allclose(np.linalg.det(inverse_zyx), 1, atol=1e-5)
    assert float(one.model.optimizer.learning_rate) == 0.125
    classifier.train_epoch(read, LABELS, smoothing=0.0, learning_rate=0.1)
    assert len(passes[-1].entries) == 2 * N  # one copy, unless told


def test_copies_turned_elsewhere_are_what_the_network_turns(extractor, passes):
    """The matrices say where a voxel comes from, the rotations where it goes."""

    def turned(rotate):
        classifier = Classifier(extractor, seed=4, rotate=rotate)
        classifier.new_head(np.zeros((N, 4), np.float32), LABELS, 3, epochs=0)
        classifier.train_epoch(read, LABELS, smoothing=0.0, learning_rate=0.1)
        volumes, inverse_zyx = passes[-1].batch[0]
        return np.asarray(RotatedCopies()((volumes, inverse_zyx))), inverse_zyx

    def rotate(volumes, rotations):
        return np.asarray(rotate_volumes(volumes, rotations))

    before = VOLUMES.copy()
    (own, _), (elsewhere, matrices) = turned(None), turned(rotate)
    np.testing.assert_allclose(elsewhere, own, atol=1e-4)
    np.testing.assert_array_equal(matrices, np.tile(np.eye(3), (2 * N, 1, 1)))
    np.testing.assert_array_equal(VOLUMES, before)


def test_a_head_is_warmed_up_on_features_and_sharp_labels(extractor, passes, monkeypatch):
    compiled: list[Any] = []
    monkeypatch.setattr(devices, "compile_model", lambda *given: compiled.append(given[1:]))
    features = np.random.default_rng(1).normal(size=(N, 4)).astype(np.float32)
    Classifier(extractor).new_head(features, LABELS, 3, epochs=3)
    assert len(passes) == 3 and passes[0].size == 64
    for one in passes:
        np.testing.assert_array_equal(np.sort(one.entries), np.arange(N))
        np.testing.assert_array_equal(one.batch[0], features)
        np.testing.assert_array_equal(one.batch[1], np.eye(3)[LABELS])
    rates = [rate for _, rate, _ in compiled]
    losses = {loss for *_, loss in compiled}
    assert rates == [1e-3, 1e-3] and losses == {"categorical_crossentropy"}


def test_seeds_of_heads_and_of_the_order(extractor, passes):
    def made(seed):
        classifier = Classifier(extractor, seed=seed)
        classifier.new_head(np.zeros((N, 4), np.float32), LABELS, 3, epochs=1)
        return classifier._head.get_weights()[0], passes[-1].entries

    (head, order), (same, again), (other, _) = made(1), made(1), made(2)
    np.testing.assert_array_equal(head, same)
    np.testing.assert_array_equal(order, again)
    assert not np.array_equal(head, other)


def test_the_loss_of_a_pass_is_the_mean_of_all_its_entries(monkeypatch):
    """Batches that were halved count by what they hold."""
    monkeypatch.setattr(batches, "count", lambda model: 1)
    sizes: list[int] = []

    def train(model, inputs, targets):
        if len(inputs) > 4:
            raise RuntimeError("RESOURCE_EXHAUSTED")
        sizes.append(len(inputs))
        return float(inputs.sum())

    monkeypatch.setattr(batches, "train_on_batch", train)
    size = BatchSize(6)

    def batch(entries):
        return entries, entries

    found = batches.train_pass(None, np.arange(6), batch, size)
    assert sizes == [3, 3] and size.value == 3
    assert found == pytest.approx((3 + 12) / 2)
    monkeypatch.setattr(batches, "train_on_batch", lambda *_: float("inf"))
    with pytest.raises(IterationError, match="not a number"):
        batches.train_pass(None, np.arange(6), batch, size)


def test_no_entries_are_one_empty_batch():
    (only,) = batches.equal_batches(np.arange(0), 4)
    assert len(only) == 0
