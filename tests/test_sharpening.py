"""B factor and sharpening: a known fall of the amplitudes is found and undone."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.averaging import (
    FscCurve,
    fourier_shell_correlation,
    fsc_weights,
    guinier_fit,
    sharpen,
)
from aitom_disca.errors import InputError

VOXEL = 4.0


def frequency(n):
    axis = np.fft.fftfreq(n, VOXEL)
    return np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis, indexing="ij")), axis=0)


def filtered(volume, factor):
    return np.fft.ifftn(np.fft.fftn(volume) * factor).real


def falling(rng, n, b):
    return filtered(rng.normal(size=(n, n, n)), np.exp(-b / 4 * frequency(n) ** 2))


@pytest.mark.parametrize(("n", "b"), [(40, 300.0), (41, 900.0), (40, -200.0)])
def test_a_known_b_factor_is_found(rng, n, b):
    volume = falling(rng, n, b)
    fit = guinier_fit(volume, VOXEL, low_resolution_angstrom=40, high_resolution_angstrom=2 * VOXEL)
    assert fit.b_factor_angstrom2 == pytest.approx(-b, rel=0.05)
    assert fit.correlation > 0.95
    line = fit.intercept + fit.b_factor_angstrom2 / 4 * fit.inverse_resolution_squared
    np.testing.assert_allclose(line[fit.fitted], fit.log_amplitude[fit.fitted], atol=0.15)


def test_only_shells_between_the_two_resolutions_count(rng):
    n = 48
    s = frequency(n)
    bent = np.where(s < 1 / 24, np.exp(-4000 / 4 * s**2), np.exp(-500 / 4 * s**2))
    volume = filtered(rng.normal(size=(n, n, n)), bent)
    fit = guinier_fit(volume, VOXEL, low_resolution_angstrom=20, high_resolution_angstrom=9)
    assert fit.b_factor_angstrom2 == pytest.approx(-500, rel=0.1)
    edge = fit.inverse_resolution_squared[fit.fitted] ** -0.5
    assert 9 <= edge.min() and edge.max() <= 20


def test_sharpening_undoes_a_known_fall_up_to_the_resolution(rng):
    n, b, resolution = 36, 400.0, 12.0
    flat = rng.normal(size=(n, n, n))
    dull = filtered(flat, np.exp(-b / 4 * frequency(n) ** 2))
    sharp = sharpen(dull, VOXEL, b_factor_angstrom2=-b, resolution_angstrom=resolution)
    before, after, s = np.fft.fftn(flat), np.fft.fftn(sharp), frequency(n)
    shell = 1 / (n * VOXEL)
    kept, cut = s < 1 / resolution - 1.01 * shell, s > 1 / resolution + 1.01 * shell
    np.testing.assert_allclose(after[kept], before[kept], atol=1e-8)
    np.testing.assert_allclose(after[cut], 0, atol=1e-8)
    middle = np.isclose(s, 1 / resolution)  # frequency 12 of 36 on an axis
    np.testing.assert_allclose(after[middle], before[middle] / 2, atol=1e-8)


def test_sharpening_without_effect_keeps_all_but_the_corners(rng):
    n = 17
    volume = rng.normal(size=(n, n, n)).astype(np.float32)
    same = sharpen(volume, VOXEL, b_factor_angstrom2=0, resolution_angstrom=1.0)
    inside = np.rint(frequency(n) * n * VOXEL) <= n // 2
    np.testing.assert_allclose(same, filtered(volume, inside), atol=1e-5)
    assert same.dtype == np.float32


def test_weights_follow_the_curve(rng):
    curve = FscCurve(np.arange(5) / 32, np.array([1, 1, 1 / 3, 0, -0.4]))
    np.testing.assert_allclose(fsc_weights(curve), [1, 1, np.sqrt(0.5), 0, 0])
    weighted = sharpen(
        volume := rng.normal(size=(8, 8, 8)),
        VOXEL,
        b_factor_angstrom2=0,
        resolution_angstrom=1.0,
        curve=curve,
    )
    ratio = np.fft.fftn(weighted) / np.fft.fftn(volume)
    np.testing.assert_allclose(ratio[0, :4, 0], [1, 1, np.sqrt(0.5), 0], atol=1e-9)


def test_weighting_brings_a_noisy_average_nearer_to_the_truth(rng):
    n = 32
    truth = falling(rng, n, 3000.0)
    halves = truth + 2 * truth.std() * rng.normal(size=(2, n, n, n))
    curve = fourier_shell_correlation(*halves, VOXEL)
    mean = halves.mean(axis=0)
    options = {"b_factor_angstrom2": 0.0, "resolution_angstrom": 2 * VOXEL}
    plain, weighted = (sharpen(mean, VOXEL, curve=c, **options) for c in (None, curve))

    def agreement(volume):
        return np.corrcoef(volume.ravel(), truth.ravel())[0, 1]

    assert agreement(weighted) > agreement(plain) + 0.1


def test_refuses_what_it_cannot_use(rng):
    volume = rng.normal(size=(16, 16, 16))
    for low, high, message in ((8, 30, "there are 0"), (9, 8.5, "3 shells"), (0, 8, "above 0")):
        with pytest.raises(InputError, match=message):
            guinier_fit(volume, 4.0, low_resolution_angstrom=low, high_resolution_angstrom=high)
    with pytest.raises(InputError, match="resolution must be a number above 0; got inf"):
        sharpen(volume, 4.0, b_factor_angstrom2=-100, resolution_angstrom=np.inf)
    with pytest.raises(InputError, match="B factor must be a finite number; got nan"):
        sharpen(volume, 4.0, b_factor_angstrom2=np.nan, resolution_angstrom=12)
    for other in (FscCurve(np.arange(7) / 64, np.ones(7)), FscCurve(np.arange(9) / 32, np.ones(9))):
        with pytest.raises(InputError, match="the curve must have the 9 shells"):
            sharpen(volume, 4.0, b_factor_angstrom2=0, resolution_angstrom=12, curve=other)
