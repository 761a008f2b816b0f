"""A shape that is turned and moved comes back to one standard pose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca.analysis.pose_normalisation import (
    how_determined,
    standard_pose,
    to_standard_pose,
)
from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index, random_rotations
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

PHANTOMS = load_phantoms()


def drawn(name, box, rotation=None, shift=(0, 0, 0)):
    phantom = PHANTOMS[name]
    return phantom.density(box, 3 * phantom.radius_angstrom / box, rotation, shift)


def angle_deg(first: Rotation, second: Rotation) -> float:
    return float(np.rad2deg((first.inv() * second).magnitude()))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("box", [28, 29])
@pytest.mark.parametrize("name", ["letter_l", "two_lobes"])
def test_a_turned_and_moved_shape_tells_its_turn_and_shift(name, box, rng):
    still = standard_pose(drawn(name, box))
    for rotation in random_rotations(4, rng):
        shift = rng.uniform(-1.5, 1.5, 3)
        moved = standard_pose(drawn(name, box, rotation, shift))
        assert angle_deg(rotation * still.rotation, moved.rotation) < 4
        centre = rotation.apply(still.shift_zyx_px[::-1])[::-1] + shift
        np.testing.assert_allclose(moved.shift_zyx_px, centre, atol=0.1)


@pytest.mark.parametrize("box", [28, 29])
def test_all_poses_come_back_to_one_volume(box, rng):
    still = drawn("letter_l", box)
    wanted = to_standard_pose(still, standard_pose(still))
    for rotation in random_rotations(3, rng):
        moved = drawn("letter_l", box, rotation, rng.uniform(-1.5, 1.5, 3))
        back = to_standard_pose(moved, standard_pose(moved))
        assert back.dtype == np.float32 and back.shape == moved.shape
        assert correlation(back, wanted) > 0.98
        assert correlation(moved, wanted) < 0.9
        again = standard_pose(back)  # the centre of mass lies at n // 2, the axes along x, y, z
        np.testing.assert_allclose(again.shift_zyx_px, 0, atol=0.1)
        assert angle_deg(again.rotation, Rotation.identity()) < 4


@pytest.mark.parametrize("shape", [(20, 23, 26), (21, 22, 25)])
def test_the_axes_of_a_box_of_dots_are_exact(shape):
    """Three masses whose moments can be written down: longest along y, then x, then z."""
    volume = np.zeros(shape, np.float32)
    z, y, x = (centre_index(n) for n in shape)
    for step, axis in ((7, 1), (5, 2), (3, 0)):
        place = np.array([z, y, x])
        place[axis] += step
        volume[tuple(place)] = 1
    volume[z, y, x] = 3  # more behind than in front, so that signs are plain
    pose = standard_pose(volume, threshold=0.0)
    np.testing.assert_allclose(pose.shift_zyx_px, [3 / 6, 7 / 6, 5 / 6])
    places = np.array([[0, 7, 0], [5, 0, 0], [0, 0, 3]] + [[0, 0, 0]] * 3, float)
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(np.cov(places.T, bias=True))),
                               pose.variances_px2, rtol=1e-6)  # fmt: skip
    long_axis = pose.rotation.apply([0, 0, 1])
    assert long_axis[1] > 0.9
    along = (places - places.mean(axis=0)) @ pose.rotation.as_matrix()
    wanted = (along**3).mean(axis=0) / along.var(axis=0) ** 1.5
    np.testing.assert_allclose(pose.skewness, wanted, rtol=1e-6)


def test_axes_are_right_handed_and_two_are_positive(rng):
    for rotation in random_rotations(6, rng):
        pose = standard_pose(drawn("letter_l", 24, rotation))
        assert np.linalg.det(pose.rotation.as_matrix()) == pytest.approx(1)
        assert (np.sort(pose.skewness * np.sign(pose.skewness))[1:] > 0).all()
        assert (pose.skewness[np.argsort(np.abs(pose.skewness))[1:]] > 0).all()
        assert (np.diff(pose.variances_px2) > 0).all()


def test_a_mirrored_shape_is_told_from_itself():
    """A right-handed pose cannot bring a chiral shape onto its mirror image."""
    shape = drawn("letter_l", 29)
    shape[18:22, 12:15, 16:19] += 1  # out of its plane: chiral
    mirrored = shape[:, :, ::-1]
    first, second = (to_standard_pose(v, standard_pose(v)) for v in (shape, mirrored))
    assert correlation(first, second) < 0.97
    turned = np.rot90(shape, axes=(0, 1))  # a turn, of an odd box: about n // 2
    assert correlation(first, to_standard_pose(turned, standard_pose(turned))) > 0.99


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("letter_l", "all"),
        ("two_lobes", "axes"),
        ("dimer", "axes"),
        ("rod", "long axis"),
        ("barrel", "long axis"),
        ("ring", "short axis"),
        ("shell", "nothing"),
    ],
)
def test_what_a_shape_determines(name, kind):
    found = how_determined(standard_pose(drawn(name, 28)))
    assert found.kind == kind
    assert f"{found.long_gap:.2f}" in found.sentence


@pytest.mark.parametrize(("tilt_range_deg", "most_deg"), [((-90, 90), 4), ((-60, 60), 18)])
def test_the_long_axis_of_a_rod_is_found_in_noise(tilt_range_deg, most_deg):
    """The wedge costs more than the noise; a random axis would be 60 degrees off."""
    size = 3 * PHANTOMS["rod"].radius_angstrom / 28
    given = simulate_subtomograms([PHANTOMS["rod"]], 12, 28, size, 0.1, tilt_range_deg, 1.5, 3)
    axis = standard_pose(drawn("rod", 28)).rotation.apply([0, 0, 1])
    errors_deg = []
    for volume, rotation in zip(given.volumes, given.rotations, strict=True):
        found = standard_pose(volume, lowpass_sigma_px=2).rotation.apply([0, 0, 1])
        cosine = min(1.0, abs(found @ rotation.apply(axis)))
        errors_deg.append(np.rad2deg(np.arccos(cosine)))
    assert np.median(errors_deg) < most_deg


def test_a_single_voxel_has_a_place():
    volume = np.zeros((9, 10, 11))
    volume[5, 5, 5] = 2
    pose = standard_pose(volume)
    np.testing.assert_allclose(pose.shift_zyx_px, [1, 0, 0])
    assert how_determined(pose).kind == "nothing"


def test_volumes_without_a_pose_are_refused():
    with pytest.raises(InputError, match="has shape"):
        standard_pose(np.zeros((2, 8, 8, 8)))
    with pytest.raises(InputError, match="not numbers"):
        standard_pose(np.full((8, 8, 8), np.nan))
    with pytest.raises(InputError, match="above its mean"):
        standard_pose(np.ones((8, 8, 8)))
    with pytest.raises(InputError, match=r"above 3.0 .* largest is 1"):
        standard_pose(np.ones((8, 8, 8)), threshold=3.0)
