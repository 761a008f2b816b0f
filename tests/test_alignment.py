"""Alignment: against planted poses and slow references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from few_rotations import sorting_quickly
from scipy import ndimage
from scipy.spatial.transform import Rotation
from sklearn.metrics import adjusted_rand_score

from aitom_disca.alignment import (
    Averager,
    Coefficients,
    Particles,
    Slicer,
    align,
    expect,
    rotation_grid,
    to_volume,
)
from aitom_disca.alignment.align_averages import AveragePairs, turned
from aitom_disca.alignment.coefficients import centred_fft, centred_ifft
from aitom_disca.alignment.expectation import log_likelihood_held_out, shell_power, whitened
from aitom_disca.alignment.interpolation import trilinear
from aitom_disca.alignment.search_grids import ball, cross
from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.assign_others import Assigner
from aitom_disca.classification.centring import centred, dense_centre
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.merge_clusters import Merger
from aitom_disca.classification.shifts_by_class import second_look
from aitom_disca.clustering.calibration import calibration_error
from aitom_disca.simulation import SimulatedSubtomograms, load_phantoms, simulate_subtomograms

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
    sums = np.zeros((1500, len(coefficients)), np.complex64)
    np.add.at(sums, poses.rotation, centred)
    total, weight = Slicer(coefficients, grid).insert(sums, np.bincount(poses.rotation, None, 1500))
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


def test_inserting_is_the_adjoint_of_slicing(rng: np.random.Generator) -> None:
    coefficients, grid = Coefficients(12, 4, TILT), rotation_grid(9)
    slicer = Slicer(coefficients, grid)
    shape = (9, len(coefficients))
    sums = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    counts = np.array([1, 0, 2, 1, 1, 0, 0, 3, 1])
    sums[counts == 0] = 0
    total, weight = slicer.insert(sums, counts)
    assert weight.sum() == pytest.approx(2 * counts.sum() * len(coefficients), rel=1e-4)
    plain = np.zeros((24,) * 3, complex)
    for row, rotation in zip(sums, grid, strict=True):
        inverse_zyx = rotation.as_matrix().T[::-1, ::-1]
        for value, k in zip(row, coefficients.index_zyx, strict=True):
            place = 2 * inverse_zyx @ k + 12
            lower = np.floor(place).astype(int)
            for corner in np.ndindex(2, 2, 2):
                share = np.prod(np.where(corner, place - lower, 1 - place + lower))
                spot = lower + corner
                plain[tuple(spot)] += share * value
                plain[tuple(24 - spot)] += share * value.conj()
    np.testing.assert_allclose(total, plain, atol=1e-3)


def test_volumes_hold_the_coefficients_and_no_others(rng: np.random.Generator) -> None:
    coefficients = Coefficients(12, 4, TILT)
    shape = (2, len(coefficients))
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    volumes = coefficients.volumes(values)
    np.testing.assert_allclose(coefficients.of(volumes), values, atol=1e-4)
    assert np.abs(Coefficients(12, 5.5, (-90, 90)).of(volumes)).astype(bool).sum() >= values.size
    power = (np.abs(centred_fft(volumes)) ** 2).sum()
    assert power == pytest.approx(2 * (np.abs(values) ** 2).sum(), rel=1e-4)


def test_whitened_particles_do_not_depend_on_contrast(rng: np.random.Generator) -> None:
    coefficients = Coefficients(12, 4, TILT)
    volumes = rng.normal(size=(30, 12, 12, 12))
    values = coefficients.of(volumes)
    power = shell_power(values, coefficients.shell)
    found = whitened(values, coefficients.shell, power)
    brighter = coefficients.of(volumes * rng.uniform(0.5, 2, (30, 1, 1, 1)) + 3)
    np.testing.assert_allclose(
        found, whitened(brighter, coefficients.shell, power), rtol=1e-3, atol=1e-3
    )
    assert np.mean(np.abs(found) ** 2) == pytest.approx(2, rel=1e-3)


# -- the expectation step ------------------------------------------------------------------


def random_particles(n: int, coefficients: Coefficients, rng: np.random.Generator) -> Particles:
    shape = (n, len(coefficients))
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    return Particles(coefficients, values, rng.uniform(-1, 1, (n, 3)), np.arange(n) % 2)


def test_expectation_agrees_with_one_pose_after_the_other(rng: np.random.Generator) -> None:
    coefficients = Coefficients(10, 3, TILT)
    particles = random_particles(6, coefficients, rng)
    references = 0.3 * random_particles(8, coefficients, rng).values.reshape(2, 4, -1)
    shifts, log_prior = SHIFTS[:3], np.log([0.3, 0.7])
    found = expect(particles, references, log_prior, shifts)
    for i, value in enumerate(particles.values):
        joint = np.empty((2, 4, 3))
        for (k, r, s), _ in np.ndenumerate(joint):
            moved = value * coefficients.shift_phases(
                (particles.offset_zyx_px[i] + shifts[s])[None]
            )
            fit = (moved * references[k, r].conj()).sum().real
            joint[k, r, s] = fit - (np.abs(references[k, r]) ** 2).sum() / 2 + log_prior[k]
        joint -= np.log(12)
        weight = np.exp(joint - joint.max())
        # Poses far below the best are left out of the sums.
        assert found.log_likelihood[i] == pytest.approx(
            joint.max() + np.log(weight.sum()), abs=0.08
        )
        expected = weight.sum(axis=(1, 2)) / weight.sum()
        np.testing.assert_allclose(found.posterior[i], expected, atol=0.05)
        k, r, s = np.unravel_index(joint.argmax(), joint.shape)
        assert found.rotation[i] == r
        np.testing.assert_allclose(
            found.offset_zyx_px[i], particles.offset_zyx_px[i] + shifts[s], atol=1e-6
        )
    np.testing.assert_allclose(found.counts.sum(axis=(1, 2)), [3, 3], rtol=1e-4)
    np.testing.assert_allclose(
        found.counts.sum(axis=(0, 2)), found.posterior.sum(axis=0), rtol=1e-4
    )


def test_sums_are_the_moved_coefficients_at_their_rotation(rng: np.random.Generator) -> None:
    coefficients = Coefficients(10, 3, TILT)
    references = 3 * random_particles(5, coefficients, rng).values[None]
    wanted = np.array([3, 0, 3, 1])
    particles = Particles(
        coefficients, references[0, wanted], np.zeros((4, 3)), np.array([0, 0, 1, 1])
    )
    found = expect(particles, references, np.zeros(1), np.zeros((1, 3)))
    np.testing.assert_array_equal(found.rotation, wanted)
    assert (found.log_likelihood > 50).all()
    np.testing.assert_allclose(found.counts[:, 0], [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0]])
    np.testing.assert_allclose(found.sums[0, 0, 3], references[0, 3], atol=1e-4)
    np.testing.assert_allclose(found.sums[1, 0, 1], references[0, 1], atol=1e-4)
    silent = expect(particles, references, np.zeros(1), np.zeros((1, 3)), add_up=False)
    np.testing.assert_array_equal(silent.log_likelihood, found.log_likelihood)
    assert silent.sums.size == 0


def test_held_out_halves_meet_the_other_halfs_average(rng: np.random.Generator) -> None:
    coefficients = Coefficients(10, 3, TILT)
    particles = random_particles(6, coefficients, rng)
    first, second = (0.3 * random_particles(4, coefficients, rng).values[None] for _ in range(2))
    found = log_likelihood_held_out(particles, [first, second], SHIFTS[:2])
    on_first = expect(particles, first, np.zeros(1), SHIFTS[:2]).log_likelihood
    on_second = expect(particles, second, np.zeros(1), SHIFTS[:2]).log_likelihood
    expected = np.where(particles.half == 0, on_second, on_first)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# -- averages ------------------------------------------------------------------------------


def test_an_average_is_brought_onto_another(phantoms: dict) -> None:
    volume = phantoms["letter_l"].density(20, 16.0)
    rotation = Rotation.from_euler("ZYZ", (35, 70, -20), degrees=True)
    other = turned(volume, rotation, np.array([0.7, -0.4, 1.0]))
    directly = phantoms["letter_l"].density(20, 16.0, rotation, (1.0, -0.4, 0.7))
    assert np.corrcoef(other.ravel(), directly.ravel())[0, 1] > 0.95  # cubic against exact
    found = AveragePairs(20).brought_onto(volume, other)
    assert np.corrcoef(found.ravel(), other.ravel())[0, 1] > 0.97
    assert np.corrcoef(volume.ravel(), other.ravel())[0, 1] < 0.8


def test_an_average_that_lies_off_the_centre_is_brought_onto_another(phantoms: dict) -> None:
    there = Rotation.from_euler("ZYZ", (35, 170, -20), degrees=True)
    one = phantoms["letter_l"].density(20, 20.0, shift_zyx_px=(2.0, 0.0, -1.5))
    other = phantoms["letter_l"].density(20, 20.0, there, (-2.0, 1.5, 1.0))
    found = AveragePairs(20).brought_onto(one, other)
    assert np.corrcoef(found.ravel(), other.ravel())[0, 1] > 0.95


def test_the_pose_of_an_average_on_another_is_fine(phantoms: dict) -> None:
    one, pairs = phantoms["letter_l"].density(20, 16.0), AveragePairs(20)
    for seed in (0, 2, 4):
        there = Rotation.random(random_state=seed)
        shift = np.random.default_rng(seed).uniform(-1.5, 1.5, 3)
        rotation, found = pairs.pose_on(one, phantoms["letter_l"].density(20, 16.0, there, shift))
        assert np.rad2deg((rotation.inv() * there).magnitude()) < 1.0
        np.testing.assert_allclose(found, shift, atol=0.1)


def test_centred_averages_explain_their_members_as_before(phantoms: dict) -> None:
    names = ("letter_l", "two_lobes")
    grid, off_zyx_px = rotation_grid(300), np.array([[2.0, -1.0, 1.5], [0.0, 0.0, 0.0]])
    labels, chosen = np.arange(6) % 2, np.arange(6) * 37
    offset_zyx_px = np.array([[0.5, -1.0, 1.0]] * 6)
    averages = [
        phantoms[name].density(20, 20.0, shift_zyx_px=tuple(off))
        for name, off in zip(names, off_zyx_px, strict=True)
    ]
    classes = replace(
        Classes.start(averages, offset_zyx_px), labels=labels, rotation=chosen, posterior=np.eye(2)
    )
    moved = centred(classes, grid)
    for average in moved.averages:
        assert np.linalg.norm(dense_centre(average)) < 0.5
    for i, k in enumerate(labels):
        before, after = (
            turned(one.averages[k], grid[chosen[i]], one.offset_zyx_px[i])
            for one in (classes, moved)
        )
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.97
    assert np.linalg.norm(moved.offset_zyx_px[0] - offset_zyx_px[0]) > 1.5


def test_halves_that_share_nothing_are_filtered_away(rng: np.random.Generator) -> None:
    coefficients = Coefficients(12, 4, TILT)
    averager = Averager(Slicer(coefficients, rotation_grid(30)), 5)
    shape = (2, 30, len(coefficients))
    noise = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    counts = np.ones((2, 30))
    same = np.stack([noise[0], noise[0]])
    unlike = averager.average(noise, counts)
    alike = averager.average(same, counts, with_halves=True)
    assert not unlike.halves
    assert (alike.correlation > 0.99).all() and (unlike.correlation[1:] < 0.6).all()
    assert unlike.volume.std() < 0.7 * alike.volume.std()
    np.testing.assert_allclose(alike.halves[0], alike.volume, atol=1e-3 * alike.volume.std())


# -- sorting -------------------------------------------------------------------------------


def copies(phantoms: dict, names: Sequence[str], n: int, seed: int, **options: Any) -> Any:
    """In boxes that are searched quickly."""
    templates = [phantoms[name] for name in names]
    return simulate_subtomograms(templates, n, 16, 19.0, 0.5, TILT, 1.0, seed=seed, **options)


@pytest.fixture(scope="module")
@sorting_quickly()
def in_noise(phantoms: dict) -> tuple[SimulatedSubtomograms, AlignmentSorter]:
    """Two structures and noise, sorted from five references."""
    made = copies(phantoms, ("two_lobes", "ring"), 20, seed=5, n_noise=20)
    sorter = AlignmentSorter(made.volumes, TILT)
    sorter.sort(np.arange(5))
    return made, sorter


def test_too_many_references_end_as_the_structures(in_noise) -> None:
    made, sorter = in_noise
    real = made.labels >= 0
    assert sorter.labels.max() + 1 == 2 == len(sorter.averages())
    assert adjusted_rand_score(made.labels[real], sorter.labels[real]) > 0.95


def test_noise_is_set_apart(in_noise) -> None:
    made, sorter = in_noise
    noise = made.labels < 0
    assert (sorter.labels[noise] == -1).mean() > 0.9
    assert (sorter.labels[~noise] >= 0).mean() > 0.95


@sorting_quickly()
def test_others_are_assigned_by_what_was_learnt(phantoms: dict, in_noise) -> None:
    made, sorter = in_noise
    more = copies(phantoms, ("two_lobes", "ring"), 10, seed=9)
    assigned, posterior = Assigner(sorter.learnt()).assign(more.volumes)
    assert posterior.shape == (len(more.volumes), 2)
    np.testing.assert_allclose(posterior.sum(axis=1), 1)
    for k in range(2):
        known = np.bincount(sorter.labels[(made.labels == k) & (sorter.labels >= 0)]).argmax()
        assert (assigned[more.labels == k] == known).mean() > 0.85


@sorting_quickly()
def test_many_references_of_one_structure_are_one(phantoms: dict) -> None:
    made = copies(phantoms, ["chaperone"], 24, seed=1)
    labels = AlignmentSorter(made.volumes, TILT).sort(np.arange(4))
    assert labels.max() == 0


def test_interpolation_is_that_of_scipy(rng: np.random.Generator) -> None:
    volume = rng.normal(size=(2, 12, 12, 12)).astype(np.float32)
    volume = (volume[0] + 1j * volume[1]).astype(np.complex64)
    places = np.concatenate([rng.uniform(0, 10.99, (40_000, 3)), [[0, 0, 0], [10, 3, 10.5]]])
    expected = ndimage.map_coordinates(volume, places.T, order=1)
    np.testing.assert_allclose(trilinear(volume, places), expected, atol=2e-5)
    assert trilinear(volume, np.zeros((0, 3))).shape == (0,)
    for outside in (-0.1, 11.0):
        with pytest.raises(ValueError, match="between 0 and 11"):
            trilinear(volume, np.array([[5.0, outside, 5.0]]))


@sorting_quickly()
def test_a_posterior_is_right_as_often_as_it_says(phantoms: dict) -> None:
    """Members are weighed against averages that they are no part of."""
    templates = [phantoms[name] for name in ("two_lobes", "rod")]
    made, more = (
        simulate_subtomograms(templates, 80, 16, 19.0, 0.014, TILT, 1.0, seed=s) for s in (4, 9)
    )
    sorter = AlignmentSorter(made.volumes, TILT)
    labels = sorter.refine(made.labels.copy(), fewest=2, most=2, splits=0)
    rows = np.flatnonzero(labels >= 0)
    right = labels[rows] == made.labels[rows]
    assert 0.8 < right.mean() < 0.97
    sure = sorter.posterior[rows, labels[rows]]
    assert calibration_error(sure, right, 5) < 0.06
    labels, posterior = Assigner(sorter.learnt()).assign(more.volumes)
    rows = np.flatnonzero(labels >= 0)
    right = labels[rows] == more.labels[rows]
    assert calibration_error(posterior[rows, labels[rows]], right, 5) < 0.1


@sorting_quickly()
def test_a_structure_that_no_reference_began_as_is_found(phantoms: dict) -> None:
    made = copies(phantoms, ("two_lobes", "ring", "rod"), 24, seed=5)
    starts = np.flatnonzero(made.labels == 0)[:3]
    labels = AlignmentSorter(made.volumes, TILT).sort(starts)
    assert adjusted_rand_score(made.labels, labels) > 0.9


def test_a_second_look_finds_what_lies_elsewhere_in_another_average(phantoms: dict) -> None:
    """Offsets that are far off, as those in the wrong average may be."""
    templates = [phantoms[name] for name in ("two_lobes", "ring")]
    made = simulate_subtomograms(templates, 20, 18, 17.0, 0.5, TILT, 2.0, seed=3)
    search, wide = (Search(18, 5.0, TILT, 600, s, 1) for s in (cross(0.8), ball(1.67, 5.0)))
    values = search.coefficients.of(made.volumes)
    power = shell_power(values, search.coefficients.shell)
    values = whitened(values, search.coefficients.shell, power)
    particles = Particles(search.coefficients, values, np.zeros((40, 3)), np.arange(40) % 2)
    truth = [template.density(18, 17.0) for template in templates]
    averages = [
        search.iterate(
            particles.select(rows),
            Classes.start([truth[k] / truth[k].std()], made.shifts_zyx_px[rows]),
            rounds=3,
        ).averages[0]
        for k, rows in enumerate((made.labels == 0, made.labels == 1))
    ]
    lost = Classes.start(averages, made.shifts_zyx_px + 4)
    near_only = search.weigh(particles.moved(lost.offset_zyx_px), lost)
    found = second_look(search, particles, wide, particles, lost)
    assert (near_only.posterior.argmax(axis=1) == made.labels).mean() < 0.9
    assert (found.labels == made.labels).mean() > 0.95
    assert np.abs(found.offset_zyx_px - made.shifts_zyx_px).mean() < 1.0
    assert (found.log_likelihood >= near_only.log_likelihood - 1e-3).all()
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1)


def test_a_ball_of_shifts() -> None:
    shifts = ball(1.5, 3.2)
    assert len(shifts) == 33
    assert np.linalg.norm(shifts, axis=1).max() == 3
    assert len(np.unique(shifts, axis=0)) == 33


@sorting_quickly()
def test_merging_stays_within_bounds(phantoms: dict) -> None:
    made = copies(phantoms, ["ring"], 30, seed=2)
    search = Search(16, 5.0, TILT, 200, np.zeros((1, 3)), 1)
    values = search.coefficients.of(made.volumes)
    power = shell_power(values, search.coefficients.shell)
    values = whitened(values, search.coefficients.shell, power)
    particles = Particles(search.coefficients, values, made.shifts_zyx_px, np.arange(30) % 2)
    truth = phantoms["ring"].density(16, 19.0)
    thirds = [np.arange(k, 30, 3) for k in range(3)]
    pairs = AveragePairs(16)
    merger = Merger(search, particles, pairs)
    assert len(merger.merge(thirds, [truth] * 3, least_z=-5, fewest=2)) == 2
    detailed = Merger(search, particles, pairs, first=(search, particles))
    assert len(detailed.merge(thirds, [truth] * 3, least_z=-5)) == 1
    assert len(merger.merge(thirds, [truth] * 3, least_z=1e9)) == 3
    ((whole, _),) = merger.merge(thirds, [truth] * 3, least_z=1e9, most=1)
    np.testing.assert_array_equal(np.sort(whole), np.arange(30))


@sorting_quickly()
def test_a_sorter_ends_within_bounds(phantoms: dict) -> None:
    made = copies(phantoms, ("two_lobes", "ring"), 15, seed=2)
    assert AlignmentSorter(made.volumes, TILT).sort(np.arange(3), most=1, splits=0).max() == 0
