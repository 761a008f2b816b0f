"""Normalisation, low-pass, crop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aitom_disca.errors import InputError
from aitom_disca.subtomograms import crop, low_pass, normalise

SHAPE = (12, 15, 18)


def test_normalise_gives_every_volume_zero_mean_and_unit_variance(rng):
    volumes = rng.normal(30_000, [[[[1]]], [[[50]]]], (2, *SHAPE))
    kept = volumes.copy()
    result = normalise(volumes)
    assert result.dtype == np.float32 and result.shape == volumes.shape
    np.testing.assert_allclose(result.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std((1, 2, 3)), 1, atol=1e-5)
    np.testing.assert_array_equal(volumes, kept)


def test_normalise_takes_one_volume_and_keeps_the_sign(rng):
    volume = rng.normal(size=SHAPE)
    volume[3, 4, 5] = 40
    assert normalise(volume).argmax() == volume.argmax()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_normalise_refuses_constant_volumes(rng, value):
    volumes = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    volumes[1] = value
    with pytest.raises(InputError, match="1 of 3 subtomograms are constant"):
        normalise(volumes)


@pytest.mark.parametrize("sigma_px", [1.0, 1.3, 1.7])
def test_low_pass_agrees_with_a_periodic_gaussian(rng, sigma_px):
    volumes = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    plain = [ndimage.gaussian_filter(v, sigma_px, mode="wrap", truncate=8) for v in volumes]
    # sampled in one space or the other: they differ by the aliasing, largest at 1 voxel
    np.testing.assert_allclose(low_pass(volumes, sigma_px), plain, atol=0.02)


def test_low_pass_keeps_mean_centre_and_input(rng):
    volume = np.zeros((1, *SHAPE), np.float32)
    volume[0, 6, 7, 9] = 1
    result = low_pass(volume, 1.5)
    assert np.unravel_index(result.argmax(), result.shape) == (0, 6, 7, 9)
    assert result.sum() == pytest.approx(1, abs=1e-5)
    assert volume.sum() == 1


def test_low_pass_in_batches_equals_low_pass_at_once(rng, monkeypatch):
    volumes = rng.normal(size=(2, 5, *SHAPE)).astype(np.float32)
    at_once = low_pass(volumes, 1.0)
    monkeypatch.setattr("aitom_disca.subtomograms.preprocess._BATCH_VOXELS", 3 * 12 * 15 * 18)
    np.testing.assert_allclose(low_pass(volumes, 1.0), at_once, atol=1e-6)


def test_low_pass_of_zero_is_a_copy(rng):
    volume = rng.normal(size=SHAPE).astype(np.float32)
    result = low_pass(volume, 0)
    np.testing.assert_array_equal(result, volume)
    assert not np.shares_memory(result, volume)


@pytest.mark.parametrize("sigma_px", [-1, np.nan, np.inf])
def test_low_pass_refuses_a_bad_sigma(sigma_px):
    with pytest.raises(InputError, match="low-pass sigma must be 0 or more"):
        low_pass(np.zeros(SHAPE), sigma_px)


@pytest.mark.parametrize(("n", "box_px"), [(16, 9), (16, 10), (15, 9), (15, 10), (12, 12)])
def test_crop_keeps_the_centre(n, box_px):
    volumes = np.zeros((2, n, n, n))
    volumes[:, n // 2, n // 2, n // 2] = 1
    result = crop(volumes, box_px)
    assert result.shape == (2, box_px, box_px, box_px)
    assert (result[:, box_px // 2, box_px // 2, box_px // 2] == 1).all()


@pytest.mark.parametrize("box_px", [0, 17])
def test_crop_refuses_a_box_that_does_not_fit(box_px):
    with pytest.raises(InputError, match=f"box of {box_px} voxels cannot be cut"):
        crop(np.zeros((16, 16, 16)), box_px)
