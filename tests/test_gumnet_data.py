"""What Gum-Net learns from and how, and which of its answers is taken."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("keras")

from keras import ops

from aitom_disca.errors import InputError
from aitom_disca.geometry.rotations import cube_rotations, rotate_by_cube
from aitom_disca.geometry.wedge import missing_wedge_mask
from aitom_disca.network.gumnet import build_gumnet, legacy, load_gumnet, poses, predict_poses
from aitom_disca.network.gumnet import copies as copies_module
from aitom_disca.network.gumnet import training as training_module
from aitom_disca.network.gumnet.copies import Copies, near_rotations
from aitom_disca.network.gumnet.layers import FeatureCorrelation, SpectralPooling
from aitom_disca.network.gumnet.model import as_motion, pooling_sizes
from aitom_disca.network.gumnet.training import (
    Pairs,
    inputs_of,
    masks_of,
    pairwise_loss,
    published_loss,
    standardised,
    train_gumnet,
)
from aitom_disca.network.gumnet.transform import shift_in_voxels

TILT = (-60.0, 40.0)


@pytest.mark.parametrize("n", [6, 7])
def test_masks_are_those_of_the_wedge_with_zero_frequency_in_the_middle(n):
    observed, missing = masks_of(n, TILT)
    mask = np.broadcast_to(missing_wedge_mask((n, n, n), TILT), (n, n, n))
    expected = np.fft.fftshift(mask, axes=(0, 2)).transpose(2, 1, 0)
    np.testing.assert_array_equal(observed, expected)
    np.testing.assert_array_equal(observed + missing, 1)
    assert observed[n // 2, n // 2, n // 2] == 1


def test_volumes_are_standardised_as_a_set_with_axes_x_y_z(rng):
    volumes = rng.normal(5, 3, (4, 6, 6, 6))
    found = standardised(volumes)
    expected = (volumes - volumes.mean()) / volumes.std()
    np.testing.assert_allclose(found.transpose(0, 3, 2, 1), expected, atol=1e-5)
    np.testing.assert_array_equal(standardised(np.full((2, 3, 3, 3), 7.0)), 0)


def test_pairs_are_of_two_and_hold_every_volume_once(rng):
    n, batch = 11, 4
    volumes = np.arange(n)[:, None, None, None] * np.ones((n, 2, 2, 2), np.float32)
    masks = np.ones((2, 2, 2)), np.zeros((2, 2, 2))
    pairs = Pairs(volumes, masks, batch, seed=0)
    assert len(pairs) == 3
    seen, partners = [], []
    for _ in range(20):
        given = [pairs[i] for i in range(len(pairs))]
        moving = np.concatenate([inputs[0][:, 0, 0, 0, 0] for inputs, _ in given])
        target = np.concatenate([inputs[1][:, 0, 0, 0, 0] for inputs, _ in given])
        np.testing.assert_array_equal(np.sort(moving), np.arange(n))
        assert (moving != target).all()
        for inputs, wanted in given:
            np.testing.assert_array_equal(inputs[1], wanted)
            assert (inputs[2] == 1).all() and (inputs[3] == 0).all()
        seen.append(moving)
        partners.append(target[np.argsort(moving)])
        pairs.on_epoch_end()
    assert not np.array_equal(seen[0], seen[1])
    away = (np.array(partners) - np.arange(n)) % n
    assert set(away.ravel().astype(int)) == set(range(1, n))  # with any of the others
    first, again = (Pairs(volumes, masks, batch, seed=0)[0][1] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_inputs_have_a_channel_each(rng):
    moving, target = rng.normal(size=(2, 3, 4, 4, 4)).astype(np.float32)
    masks = masks_of(4, TILT)
    inputs, wanted = inputs_of(moving, target, masks)
    assert {part.shape for part in (*inputs, wanted)} == {(3, 4, 4, 4, 1)}
    for part, expected in zip(inputs, (moving, target, *masks), strict=True):
        np.testing.assert_array_equal(part[1, ..., 0], np.broadcast_to(expected, (3, 4, 4, 4))[1])
    np.testing.assert_array_equal(wanted, inputs[1])


def test_copies_are_moved_by_a_voxel_at_most_and_drawn_without_repeats():
    volumes = np.arange(9)[:, None, None, None] * np.ones((9, 2, 2, 2), np.float32)
    data = Copies(volumes, 4, seed=2)
    assert len(data) == 3
    shifts = []
    for _ in range(30):
        (given, matrices, shifts_px), motion = data[0]
        rows = given[:, 0, 0, 0, 0]
        assert len(set(rows)) == 4 and matrices.shape == (4, 2, 3, 3) and motion.shape == (4, 4, 3)
        shifts.append(shifts_px)
    shifts_px = np.array(shifts)
    assert np.abs(shifts_px).max() <= 1 and np.abs(shifts_px).max() > 0.95
    assert shifts_px.min() < -0.95 and abs(shifts_px.mean()) < 0.1
    few = Copies(volumes[:3], 16, seed=0)
    assert len(few) == 1 and len(few[0][1]) == 3
    np.testing.assert_array_equal(
        Copies(volumes, 4, seed=5)[0][1], Copies(volumes, 4, seed=5)[0][1]
    )


def test_rotations_near_one_are_uniform_up_to_the_farthest(monkeypatch):
    found = near_rotations(3000, np.random.default_rng(0))
    assert len(found) == 3000
    angles = found.magnitude()
    assert np.rad2deg(angles.max()) <= copies_module.FARTHEST_DEG
    # Of uniform rotations the angle has the distribution (a - sin a), cut here.
    farthest = np.deg2rad(copies_module.FARTHEST_DEG)
    for share in (0.25, 0.5, 0.75):
        angle = np.quantile(angles, share)
        below = (angle - np.sin(angle)) / (farthest - np.sin(farthest))
        assert below == pytest.approx(share, abs=0.04)


def test_a_new_network_answers_with_the_middle():
    layers: dict[str, list[np.ndarray]] = {}

    def get_layer(name):
        layers[name] = []
        return SimpleNamespace(bias=SimpleNamespace(assign=layers[name].append))

    copies_module.begin_in_the_middle(SimpleNamespace(get_layer=get_layer))
    (bias,) = layers["dense_3"]
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), copies_module.MIDDLE, rtol=1e-6)
    # phi and psi of nothing, theta of 90 degrees: a turn of the cube.
    np.testing.assert_array_equal(copies_module.middle_matrix(), [[0, 0, -1], [0, 1, 0], [1, 0, 0]])


# -- how it is trained -----------------------------------------------------------------------


@pytest.fixture
def training(monkeypatch):
    """What a training asks for; the network is a stand-in that nothing is done with."""
    asked = SimpleNamespace(begun=0, fits=[])
    asked.model = SimpleNamespace(inputs=[], outputs=["laid", "parameters"])

    def trained(*given):
        asked.given = given
        return SimpleNamespace(compile=compiled, fit=fit)

    def compiled(optimizer, loss, jit_compile):
        asked.optimizer, asked.loss = optimizer, loss

    def fit(data, **options):
        asked.fits.append((data, options))
        return SimpleNamespace(history={"loss": [0.5]})

    def built(box_px, *, width, seed):
        asked.built = (box_px, width, seed)
        return asked.model

    def begin(model):
        asked.begun += 1

    monkeypatch.setattr(training_module, "build_gumnet", built)
    monkeypatch.setattr(training_module, "begin_in_the_middle", begin)
    monkeypatch.setattr(training_module, "motion_model", trained)
    own = {**vars(training_module.keras), "Model": trained}
    monkeypatch.setattr(training_module, "keras", SimpleNamespace(**own))
    return asked


VOLUMES = np.random.default_rng(0).normal(size=(10, 6, 6, 6))


@pytest.mark.parametrize(("rate", "expected"), [(None, 2e-3), (0.5, 0.5)])
def test_motions_are_learnt_at_a_rate_that_falls_to_nothing(training, rate, expected):
    options = {"epochs": 5, "batch_size": 4, "learning_rate": rate, "width": 0.3, "seed": 8}
    assert train_gumnet(VOLUMES, TILT, **options) is training.model
    assert training.built == (6, 0.3, 8) and training.begun == 1
    assert training.given == (training.model, TILT)
    data, how = training.fits[0]
    assert isinstance(data, Copies) and len(data) == 3 and len(training.fits) == 5
    assert how == {"epochs": 1, "verbose": 0, "shuffle": False}
    falling = training.optimizer._learning_rate
    found = [float(falling(step)) for step in (0, 7.5, 15)]  # five times three batches
    np.testing.assert_allclose(found, [expected, expected / 2, 0], atol=1e-7)
    np.testing.assert_allclose(data._volumes, standardised(VOLUMES))


@pytest.mark.parametrize(("loss", "measure"), [("pairwise", pairwise_loss), ("published", None)])
def test_pairs_are_learnt_at_a_small_rate_and_a_network_goes_on(training, loss, measure):
    train_gumnet(VOLUMES, TILT, loss=loss, model=training.model, epochs=1, batch_size=5)
    data, _ = training.fits[0]
    assert isinstance(data, Pairs) and len(data) == 2 and training.begun == 0
    assert training.loss is (measure or published_loss)
    assert training.given == ([], "laid")
    assert float(training.optimizer.learning_rate) == pytest.approx(1e-4)
    np.testing.assert_array_equal(data._masks[0], masks_of(6, TILT)[0])
    train_gumnet(VOLUMES, TILT, model=training.model, epochs=0)
    assert training.begun == 0  # what was learnt before is not forgotten


# -- many starts -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 5])
def test_turns_of_the_cube_as_matrices_and_of_spectra(rng, n):
    """``turned(g) = v(C g)``, and what is measured of a turned volume is the turned mask."""
    volume = rng.normal(size=(n, n, n))
    power = np.fft.fftshift(np.abs(np.fft.fftn(volume)))
    middle = (n - 1) / 2
    for turn in cube_rotations():
        turned = rotate_by_cube(volume, turn)
        g = np.indices((n, n, n)).reshape(3, -1) - middle
        source = np.rint(poses._matrix(turn) @ g + middle).astype(int)
        np.testing.assert_array_equal(turned.ravel(), volume[tuple(source)])
        spectrum = np.fft.fftshift(np.abs(np.fft.fftn(turned)))
        np.testing.assert_allclose(poses._turned_spectrum(power, turn), spectrum, atol=1e-9)


def test_the_start_that_correlates_best_is_kept(rng, monkeypatch):
    n, starts = 5, 4
    table = rng.uniform(-1, 1, (starts, n))
    table[2] = table[1] - 0.01  # never the best
    seen = []

    def laid(model, moving, still, masks):
        seen.append((moving, still, masks))
        number = len(seen)
        return table[number - 1], np.full((n, 6), float(number))

    model = SimpleNamespace(input_shape=[(None, 4, 4, 4, 1)])
    monkeypatch.setattr(poses, "_laid", laid)
    monkeypatch.setattr(poses, "pose_of_parameters", lambda *given: given)
    volumes, target = rng.normal(2, 3, (n, 4, 4, 4)), rng.normal(size=(4, 4, 4))
    parameters, box_px, turns = predict_poses(model, volumes, target, TILT, starts=starts)
    best = table.argmax(axis=0)
    np.testing.assert_array_equal(parameters, (best + 1)[:, None] * np.ones(6))
    known = [poses._matrix(turn) for turn in cube_rotations()[:starts]]
    np.testing.assert_array_equal(turns, [known[i] for i in best])
    assert box_px == 4 and len(seen) == starts
    for (moving, still, masks), turn in zip(seen, cube_rotations(), strict=False):
        np.testing.assert_allclose(moving, rotate_by_cube(standardised(volumes), turn))
        np.testing.assert_allclose(still, np.tile(standardised(target[None]), (n, 1, 1, 1)))
        expected = [poses._turned_spectrum(mask, turn) for mask in masks_of(4, TILT)]
        np.testing.assert_array_equal(masks, expected)


def test_what_is_laid_is_compared_volume_by_volume(rng):
    n = 19  # more than are taken at once
    moving, still, laid = rng.normal(size=(3, n, 4, 4, 4)).astype(np.float32)
    wanted = rng.random((n, 6)).astype(np.float32)
    lengths = []

    def predict(inputs):
        rows = [np.flatnonzero((moving == one[..., 0]).all(axis=(1, 2, 3)))[0] for one in inputs[0]]
        lengths.append(len(rows))
        return laid[rows][..., None] + 5, wanted[rows]

    masks = masks_of(4, TILT)
    found, parameters = poses._laid(SimpleNamespace(predict_on_batch=predict), moving, still, masks)
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(laid, still, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(parameters, wanted)
    assert lengths == [16, 16]  # of one length: one graph


# -- parts of the network --------------------------------------------------------------------


def test_parameters_are_three_angles_and_three_shifts(rng):
    parameters = rng.random((5, 6)).astype(np.float32)
    angles, shift = (np.asarray(part) for part in as_motion(ops.convert_to_tensor(parameters)))
    np.testing.assert_allclose(angles, np.pi * (2 * parameters[:, :3] - 1), atol=1e-5)
    np.testing.assert_allclose(shift, 2 * parameters[:, 3:] - 1, atol=1e-6)


def test_layers_say_the_shapes_that_they_give():
    pooled = SpectralPooling(7, 5)
    assert pooled.compute_output_shape((2, 9, 9, 9, 3)) == (2, 7, 7, 7, 3)
    assert pooled.get_config()["size"] == 7 and pooled.get_config()["keep"] == 5
    shapes = [(2, 3, 3, 3, 4)] * 2
    assert FeatureCorrelation().compute_output_shape(shapes) == (2, 3, 3, 3, 27)


def test_a_model_that_holds_code_is_not_loaded(tmp_path):
    layers = training_module.keras.layers
    volume = training_module.keras.Input((2,))
    model = training_module.keras.Model(volume, layers.Lambda(lambda x: x)(volume), name="gumnet")
    model.save(tmp_path / "code.keras")
    with pytest.raises(InputError, match=r"code\.keras"):
        load_gumnet(tmp_path / "code.keras")


def test_volumes_without_contrast_correlate_with_nothing():
    flat = ops.ones((2, 3, 3, 3, 1))
    np.testing.assert_allclose(np.asarray(published_loss(flat, flat)), 1, atol=1e-6)
    np.testing.assert_allclose(np.asarray(pairwise_loss(flat, flat)), 1, atol=1e-6)


def test_poolings_share_what_a_larger_box_has_to_lose():
    """24 voxels instead of 16, in the same shares: 6, 9, 6 and 3."""
    assert pooling_sizes(40) == [(32, 27), (21, 18), (13, 11), (8, 7)]


def test_layers_of_old_files_are_all_of_the_network_in_the_order_of_their_making():
    groups = "x y ab ba".split()
    convolutions = [f"feature_convolution_{i}" for i in (1, 2, 3, 4, 5)]
    convolutions += ["matching_ab_1", "matching_ab_2", "matching_ba_1", "matching_ba_2"]
    assert legacy._LAYERS["conv3d"] == convolutions
    normalisations = [name.split("_")[1:] for name in legacy._LAYERS["batch_normalization"]]
    order = [(groups.index(group), int(number)) for group, number in normalisations]
    assert order == sorted(order)
    named = [name for names in legacy._LAYERS.values() for name in names]
    made = [layer.name for layer in build_gumnet(16, width=0.01).layers if layer.weights]
    assert sorted(named) == sorted(made)


def test_shifts_are_of_half_the_padded_box():
    """Of 34 voxels for 32: from the first to the last of these are 33, of which 32 / 34 count."""
    assert shift_in_voxels(1.0, 32) == pytest.approx(33 / 2 * 32 / 34)
    assert shift_in_voxels(-0.5, 16) == pytest.approx(-0.5 * 17 / 2 * 16 / 18)
