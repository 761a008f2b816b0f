"""Alignment to a reference, against planted poses and a plain exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca.alignment import to_reference
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.alignment.to_reference import align_to_reference, n_rotations
from aitom_disca.bench.plain_alignment import align_plainly
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

TILT = (-60.0, 60.0)
BOX, VOXEL, N = 20, 16.0, 20


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return load_phantoms()["letter_l"].density(BOX, VOXEL)


@pytest.fixture(scope="module")
def made():
    phantom = load_phantoms()["letter_l"]
    return simulate_subtomograms([phantom], N, BOX, VOXEL, 0.3, TILT, 2.0, seed=1)


def errors_deg(found: Rotation, truth: Rotation) -> np.ndarray:
    return np.rad2deg((found * truth.inv()).magnitude())


def test_planted_poses_are_found_from_nothing(reference, made) -> None:
    found = align_to_reference(made.volumes, reference, TILT, first_step_deg=15)
    assert np.median(errors_deg(found.rotations, made.rotations)) < 2.5
    assert np.linalg.norm(found.shifts_zyx_px - made.shifts_zyx_px, axis=1).mean() < 0.5
    assert ((found.score > 0.4) & (found.score <= 1)).all()


def test_no_worse_than_a_plain_exhaustive_search(reference, made) -> None:
    grid = rotation_grid(600)
    volumes = made.volumes[:6]
    plain = align_plainly(volumes, reference, TILT, grid, largest_shift_px=3)
    fast = align_to_reference(volumes, reference, TILT, first_step_deg=15, largest_shift_px=3)
    ours = errors_deg(fast.rotations, made.rotations[:6])
    theirs = errors_deg(plain.rotations, made.rotations[:6])
    assert np.median(theirs) < 25  # about the step of its grid
    assert np.median(ours) < np.median(theirs)
    assert (fast.score > plain.score - 0.02).all()


def test_the_search_everywhere_finds_what_the_plain_one_finds(reference, made) -> None:
    """Same grid, same frequencies: the matrix products against transforms of whole volumes."""
    grid = rotation_grid(200)
    whole = np.array([np.roll(reference, (1, -2, 0), (0, 1, 2))])
    turned = Rotation.concatenate([grid[[17]]])
    rotations, shifts = to_reference._everywhere(
        whole, reference, TILT, Rotation.concatenate([Rotation.identity(1), turned]),
        np.array([[0.0, 0, 0], [1, -2, 0], [2, 2, 2]]),
    )[0]  # fmt: skip
    assert rotations[0].magnitude() < 1e-6
    np.testing.assert_array_equal(shifts[0], (1, -2, 0))
    plain = align_plainly(made.volumes[:4], reference, TILT, grid, largest_shift_px=3, radius=5.0)
    rotations, _ = to_reference._everywhere(
        made.volumes[:4], reference, TILT, grid, np.array(plain.shifts_zyx_px)
    )[0]
    near = errors_deg(rotations, plain.rotations)
    assert (near < 1e-3).sum() >= 3  # the transform of the plain one is interpolated otherwise


def test_blocks_change_nothing(reference, made, monkeypatch) -> None:
    grid, shifts = rotation_grid(300), np.zeros((1, 3))
    whole = to_reference._everywhere(made.volumes, reference, TILT, grid, shifts)
    monkeypatch.setattr(to_reference, "_SCORES_AT_ONCE", 700)
    monkeypatch.setattr(to_reference, "_ROTATIONS_AT_ONCE", 64)
    pieces = to_reference._everywhere(made.volumes, reference, TILT, grid, shifts)
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(a[0].as_quat(), b[0].as_quat())


def test_the_missing_wedge_counts_for_nothing(reference, made) -> None:
    """Rubbish in the coefficients that were not measured leaves poses and scores as they are."""
    from aitom_disca.geometry.wedge import missing_wedge_mask

    outside = 1 - missing_wedge_mask((BOX,) * 3, TILT)
    noise = np.random.default_rng(0).normal(size=made.volumes[:3].shape)
    spectra = np.fft.fftn(made.volumes[:3], axes=(1, 2, 3))
    full = np.broadcast_to(outside, (BOX,) * 3)
    spectra = spectra + 3 * full * np.fft.fftn(noise, axes=(1, 2, 3))
    spoilt = np.fft.ifftn(spectra, axes=(1, 2, 3)).real
    clean = align_to_reference(made.volumes[:3], reference, TILT, first_step_deg=20)
    found = align_to_reference(spoilt, reference, TILT, first_step_deg=20)
    np.testing.assert_allclose(found.score, clean.score, atol=1e-3)
    assert errors_deg(found.rotations, clean.rotations).max() < 0.5


def test_grid_sizes() -> None:
    assert n_rotations(7.5) == 36864 and n_rotations(15) == 4608
    steps = to_reference._steps(3.75, 1.0, 0.8)
    assert [round(deg, 2) for deg, _ in steps] == [3.75, 1.88, 1.0]
    assert steps[0][1] == 0.8 and steps[-1][1] == pytest.approx(0.8 / 3.75)


def test_leads_are_far_from_one_another(reference, made) -> None:
    leads = to_reference._everywhere(
        made.volumes, reference, TILT, rotation_grid(1000), np.zeros((1, 3))
    )
    assert len(leads) == 3
    apart = errors_deg(leads[0][0], leads[1][0]), errors_deg(leads[1][0], leads[2][0])
    assert min(apart[0].min(), apart[1].min()) > 29
