"""Gum-Net: every layer against SciPy, poses against planted ones, training that learns."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

pytest.importorskip("keras")

from keras import ops

from aitom_disca.errors import InputError
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.network.gumnet import (
    build_gumnet,
    load_gumnet,
    poses,
    predict_poses,
    save_gumnet,
    train_gumnet,
)
from aitom_disca.network.gumnet.copies import (
    FARTHEST_DEG,
    Copies,
    TurnedTwice,
    begin_in_the_middle,
    middle_matrix,
    motion_loss,
)
from aitom_disca.network.gumnet.layers import FeatureCorrelation, FeatureL2Norm, SpectralPooling
from aitom_disca.network.gumnet.model import as_motion, pooling_sizes
from aitom_disca.network.gumnet.poses import pose_of_parameters
from aitom_disca.network.gumnet.training import pairwise_loss, published_loss
from aitom_disca.network.gumnet.transform import (
    imputed,
    moved,
    rotation_matrices,
    shift_in_voxels,
)
from aitom_disca.progress import Step
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

TILT = (-60.0, 60.0)


def tensor(array: np.ndarray):
    return ops.convert_to_tensor(np.asarray(array, np.float32))


# -- layers ----------------------------------------------------------------------------------


def test_spectral_pooling_is_a_cosine_transform_cut_and_padded(rng) -> None:
    volumes = rng.normal(size=(2, 9, 9, 9, 3)).astype(np.float32)
    found = np.asarray(SpectralPooling(7, 5)(tensor(volumes)))
    spectrum = fft.dctn(volumes, axes=(1, 2, 3), norm="ortho")[:, :5, :5, :5]
    padded = np.zeros((2, 7, 7, 7, 3))
    padded[:, :5, :5, :5] = spectrum
    expected = fft.idctn(padded, axes=(1, 2, 3), norm="ortho")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    gained = np.asarray(SpectralPooling(26, 22)(tensor(np.ones((1, 30, 30, 30, 1)))))
    np.testing.assert_allclose(gained, (30 / 26) ** 1.5, rtol=1e-4)


def test_features_are_normalised_and_correlated_voxel_by_voxel(rng) -> None:
    a, b = (rng.normal(size=(1, 3, 3, 3, 4)).astype(np.float32) for _ in range(2))
    length = np.sqrt((a**2).sum(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(np.asarray(FeatureL2Norm()(tensor(a))), a / length, rtol=1e-5)
    found = np.asarray(FeatureCorrelation()([tensor(a), tensor(b)]))
    assert found.shape == (1, 3, 3, 3, 27)
    flat = b.reshape(27, 4)
    for i, j, k, n in ((0, 1, 2, 5), (2, 2, 0, 26), (1, 0, 0, 9)):
        assert found[0, i, j, k, n] == pytest.approx(a[0, k, j, i] @ flat[n], rel=1e-4)


# -- motion ----------------------------------------------------------------------------------


def test_the_rotation_is_the_transposed_zyz_product(rng) -> None:
    angles = rng.uniform(-np.pi, np.pi, (5, 3))
    z1, y, z2 = (
        Rotation.from_euler(axis, angles[:, [i]]).as_matrix() for i, axis in enumerate("zyz")
    )
    expected = (z1 @ y @ z2).swapaxes(1, 2)
    np.testing.assert_allclose(np.asarray(rotation_matrices(tensor(angles))), expected, atol=1e-5)


@pytest.mark.parametrize("n", [8, 9])
def test_volumes_are_moved_as_scipy_does(rng, n: int) -> None:
    volume = ndimage.gaussian_filter(rng.normal(size=(n, n, n)), 1)
    angles, shift = rng.uniform(-3, 3, (1, 3)), np.array([[0.7, -1.2, 0.4]])
    matrices = rotation_matrices(tensor(angles))
    matrix = np.asarray(matrices)[0]
    middle = np.full(3, (n - 1) / 2)
    padded = np.pad(volume, 1)  # SciPy's own border falls off otherwise
    offset = matrix @ (-middle - shift[0]) + middle + 1
    for outside, source, at in (("zero", padded, offset), ("nearest", volume, offset - 1)):
        found = np.asarray(moved(tensor(volume[None]), matrices, tensor(shift), outside=outside))[0]
        mode = "constant" if outside == "zero" else "nearest"
        expected = ndimage.affine_transform(
            source, matrix, at, output_shape=(n, n, n), order=1, mode=mode
        )
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("n", [6, 7])
def test_missing_coefficients_come_from_the_target(rng, n: int) -> None:
    x, y, mask = rng.normal(size=(3, 1, n, n, n))
    observed = (mask > 0).astype(float)
    found = np.asarray(imputed(*(tensor(v) for v in (x, y, observed, 1 - observed))))[0]
    centred = [np.fft.fftshift(np.fft.fftn(v[0])) for v in (x, y)]
    mixed = centred[0] * observed[0] + centred[1] * (1 - observed[0])
    expected = np.fft.ifftn(np.fft.ifftshift(mixed)).real
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("n", [16, 17])
def test_parameters_become_poses_of_this_project(rng, n: int) -> None:
    """A particle in a known pose is moved onto its reference by the parameters of that pose."""
    phantom = load_phantoms()["letter_l"]
    parameters = rng.uniform(0.3, 0.7, (1, 6))
    parameters[:, 3:] = 0.5 + rng.uniform(-0.06, 0.06, (1, 3))
    rotations, offsets = pose_of_parameters(parameters, n)
    reference = phantom.density(n, 20.0)
    particle = phantom.density(n, 20.0, rotations[0], offsets[0]).transpose(2, 1, 0)
    angles = 2 * np.pi * parameters[:, :3] - np.pi
    shifts = shift_in_voxels(tensor(2 * parameters[:, 3:] - 1), n)
    laid = moved(tensor(particle[None]), rotation_matrices(tensor(angles)), shifts)
    laid = np.asarray(laid)[0].transpose(2, 1, 0)
    inside = soft_sphere(n, n / 2 - 2, 1, "gaussian") > 0.5
    assert np.corrcoef(laid[inside], reference[inside])[0, 1] > 0.97
    assert np.corrcoef(particle[inside], reference[inside])[0, 1] < 0.9


# -- the network -----------------------------------------------------------------------------


def test_published_sizes_and_parameters() -> None:
    assert pooling_sizes(32) == [(26, 22), (18, 15), (12, 10), (8, 7)]
    counted = _parameters(width=1.0)
    assert counted == 110_069_318
    small = build_gumnet(32, width=0.05)
    trainable = sum(int(np.prod(weight.shape)) for weight in small.trainable_weights)
    assert trainable == _parameters(width=0.05)


def _parameters(width: float) -> int:
    """Of the published table, layer by layer."""

    def scaled(channels: int) -> int:
        return max(1, round(channels * width))

    channels = [1, *(scaled(c) for c in (32, 64, 128, 256, 512))]
    total = sum(27 * a * b + b for a, b in pairwise(channels))
    total += 2 * sum(2 * c for c in channels[1:])
    matching, dense = scaled(1024), scaled(2000)
    total += 2 * (27 * 216 * matching + matching + 27 * matching**2 + matching + 4 * matching)
    return total + 16 * matching * dense + dense + dense**2 + dense + 6 * dense + 6


@pytest.mark.parametrize("box_px", [16, 20, 25, 40])
def test_other_boxes_end_at_the_same_features(box_px: int) -> None:
    assert pooling_sizes(box_px)[-1][0] == 8
    if box_px < 30:
        assert build_gumnet(box_px, width=0.01).output_shape[0][1:4] == (box_px,) * 3


def test_a_box_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="at least 16 voxels; this one has 15"):
        build_gumnet(15)


def test_losses_are_correlations(rng) -> None:
    a, b = rng.normal(size=(2, 3, 4, 4, 4, 1))
    by_pair = [1 - np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(np.asarray(pairwise_loss(tensor(a), tensor(b))), by_pair, atol=1e-5)
    r = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert float(published_loss(tensor(a), tensor(b))) == pytest.approx(1 - r**2, abs=1e-5)
    assert float(published_loss(tensor(a), tensor(-a))) == pytest.approx(0, abs=1e-5)
    assert float(pairwise_loss(tensor(a), tensor(-a))[0]) == pytest.approx(2, abs=1e-5)


@pytest.fixture
def losses(monkeypatch) -> list[float]:
    """What training knows after every epoch."""
    said: list[float] = []

    class Watched(Step):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "outcome" and value:
                said.append(float(value.rpartition(" ")[2]))

    monkeypatch.setattr(
        "aitom_disca.network.gumnet.training.step", lambda *given: nullcontext(Watched(*given))
    )
    return said


def test_copies_teach_motions_and_the_network_is_kept(tmp_path, losses, uncompiled) -> None:
    phantom = load_phantoms()["letter_l"]
    made = simulate_subtomograms([phantom], 8, 16, 20.0, np.inf, TILT, 1.0, seed=1)
    model = train_gumnet(made.volumes, TILT, width=0.02, epochs=12, batch_size=8, seed=0)
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1
    save_gumnet(model, tmp_path / "gum.keras")
    again = load_gumnet(tmp_path / "gum.keras")
    target = phantom.density(16, 20.0)
    first, second = (predict_poses(m, made.volumes, target, TILT, starts=2) for m in (model, again))
    np.testing.assert_allclose(first[0].as_quat(), second[0].as_quat(), atol=1e-5)
    np.testing.assert_allclose(first[1], second[1], atol=1e-5)
    assert first[1].shape == (8, 3) and np.isfinite(first[1]).all()


def test_pairs_teach_as_published(losses, uncompiled) -> None:
    made = simulate_subtomograms([load_phantoms()["letter_l"]], 6, 16, 20.0, 5.0, TILT, 1.0, seed=1)
    options = {"width": 0.02, "batch_size": 3, "learning_rate": 2e-3, "seed": 0}
    train_gumnet(made.volumes, TILT, epochs=6, loss="pairwise", **options)
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.02


def test_a_seed_gives_one_network_and_leaves_others_alone() -> None:
    state = np.random.get_state()[1].copy()
    first, same, other = (build_gumnet(16, width=0.01, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    kernels = [m.get_layer("matching_ab_1").kernel for m in (first, same, other)]
    kernels = [ops.convert_to_numpy(kernel) for kernel in kernels]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01


# -- copies with a known motion --------------------------------------------------------------


def test_the_known_motion_lays_one_copy_on_the_other() -> None:
    phantom = load_phantoms()["letter_l"]
    volumes = np.stack([phantom.density(20, 16.0).transpose(2, 1, 0)] * 4)
    (given, matrices, shifts), motion = Copies(volumes, 4, seed=5)[0]
    copies = TurnedTwice((-90.0, 90.0))([tensor(a) for a in (given, matrices, shifts)])
    first, second = (np.asarray(copy)[..., 0] for copy in copies)
    laid = np.asarray(moved(tensor(first), tensor(motion[:, :3]), tensor(motion[:, 3])))
    inside = soft_sphere(20, 8, 1, "gaussian") > 0.5
    for a, b, c in zip(laid, second, first, strict=True):
        assert np.corrcoef(a[inside], b[inside])[0, 1] > 0.97
        assert np.corrcoef(c[inside], b[inside])[0, 1] < 0.9


def test_motions_to_learn_lie_round_one_of_the_cube(rng) -> None:
    middle = middle_matrix()
    assert set(np.abs(middle).ravel()) == {0.0, 1.0}
    (_, _, _), motion = Copies(np.zeros((50, 4, 4, 4)), 50, seed=0)[0]
    away = Rotation.from_matrix(motion[:, :3] @ middle.T).magnitude()
    assert 50 < np.rad2deg(away).max() <= FARTHEST_DEG
    cube = Rotation.create_group("O")
    nearest = [(cube * r).magnitude().min() for r in Rotation.random(2000, random_state=0)]
    assert 58 < np.rad2deg(max(nearest)) <= FARTHEST_DEG


def test_the_loss_of_a_motion_is_nothing_for_its_own_parameters(rng) -> None:
    parameters = tensor(rng.uniform(0.2, 0.8, (2, 6)))
    angles, shift = as_motion(parameters)
    shift_px = np.asarray(shift_in_voxels(shift, 16))
    motion = np.concatenate([np.asarray(rotation_matrices(angles)), shift_px[:, None]], axis=1)
    loss = motion_loss(16)
    np.testing.assert_allclose(np.asarray(loss(tensor(motion), parameters)), 0, atol=1e-5)
    motion[:, 3, 0] += 2.0
    np.testing.assert_allclose(np.asarray(loss(tensor(motion), parameters)), 0.4, atol=1e-4)
    motion[1, 2, 0] += 3.0  # of the matrix of one of the two
    np.testing.assert_allclose(np.asarray(loss(tensor(motion), parameters))[0], 0.4, atol=1e-4)


# -- many starts -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [16, 17])
def test_a_network_that_stays_still_finds_the_turns_of_the_cube(n: int, monkeypatch) -> None:
    """Every volume has its own target; the turned volume is exactly a turned target."""
    monkeypatch.setattr(poses, "_BATCH", 3)
    phantom = load_phantoms()["letter_l"]
    model = build_gumnet(n, width=0.01)
    begin_in_the_middle(model)
    turns = Rotation.create_group("O")[[5, 11, 20]]
    known = Rotation.from_euler("zyx", [[10, 20, 30], [50, 60, 70], [-80, 40, 10]], degrees=True)
    targets = np.stack([phantom.density(n, 20.0, r, np.zeros(3)) for r in known])
    volumes = np.stack([phantom.density(n, 20.0, r, np.zeros(3)) for r in turns * known])
    found, offsets = predict_poses(model, volumes, targets, (-90.0, 90.0))
    assert np.rad2deg((found * turns.inv()).magnitude()).max() < 0.1
    assert np.abs(offsets).max() < (0.01 if n % 2 else 1.01)  # an even box has no middle voxel


def test_what_does_not_fit_the_network_is_refused() -> None:
    model, volumes = build_gumnet(16, width=0.01), np.zeros((3, 16, 16, 16), np.float32)
    with pytest.raises(InputError, match="boxes of 16 voxels"):
        predict_poses(model, np.zeros((3, 17, 17, 17)), volumes[0], TILT)
    with pytest.raises(InputError, match="one for each of 3 volumes; got 2"):
        predict_poses(model, volumes, volumes[:2], TILT)
    with pytest.raises(InputError, match="1 to 24 starts; got 0"):
        predict_poses(model, volumes, volumes[0], TILT, starts=0)
    with pytest.raises(InputError, match="published, but got 'best'"):
        train_gumnet(volumes, TILT, loss="best")


def test_one_volume_is_no_pair_and_text_is_no_model(tmp_path) -> None:
    with pytest.raises(InputError, match="learns from pairs"):
        train_gumnet(np.zeros((1, 16, 16, 16)), TILT)
    (tmp_path / "no.keras").write_text("nothing")
    with pytest.raises(InputError, match="read as a Gum-Net model"):
        load_gumnet(tmp_path / "no.keras")
