"""Alignment: against planted poses and slow references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation
from sklearn.metrics import adjusted_rand_score

from aitom_disca.alignment import (
    AlignmentSorter,
    Coefficients,
    Slicer,
    align,
    average,
    rotation_grid,
    to_volume,
)
from aitom_disca.alignment.coefficients import centred_fft, centred_ifft
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

TILT = (-60.0, 60.0)
SHIFTS = (np.indices((3, 3, 3)).reshape(3, -1).T - 1) * 1.5


@pytest.fixture(scope="module")
def phantoms() -> dict:
    return load_phantoms()


@pytest.mark.parametrize("n", [11, 12])
def test_centred_transform_has_both_zeros_at_the_centre_index(n: int) -> None:
    volume = np.zeros((n, n, n))
    volume[n // 2, n // 2, n // 2] = 1
    np.testing.assert_allclose(centred_fft(volume), 1, atol=1e-12)
    np.testing.assert_allclose(centred_ifft(centred_fft(volume)), volume, atol=1e-12)


@pytest.mark.parametrize("n", [13, 14])
@pytest.mark.parametrize("tilt", [(-60.0, 60.0), (-40.0, 65.0), (-90.0, 90.0)])
def test_coefficients_are_one_of_each_measured_pair(n: int, tilt: tuple[float, float]) -> None:
    radius = 4.2
    chosen = {tuple(k) for k in Coefficients(n, radius, tilt).index_zyx.tolist()}
    expected = 0
    for kz, ky, kx in np.ndindex(9, 9, 9):
        k = np.array((kz, ky, kx)) - 4
        if not 0 < np.linalg.norm(k) <= radius:
            continue
        angle = np.rad2deg(np.arctan2(k[0] * np.sign(k[2] or 1), abs(k[2])))
        on_beam = k[2] == 0
        measured = (tilt[0] <= angle <= tilt[1]) if not on_beam else k[0] == 0 or tilt[1] == 90
        expected += bool(measured)
        assert ((tuple(k) in chosen) + (tuple(-k) in chosen)) == int(bool(measured))
    assert len(chosen) == expected // 2


def test_shift_phases_bring_a_shifted_volume_back(rng: np.random.Generator) -> None:
    coefficients = Coefficients(12, 4, TILT)
    volume = rng.normal(size=(12, 12, 12))
    moved = np.roll(volume, (1, -2, 3), (0, 1, 2))
    back = coefficients.of(moved[None]) * coefficients.shift_phases(np.array([[1, -2, 3]]))
    np.testing.assert_allclose(back, coefficients.of(volume[None]), rtol=1e-4, atol=1e-3)


def test_rotation_grid_is_even_and_always_the_same() -> None:
    grid = rotation_grid(1500)
    np.testing.assert_array_equal(grid.as_quat(), rotation_grid(1500).as_quat())
    assert np.abs(grid.as_matrix().mean(axis=0)).max() < 0.02
    probe = Rotation.from_quat(np.random.default_rng(0).normal(size=(200, 4)))
    nearest = [np.rad2deg((grid * r.inv()).magnitude()).min() for r in probe]
    assert max(nearest) < 20
    assert np.median(nearest) < 12


def test_slices_agree_with_interpolation_one_by_one(phantoms: dict) -> None:
    n = 12
    coefficients = Coefficients(n, 4, TILT)
    rotations = rotation_grid(7)
    volume = phantoms["letter_l"].density(n, 25.0)
    kernel = np.sinc((np.arange(n) - n // 2) / (2 * n)) ** 2
    padded = np.zeros((2 * n,) * 3)
    padded[6:18, 6:18, 6:18] = volume / (kernel[:, None, None] * kernel[:, None] * kernel)
    spectrum = centred_fft(padded)
    found = Slicer(coefficients, rotations)(volume)
    for rotation, row in zip(rotations, found, strict=True):
        inverse_zyx = rotation.as_matrix().T[::-1, ::-1]
        place = 2 * (inverse_zyx @ coefficients.index_zyx.T) + n
        real, imaginary = (
            ndimage.map_coordinates(part, place, order=1) for part in (spectrum.real, spectrum.imag)
        )
        np.testing.assert_allclose(row, real + 1j * imaginary, atol=1e-3 * np.abs(row).max())


def test_planted_poses_are_found_and_average_to_the_structure(phantoms: dict) -> None:
    box, voxel = 20, 16.0
    letter = phantoms["letter_l"]
    made = simulate_subtomograms([letter], 40, box, voxel, 0.5, TILT, 1.5, seed=3)
    coefficients, grid = Coefficients(box, 7, TILT), rotation_grid(1500)
    values = coefficients.of(made.volumes)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    truth = letter.density(box, voxel)
    reference = Slicer(coefficients, grid)(truth)
    poses = align(values, coefficients, reference, SHIFTS, np.zeros((40, 3)))
    angle = np.rad2deg((grid[poses.rotation] * made.rotations.inv()).magnitude())
    shift = np.linalg.norm(poses.shift_zyx_px - made.shifts_zyx_px, axis=1)
    assert np.median(angle) < 15  # the grid's own spacing
    assert np.median(shift) < 1.0
    centred = values * coefficients.shift_phases(poses.shift_zyx_px)
    total, weight = average(centred, coefficients, grid[poses.rotation])
    found = to_volume(total / (weight + 0.5), box)
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.9


def test_alignment_score_is_the_constrained_correlation(rng: np.random.Generator) -> None:
    coefficients = Coefficients(10, 3, TILT)
    shape = (5, len(coefficients))
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    reference = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    shifts, offsets = SHIFTS[:4], rng.uniform(-1, 1, (5, 3))
    poses = align(values, coefficients, reference, shifts, offsets)
    for i, value in enumerate(values):
        best = max(
            float((value * coefficients.shift_phases(s + offsets[i])[None] * row.conj()).sum().real)
            / float(np.linalg.norm(row))
            for s in shifts
            for row in reference
        )
        assert poses.score[i] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("names", [("two_lobes", "ring"), ("chaperone",)])
def test_too_many_clusters_are_merged_to_the_structures(phantoms: dict, names: tuple) -> None:
    made = simulate_subtomograms(
        [phantoms[name] for name in names], 45, 18, 17.0, 0.2, TILT, 1.0, seed=1
    )
    rng = np.random.default_rng(0)
    start = rng.integers(0, 5, len(made.labels))
    centres = np.array([np.flatnonzero(start == k)[0] for k in range(5)])
    sorter = AlignmentSorter(made.volumes, TILT)
    labels = sorter.sort(start, centres)
    assert adjusted_rand_score(made.labels, start) < 0.2
    assert labels.max() + 1 == len(names)
    if len(names) > 1:
        assert adjusted_rand_score(made.labels, labels) > 0.95
    assert len(sorter.averages()) == len(names)


def test_numbers_of_clusters_stay_within_bounds(phantoms: dict) -> None:
    made = simulate_subtomograms([phantoms["ring"]], 60, 18, 17.0, 0.2, TILT, 1.0, seed=2)
    start = np.arange(60) % 4
    labels = AlignmentSorter(made.volumes, TILT).sort(start, np.arange(4), fewest=3, most=4)
    assert labels.max() + 1 == 3
