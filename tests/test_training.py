"""Training of the network on labels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.network import Classifier, build_feature_extractor, extract_features
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
    orders = [np.concatenate(new_classifier(seed)._batches(50)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] != orders[2]).any()


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
    result = new_classifier()._with_rotated_copies(volumes, is_copy)
    np.testing.assert_array_equal(result[~is_copy], volumes[~is_copy])
    assert all((a != b).any() for a, b in zip(result[is_copy], volumes[is_copy], strict=True))


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
