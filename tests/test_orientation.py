"""View directions as RELION's angles have them, and preferences that are planted and found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, kstest

from aitom_disca.analysis.orientation import preferred_orientation, preferred_orientations
from aitom_disca.analysis.view_directions import (
    bin_sphere,
    bingham_statistic,
    rayleigh_statistic,
    view_directions_xyz,
)
from aitom_disca.errors import InputError
from aitom_disca.geometry import random_rotations, rotation_from_euler_zyz_deg


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def poses_seen_from(directions_xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Angles of particles that the beam sees from these directions, turned at random about it."""
    x, y, z = directions_xyz.T
    psi = rng.uniform(-180, 180, len(x))
    return np.column_stack([np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arccos(z)), psi])


# -- view directions ---------------------------------------------------------------------------


def test_a_view_direction_is_the_beam_in_the_frame_of_the_reference(rng):
    rotations = random_rotations(20, rng)
    directions = view_directions_xyz(rotations)
    np.testing.assert_allclose(rotations.apply(directions), np.tile([0, 0, 1], (20, 1)), atol=1e-12)


def test_a_view_direction_is_rot_and_tilt_and_no_psi(rng):
    angles = rng.uniform((-180, 0, -180), (180, 180, 180), (30, 3))
    rot, tilt, _ = np.deg2rad(angles.T)
    wanted = np.column_stack([np.cos(rot) * np.sin(tilt), np.sin(rot) * np.sin(tilt), np.cos(tilt)])
    np.testing.assert_allclose(view_directions_xyz(angles), wanted, atol=1e-12)
    rotations = rotation_from_euler_zyz_deg(angles)
    np.testing.assert_allclose(view_directions_xyz(rotations), wanted, atol=1e-12)


def test_angles_that_are_not_numbers_are_left_out(rng):
    angles = rng.uniform(0, 90, (5, 3))
    angles[[1, 3], [0, 2]] = np.nan
    assert len(view_directions_xyz(angles)) == 3
    assert preferred_orientation(np.full((4, 3), np.nan)).n == 0


def test_angles_of_a_wrong_shape_are_refused():
    with pytest.raises(InputError, match=r"\(n, 3\), but have shape \(4, 2\)"):
        view_directions_xyz(np.zeros((4, 2)))
    with pytest.raises(InputError, match="3 poses but 2 labels"):
        preferred_orientations(np.zeros((3, 3)), np.zeros(2, int))


# -- bins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bands", [1, 2, 7, 12])
def test_all_cells_have_one_area(n_bands):
    bins = bin_sphere(np.zeros((0, 3)), n_bands)
    heights = -np.diff(bins.z_edges)
    per_cell = heights / [len(band) for band in bins.counts]
    np.testing.assert_allclose(per_cell, 2 / bins.n_cells, rtol=1e-12)
    assert bins.n == 0


def test_each_direction_falls_into_its_own_cell(rng):
    bands = 9
    edges, counts = bin_sphere(np.zeros((0, 3)), bands).z_edges, []
    for i, north in enumerate(edges[:-1]):
        m = len(bin_sphere(np.zeros((0, 3)), bands).counts[i])
        z = np.full(m, (north + edges[i + 1]) / 2)
        turn = 2 * np.pi * (np.arange(m) + 0.5) / m
        side = np.sqrt(1 - z**2)
        counts.append(np.column_stack([side * np.cos(turn), side * np.sin(turn), z]))
    bins = bin_sphere(np.concatenate(counts), bands)
    assert all((band == 1).all() for band in bins.counts)
    poles_and_seam = np.array([[0, 0, 1], [0, 0, -1], [1, -1e-18, 0], [-1, 0, 0]], float)
    assert bin_sphere(poles_and_seam, bands).n == 4
    uniform = bin_sphere(unit(rng.normal(size=(40000, 3))), bands)
    counted = np.concatenate(uniform.counts)
    expected = 40000 / uniform.n_cells
    assert chi2.sf(((counted - expected) ** 2 / expected).sum(), uniform.n_cells - 1) > 1e-3


def test_there_must_be_a_band():
    with pytest.raises(InputError, match="n_bands must be 1 or more"):
        bin_sphere(np.zeros((0, 3)), 0)


# -- statistics --------------------------------------------------------------------------------


def test_statistics_are_those_of_the_plain_formulas(rng):
    sets = unit(rng.normal(size=(4, 17, 3)) + np.array([0.2, 0, 0.5]))
    for directions, rayleigh, bingham in zip(
        sets, rayleigh_statistic(sets), bingham_statistic(sets), strict=True
    ):
        pairs = [[a @ b for a in directions] for b in directions]  # both are sums over pairs
        assert rayleigh == pytest.approx(3 / 17 * np.sum(pairs))
        assert bingham == pytest.approx(7.5 / 17 * np.sum(np.square(pairs) - 1 / 3))


def test_statistics_do_not_depend_on_the_frame(rng):
    directions = unit(rng.normal(size=(25, 3)) + np.array([0.2, 0, 0.5]))
    turned = random_rotations(1, rng)[0].apply(directions)
    assert rayleigh_statistic(turned) == pytest.approx(rayleigh_statistic(directions))
    assert bingham_statistic(turned) == pytest.approx(bingham_statistic(directions))


@pytest.mark.parametrize(("n", "repeats"), [(4, 150), (12, 150), (60, 400)])
def test_significance_of_uniform_rotations_is_uniform(n, repeats, rng):
    found = [
        preferred_orientation(random_rotations(n, rng), n_simulations=499, seed=i)
        for i in range(repeats)
    ]
    for name in ("rayleigh_p", "bingham_p", "p"):
        p = np.array([getattr(one, name) for one in found])
        assert kstest(p, "uniform").pvalue > 1e-3, name
    assert np.mean([one.kind != "none" for one in found]) < 0.04


def test_effects_of_uniform_rotations_are_small_at_any_number(rng):
    for n in (6, 60, 600):
        found = [
            preferred_orientation(random_rotations(n, rng), n_simulations=9) for _ in range(60)
        ]
        assert np.mean([one.one_sided**2 for one in found]) < 0.7 / n  # without what chance adds
        assert np.mean([one.axial**2 for one in found]) < 0.7 / n


# -- planted preferences -----------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 300])
def test_a_preferred_side_is_found(n, rng):
    side = unit(np.array([1.0, -2.0, 0.5]))
    found = preferred_orientation(poses_seen_from(unit(rng.normal(size=(n, 3)) + 2 * side), rng))
    assert found.kind == "one-sided"
    assert found.axis_xyz @ side > 0.97
    assert found.effect == found.one_sided > 0.5
    assert "mostly from one side" in found.sentence


def test_a_preferred_axis_is_found_from_both_ends(rng):
    axis = unit(np.array([1.0, 1.0, 0.0]))
    around = unit(rng.normal(size=(120, 3)) + 2.5 * axis)
    ends = around * np.tile([[-1], [1]], (60, 1))
    found = preferred_orientation(poses_seen_from(ends, rng))
    assert found.kind == "axial"
    assert found.rayleigh_p > 0.01 > found.bingham_p  # the mean direction alone is blind to it
    assert abs(found.axis_xyz @ axis) > 0.97


def test_a_preferred_belt_is_found(rng):
    pole = np.array([0.0, 0.6, 0.8])
    rotate = Rotation.align_vectors([pole], [[0, 0, 1]])[0]
    belt = rotate.apply(unit(rng.normal(size=(120, 3)) * [1, 1, 0.15]))
    found = preferred_orientation(poses_seen_from(belt, rng))
    assert found.kind == "equatorial"
    assert found.rayleigh_p > 0.01 > found.bingham_p
    assert abs(found.axis_xyz @ pole) > 0.97
    assert found.axial == pytest.approx(0.5, abs=0.1)


def test_the_effect_of_one_direction_is_1(rng):
    found = preferred_orientation(np.tile([[10.0, 50.0, 0.0]], (80, 1)))
    assert found.one_sided == pytest.approx(1) and found.axial == pytest.approx(1)
    assert found.effect <= 1
    assert found.kind == "one-sided"


def test_few_particles_tell_nothing(rng):
    for n in (0, 1, 2):
        found = preferred_orientation(np.array([[0.0, 0, 0], [0, 80, 0]])[:n])
        assert found.kind == "none" and found.p > 0.05 and 0 <= found.effect <= 1
        assert f"among {n} particles" in found.sentence
        assert found.row()["members"] == n
    assert preferred_orientation(np.zeros((1, 3))).p == 1


def test_each_cluster_is_tested_by_itself_and_guarded(rng):
    uniform = view_directions_xyz(random_rotations(90, rng))
    one_sided = unit(rng.normal(size=(60, 3)) + np.array([0, 0, 2]))
    poses = poses_seen_from(np.concatenate([uniform, one_sided]), rng)
    labels = np.r_[np.full(80, 0), np.full(10, -1), np.full(60, 3)]
    found = preferred_orientations(poses, labels)
    assert list(found) == [0, 3]
    assert [one.kind for one in found.values()] == ["none", "one-sided"]
    alone = preferred_orientation(poses[labels == 3])
    assert found[3].p == pytest.approx(2 * alone.p)  # Holm: the smaller of two


def test_one_seed_gives_one_answer(rng):
    rotations = random_rotations(9, rng)
    first, second = (preferred_orientation(rotations, seed=3).p for _ in range(2))
    assert first == second
