"""Boxes, Fourier cropping, the missing wedge and rotations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.spatial.transform import Rotation

from aitom_disca.geometry import (
    apply_wedge,
    box_slices,
    centre_index,
    cube_rotations,
    euler_zyz_deg_from_rotation,
    fourier_crop,
    frequency_grid_zyx,
    missing_wedge_mask,
    random_rotations,
    rotate_by_cube,
    rotation_from_euler_zyz_deg,
)

# -- boxes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "centre"), [(1, 0), (2, 1), (15, 7), (16, 8), (25, 12)])
def test_centre_is_the_zero_frequency_of_the_fft(n, centre):
    assert centre_index(n) == centre
    assert np.fft.fftshift(np.fft.fftfreq(n))[centre_index(n)] == 0


@pytest.mark.parametrize("box", [4, 5, 7])
def test_box_slices_put_the_nearest_voxel_at_the_centre(box):
    volume = np.arange(11 * 14 * 17).reshape(11, 14, 17)
    for center in ([5, 6, 8], [5.4, 6.4, 7.6], [4.5, 5.5, 7.5]):  # a half rounds up
        cut = volume[box_slices(center, box)]
        assert cut.shape == (box,) * 3
        assert cut[(centre_index(box),) * 3] == volume[5, 6, 8]


def test_box_slices_may_reach_outside():
    assert box_slices([0, 1, 9.2], 4) == (slice(-2, 2), slice(-1, 3), slice(7, 11))
    assert box_slices([-0.5, -1.5, 0], 3) == (slice(-1, 2), slice(-2, 1), slice(-1, 2))


# -- Fourier space -------------------------------------------------------------------------


def test_frequencies_broadcast_to_the_transform():
    shape = (4, 5, 6)
    kz, ky, kx = frequency_grid_zyx(shape)
    assert np.broadcast_shapes(kz.shape, ky.shape, kx.shape) == shape
    assert (kz[1, 0, 0], ky[1, 0], kx[1]) == (1 / 4, 1 / 5, 1 / 6)
    half = frequency_grid_zyx(shape, half=True)
    assert np.broadcast_shapes(*(k.shape for k in half)) == np.fft.rfftn(np.zeros(shape)).shape


def band_limited(n: int, highest: int) -> np.ndarray:
    """A fixed periodic function of frequencies up to ``highest``, sampled at n points an axis."""
    rng = np.random.default_rng(5)
    r = (np.arange(n) - n // 2) / n
    volume = np.zeros((n, n, n))
    for _ in range(30):
        kz, ky, kx = rng.integers(-highest, highest + 1, 3)
        phase = 2 * np.pi * (kz * r[:, None, None] + ky * r[:, None] + kx * r)
        volume += rng.normal() * np.cos(phase + rng.uniform(0, 6))
    return volume


@pytest.mark.parametrize("n", [16, 19, 24])
@pytest.mark.parametrize("box", [10, 11, 13])
def test_fourier_crop_samples_a_band_limited_volume_exactly(n, box):
    highest = (box - 1) // 2  # below the new Nyquist frequency
    cropped = fourier_crop(band_limited(n, highest), box)
    assert cropped.dtype == np.float32
    np.testing.assert_allclose(cropped, band_limited(box, highest), atol=2e-5)


@pytest.mark.parametrize(("n", "box"), [(16, 8), (17, 9), (24, 15), (15, 10)])
def test_fourier_crop_keeps_the_centre_and_the_mean(n, box):
    volume = np.zeros((2, n, n, n), np.float32)
    volume[0, n // 2, n // 2, n // 2] = 1
    volume[1] = 3.5
    cropped = fourier_crop(volume, box)
    assert np.unravel_index(cropped[0].argmax(), cropped[0].shape) == (box // 2,) * 3
    mirrored = cropped[0][(slice(None, None, -1),) * 3]
    if box % 2:  # an odd box is symmetric about its centre
        np.testing.assert_allclose(cropped[0], mirrored, atol=1e-6)
    np.testing.assert_allclose(cropped[1], 3.5, rtol=1e-6)
    np.testing.assert_allclose(cropped[0].mean(), volume[0].mean(), rtol=1e-4)


def test_fourier_crop_to_the_same_box_changes_nothing(rng):
    volume = rng.normal(size=(9, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(fourier_crop(volume, 9), volume)


@pytest.mark.parametrize("box", [0, -1, 9])
def test_fourier_crop_cannot_enlarge(box):
    with pytest.raises(ValueError, match="box_px must be between 1 and 8"):
        fourier_crop(np.zeros((8, 8, 8)), box)


# -- missing wedge -------------------------------------------------------------------------


def slow_wedge(shape: tuple[int, int, int], low: float, high: float, n_x: int) -> np.ndarray:
    """Voxel by voxel: is the direction that of an image at one of the measured tilts?"""
    frequencies = [np.fft.fftfreq(n) for n in shape]
    mask = np.zeros((shape[0], shape[1], n_x), bool)
    for iz in range(shape[0]):
        for iy in range(shape[1]):
            for ix in range(n_x):
                kz, kx = frequencies[0][iz], frequencies[2][ix]
                if ix == shape[2] // 2 and n_x != shape[2] and shape[2] % 2 == 0:
                    kx = -kx  # rfftfreq counts the Nyquist frequency as positive
                if kx == 0 and kz == 0:
                    mask[iz, iy, ix] = True
                    continue
                tilt = 90.0 if kx == 0 else math.degrees(math.atan(kz / kx))
                inside = low - 1e-6 <= tilt <= high + 1e-6
                mask[iz, iy, ix] = inside or (kx == 0 and low <= -90)
    return mask


@pytest.mark.parametrize("tilts", [(-60, 60), (-40, 60), (-90, 90), (-90, 50), (10, 45)])
@pytest.mark.parametrize("shape", [(6, 5, 8), (9, 4, 7), (8, 3, 8)])
def test_wedge_agrees_with_a_plain_loop(shape, tilts):
    full = np.broadcast_to(missing_wedge_mask(shape, tilts), shape)
    np.testing.assert_array_equal(full, slow_wedge(shape, *tilts, shape[2]))
    half_shape = (*shape[:2], shape[2] // 2 + 1)
    half = np.broadcast_to(missing_wedge_mask(shape, tilts, half=True), half_shape)
    np.testing.assert_array_equal(half, slow_wedge(shape, *tilts, half_shape[2]))


@pytest.mark.parametrize("tilts", [(-60, 60), (-40, 60), (5, 20)])
def test_wedge_of_odd_boxes_is_point_symmetric(tilts):
    mask = np.broadcast_to(missing_wedge_mask((9, 7, 11), tilts), (9, 7, 11))
    partner = mask[np.ix_(*(-np.arange(n) % n for n in mask.shape))]
    np.testing.assert_array_equal(mask, partner)


def test_wedge_lies_along_the_beam():
    mask = missing_wedge_mask((9, 9, 9), (-60, 60))[:, 0]
    assert mask[0].all()  # kz = 0: all of the untilted image
    assert not mask[1:, 0].any()  # kx = 0: along the beam
    assert 0.6 < mask.mean() < 0.75
    lopsided = missing_wedge_mask((9, 9, 9), (0, 60))[:, 0]
    assert lopsided[1, 1] and not lopsided[-1, 1]  # positive tilts hold kz / kx > 0


def test_full_range_measures_everything():
    assert missing_wedge_mask((5, 6, 7), (-90, 90)).all()


@pytest.mark.parametrize("tilts", [(60, -60), (10, 10), (-91, 60), (-60, 95), (np.nan, 60)])
def test_bad_tilt_ranges_are_refused(tilts):
    with pytest.raises(ValueError, match="tilt_range_deg must be"):
        missing_wedge_mask((4, 4, 4), tilts)


@pytest.mark.parametrize("shape", [(8, 9, 10), (7, 6, 5)])
def test_apply_wedge_is_the_masked_transform(rng, shape):
    volumes = rng.normal(size=(2, *shape))
    filtered = apply_wedge(volumes, (-50, 60))
    assert filtered.dtype == np.float32
    mask = missing_wedge_mask(shape, (-50, 60), half=True)
    spectrum = np.fft.rfftn(volumes, axes=(1, 2, 3)) * mask
    expected = np.fft.irfftn(spectrum, s=shape, axes=(1, 2, 3))
    np.testing.assert_allclose(filtered, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 9, 11), (8, 9, 10)])
def test_apply_wedge_twice_changes_nothing_more(rng, shape):
    once = apply_wedge(rng.normal(size=shape), (-50, 60))
    np.testing.assert_allclose(apply_wedge(once, (-50, 60)), once, atol=2e-6)


# -- rotations -----------------------------------------------------------------------------


def matrix_zyx(rotation) -> np.ndarray:
    """Matrix of a cube rotation, read off from what it does to three marked voxels."""
    n, c = 5, 2
    matrix = np.zeros((3, 3))
    for axis in range(3):
        volume = np.zeros((n, n, n))
        place = [c, c, c]
        place[axis] += 1
        volume[tuple(place)] = 1
        turned = rotate_by_cube(volume, rotation)
        matrix[:, axis] = np.argwhere(turned)[0] - c
    return matrix


def test_cube_rotations_are_24_distinct_proper_and_closed(rng):
    rotations = cube_rotations()
    assert len(rotations) == 24
    volume = rng.normal(size=(4, 4, 4))  # without any symmetry
    np.testing.assert_array_equal(rotate_by_cube(volume, rotations[0]), volume)
    turned = [rotate_by_cube(volume, r) for r in rotations]
    assert len({t.tobytes() for t in turned}) == 24
    matrices = [matrix_zyx(r) for r in rotations]
    assert all(np.linalg.det(m) == pytest.approx(1) for m in matrices)
    known = {m.tobytes() for m in matrices}
    for a in matrices:
        for b in matrices:
            assert (a @ b + 0.0).tobytes() in known  # + 0.0 turns -0 into 0


@pytest.mark.parametrize("n", [1, 4, 12])
def test_the_first_cube_rotations_are_groups(n):
    matrices = [matrix_zyx(r) for r in cube_rotations()[:n]]
    known = {(m + 0.0).tobytes() for m in matrices}
    assert len(known) == n
    assert all((a @ b + 0.0).tobytes() in known for a in matrices for b in matrices)


@pytest.mark.parametrize("n", [5, 6, 9])
def test_rotate_by_cube_agrees_with_interpolation(rng, n):
    volume = rng.normal(size=(n, n, n))
    middle = np.full(3, (n - 1) / 2)
    for rotation in cube_rotations():
        inverse = matrix_zyx(rotation).T
        offset = middle - inverse @ middle
        expected = ndimage.affine_transform(volume, inverse, offset, order=1)
        np.testing.assert_allclose(rotate_by_cube(volume, rotation), expected, atol=1e-12)


def test_rotate_by_cube_turns_every_volume_of_a_stack(rng):
    stack = rng.normal(size=(2, 3, 4, 4, 4))
    for rotation in cube_rotations():
        turned = rotate_by_cube(stack, rotation)
        np.testing.assert_array_equal(turned[1, 2], rotate_by_cube(stack[1, 2], rotation))


def test_random_rotations_are_uniform():
    matrices = random_rotations(20_000, np.random.default_rng(0)).as_matrix()
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-12)
    # Each entry has mean 0 and variance 1/3.
    assert np.abs(matrices.mean(axis=0)).max() < 5 * math.sqrt(1 / 3 / 20_000)
    # The angle of rotation has density (1 - cos t) / pi on 0 to pi.
    angles = Rotation.from_matrix(matrices).magnitude()
    assert stats.kstest(angles, lambda t: (t - np.sin(t)) / np.pi).pvalue > 0.01
    # What becomes of one axis is uniform on the sphere: each coordinate from -1 to 1.
    for coordinate in matrices[:, :, 0].T:
        assert stats.kstest(coordinate, stats.uniform(-1, 2).cdf).pvalue > 0.01
    azimuth = np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])
    assert stats.kstest(azimuth, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01


def test_random_rotations_follow_the_generator():
    first, again = (random_rotations(4, np.random.default_rng(7)).as_quat() for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_euler_angles_are_relions():
    rot, tilt, psi = np.deg2rad([35.0, 70.0, -110.0])

    def rz(a):
        return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])

    def ry(a):
        return np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])

    expected = (rz(rot) @ ry(tilt) @ rz(psi)).T
    rotation = rotation_from_euler_zyz_deg([[35.0, 70.0, -110.0]])
    np.testing.assert_allclose(rotation.as_matrix()[0], expected, atol=1e-12)
    # The last row is the projection direction, which psi does not change.
    direction = [
        math.sin(tilt) * math.cos(rot),
        math.sin(tilt) * math.sin(rot),
        math.cos(tilt),
    ]
    np.testing.assert_allclose(expected[2], direction, atol=1e-12)


def test_euler_angles_round_trip():
    rotations = random_rotations(300, np.random.default_rng(1))
    euler = euler_zyz_deg_from_rotation(rotations)
    assert euler.shape == (300, 3)
    assert (euler[:, 1] >= 0).all() and (euler[:, 1] <= 180).all()
    back = rotation_from_euler_zyz_deg(euler)
    assert (rotations * back.inv()).magnitude().max() < 1e-6
