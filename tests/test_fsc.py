"""Fourier shell correlation: against a slow loop, known curves, and the effect of a mask."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.averaging import (
    FscCurve,
    corrected_fsc,
    fourier_shell_correlation,
    randomise_phases,
    resolution_angstrom,
)
from aitom_disca.errors import InputError
from aitom_disca.geometry.sphere import soft_sphere


def shells_of(n):
    axis = np.fft.fftfreq(n, 1 / n)
    return np.rint(np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis)), axis=0)).astype(int)


def with_shell_amplitudes(volume, by_shell):
    factor = np.append(by_shell, np.zeros(volume.shape[0]))[shells_of(volume.shape[0])]
    return np.fft.ifftn(np.fft.fftn(volume) * factor).real


def slow_fsc(a, b):
    n = a.shape[0]
    first, second, shell = np.fft.fftn(a), np.fft.fftn(b), shells_of(n)
    sums = np.zeros((3, n))
    for place in np.ndindex(a.shape):
        f, g, s = first[place], second[place], shell[place]
        sums[:, s] += (f * g.conjugate()).real, abs(f) ** 2, abs(g) ** 2
    shared, power1, power2 = sums[:, : n // 2 + 1]
    return shared / np.sqrt(power1 * power2)


@pytest.mark.parametrize("n", [12, 13])
def test_agrees_with_a_loop_over_all_coefficients(rng, n):
    a = rng.normal(size=(n, n, n))
    b = a + rng.normal(size=a.shape)
    curve = fourier_shell_correlation(a, b, 2.5)
    np.testing.assert_allclose(curve.correlation[1:], slow_fsc(a, b)[1:], rtol=1e-10)
    np.testing.assert_allclose(curve.frequency_per_angstrom, np.arange(n // 2 + 1) / (n * 2.5))


@pytest.mark.parametrize("n", [16, 17])
def test_identical_halves_give_one_and_opposite_ones_minus_one(rng, n):
    volume = rng.normal(size=(n, n, n)).astype(np.float32)
    same = fourier_shell_correlation(volume, 3 * volume + 2, 1.0)
    np.testing.assert_allclose(same.correlation, 1, atol=1e-6)
    opposite = fourier_shell_correlation(volume, -volume, 1.0)
    np.testing.assert_allclose(opposite.correlation[1:], -1, atol=1e-6)


def test_independent_noise_gives_about_zero(rng):
    n = 33
    curve = fourier_shell_correlation(*rng.normal(size=(2, n, n, n)), 1.0)
    count = np.bincount(shells_of(n).ravel())[1 : n // 2 + 1]
    assert (np.abs(curve.correlation[1:]) < 3 / np.sqrt(count)).all()


def test_signal_in_noise_follows_its_signal_to_noise_ratio(rng):
    n = 40
    amplitude = np.exp(-0.15 * np.arange(n // 2 + 1))
    signal = with_shell_amplitudes(rng.normal(size=(n, n, n)), amplitude)
    halves = signal + 0.4 * rng.normal(size=(2, n, n, n))
    snr = amplitude**2 / 0.16
    count = np.bincount(shells_of(n).ravel())[: n // 2 + 1]
    curve = fourier_shell_correlation(*halves, 1.0)
    off = np.abs(curve.correlation - snr / (snr + 1))[1:]
    assert (off < 4 / np.sqrt(count[1:])).all()


def test_a_shell_without_power_counts_as_zero(rng):
    n = 16
    low = with_shell_amplitudes(rng.normal(size=(n, n, n)), [1, 1, 1, 1])
    empty = np.zeros((n, n, n))
    assert (fourier_shell_correlation(low, empty, 1.0).correlation[1:] == 0).all()


def test_resolution_is_where_the_line_between_two_shells_crosses():
    curve = FscCurve(np.array([0, 0.01, 0.02, 0.03, 0.04]), np.array([1, 0.9, 0.6, 0.2, 0.7]))
    assert curve.resolution_angstrom(0.5) == pytest.approx(1 / 0.0225)
    assert resolution_angstrom(curve, 0.143) == pytest.approx(1 / 0.04)  # never below: Nyquist
    assert resolution_angstrom(curve, 0.95) == np.inf  # below from the first shell on
    with pytest.raises(InputError, match=r"between 0 and 1; got 1\.5"):
        resolution_angstrom(curve, 1.5)


@pytest.mark.parametrize("n", [14, 15])
def test_random_phases_keep_amplitudes_and_the_coarse_part(rng, n):
    volume = rng.normal(size=(n, n, n))
    changed = randomise_phases(volume, 4, rng)
    before, after = np.fft.fftn(volume), np.fft.fftn(changed)
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-9)
    coarse = shells_of(n) < 4
    np.testing.assert_allclose(after[coarse], before[coarse], atol=1e-9)
    turn = np.angle(after[~coarse] / before[~coarse])
    assert abs(np.exp(1j * turn).mean()) < 4 / np.sqrt(turn.size / 2)


def test_random_phases_come_again_with_the_same_seed(rng):
    volume = rng.normal(size=(10, 10, 10))
    once, again, other = (randomise_phases(volume, 3, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, other)


def test_the_correction_removes_what_the_mask_alone_contributes(rng):
    # Both halves share coarse detail and nothing else; a tight mask spreads it over all shells.
    n = 48
    signal = with_shell_amplitudes(rng.normal(size=(n, n, n)), [0, 20, 20, 20, 20])
    halves = signal + 0.3 * rng.normal(size=(2, n, n, n))
    mask = soft_sphere(n, 10, 0)
    found = corrected_fsc(*halves, mask, 1.0, rng)
    assert found.randomised_from_shell == 5
    fine = slice(7, None)
    assert found.masked.correlation[fine].mean() > 0.5
    assert abs(found.unmasked.correlation[fine].mean()) < 0.02
    assert abs(found.randomised.correlation - found.masked.correlation)[fine].mean() < 0.15
    assert abs(found.corrected.correlation[fine].mean()) < 0.15
    assert (found.corrected.correlation[:7] == found.masked.correlation[:7]).all()


def test_the_correction_keeps_true_detail(rng):
    n = 48
    falling = np.exp(-((np.arange(n // 2 + 1) / 14) ** 2))
    signal = with_shell_amplitudes(rng.normal(size=(n, n, n)), 3 * falling)
    signal *= soft_sphere(n, 14, 6)
    halves = signal + rng.normal(size=(2, n, n, n))
    found = corrected_fsc(*halves, soft_sphere(n, 16, 6), 1.0, rng)
    masked, corrected = found.masked.correlation, found.corrected.correlation
    assert found.masked.resolution_angstrom() < found.unmasked.resolution_angstrom()
    clear = masked > 0.3
    np.testing.assert_allclose(corrected[clear], masked[clear], atol=0.1)


def test_the_correction_is_the_published_formula(rng):
    n = 24
    signal = with_shell_amplitudes(rng.normal(size=(n, n, n)), np.linspace(3, 0, 13))
    found = corrected_fsc(*(signal + rng.normal(size=(2, n, n, n))), soft_sphere(n, 7, 2), 1.0, rng)
    start = found.randomised_from_shell + 2
    masked, noise = found.masked.correlation[start:], found.randomised.correlation[start:]
    assert len(masked) > 2
    expected = (masked - noise) / (1 - noise)
    np.testing.assert_allclose(found.corrected.correlation[start:], expected)


def test_halves_that_never_fall_apart_need_no_correction(rng):
    volume = rng.normal(size=(16, 16, 16))
    found = corrected_fsc(volume, volume, soft_sphere(16, 5, 2), 1.0, rng)
    assert found.randomised_from_shell == 9
    np.testing.assert_allclose(found.corrected.correlation, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"half2": np.ones((8, 8, 9))}, "second map must be a cube"),
        ({"half2": np.ones((9, 9, 9))}, "must have one box"),
        ({"half1": np.full((8, 8, 8), np.nan)}, "first map holds values that are not finite"),
        ({"half1": np.ones((8, 8))}, "axes z, y, x"),
        ({"mask": np.zeros((8, 8, 8))}, "the mask is empty"),
        ({"mask": np.ones((9, 9, 9))}, "give a mask of the map's box"),
        ({"mask": np.full((8, 8, 8), 1.5)}, "values from 0 to 1; this one has 1.5 to 1.5"),
        ({"mask": np.full((8, 8, 8), -0.5)}, "values from 0 to 1"),
        ({"voxel_size_angstrom": 0.0}, "voxel size must be a number above 0; got 0.0"),
    ],
)
def test_refuses_what_it_cannot_use(rng, change, message):
    half1, half2 = rng.normal(size=(2, 8, 8, 8))
    good = {"half1": half1, "half2": half2, "mask": np.ones((8, 8, 8)), "voxel_size_angstrom": 1.0}
    with pytest.raises(InputError, match=message):
        corrected_fsc(**(good | change), rng=rng)


def test_relions_numbers_are_those_of_the_c_library():
    from aitom_disca.averaging.phase_randomisation import RelionNumbers

    numbers = RelionNumbers()
    first = np.concatenate([numbers.random(2), numbers.random(40)])
    assert np.round(first[:3] * (2**31 - 1)).tolist() == [1804289383, 846930886, 1681692777]
    assert 0.3 < first.mean() < 0.7 and (first >= 0).all() and (first <= 1).all()
