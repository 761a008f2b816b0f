"""An average against a known map: brought onto it, resampled, of either hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca.averaging import compare_with_map, masked_correlation, resample
from aitom_disca.errors import InputError
from aitom_disca.geometry import fourier_crop, random_rotations
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.simulation import load_phantoms, read_template

VOXEL = 14.0
SAME = {"voxel_size_angstrom": VOXEL, "known_voxel_size_angstrom": VOXEL}


@pytest.fixture(scope="module")
def letter():
    return load_phantoms()["letter_l"]


@pytest.mark.parametrize("n", [32, 33])
def test_a_turned_and_moved_map_is_brought_back(rng, letter, n):
    known = letter.density(n, VOXEL)
    shift = np.array([2.4, -3.1, 1.7])
    turn = random_rotations(1, rng)[0]
    average = letter.density(n, VOXEL, turn, shift)
    found = compare_with_map(average, known, **SAME)
    assert found.correlation > 0.98
    np.testing.assert_allclose(found.shift_zyx_px, shift, atol=0.3)
    assert np.rad2deg((found.rotation * turn.inv()).magnitude()) < 3
    assert np.corrcoef(found.aligned.ravel(), average.ravel())[0, 1] > 0.98
    assert found.curve.resolution_angstrom(0.5) < 3 * VOXEL
    assert not found.mirrored


def test_noise_does_not_lead_astray(rng, letter):
    n, shift = 32, np.array([-1.5, 2.0, 0.5])
    truth = letter.density(n, VOXEL, random_rotations(1, rng)[0], shift)
    average = 5 + 100 * (truth + rng.normal(0, truth.std(), truth.shape))
    found = compare_with_map(average, letter.density(n, VOXEL) - 3, **SAME)
    assert np.corrcoef(found.aligned.ravel(), truth.ravel())[0, 1] > 0.98
    best = masked_correlation(average, truth, soft_sphere(n, 14, 2))
    assert best < 0.9
    assert found.correlation == pytest.approx(best, abs=0.02)


def test_another_voxel_size_is_refused_unless_it_may_be_changed(letter):
    average = letter.density(32, VOXEL, Rotation.from_euler("zyx", [50, 20, 70], degrees=True))
    known = letter.density(47, 9.3)
    sizes = {"voxel_size_angstrom": VOXEL, "known_voxel_size_angstrom": 9.3}
    with pytest.raises(InputError, match=r"voxels of 9\.3 Angstrom and the average of 14"):
        compare_with_map(average, known, **sizes)
    assert compare_with_map(average, known, rescale=True, **sizes).correlation > 0.97


def test_another_box_is_cropped_or_padded_about_the_centre(letter):
    average = letter.density(28, VOXEL)
    uneven = letter.density(35, VOXEL)[5:30, 2:33, :]  # 25, 31, 35: the centre voxel stays
    found = compare_with_map(average, uneven, **SAME)
    np.testing.assert_allclose(found.shift_zyx_px, 0, atol=0.2)
    assert found.correlation > 0.99


def test_the_other_hand_is_tried_only_when_asked(letter):
    known = letter.density(28, VOXEL)
    turn = Rotation.from_euler("zyx", [30, 40, -80], degrees=True)
    average = letter.density(28, VOXEL, turn)[::-1]
    one = compare_with_map(average, known, **SAME)
    both = compare_with_map(average, known, both_hands=True, **SAME)
    assert both.mirrored and both.correlation > 0.97
    assert not one.mirrored and one.correlation < both.correlation - 0.02


def test_different_structures_are_less_alike(letter):
    average = letter.density(26, VOXEL)
    other = load_phantoms()["barrel"].density(26, VOXEL)
    assert compare_with_map(average, other, **SAME).correlation < 0.8


def test_correlation_counts_only_what_the_mask_shows(rng):
    a = rng.normal(size=(9, 9, 9))
    b, mask = 3 * a + 1, np.zeros(a.shape)
    mask[2:7, 2:7, 2:7] = 1
    b[mask == 0] = rng.normal(size=int((mask == 0).sum()))
    assert masked_correlation(a, b, mask) == pytest.approx(1)
    shown = mask > 0
    c = rng.normal(size=a.shape)
    expected = np.corrcoef(a[shown], c[shown])[0, 1]
    assert masked_correlation(a, c, mask) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "box_px"), [(24, 12), (27, 9), (30, 15)])
def test_resampling_agrees_with_fourier_cropping(rng, n, box_px):
    volume = rng.normal(size=(n, n, n))
    found = resample(volume, 5.0, 5.0 * n / box_px, box_px)
    np.testing.assert_allclose(found, fourier_crop(volume, box_px), atol=1e-6)


def test_resampling_to_finer_voxels_and_back_loses_nothing(rng):
    volume = fourier_crop(rng.normal(size=(25, 25, 25)), 15).astype(float)
    fine = resample(volume, 10.0, 6.0, 25)
    np.testing.assert_allclose(resample(fine, 6.0, 10.0, 15), volume, atol=1e-9)


def test_resampling_draws_a_phantom_as_it_is_drawn(letter):
    known = letter.density(60, 8.0)
    drawn = letter.density(31, 13.3)
    found = resample(known, 8.0, 13.3, 31)
    assert np.corrcoef(found.ravel(), drawn.ravel())[0, 1] > 0.99


def test_a_real_structure_is_brought_back(rng, shared_data):
    template = read_template(shared_data / "templates" / "1qvr.mrc.gz")
    shift = np.array([1.2, -2.3, 0.4])
    average = template.density(32, 12.0, random_rotations(1, rng)[0], shift)
    known = template.density(45, 8.0)
    found = compare_with_map(
        average, known, voxel_size_angstrom=12.0, known_voxel_size_angstrom=8.0, rescale=True
    )
    assert found.correlation > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"average": np.ones((12, 12, 12))}, "the average holds one value only"),
        ({"known": np.zeros((12, 12, 12))}, "the known map holds one value only"),
        ({"average": np.ones((12, 12, 13))}, "the average must be a cube"),
        ({"average": np.ones((6, 6, 6))}, "at least 8 voxels an edge; it has 6"),
        ({"known": np.full((12, 12, 12), np.inf)}, "the known map holds values"),
        ({"mask": np.zeros((12, 12, 12))}, "the mask is empty"),
        ({"mask": np.ones((10, 10, 10))}, "the mask has the shape"),
        ({"known_voxel_size_angstrom": -1.0}, "voxel size of the known map"),
    ],
)
def test_refuses_what_it_cannot_use(rng, change, message):
    good = {"average": rng.normal(size=(12, 12, 12)), "known": rng.normal(size=(12, 12, 12))}
    with pytest.raises(InputError, match=message):
        compare_with_map(**(good | SAME | change))
