"""Rotated copies, and features that rotations of the cube do not change."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

pytest.importorskip("keras")

from aitom_disca.geometry import (
    apply_wedge,
    centre_index,
    cube_rotations,
    missing_wedge_mask,
    random_rotations,
    rotate_by_cube,
)
from aitom_disca.network import (
    build_feature_extractor,
    extract_features,
    rotate_volumes,
)
from aitom_disca.network.augmentation import RotatedCopies, impose_wedge, inverse_matrices_zyx

BOXES = (8, 11, 14)


def with_scipy(volume: np.ndarray, rotation: Rotation) -> np.ndarray:
    centre = np.full(3, centre_index(len(volume)))
    inverse_zyx = rotation.inv().as_matrix()[::-1, ::-1]
    return ndimage.affine_transform(
        volume, inverse_zyx, centre - inverse_zyx @ centre, order=1, mode="grid-wrap"
    )


@pytest.mark.parametrize("n", BOXES)
def test_rotation_agrees_with_scipy(rng, n):
    volumes = rng.normal(size=(4, n, n, n)).astype(np.float32)
    rotations = random_rotations(4, rng)
    rotated = np.asarray(rotate_volumes(volumes, rotations))
    assert rotated.shape == volumes.shape and rotated.dtype == np.float32
    for volume, rotation, result in zip(volumes, rotations, rotated, strict=True):
        np.testing.assert_allclose(result, with_scipy(volume, rotation), atol=1e-4)


@pytest.mark.parametrize("n", BOXES)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("offset_xyz", [(2, 0, 0), (0, 3, 0), (1, -2, 3)])
def test_a_marked_voxel_goes_where_the_matrix_says(n, axis, offset_xyz):
    rotation = Rotation.from_rotvec(90 * np.eye(3)[axis : axis + 1], degrees=True)
    centre = centre_index(n)
    volume = np.zeros((1, n, n, n), np.float32)
    x, y, z = offset_xyz
    volume[0, centre + z, centre + y, centre + x] = 1
    rotated = np.asarray(rotate_volumes(volume, rotation))[0]
    moved_xyz = np.round(rotation.as_matrix()[0] @ offset_xyz).astype(int)
    place = np.unravel_index(rotated.argmax(), rotated.shape)
    np.testing.assert_array_equal(np.array(place)[::-1] - centre, moved_xyz)
    assert rotated.max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("n", BOXES)
def test_identity_is_exact(rng, n):
    volumes = rng.normal(size=(3, n, n, n)).astype(np.float32)
    rotated = np.asarray(rotate_volumes(volumes, Rotation.identity(3)))
    np.testing.assert_array_equal(rotated, volumes)


def test_a_batch_is_rotated_as_one_by_one(rng):
    volumes = rng.normal(size=(5, 9, 9, 9)).astype(np.float32)
    kept = volumes.copy()
    rotations = random_rotations(5, rng)
    together = np.asarray(rotate_volumes(volumes, rotations))
    for i in range(5):
        alone = np.asarray(rotate_volumes(volumes[i : i + 1], rotations[i : i + 1]))
        np.testing.assert_array_equal(together[i], alone[0])
    np.testing.assert_array_equal(volumes, kept)


def test_what_leaves_the_box_comes_back():
    constant = np.full((2, 10, 10, 10), 2.5, np.float32)
    rotations = random_rotations(2, np.random.default_rng(3))
    np.testing.assert_allclose(np.asarray(rotate_volumes(constant, rotations)), 2.5, rtol=1e-5)


@pytest.mark.parametrize("n", BOXES)
@pytest.mark.parametrize("tilt_range_deg", [(-60, 60), (-40, 55)])
def test_the_imposed_wedge_is_that_of_the_geometry(rng, n, tilt_range_deg):
    volumes = rng.normal(size=(3, n, n, n)).astype(np.float32)
    left = np.asarray(impose_wedge(volumes, tilt_range_deg))
    mask = missing_wedge_mask((n, n, n), tilt_range_deg)
    spectrum = np.fft.fftn(volumes, axes=(1, 2, 3)) * mask
    expected = np.fft.ifftn(spectrum, axes=(1, 2, 3)).real
    np.testing.assert_allclose(left, expected, atol=1e-4)
    assert np.abs(left - volumes).max() > 0.1


def test_rotated_copies_may_have_their_wedge_again(rng):
    volumes = apply_wedge(rng.normal(size=(2, 11, 11, 11)).astype(np.float32), (-60, 60))
    matrices = inverse_matrices_zyx(random_rotations(2, rng))
    mask = missing_wedge_mask((11, 11, 11), (-60, 60))
    missing = []
    for tilt_range_deg in (None, (-60, 60)):
        copies = np.asarray(RotatedCopies(tilt_range_deg)((volumes[..., None], matrices)))[..., 0]
        spectrum = np.abs(np.fft.fftn(copies, axes=(1, 2, 3))) ** 2
        missing.append((spectrum * ~mask).sum() / spectrum.sum())
    assert missing[0] > 0.05 and missing[1] < 1e-6


# -- features ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extractor():
    return build_feature_extractor(12, width=0.1, n_convolutions=3, n_features=20, seed=2)


@pytest.fixture(scope="module")
def volumes():
    return np.random.default_rng(0).normal(size=(4, 12, 12, 12)).astype(np.float32)


def test_features_of_one_rotation_are_the_networks(extractor, volumes):
    plain = np.asarray(extractor.predict_on_batch(volumes[..., None]))
    features = extract_features(extractor, [volumes])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, plain, atol=1e-6)
    identity = extract_features(extractor, [volumes], rotations=cube_rotations()[:1])
    np.testing.assert_array_equal(features, identity)


def test_features_do_not_depend_on_the_batches(extractor, volumes):
    batches = [volumes[:1], volumes[1:]]
    together = extract_features(extractor, [volumes], rotations=cube_rotations()[:3])
    apart = extract_features(extractor, batches, rotations=cube_rotations()[:3])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_features_average_the_rotations(extractor, volumes):
    rotations = cube_rotations()[5:8]
    turned = [extract_features(extractor, [rotate_by_cube(volumes, r)]) for r in rotations]
    features = extract_features(extractor, [volumes], rotations=rotations)
    np.testing.assert_allclose(features, np.mean(turned, axis=0), atol=1e-5)


def test_features_are_blind_to_the_24_rotations(extractor, volumes):
    rotations = cube_rotations()
    features = extract_features(extractor, [volumes], rotations=rotations)
    alone = extract_features(extractor, [volumes])
    largest_change = 0.0
    for rotation in rotations[1::4]:
        turned = rotate_by_cube(volumes, rotation)
        again = extract_features(extractor, [turned], rotations=rotations)
        np.testing.assert_allclose(again, features, atol=1e-5)
        change = np.abs(extract_features(extractor, [turned]) - alone).max()
        largest_change = max(largest_change, change)
    assert largest_change > 1e-2  # without the average they do depend on it
