"""The engine of alignment on tiny inputs, beside loops that say the same in plain words."""

from __future__ import annotations

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from plain_expectation import plain_expect
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.alignment import Averager, Coefficients, Particles, Slicer, align, expect
from aitom_disca.alignment import slices as slicing
from aitom_disca.alignment.align_averages import AveragePairs
from aitom_disca.alignment.coefficients import centred_fft, centred_ifft
from aitom_disca.alignment.expectation import shell_power, whitened
from aitom_disca.alignment.local_search import correlations, refine_poses, slices_at
from aitom_disca.alignment.search_grids import ball, cross, cube, rotation_grid
from aitom_disca.alignment.slices import counts_of_each
from aitom_disca.alignment.to_reference import align_to_reference
from aitom_disca.geometry.fall_off_with_tilt import TILTS_DEG, FallOff
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.simulation import load_phantoms

ONE, TWO = (-60.0, 60.0), np.array([[-60.0, 60.0], [-40.0, 50.0]])
SHIFTS = np.array([[0.0, 0, 0], [0, 0.7, 0], [0, -0.7, 0], [1, 0, -1]])
FALLS = FallOff(1 - (TILTS_DEG / 120) ** 2, np.exp(-np.abs(TILTS_DEG - 10) / 150))


def complex_values(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def particles_of(coefficients: Coefficients, n: int, rng: np.random.Generator) -> Particles:
    """Noise, each behind its own wedge."""
    wedge = None if coefficients.measured is None else np.arange(n) % 2
    values = complex_values(rng, n, len(coefficients))
    if wedge is not None:
        values *= coefficients.measured[wedge]
    return Particles(coefficients, values, rng.uniform(-1, 1, (n, 3)), np.arange(n) // 2 % 2, wedge)


def measured_by_each(particles: Particles) -> np.ndarray:
    measured = particles.measured
    return np.ones(particles.values.shape) if measured is None else measured


def whole_masks(box_px: int, tilts: np.ndarray) -> np.ndarray:
    """Zero frequency at box // 2."""
    kz, _, kx = np.indices((box_px,) * 3) - box_px // 2
    tilt = np.rad2deg(np.arctan2(kz * np.sign(kx), np.abs(kx)))
    return np.array(
        [
            np.where(kx == 0, kz == 0, (low - 1e-6 <= tilt) & (tilt <= high + 1e-6))
            for low, high in np.reshape(tilts, (-1, 2))
        ]
    )


# -- coefficients --------------------------------------------------------------------------------


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
@pytest.mark.parametrize("box_px", [9, 10])
def test_coefficients_are_those_of_the_transform(box_px, tilts, rng) -> None:
    both = Coefficients(box_px, 3.2, tilts, FALLS)
    masks = whole_masks(box_px, tilts)
    pairs = 0
    for index in np.ndindex((box_px,) * 3):
        k = np.array(index) - box_px // 2
        pairs += bool(0 < k @ k <= 3.2**2 and masks[:, *index].any())
    assert len(both) == len(np.unique(both.index_zyx, axis=0)) == pairs / 2
    mirrored = {tuple(k) for k in -both.index_zyx}
    assert not mirrored & {tuple(k) for k in both.index_zyx}
    volumes = rng.normal(size=(3, box_px, box_px, box_px))
    wedge = None if tilts is ONE else np.array([1, 0, 1])
    values = both.of(volumes, wedge)
    for number, k in enumerate(both.index_zyx):
        assert both.shell[number] == round(np.sqrt(float(k @ k)))
        flipped = k if k[2] >= 0 else -k
        tilt = np.rad2deg(np.arctan2(flipped[0], flipped[2]))
        noise, signal = (np.interp(tilt, TILTS_DEG, part) for part in (FALLS.noise, FALLS.signal))
        assert both.noise[number] == pytest.approx(noise, rel=1e-5)
        assert both.amplitude[number] == pytest.approx(signal, rel=1e-5)
        place = tuple(k + box_px // 2)
        for i, volume in enumerate(volumes):
            seen = masks[0 if wedge is None else wedge[i]][place]
            if wedge is not None:
                assert both.measured_by(wedge)[i, number] == seen
            there = centred_fft(volume)[place] * seen / noise
            assert values[i, number] == pytest.approx(there, rel=1e-4, abs=1e-3)
    assert (both.measured is None) == (tilts is ONE)


def test_a_fall_off_is_asked_for_and_so_are_wedges() -> None:
    plain = Coefficients(8, 2.5, ONE)
    assert plain.noise is None and plain.amplitude is None and plain.measured_by(None) is None
    with pytest.raises(ValueError, match="which one each volume has"):
        Coefficients(8, 2.5, TWO).measured_by(None)


@pytest.mark.parametrize("box_px", [8, 9])
def test_volumes_hold_the_coefficients_and_their_mirror_images(box_px, rng) -> None:
    coefficients = Coefficients(box_px, 3, ONE)
    values = complex_values(rng, 2, len(coefficients))
    volumes = coefficients.volumes(values)
    spectra = np.zeros((2, *(box_px,) * 3), complex)
    for k, of_both in zip(coefficients.index_zyx, values.T, strict=True):
        spectra[:, *(box_px // 2 + k)] = of_both
        spectra[:, *(box_px // 2 - k)] = of_both.conj()
    np.testing.assert_allclose(volumes, centred_ifft(spectra), atol=1e-5)
    assert volumes.dtype == np.float32


def test_some_particles_keep_what_is_theirs(rng) -> None:
    for tilts in (ONE, TWO):
        particles = particles_of(Coefficients(8, 2.5, tilts), 6, rng)
        rows = np.array([4, 1])
        some = particles.select(rows)
        for name in ("values", "offset_zyx_px", "half", "wedge"):
            whole = getattr(particles, name)
            if whole is None:
                assert getattr(some, name) is None
            else:
                np.testing.assert_array_equal(getattr(some, name), whole[rows])
        moved = particles.moved(np.ones((6, 3)))
        assert moved.values is particles.values and (moved.offset_zyx_px == 1).all()
        assert len(some) == 2 and (some.measured is None) == (tilts is ONE)


# -- what is tried -------------------------------------------------------------------------------


def test_grids_of_shifts() -> None:
    steps = (-1.5, 0.0, 1.5)
    assert sorted(map(tuple, cube(1.5))) == sorted(itertools.product(steps, repeat=3))
    expected = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    np.testing.assert_array_equal(cross(0.5), 0.5 * np.array(expected))
    inside = [s for s in itertools.product(np.arange(-3, 4), repeat=3) if np.hypot.reduce(s) <= 3.2]
    assert sorted(map(tuple, ball(1, 3.2))) == sorted(inside)
    np.testing.assert_array_equal(ball(1.5, 4.8), 1.5 * ball(1, 3.2))
    assert len(ball(1.5, 3.0)) == 33 and len(ball(2.0, 1.9)) == 1


def test_rotations_are_the_super_fibonacci_spiral() -> None:
    """Quaternions (x, y, z, w) as the paper counts them, written out."""
    golden, n = 1.533751168755204288118041, 5
    for i, found in enumerate(rotation_grid(n).as_quat()):
        s = i + 0.5
        near, far = np.sqrt(s / n), np.sqrt(1 - s / n)
        a, b = 2 * np.pi * s / 2**0.5, 2 * np.pi * s / golden
        expected = near * np.sin(a), near * np.cos(a), far * np.sin(b), far * np.cos(b)
        np.testing.assert_allclose(found, expected, atol=1e-12)


# -- slices --------------------------------------------------------------------------------------


def plain_slices(volume, coefficients, rotations) -> np.ndarray:
    """Trilinear, in the transform of the volume padded twice and divided by sinc squared."""
    n = volume.shape[0]
    kernel = np.sinc((np.arange(n) - n // 2) / (2 * n)) ** 2
    padded = np.zeros((2 * n,) * 3)
    start = n - n // 2
    padded[(slice(start, start + n),) * 3] = volume / np.einsum("i,j,k", kernel, kernel, kernel)
    spectrum = centred_fft(padded)
    found = []
    for rotation in rotations:
        place = 2 * (rotation.as_matrix().T[::-1, ::-1] @ coefficients.index_zyx.T) + n
        parts = (ndimage.map_coordinates(p, place, order=1) for p in (spectrum.real, spectrum.imag))
        found.append(next(parts) + 1j * next(parts))
    amplitude = 1 if coefficients.amplitude is None else coefficients.amplitude
    return np.array(found) * amplitude


@pytest.mark.parametrize("fall_off", [None, FALLS], ids=["binary", "graded"])
@pytest.mark.parametrize("box_px", [9, 10])
def test_slices_are_interpolated_one_by_one(box_px, fall_off, rng) -> None:
    coefficients = Coefficients(box_px, 3, ONE, fall_off)
    rotations = rotation_grid(700)  # in two pieces
    volumes = rng.normal(size=(10, box_px, box_px, box_px)).astype(np.float32)  # in two groups
    found = Slicer(coefficients, rotations).several(volumes)
    some = [0, 3, 699]
    for volume, slices in zip(volumes, found, strict=True):
        expected = plain_slices(volume, coefficients, rotations[some])
        np.testing.assert_allclose(slices[some], expected, atol=1e-3)
    np.testing.assert_allclose(Slicer(coefficients, rotations)(volumes[4]), found[4], atol=1e-4)
    np.testing.assert_allclose(slices_at(volumes[4], coefficients, rotations), found[4], atol=1e-3)


@pytest.mark.parametrize("fall_off", [None, FALLS], ids=["binary", "graded"])
@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
def test_sums_and_wedges_are_put_back_where_slices_lie(tilts, fall_off, rng) -> None:
    n, r = 8, 6
    coefficients, rotations = Coefficients(n, 2.5, tilts, fall_off), rotation_grid(r)
    sums = complex_values(rng, r, len(coefficients))
    counts = rng.uniform(0.5, 2, (r,) if tilts is ONE else (r, 2))
    sums[2], counts[2] = 0, 0
    amplitude = np.ones(len(coefficients)) if fall_off is None else coefficients.amplitude
    total, weight = np.zeros((2 * n,) * 3, complex), np.zeros((2 * n,) * 3)
    for i, rotation in enumerate(rotations):
        for j, k in enumerate(coefficients.index_zyx):
            often = counts[i] if tilts is ONE else counts[i] @ coefficients.measured[:, j]
            place = 2 * rotation.as_matrix().T[::-1, ::-1] @ k + n
            lower = np.floor(place).astype(int)
            for corner in np.ndindex(2, 2, 2):
                share = np.prod(np.where(corner, place - lower, 1 - place + lower))
                for spot, value in (
                    (lower + corner, sums[i, j]),
                    (2 * n - lower - corner, sums[i, j].conj()),
                ):
                    total[tuple(spot)] += share * amplitude[j] * value
                    weight[tuple(spot)] += share * amplitude[j] ** 2 * often
    found = Slicer(coefficients, rotations).insert(sums, counts)
    np.testing.assert_allclose(found[0], total, atol=1e-4)
    np.testing.assert_allclose(found[1], weight, atol=1e-4)


def test_slices_are_brought_to_a_device_when_they_are_used_again(monkeypatch, rng) -> None:
    made = []

    class Device:
        def __init__(self, name, index, weight, n_voxels) -> None:
            made.append((name, index.shape, weight.shape, n_voxels))

        def take(self, spectra):
            return np.zeros((spectra.shape[1], 3, len(coefficients)), np.complex64)

    module = "aitom_disca.alignment.slices_on_device"
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(SlicesOnDevice=Device))
    monkeypatch.setattr(slicing, "accelerator", lambda: "gpu:0")
    coefficients = Coefficients(8, 2.5, ONE)
    slicer, volume = Slicer(coefficients, rotation_grid(3)), rng.normal(size=(8, 8, 8))
    assert slicer(volume).any() and not made  # bringing it there costs as much as one use
    assert not slicer(volume).any() and not slicer(volume).any()
    assert made == [("gpu:0", (3, len(coefficients), 8), (3, len(coefficients), 8), 16**3)]


def test_one_slice_of_each_counts_for_its_own_tilt_range() -> None:
    rows, wedge = np.array([3, 0, 1]), np.array([1, 0, 2, 1])
    assert counts_of_each(None, rows, 1).tolist() == [1, 1, 1]
    assert counts_of_each(wedge, rows, 3).tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0]]


# -- poses ---------------------------------------------------------------------------------------


def fit_of(particles: Particles, i: int, slice_: np.ndarray, offset: np.ndarray) -> float:
    """Constrained correlation."""
    value = particles.values[i] * particles.coefficients.shift_phases(offset[None])[0]
    seen = slice_ * measured_by_each(particles)[i]
    return float((value * seen.conj()).real.sum() / np.linalg.norm(value) / np.linalg.norm(seen))


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
def test_the_best_of_all_poses_is_found(tilts, rng) -> None:
    particles = particles_of(Coefficients(9, 3, tilts), 7, rng)
    norm = np.linalg.norm(particles.values, axis=1, keepdims=True)
    slices = complex_values(rng, 11, len(particles.coefficients)) * rng.uniform(0.5, 2, (11, 1))
    given = particles.values / norm, particles.coefficients, slices, SHIFTS, particles.offset_zyx_px
    poses = align(*given, particles.wedge)
    for i in range(7):
        tried = {
            (s, r): fit_of(particles, i, slices[r], particles.offset_zyx_px[i] + SHIFTS[s])
            for s, r in np.ndindex(4, 11)
        }
        s, r = max(tried, key=lambda pose: tried[pose])
        assert poses.rotation[i] == r and poses.score[i] == pytest.approx(tried[s, r], abs=1e-5)
        np.testing.assert_allclose(
            poses.shift_zyx_px[i], particles.offset_zyx_px[i] + SHIFTS[s], atol=1e-6
        )


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
def test_a_pose_climbs_to_the_best_neighbour_up_to_three_times(tilts, rng) -> None:
    coefficients = Coefficients(9, 3, tilts)
    particles, reference = particles_of(coefficients, 6, rng), rng.normal(size=(9, 9, 9))
    turns, step_deg, step_px = Rotation.random(6, random_state=2), 12.0, 0.4
    around = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    small = Rotation.from_rotvec(np.deg2rad(step_deg) * around)
    start = correlations(
        particles.values, coefficients, reference, turns, particles.offset_zyx_px, particles.wedge
    )
    found = refine_poses(
        particles.values,
        coefficients,
        reference,
        turns,
        particles.offset_zyx_px,
        [(step_deg, step_px)],
        particles.wedge,
    )
    moves = []
    for i in range(6):
        turn, offset, n_moves = turns[i], particles.offset_zyx_px[i], 0
        (own,) = slices_at(reference, coefficients, Rotation.concatenate([turn]))
        assert start[i] == pytest.approx(fit_of(particles, i, own, offset), abs=1e-5)
        for _ in range(3):
            near = turn * small
            slices = slices_at(reference, coefficients, near)
            score = np.array(
                [
                    [fit_of(particles, i, one, offset + step_px * shift) for shift in around]
                    for one in slices
                ]
            )
            r, s = np.unravel_index(score.argmax(), score.shape)
            if r == s == 0:
                break
            turn, offset, n_moves = near[r], offset + step_px * around[s], n_moves + 1
        moves.append(n_moves)
        assert (found[0][i].inv() * turn).magnitude() < 1e-5
        np.testing.assert_allclose(found[1][i], offset, atol=1e-6)
        assert found[2][i] == pytest.approx(score.max(), abs=1e-5)
    assert max(moves) == 3  # not all are there by then


@pytest.mark.parametrize(("box_px", "radius"), [(10, 4.0), (16, 6.0)])
def test_averages_are_as_alike_as_in_the_best_of_all_coarse_poses(box_px, radius, rng) -> None:
    one, other = rng.normal(size=(2, *(box_px,) * 3))
    averages = [one, 30 * np.roll(one, (3, -3, 0), (0, 1, 2)), 2 * other]  # as far as is looked
    coefficients = Coefficients(box_px, radius, (-90.0, 90.0))
    shifts = ball(1.67, 5.0)
    moved = coefficients.of(np.array(averages))[:, None] * coefficients.shift_phases(shifts)
    moved /= np.linalg.norm(moved, axis=2, keepdims=True)
    best = np.empty((3, 3))
    for k, average in enumerate(averages):
        slices = slices_at(average, coefficients, rotation_grid(1000))
        slices /= np.linalg.norm(slices, axis=1, keepdims=True)
        best[k] = (moved @ slices.conj().T).real.max(axis=(1, 2))
    found = AveragePairs(box_px).similarity(averages)
    np.testing.assert_array_equal(np.diag(found), 1)
    expected = np.maximum(best, best.T)
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_average_lies_on_another_to_half_a_degree() -> None:
    phantom, pairs = load_phantoms()["letter_l"], AveragePairs(20)
    one = phantom.density(20, 16.0)
    for seed in (2, 4, 5):
        there = Rotation.random(random_state=seed)
        shift = np.random.default_rng(seed).uniform(-1, 1, 3)
        rotation, found = pairs.pose_on(one, phantom.density(20, 16.0, there, shift))
        assert np.rad2deg((rotation.inv() * there).magnitude()) < 0.5
        np.testing.assert_allclose(found, shift, atol=0.045)


@pytest.mark.parametrize(("finest_deg", "radius"), [(15.0, 1.53), (7.5, 3.0)])
def test_scores_are_those_of_the_last_step(finest_deg, radius, rng) -> None:
    """Of one step and of two; a step of 15 degrees moves a shell of 1.53 by 0.4."""
    volumes, average = rng.normal(size=(4, 8, 8, 8)), rng.normal(size=(8, 8, 8))
    found = align_to_reference(volumes, average, ONE, first_step_deg=30, finest_deg=finest_deg)
    c = Coefficients(8, radius, ONE)
    score = correlations(c.of(volumes), c, average, found.rotations, found.shifts_zyx_px)
    np.testing.assert_allclose(found.score, score, atol=1e-4)


def test_climbing_ends_within_its_last_step() -> None:
    """Twenty noiseless slices, from 10 degrees and 0.7 voxels off: to 1 degree and 0.15 voxels."""
    volume, coefficients = load_phantoms()["letter_l"].density(16, 20.0), Coefficients(16, 6, ONE)
    rng, truth = np.random.default_rng(1), Rotation.random(20, random_state=3)
    shift, off = rng.uniform(-1, 1, (20, 3)), rng.normal(size=(20, 3))
    off /= np.linalg.norm(off, axis=1, keepdims=True)
    values = slices_at(volume, coefficients, truth) * coefficients.shift_phases(-shift)
    start = truth * Rotation.from_rotvec(np.deg2rad(10) * off)
    turns, found, score = refine_poses(values, coefficients, volume, start, shift + 0.7 * off)
    assert np.median(np.rad2deg((turns.inv() * truth).magnitude())) < 0.68
    assert np.abs(found - shift).max() < 0.105 and score.min() > 0.998


def test_what_holds_nothing_fits_nothing_and_is_no_error(rng) -> None:
    """A blank subtomogram, average or slice: zeros, not what division by zero gives."""
    for tilts in (ONE, TWO):
        c, n = Coefficients(8, 2.5, tilts), 3
        blank, wedge = (
            np.zeros((n, len(c)), np.complex64),
            None if tilts is ONE else np.arange(n) % 2,
        )
        volume, turns, nowhere = rng.normal(size=(8, 8, 8)), rotation_grid(n), np.zeros((n, 3))
        full, measured = complex_values(rng, n, len(c)), c.measured_by(wedge)
        assert not whitened(blank, c.shell, np.ones(4), measured).any()
        for values, average in ((blank, volume), (full, 0 * volume)):
            slices = slices_at(average, c, turns)
            assert not align(values, c, slices, SHIFTS, nowhere, wedge).score.any()
            assert not correlations(values, c, average, turns, nowhere, wedge).any()
            _, offset, score = refine_poses(values, c, average, turns, nowhere, wedge=wedge)
            assert not score.any() and not offset.any()
        made = Averager(Slicer(c, turns), 3).average(
            np.zeros((2, *blank.shape), np.complex64),
            np.zeros((2, n) if tilts is ONE else (2, n, 2)),
            with_halves=True,
        )
        assert not made.volume.any() and not np.any(made.halves)
    found = AveragePairs(8).similarity([0 * volume, volume])
    np.testing.assert_array_equal(found, np.eye(2))


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
def test_correlations_do_not_depend_on_scale(tilts, rng) -> None:
    c, turns = Coefficients(8, 2.5, tilts), Rotation.random(4, random_state=1)
    particles, volume = particles_of(c, 4, rng), rng.normal(size=(8, 8, 8))
    volumes, nowhere = rng.normal(size=(4, 8, 8, 8)), np.zeros((4, 3))
    each = tilts if tilts is ONE else TWO[particles.wedge]
    found = []
    for scale in (1.0, 1e-5):
        values, average = scale * particles.values, scale * volume
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        best = align(unit, c, slices_at(average, c, turns), SHIFTS, nowhere, particles.wedge)
        climbed = refine_poses(values, c, average, turns, nowhere, wedge=particles.wedge)
        there = align_to_reference(scale * volumes, average, each, first_step_deg=30)
        fit = correlations(values, c, average, turns, nowhere, particles.wedge)
        found.append([best.score, climbed[2], climbed[1], there.score, there.shifts_zyx_px, fit])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


# -- expectation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("tilts", "by_half"), [(ONE, False), (TWO, True)], ids=["whole", "halves"])
def test_expectation_is_that_of_one_subtomogram_after_the_other(tilts, by_half, rng) -> None:
    """In several blocks, with references that some are not compared with, and weighed shells."""
    coefficients = Coefficients(8, 1.5, tilts)
    particles = particles_of(coefficients, 16, rng)
    references = 0.5 * complex_values(rng, 2, 1200, len(coefficients))
    shifts = ball(1.0, 3.0)
    compared = rng.random((16, 2)) < 0.6
    compared[:, 1] |= ~compared.any(axis=1)
    options = {"by_half": by_half, "compared": compared}
    options["shell_weight"] = rng.uniform(0.3, 1, (2, 4))
    given = particles, references, np.log([0.3, 0.7]), shifts
    found, plain = expect(*given, **options), plain_expect(*given, **options)
    np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood, atol=1e-4)
    np.testing.assert_allclose(found.posterior, plain.posterior, atol=1e-4)
    np.testing.assert_array_equal(found.rotation, plain.rotation)
    np.testing.assert_allclose(found.offset_zyx_px, plain.offset_zyx_px, atol=1e-6)
    np.testing.assert_allclose(found.sums, plain.sums, atol=1e-3)
    np.testing.assert_allclose(found.counts, plain.counts.reshape(found.counts.shape), atol=1e-4)
    silent = expect(*given, **options, add_up=False)
    np.testing.assert_array_equal(silent.posterior, found.posterior)
    assert not silent.sums.size and not silent.counts.size


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two"])
def test_whitening_is_by_the_mean_power_of_what_was_measured(tilts, rng) -> None:
    coefficients = Coefficients(9, 3, tilts)
    particles = particles_of(coefficients, 5, rng)
    values, shell, measured = particles.values, coefficients.shell, particles.measured
    power = shell_power(values, shell, measured)
    there = measured_by_each(particles).astype(bool)
    assert power[0] == 1 and len(power) == 4
    for s in (1, 2, 3):
        here = shell == s
        n = there[:, here].sum()
        assert power[s] == pytest.approx((np.abs(values[:, here]) ** 2).sum() / n, rel=1e-5)
    white = whitened(values, shell, power, measured)
    for i, value in enumerate(values):
        flat = value / np.sqrt(power[shell] / 2)
        flat *= np.sqrt(2 * there[i].sum() / (np.abs(flat) ** 2).sum())
        np.testing.assert_allclose(white[i], flat, rtol=1e-4, atol=1e-6)


# -- maximisation --------------------------------------------------------------------------------

N, R, N_SHELLS, RADIUS = 8, 20, 4, 3.0


def compensated(total, weight, shell) -> np.ndarray:
    """Sum over weight, to which a tenth of the mean of the shell's sampled places is added."""
    found = np.zeros_like(total)
    for s in range(N_SHELLS):
        here = shell == s
        seen = (weight[here] > 0).sum()
        floor = 0.1 * weight[here].sum() / max(seen, 1)
        found[here] = total[here] / (weight[here] + floor + 1e-9)
    return found


def correlation_by_shell(a, b, shell) -> np.ndarray:
    found = []
    for s in range(N_SHELLS):
        one, other = a[shell == s], b[shell == s]
        norm = np.sqrt((np.abs(one) ** 2).sum() * (np.abs(other) ** 2).sum() + 1e-30)
        found.append((one * other.conj()).real.sum() / norm)
    return np.clip(found, 0.02, 1)


def density(spectrum, by_shell, shell) -> np.ndarray:
    """Filtered, in the inner half of the padded box, without what interpolation did to it."""
    filtered = np.zeros_like(spectrum)
    for s in range(N_SHELLS):
        filtered[shell == s] = spectrum[shell == s] * (by_shell[s] if s else 1)
    inner = centred_ifft(filtered)[(slice(N // 2, 3 * N // 2),) * 3]
    kernel = np.sinc((np.arange(N) - N // 2) / (2 * N)) ** 2
    inner = inner / np.einsum("i,j,k", kernel, kernel, kernel)
    box = soft_sphere(N, N / 2 - 2, 1.0, "gaussian")
    return inner * box * soft_sphere(N, RADIUS, 1.0, "gaussian")


@pytest.fixture
def added(rng) -> tuple:
    """Sums of four parts of the data at twenty rotations, what is common to them, and wedges."""
    slicer = Slicer(Coefficients(N, 3, ONE), rotation_grid(R))
    values = complex_values(rng, 1, R, 1) + 0.7 * complex_values(rng, 4, R, len(slicer._index[0]))
    counts = rng.uniform(0, 2, (4, R))
    counts[:, 12:] = 0
    sums = (values * counts[..., None]).astype(np.complex64)
    shell = np.rint(np.sqrt(((np.indices((2 * N,) * 3) - N) ** 2).sum(axis=0)) / 2).astype(int)
    return slicer, sums, counts, shell, Averager(slicer, N_SHELLS, RADIUS)


def test_an_average_is_compensated_and_filtered_by_what_halves_share(added) -> None:
    slicer, sums, counts, shell, averager = added
    first, second = (slicer.insert(sums[h], counts[h]) for h in (0, 1))
    halves = [compensated(*half, shell) for half in (first, second)]
    whole = compensated(first[0] + second[0], first[1] + second[1], shell)
    c = correlation_by_shell(*halves, shell)
    assert 0.02 < c[1:].min() and c[1:].max() < 0.95
    made = averager.average(sums[:2], counts[:2], with_halves=True)
    np.testing.assert_allclose(made.correlation, c, atol=1e-6)
    expected = density(whole, 2 * c / (1 + c), shell)
    np.testing.assert_allclose(made.volume, expected, atol=1e-5 * np.abs(expected).max())
    for found, half in zip(made.halves, halves, strict=True):
        expected = density(half, c, shell)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert averager.average(sums[:2], counts[:2]).halves == []


def test_averages_without_each_part_are_those_of_the_others(added) -> None:
    slicer, sums, counts, shell, averager = added
    parts = [slicer.insert(sums[p], counts[p]) for p in range(4)]
    even, odd = ([parts[h][i] + parts[h + 2][i] for i in (0, 1)] for h in (0, 1))
    c = correlation_by_shell(compensated(*even, shell), compensated(*odd, shell), shell)
    made = averager.without_each([averager.inserted(sums[p], counts[p]) for p in range(4)])
    whole = compensated(even[0] + odd[0], even[1] + odd[1], shell)
    expected = density(whole, 2 * c / (1 + c), shell)
    np.testing.assert_allclose(made.whole, expected, atol=1e-5 * np.abs(expected).max())
    of_others = 1.5 * c / (1 + 0.5 * c)  # three of four parts: one and a half halves
    np.testing.assert_allclose(made.signal, of_others, atol=1e-6)
    assert len(made.others) == 4
    for p, found in enumerate(made.others):
        rest = [sum(parts[q][i] for q in range(4) if q != p) for i in (0, 1)]
        expected = density(compensated(*rest, shell), of_others, shell)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_shells_of_a_volume_are_multiplied(added, rng) -> None:
    volume, by_shell = rng.normal(size=(N,) * 3), rng.uniform(0, 2, 8)
    spectrum = centred_fft(volume)
    for index in np.ndindex(volume.shape):
        spectrum[index] *= by_shell[round(float(np.linalg.norm(np.array(index) - N // 2)))]
    found = added[-1].filtered(volume, by_shell)
    np.testing.assert_allclose(found, centred_ifft(spectrum), atol=1e-5)


def test_unfiltered_averages_hold_all_shells(added, rng) -> None:
    slicer, sums, counts, _, averager = added
    total, weight = slicer.insert(sums[0], counts[0])
    shell = np.rint(np.sqrt(((np.indices(total.shape) - N) ** 2).sum(axis=0)) / 2).astype(int)
    found = np.zeros_like(total)
    for s in np.unique(shell):
        here = shell == s
        floor = 0.1 * weight[here].sum() / max((weight[here] > 0).sum(), 1)
        found[here] = total[here] / (weight[here] + floor + 1e-9)
    inner = centred_ifft(found)[(slice(N // 2, 3 * N // 2),) * 3]
    kernel = np.sinc((np.arange(N) - N // 2) / (2 * N)) ** 2
    expected = inner / np.einsum("i,j,k", kernel, kernel, kernel)
    expected = expected * soft_sphere(N, N / 2 - 2, 1.0, "gaussian")
    made = averager.unfiltered((total, weight))
    np.testing.assert_allclose(made, expected, atol=1e-5 * np.abs(expected).max())
