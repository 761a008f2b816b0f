"""Masks: a soft sphere, and what stands out in a map."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.averaging import density_mask
from aitom_disca.errors import InputError
from aitom_disca.geometry.sphere import soft_sphere


def balls(shape, *centre_and_radius):
    grid = np.indices(shape).astype(float)
    volume = np.zeros(shape)
    for centre, radius in centre_and_radius:
        distance = np.linalg.norm(grid - np.reshape(centre, (3, 1, 1, 1)), axis=0)
        volume[distance <= radius] = 1
    return volume


@pytest.mark.parametrize("n", [20, 21])
def test_a_sphere_has_a_cosine_edge_about_the_centre_voxel(n):
    mask = soft_sphere(n, 5, 4)
    profile = mask[n // 2, n // 2, n // 2 :]
    expected = [1] * 6 + [(1 + np.cos(np.pi * i / 4)) / 2 for i in (1, 2, 3)] + [0]
    np.testing.assert_allclose(profile[:10], expected, atol=1e-6)
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask, mask.transpose(2, 0, 1))


def test_a_sphere_without_an_edge_is_zero_or_one():
    mask = soft_sphere(21, 6, 0)
    np.testing.assert_array_equal(mask, balls((21, 21, 21), ((10, 10, 10), 6)))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 5, 3), "box of 0"),
        ((20, -1, 3), "radius of -1"),
        ((20, np.nan, 3), "radius of nan"),
        ((20, 5, -1), "edge of -1"),
    ],
)
def test_a_sphere_refuses_numbers_without_sense(numbers, message):
    with pytest.raises(InputError, match=message):
        soft_sphere(*numbers)


def test_the_largest_piece_is_extended_and_softened():
    shape, centre = (30, 34, 38), (14, 15, 12)
    volume = balls(shape, (centre, 6), ((15, 17, 31), 3))
    mask = density_mask(volume, 5.0, low_pass_angstrom=0, extend_px=2, edge_px=3)
    distance = np.linalg.norm(np.indices(shape) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    off = 0.8  # the ball is made of whole voxels
    assert (mask[distance <= 8 - off] == 1).all()
    assert (mask[distance >= 11 + off] == 0).all()
    edge = mask[(distance > 9) & (distance < 10)]
    assert ((edge > 0) & (edge < 1)).all()
    assert mask.shape == shape and mask.dtype == np.float32


@pytest.mark.parametrize(
    ("n", "radius", "sigma"), [(32, 8, 0.5), (32, 10, 0.7), (40, 4, 0.5), (40, 4, 0), (33, 8, 0)]
)
def test_the_automatic_threshold_finds_a_ball_in_noise(rng, n, radius, sigma):
    # the smallest ball is 0.4 % of the box; the corners hold nothing, as in masked averages
    ball = balls((n, n, n), ((n // 2, n // 2 - 1, n // 2 + 1), radius))
    noisy = (ball + sigma * rng.normal(size=ball.shape)) * soft_sphere(n, n / 2 - 2, 2)
    mask = density_mask(noisy, 10.0, extend_px=0, edge_px=0)
    overlap = 2 * (mask * ball).sum() / (mask.sum() + ball.sum())
    assert overlap > 0.9


def test_a_higher_relative_threshold_and_less_extension_give_a_smaller_mask(rng):
    grid = np.indices((24, 24, 24)) - 12
    volume = np.exp(-(grid**2).sum(axis=0) / 40)
    low = density_mask(volume, 1.0, relative_threshold=0.2)
    high = density_mask(volume, 1.0, relative_threshold=0.5)
    tight = density_mask(volume, 1.0, relative_threshold=0.5, extend_px=0)
    assert (low >= high).all() and (high >= tight).all()
    assert low.sum() > high.sum() > tight.sum()


def test_the_mask_does_not_depend_on_the_scale_of_the_map(rng):
    volume = balls((20, 20, 20), ((10, 9, 8), 5)) + 0.1 * rng.normal(size=(20, 20, 20))
    np.testing.assert_array_equal(density_mask(volume, 1.0), density_mask(64 * volume, 1.0))


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (0.0, {}, "nothing stands out"),
        (7.0, {}, "nothing stands out"),
        (-1.0, {}, "nothing stands out"),
        (None, {"relative_threshold": 1.0}, "between 0 and 1"),
        (None, {"relative_threshold": 0.0}, "between 0 and 1"),
        (None, {"extend_px": -1}, "extension of the mask"),
        (None, {"edge_px": np.inf}, "edge of the mask"),
        (None, {"low_pass_angstrom": -3}, "low-pass"),
        (np.nan, {}, "not finite"),
    ],
)
def test_a_density_mask_refuses_what_it_cannot_use(rng, value, options, message):
    shape = (8, 9, 10)
    volume = rng.normal(size=shape) if value is None else np.full(shape, value)
    with pytest.raises(InputError, match=message):
        density_mask(volume, 1.0, **options)
