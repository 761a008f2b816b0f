"""Training of the network on labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.computing.keras_backend import BatchSize, is_out_of_memory
from aitom_disca.errors import IterationError
from aitom_disca.network import Classifier, batches, build_feature_extractor, extract_features
from aitom_disca.network.augmentation import RotatedCopies
from aitom_disca.network.batches import equal_batches
from aitom_disca.network.training import smooth_labels

BOX = 8


def test_smooth_labels_by_hand():
    rows = smooth_labels(np.array([1, 0, 3]), 4, 0.2)
    assert rows.dtype == np.float32
    expected = [[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]]
    np.testing.assert_allclose(rows, expected, atol=1e-7)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_smooth_labels_are_probabilities(k):
    labels = np.arange(k)
    np.testing.assert_array_equal(smooth_labels(labels, k, 0.0), np.eye(k))
    np.testing.assert_allclose(smooth_labels(labels, k, 1.0), 1 / k)
    np.testing.assert_allclose(smooth_labels(labels, k, 0.37).sum(axis=1), 1, rtol=1e-6)


@pytest.fixture(scope="module")
def two_kinds():
    """A bright ball in noise, or noise alone."""
    rng = np.random.default_rng(4)
    labels = np.arange(32) % 2
    grid = np.indices((BOX,) * 3) - BOX // 2
    ball = ((grid**2).sum(axis=0) < 6).astype(np.float32)
    volumes = rng.normal(scale=0.5, size=(32, BOX, BOX, BOX))
    volumes += 3 * labels[:, None, None, None] * ball
    return volumes.astype(np.float32), labels


def new_classifier(seed: int = 0, batch_size: int = 16) -> Classifier:
    extractor = build_feature_extractor(BOX, width=0.1, n_convolutions=1, n_features=16, seed=seed)
    return Classifier(extractor, batch_size=batch_size, seed=seed)


def train(classifier, volumes, labels, epochs, **options):
    features = extract_features(classifier.extractor, [volumes])
    classifier.new_head(features, labels, 2, epochs=2)
    return [
        classifier.train_epoch(
            lambda rows: volumes[rows], labels, smoothing=0.1, learning_rate=1e-2, **options
        )
        for _ in range(epochs)
    ]


@pytest.fixture(scope="module")
def trained(two_kinds):
    """Losses of a training with rotated copies, and what it was given."""
    volumes, labels = (array.copy() for array in two_kinds)
    classifier = new_classifier()
    before = classifier.extractor.get_weights()
    losses = train(classifier, volumes, labels, 8)
    return losses, before, classifier.extractor.get_weights(), volumes, labels


def test_training_lowers_the_loss(trained):
    losses, before, after, *_ = trained
    assert np.isfinite(losses).all()
    assert min(losses[-2:]) < 0.7 * losses[0]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))  # trained in place


def test_training_does_not_change_its_input(two_kinds, trained):
    *_, volumes, labels = trained
    np.testing.assert_array_equal(volumes, two_kinds[0])
    np.testing.assert_array_equal(labels, two_kinds[1])


def test_the_seed_decides_the_training(two_kinds, trained):
    new_classifier(seed=5)  # another one in between makes no difference
    assert train(new_classifier(), *two_kinds, 2) == trained[0][:2]
    states = [new_classifier(seed=seed).state()[1]["rng"] for seed in (0, 0, 1)]
    assert states[0] == states[1] != states[2]


@pytest.mark.parametrize("copies", [0, 2])
def test_every_volume_and_copy_is_seen_once_an_epoch(two_kinds, copies):
    volumes, labels = two_kinds
    classifier = new_classifier(batch_size=32)
    features = extract_features(classifier.extractor, [volumes])
    classifier.new_head(features, labels, 2, epochs=0)
    seen = []

    def read(rows):
        seen.extend(rows.tolist())
        return volumes[rows]

    classifier.train_epoch(read, labels, smoothing=0.0, learning_rate=1e-3, rotated_copies=copies)
    np.testing.assert_array_equal(np.bincount(seen), np.full(len(labels), 1 + copies))
    assert seen != sorted(seen)


def test_only_copies_are_rotated(two_kinds):
    volumes = two_kinds[0][:6]
    is_copy = np.array([False, True, False, True, True, False])
    inverse_zyx = new_classifier()._draw_rotations(is_copy)
    result = np.asarray(RotatedCopies()((volumes[..., None], inverse_zyx)))[..., 0]
    np.testing.assert_array_equal(result[~is_copy], volumes[~is_copy])
    assert all((a != b).any() for a, b in zip(result[is_copy], volumes[is_copy], strict=True))


def test_an_epoch_is_one_compiled_step(two_kinds, monkeypatch):
    """Batches of one length: another would be traced anew, which takes seconds."""
    volumes, labels = two_kinds
    classifier = new_classifier(batch_size=24)  # 64 entries: 24 + 24 + 16 if merely cut
    classifier.new_head(np.zeros((32, 16), np.float32), labels, 2, epochs=0)
    shapes, train_on_batch = [], batches.train_on_batch
    monkeypatch.setattr(
        batches,
        "train_on_batch",
        lambda model, x, y: shapes.append(x[0].shape) or train_on_batch(model, x, y),
    )
    classifier.train_epoch(lambda rows: volumes[rows], labels, smoothing=0, learning_rate=1e-3)
    assert shapes == 3 * [(22, BOX, BOX, BOX, 1)]


def test_the_head_learns_from_features(rng):
    labels = np.arange(64) % 3
    features = (np.eye(3)[labels] * 4 + rng.normal(size=(64, 3))).astype(np.float32)
    features = np.concatenate([features, np.zeros((64, 13), np.float32)], axis=1)
    accuracy = []
    for epochs in (0, 150):
        classifier = new_classifier()
        classifier.new_head(features, labels, 3, epochs=epochs)
        found = np.asarray(classifier._head(features)).argmax(axis=1)
        accuracy.append((found == labels).mean())
    assert accuracy[1] > 0.9 > accuracy[0]


def test_a_new_head_may_have_another_k(two_kinds):
    volumes, labels = two_kinds
    classifier = new_classifier()
    features = extract_features(classifier.extractor, [volumes])
    for k in (2, 5):
        classifier.new_head(features, labels, k, epochs=0)
        assert classifier._model.output_shape == (None, k)
    loss = classifier.train_epoch(
        lambda rows: volumes[rows], labels, smoothing=0.0, learning_rate=1e-3
    )
    assert loss > 0


def test_training_needs_a_head(two_kinds):
    volumes, labels = two_kinds
    with pytest.raises(RuntimeError, match="call new_head before train_epoch"):
        new_classifier().train_epoch(
            lambda rows: volumes[rows], labels, smoothing=0.0, learning_rate=1e-3
        )


# -- batches -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "largest", "multiple"), [(1000, 64, 1), (65, 64, 2), (3, 64, 4)])
def test_batches_are_equal_and_hold_everything(n, largest, multiple):
    cut = equal_batches(np.arange(n), largest, multiple)
    lengths = {len(batch) for batch in cut}
    assert len(lengths) == 1 and lengths.pop() % multiple == 0
    counts = np.bincount(np.concatenate(cut))
    assert len(counts) == n and counts.min() == 1
    assert counts.sum() - n < len(cut) * multiple  # hardly any twice
    assert len(cut) == -(-n // largest)


# -- what goes wrong -----------------------------------------------------------------------


class ResourceExhaustedError(Exception):
    """Of the name that TensorFlow's has."""


class OutOfMemoryError(RuntimeError):
    """Of the name that PyTorch's has."""


def test_out_of_memory_is_told_in_every_backends_words():
    assert is_out_of_memory(ResourceExhaustedError("OOM when allocating tensor"))
    assert is_out_of_memory(OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes"))
    assert not is_out_of_memory(ValueError("the shapes do not fit"))


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr("aitom_disca.computing.keras_backend.say", lines.append)
    return lines


def test_the_batch_is_halved_where_memory_is_short(two_kinds, monkeypatch, said):
    """A device that has room for 10 volumes: 64 entries are all seen, in batches of 8."""
    volumes, labels = two_kinds
    classifier = new_classifier(batch_size=32)
    classifier.new_head(np.zeros((32, 16), np.float32), labels, 2, epochs=0)
    train_on_batch, done, read = batches.train_on_batch, [], []

    def short_of_memory(model, x, y):
        if len(x[0]) > 10:
            raise ResourceExhaustedError("OOM when allocating tensor")
        done.append(len(x[0]))
        return train_on_batch(model, x, y)

    monkeypatch.setattr(batches, "train_on_batch", short_of_memory)
    loss = classifier.train_epoch(
        lambda rows: read.append(rows) or volumes[rows], labels, smoothing=0, learning_rate=1e-3
    )
    assert np.isfinite(loss)
    assert done == 8 * [8]
    np.testing.assert_array_equal(np.bincount(np.concatenate(read[-8:])), 2)
    assert len(said) == 1 and "batches of 16 or fewer" in said[0]
    assert classifier.batch_size.value == 8  # and remains
    assert classifier.state()[1]["batch_size"] == 8


def test_features_are_the_same_where_memory_is_short(two_kinds, monkeypatch, said):
    from aitom_disca.network import features

    volumes = two_kinds[0]
    extractor = new_classifier().extractor
    whole = extract_features(extractor, [volumes[:20], volumes[20:]])
    predict_on_batch = features.predict_on_batch

    def short_of_memory(model, given):
        if len(given) > 6:
            raise ResourceExhaustedError("OOM when allocating tensor")
        return predict_on_batch(model, given)

    monkeypatch.setattr(features, "predict_on_batch", short_of_memory)
    pieces = extract_features(extractor, [volumes[:20], volumes[20:]])
    np.testing.assert_allclose(pieces, whole, atol=1e-5)
    assert len(said) == 1


def test_other_errors_and_the_last_volume_are_not_hidden():
    with pytest.raises(ValueError, match="shapes"):
        BatchSize(8).halve(ValueError("shapes"))
    with pytest.raises(ResourceExhaustedError):
        BatchSize(1).halve(ResourceExhaustedError())


def test_a_loss_that_is_no_number_is_an_error_of_the_iteration(two_kinds, monkeypatch):
    volumes, labels = two_kinds
    classifier = new_classifier()
    classifier.new_head(np.zeros((32, 16), np.float32), labels, 2, epochs=0)
    monkeypatch.setattr(batches, "train_on_batch", lambda model, x, y: float("nan"))
    with pytest.raises(IterationError, match="the loss was not a number"):
        classifier.train_epoch(lambda rows: volumes[rows], labels, smoothing=0, learning_rate=1e-3)


def test_a_restored_state_trains_on_bit_by_bit(two_kinds):
    """Order, rotations, dropout and the optimiser's moments: all go on as they would have."""
    volumes, labels = two_kinds
    first = new_classifier()
    train(first, volumes, labels, 2)
    arrays, meta = first.state()
    arrays = {name: [array.copy() for array in held] for name, held in arrays.items()}
    options = {"smoothing": 0.1, "learning_rate": 1e-2}
    expected = [first.train_epoch(lambda r: volumes[r], labels, **options) for _ in range(2)]
    second = new_classifier(seed=0)
    second.set_state(arrays, json.loads(json.dumps(meta)))
    again = [second.train_epoch(lambda r: volumes[r], labels, **options) for _ in range(2)]
    assert again == expected
    for a, b in zip(first.extractor.variables, second.extractor.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
