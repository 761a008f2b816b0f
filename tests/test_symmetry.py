"""Point groups are groups on the right axes; the axes of turned, noisy phantoms are found."""

from __future__ import annotations

import numpy as np
import pytest
from few_rotations import averaging_quickly
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.align_averages import turned
from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.maximisation import Averager
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.alignment.slices import Slicer
from aitom_disca.averaging.compare_maps import compare_with_map, masked_correlation
from aitom_disca.averaging.gold_standard import average_cluster
from aitom_disca.averaging.symmetrise import (
    SymmetryAxes,
    expanded,
    find_axes,
    lay_on_axes,
    symmetrised,
)
from aitom_disca.averaging.symmetry_axes import _Operations
from aitom_disca.errors import InputError
from aitom_disca.geometry import apply_wedge, random_rotations
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.geometry.symmetry import point_group
from aitom_disca.simulation import simulate_subtomograms
from aitom_disca.simulation.phantoms import Phantom

SIZES = {
    "C1": 1, "C2": 2, "C7": 7, "C12": 12, "D1": 2, "D2": 4, "D7": 14, "T": 12, "O": 24,
    "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60,
}  # fmt: skip


def distance_deg(group: Rotation, turn: Rotation) -> float:
    """From a rotation to the nearest of a group."""
    return float(np.rad2deg((group * turn.inv()).magnitude().min()))


def has_fold(group: Rotation, fold: int, axis) -> bool:
    turn = Rotation.from_rotvec(2 * np.pi / fold * np.array(axis) / np.linalg.norm(axis))
    return distance_deg(group, turn) < 1e-3


# -- point groups ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_groups_have_their_size_and_are_closed(name):
    group = point_group(name)
    assert len(group) == SIZES[name]
    assert group[0].magnitude() < 1e-9
    for a in group:
        products = a * group
        for product in products:
            assert distance_deg(group, product) < 1e-4
    apart = [(group[i] * group[:i].inv()).magnitude().min() for i in range(1, len(group))]
    assert min(apart, default=1) > np.pi / 51  # no rotation twice


def test_axes_are_those_of_relion():
    """Values as its documentation and its symmetry tables give them."""
    assert has_fold(point_group("c5"), 5, (0, 0, 1))
    assert has_fold(point_group("d7"), 2, (1, 0, 0)) and has_fold(point_group("D7"), 7, (0, 0, 1))
    assert has_fold(point_group("T"), 3, (0, 0, 1))
    assert has_fold(point_group("T"), 2, (0, 0.816496, 0.577350))
    assert all(has_fold(point_group("O"), 4, axis) for axis in np.eye(3))
    assert has_fold(point_group("I2"), 2, (0, 0, 1))
    assert has_fold(point_group("I2"), 5, (0.525731, 0, 0.850651))
    assert has_fold(point_group("I2"), 3, (0, 0.356822, 0.934172))
    assert has_fold(point_group("I1"), 2, (1, 0, 0))
    assert has_fold(point_group("I1"), 5, (0.850651, 0, -0.525731))
    assert has_fold(point_group("I1"), 3, (0.934172, 0.356822, 0))
    assert has_fold(point_group("I3"), 2, (-0.525731, 0, 0.850651))
    assert has_fold(point_group("I3"), 3, (-0.491123, 0.356822, 0.794654))
    assert has_fold(point_group("I4"), 5, (0.894427, 0, 0.447214))
    assert has_fold(point_group("I4"), 3, (0.491123, 0.356822, 0.794654))


def test_i_is_i2_and_not_i1():
    first, second = point_group("I"), point_group("I1")
    assert all(distance_deg(point_group("I2"), g) < 1e-4 for g in first)
    assert not all(distance_deg(second, g) < 1e-4 for g in first)


@pytest.mark.parametrize("name", ["C0", "C", "D-1", "I5", "X", "", "C1.5", "C100", "O2"])
def test_other_names_are_refused_in_one_sentence(name):
    with pytest.raises(InputError, match="symmetry is C or D"):
        point_group(name)


# -- averages ----------------------------------------------------------------------------------

BOX, VOXEL = 24, 8.0


def balls(name: str, n: int, seed: int) -> Phantom:
    """Balls at random places, repeated by a symmetry."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(n, 3))
    places *= rng.uniform(30, 60, (n, 1)) / np.linalg.norm(places, axis=1, keepdims=True)
    group = point_group(name)
    starts = np.concatenate([g.apply(places) for g in group])
    return Phantom(name, "", starts, starts, np.tile(rng.uniform(12, 20, n), len(group)))


@pytest.mark.parametrize(("name", "n"), [("C4", 3), ("D3", 2), ("O", 1)])
def test_axes_of_a_turned_noisy_phantom_are_found(name, n, rng):
    turn, shift = random_rotations(1, rng)[0], rng.uniform(-1.5, 1.5, 3)
    clean = balls(name, n, seed=1).density(BOX, VOXEL, turn, shift)
    found = find_axes(clean + rng.normal(size=clean.shape) * 0.7 * clean.std(), name)
    group = point_group(name)
    truth = turn * group * turn.inv()
    operations = found.rotation.inv() * group * found.rotation
    assert max(distance_deg(truth, operation) for operation in operations) < 2
    off = -found.rotation.inv().apply(found.shift_zyx_px[::-1]) - shift[::-1]
    axis = turn.apply([0, 0, 1]) * (name == "C4")  # along it any place would do
    assert np.linalg.norm(off - axis * (off @ axis)) < 0.3
    assert found.score > found.by_chance + 0.3
    least = (group * found.rotation).magnitude().min()
    assert found.rotation.magnitude() <= least + 1e-6

    laid = turned(clean, found.rotation, found.shift_zyx_px)
    assert np.corrcoef(laid.ravel(), symmetrised(laid, group).ravel())[0, 1] > 0.97


def test_what_has_no_symmetry_gets_a_lower_score():
    without = balls("C1", 9, seed=1).density(BOX, VOXEL)
    assert find_axes(without, "D3").score < 0.5  # that of D3 is 0.8 with noise, see above


def test_a_ball_has_no_axes():
    ball = Phantom("ball", "", np.zeros((1, 3)), np.zeros((1, 3)), np.array([60.0]))
    assert find_axes(ball.density(BOX, VOXEL), "C2").score == 0


def test_shared_power_is_that_of_the_symmetrised_volume(rng):
    volume = balls("C1", 6, seed=2).density(BOX, VOXEL)
    rotation, shift, group = random_rotations(1, rng)[0], np.array([0.5, -1.0, 0.7]), "D3"
    laid = turned(volume, rotation, shift)
    power = [
        (np.abs(Coefficients(BOX, 6, (-90, 90)).of(v[None])) ** 2).sum()
        for v in (symmetrised(laid, point_group(group)), laid)
    ]
    fast = _Operations(volume, point_group(group), 6).shared_by(rotation, shift)
    assert fast == pytest.approx(power[0] / power[1], rel=0.03)


def test_members_follow_their_average(rng):
    """Turn and move the average: the same subtomograms come from the new poses."""
    phantom = balls("C1", 5, seed=3)
    average = phantom.density(BOX, VOXEL)
    rotations, offsets = random_rotations(4, rng), rng.uniform(-1, 1, (4, 3))
    found = SymmetryAxes(random_rotations(1, rng)[0], rng.uniform(-1, 1, 3), 1.0, 0.0)
    laid = turned(average, found.rotation, found.shift_zyx_px)
    again, moved = lay_on_axes(rotations, offsets, found)
    for i in range(4):
        before = phantom.density(BOX, VOXEL, rotations[i], offsets[i])
        after = turned(laid, again[i], moved[i])
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.98


def test_expanded_members_fill_the_wedge(rng):
    """One member, seen from seven sides: closer to the truth than symmetrised afterwards."""
    phantom, group = balls("C7", 2, seed=4), point_group("C7")
    truth = phantom.density(BOX, VOXEL)
    pose = Rotation.from_euler("y", [[90]], degrees=True)  # its axis lies in the slice plane
    offset = np.array([[0.8, -0.5, 0.3]])
    seen = apply_wedge(phantom.density(BOX, VOXEL, pose[0], offset[0]), (-50, 50))
    coefficients = Coefficients(BOX, BOX / 2 - 1, (-50, 50))

    def average(rotations, offsets):
        values = coefficients.of(seen[None]) * coefficients.shift_phases(offsets)
        totals = Slicer(coefficients, rotations).insert(values, np.ones(len(values)))
        return Averager(Slicer(coefficients, rotation_grid(1)), BOX // 2).unfiltered(totals)

    rotations, offsets, member = expanded(pose, offset, group)
    assert len(rotations) == len(offsets) == 7 and not member.any()
    mask = soft_sphere(BOX, 9, 3)
    from_all = masked_correlation(average(rotations, offsets), truth, mask)
    afterwards = masked_correlation(symmetrised(average(pose, offset), group), truth, mask)
    assert from_all > max(0.9, afterwards + 0.01)


def test_expanded_poses_are_by_member(rng):
    rotations, offsets = random_rotations(3, rng), rng.normal(size=(3, 3))
    group = point_group("D2")
    turns, places, member = expanded(rotations, offsets, group)
    assert member.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_allclose(places, offsets[member])
    for i, (turn, m) in enumerate(zip(turns, member, strict=True)):
        assert (turn.inv() * rotations[m] * group[i % 4]).magnitude() < 1e-6


@pytest.mark.parametrize(
    ("volume", "name", "message"),
    [
        (np.ones((12, 12, 12)), "C2", "one value only"),
        (np.ones((12, 12, 10)), "C2", "cube"),
        (np.ones((6, 6, 6)), "C2", "at least 8"),
        (np.ones((12, 12, 12)), "C1", "no axes"),
    ],
)
def test_unusable_averages_are_refused(volume, name, message):
    with pytest.raises(InputError, match=message):
        find_axes(volume, name)


@averaging_quickly()
def test_a_symmetric_average_lies_on_its_axes_and_is_nearer_to_the_truth():
    phantom = balls("C4", 3, seed=1)
    tilts = (-50.0, 50.0)
    made = simulate_subtomograms([phantom], 16, 20, 10.0, 0.08, tilts, 1.0, seed=4)
    known = phantom.density(20, 10.0)
    sizes = {"voxel_size_angstrom": 10.0, "known_voxel_size_angstrom": 10.0}
    plain = average_cluster(made.volumes, tilts)
    symmetric = average_cluster(made.volumes, tilts, symmetry="C4")
    quarter = turned(symmetric.average, Rotation.from_euler("z", 90, degrees=True), np.zeros(3))
    mask = soft_sphere(20, 7, 2)
    assert masked_correlation(quarter, symmetric.average, mask) > 0.95
    found = compare_with_map(symmetric.average, known, **sizes).correlation
    assert found > compare_with_map(plain.average, known, **sizes).correlation
    assert found > 0.85
    assert len(symmetric.rotations) == 16


def test_an_unknown_symmetry_is_refused_before_the_work(rng):
    with pytest.raises(InputError, match="a symmetry is C or D"):
        average_cluster(rng.normal(size=(5, 8, 8, 8)), (-60.0, 60.0), symmetry="Q7")


@averaging_quickly()
def test_a_symmetry_that_is_not_clearly_there_is_refused(rng):
    noise = rng.normal(size=(12, 12, 12, 12)).astype(np.float32)
    found = average_cluster(noise, (-60.0, 60.0), symmetry="D2")
    assert found.axes is not None and not found.axes.clear and found.symmetry == "C1"
    assert SymmetryAxes(found.axes.rotation, np.zeros(3), 0.21, 0.16).clear is False
    assert SymmetryAxes(found.axes.rotation, np.zeros(3), 0.41, 0.16).clear is True
