"""Parts of autoencoder and decoder: where voxels come from, when training ends, what it says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.mining import decoded_centres
from aitom_disca.mining.decoded_centres import decode_clusters, find_centers
from aitom_disca.network import autoencoder
from aitom_disca.network import decoder as decoder_module
from aitom_disca.network.autoencoder import build_decoder, build_encoder
from aitom_disca.network.decoder import Decoder, _best
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes


def test_layers_of_encoder_and_decoder():
    shapes = [w.shape for w in build_encoder(12, 5).get_weights() if w.ndim > 1]
    assert shapes == [(3, 3, 3, 1, 16), (3, 3, 3, 16, 32), (27 * 32, 5)]
    shapes = [w.shape for w in build_decoder(13, 5).get_weights() if w.ndim > 1]
    assert shapes == [(5, 64 * 32), (3, 3, 3, 32, 16), (3, 3, 3, 16, 8)]


@pytest.mark.parametrize("build", [build_encoder, build_decoder])
def test_the_seed_decides_the_weights(build):
    first, again, other = (build(12, 5, seed=seed).get_weights() for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.ndim == 1 or not np.array_equal(a, c)


@pytest.mark.parametrize(("box_px", "before"), [(16, 0), (15, 0), (14, 1), (13, 1)])
def test_eight_values_of_a_voxel_are_its_halves(box_px, before):
    """What the last convolution says of half a grid lies along z, y, x in the volume."""
    decoder = build_decoder(box_px, 2)
    *others, bias = (np.zeros_like(w) for w in decoder.get_weights())
    decoder.set_weights([*others, np.arange(len(bias), dtype=np.float32)])
    found = decoder.predict_on_batch(np.zeros((1, 2), np.float32))[0, ..., 0]
    z, y, x = np.indices((box_px,) * 3) + before  # as much is cut off on either side
    np.testing.assert_array_equal(found, 4 * (z % 2) + 2 * (y % 2) + x % 2)


# -- the decoder -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def volumes() -> PreparedVolumes:
    rng = np.random.default_rng(0)
    return PreparedVolumes(ArraySource(rng.normal(size=(25, 6, 6, 6)).astype(np.float32)))


@pytest.fixture
def passes(monkeypatch):
    """Plays the errors of one pass after another; what a pass is given."""

    def play(decoder: Decoder, errors: list[float]) -> list[Any]:
        given: list[Any] = []

        def train_pass(model, order, make_batch, size):
            given.append(SimpleNamespace(order=order, batch=make_batch(np.arange(len(order)))))
            model.set_weights([np.full_like(w, len(given)) for w in model.get_weights()])

        monkeypatch.setattr(decoder_module, "train_pass", train_pass)
        monkeypatch.setattr(decoder, "_error", lambda *_: errors[len(given) - 1])
        return given

    return play


FEATURES = np.random.default_rng(1).normal(3, [1, 2, 5, 0.1], (25, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("errors", "epochs", "n_passes", "best"),
    [
        ([0.9, 0.8, 0.85, 0.81, 0.83, 0.84, 0.1], 9, 6, 2),  # three without a better one are few
        ([0.9, 0.8, 0.85, 0.81, 0.83, 0.7, 0.8], 7, 7, 6),
        ([0.5, 0.4, 0.3], 3, 3, 3),
        ([], 0, 0, 0),
    ],
)
def test_training_ends_some_passes_after_the_best(passes, volumes, errors, epochs, n_passes, best):
    decoder = Decoder(6, 4)
    given = passes(decoder, errors)
    if not best:
        before = decoder._model.get_weights()[0].flat[0]
    assert decoder.fit(FEATURES, volumes, epochs=epochs) == errors[:n_passes]
    assert len(given) == n_passes
    kept = {float(w.flat[0]) for w in decoder._model.get_weights()}
    assert kept == {float(best)} if best else before in kept


def test_one_in_ten_is_held_out_and_features_are_standardised(passes, volumes):
    decoder = Decoder(6, 4)
    given = passes(decoder, [0.5])
    decoder.fit(FEATURES, volumes, epochs=1)
    rows = np.delete(np.arange(25), [0, 10, 20])
    inputs, targets = given[0].batch
    np.testing.assert_array_equal(targets[..., 0], volumes.read(rows))
    standardised = (FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)
    np.testing.assert_allclose(inputs, standardised[rows], atol=1e-3)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(np.sort(given[0].order), np.arange(22))
    assert (np.diff(given[0].order) < 0).any()


def test_the_best_pass_counts_from_one():
    assert [_best(errors) for errors in ([], [0.5], [0.5, 0.2, 0.4])] == [0, 1, 2]


def test_the_error_is_the_mean_square_and_one_length_goes_through(volumes):
    decoder, rows = Decoder(6, 4, batch_size=4), np.arange(0, 25, 10)
    standardised = decoder._standardised(FEATURES)
    expected = ((decoder(FEATURES[rows]) - volumes.read(rows)) ** 2).mean()
    assert decoder._error(standardised, volumes, rows) == pytest.approx(expected, rel=1e-5)
    many = np.arange(25)  # in seven pieces
    expected = ((decoder(FEATURES) - volumes.read(many)) ** 2).mean()
    assert decoder._error(standardised, volumes, many) == pytest.approx(expected, rel=1e-5)
    assert decoder(FEATURES).shape == (25, 6, 6, 6)


def test_centres_and_members_of_clusters_are_decoded(monkeypatch):
    made: dict[str, Any] = {}

    class Doubling:
        def __init__(self, box_px, n_features, *, seed):
            made.update(box_px=box_px, n_features=n_features, seed=seed)

        def fit(self, features, volumes, *, epochs):
            made.update(features=features, n_volumes=len(volumes), epochs=epochs)
            return [0.5, 0.4]

        def __call__(self, features):
            return 2 * features

    monkeypatch.setattr(decoder_module, "Decoder", Doubling)
    ticks = iter((10, 22))
    ticking = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(decoded_centres, "time", ticking)
    rng = np.random.default_rng(3)
    source = ArraySource(rng.normal(size=(6, 33, 33, 33)).astype(np.float32))
    features = FEATURES[:6]
    labels = np.array([2, 0, 0, 2, -1, 0])
    found = decode_clusters(SimpleNamespace(features=lambda _: features), source, labels, seed=9)
    assert made.pop("features") is features
    assert made == {"box_px": 32, "n_features": 4, "seed": 9, "n_volumes": 6, "epochs": 20}
    np.testing.assert_array_equal(found.clusters, [0, 2])
    expected = [2 * features[labels == k].mean(axis=0) for k in (0, 2)]
    np.testing.assert_allclose(found.centers, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.members, 2 * features[found.member_rows])
    assert [labels[row] for row in found.member_rows] == [0, 2] and found.errors == [0.5, 0.4]
    assert found.seconds_per_subtomogram == 2


def test_the_member_nearest_in_standard_deviations_is_taken():
    """The first feature says little: it varies a hundred times as much as the second."""
    features = np.array([[0.0, 0], [100, 0.9], [80, 0], [110, 1], [-90, -1], [-100, -0.9]])
    _, centers, rows = find_centers(features, np.array([0, 0, 0, 1, 1, -1]))
    np.testing.assert_allclose(centers, [[60, 0.3], [10, 0]])
    scale = features.std(axis=0)
    expected = [
        np.argmin(np.where(own, (((features - c) / scale) ** 2).sum(axis=1), np.inf))
        for own, c in zip((np.arange(6) < 3, (np.arange(6) // 3 == 1)), centers, strict=True)
    ]
    assert rows[0] == expected[0] == 2 and rows[1] in (3, 4)
    # So it is where a deviation is small: of 25 and 0.0016 here.
    features = np.array([[1, 0.002], [30, 0], [-31, -0.002]])
    assert find_centers(features, np.zeros(3, int))[2].tolist() == [1]
    # A feature that does not vary decides nothing.
    features = np.array([[5.0, 0], [5, 3], [5, 1.1]])
    assert find_centers(features, np.zeros(3, int))[2].tolist() == [2]


def test_the_autoencoder_learns_to_give_volumes_back(volumes, monkeypatch):
    passes: list[Any] = []
    compiled: list[Any] = []

    def train_pass(model, order, make_batch, size):
        passes.append(order)
        given, wanted = make_batch(order)
        np.testing.assert_array_equal(given[..., 0], volumes.read(order))
        np.testing.assert_array_equal(given, wanted)
        assert size.value == 11
        model.set_weights([np.full_like(w, 0.1 * len(passes)) for w in model.get_weights()])

    monkeypatch.setattr(autoencoder, "train_pass", train_pass)
    monkeypatch.setattr(autoencoder, "compile_model", lambda *given: compiled.append(given[2:]))
    options = {"n_features": 3, "epochs": 2, "batch_size": 11}
    found = autoencoder.autoencoder_features(volumes, **options)
    assert compiled == [(1e-3, "mean_squared_error")] and len(passes) == 2
    for order in passes:
        np.testing.assert_array_equal(np.sort(order), np.arange(25))
    assert not np.array_equal(*passes)
    encoder = build_encoder(6, 3)
    encoder.set_weights([np.full_like(w, 0.2) for w in encoder.get_weights()])
    expected = encoder.predict_on_batch(volumes.read(np.arange(25))[..., None])
    np.testing.assert_allclose(found, expected, rtol=1e-4)
