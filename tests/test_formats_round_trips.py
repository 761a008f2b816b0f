"""Every format that is read and written: density lies where its particles say, turned as they say.

A phantom without symmetry is drawn into a volume at known poses. Its particles are written and
read again; boxes cut where they now are, and turned back, must look like the phantom.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from aitom_disca.io.formats import NAMES, get_format
from aitom_disca.io.formats.format import BOX_CENTER, CLUSTER, POSE, SCORE, Known
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.particles import ParticleSet, TomogramInfo

SHAPE_ZYX = (29, 44, 53)  # three edges, odd and even
BINNING = 4.0
KNOWN = Known(
    voxel_size_angstrom=10.0,
    shape_zyx=SHAPE_ZYX,
    binning=BINNING,
    unbinned_shape_zyx=(117, 178, 211),  # no multiples of the binning
    tilt_range_deg=(-57, 60),
    tomogram_name="TS_01",
    box_px=16,
)
PLACES_ZYX = np.array([[13, 12, 12], [15, 31, 15], [14, 20, 39]])
PARTS_XYZ = np.array([[4, 0, 0], [0, 3.5, 1], [-1, -2, 3], [-2, 1, -4], [1, -4, -1]])
WEIGHTS = np.array([1.0, 0.8, 1.2, 0.6, 0.9])
SIGMA, RADIUS = 1.3, 7
# Positions survive to this many voxels. IMOD keeps 32-bit numbers; others text of their own.
POSITION_PX = {"imod": 1e-4}
OTHERWISE_PX = 1e-5
ANGLE_DEG = 1e-3
CORRELATION = 0.98  # what cubic interpolation leaves at a sigma of 1.3 voxels is above 0.99


def phantom(xyz: np.ndarray, centre_xyz: np.ndarray, parts_xyz: np.ndarray) -> np.ndarray:
    """Density of Gaussian parts around a centre at points (..., 3)."""
    found = np.zeros(xyz.shape[:-1])
    for part, weight in zip(parts_xyz, WEIGHTS, strict=True):
        found += weight * np.exp(-((xyz - centre_xyz - part) ** 2).sum(-1) / (2 * SIGMA**2))
    return found


def as_matrices(euler_zyz_deg: np.ndarray) -> np.ndarray:
    """A = (Rz(rot) Ry(tilt) Rz(psi))^T of x, y, z vectors, written out."""
    rot, tilt, psi = np.deg2rad(euler_zyz_deg).T
    one, zero = np.ones_like(rot), np.zeros_like(rot)

    def about_z(a: np.ndarray) -> np.ndarray:
        rows = [[np.cos(a), -np.sin(a), zero], [np.sin(a), np.cos(a), zero], [zero, zero, one]]
        return np.array(rows).transpose(2, 0, 1)

    c, s = np.cos(tilt), np.sin(tilt)
    about_y = np.array([[c, zero, s], [zero, one, zero], [-s, zero, c]]).transpose(2, 0, 1)
    return (about_z(rot) @ about_y @ about_z(psi)).transpose(0, 2, 1)


GRID_XYZ = np.stack(np.meshgrid(*[np.arange(-RADIUS, RADIUS + 1.0)] * 3, indexing="ij"), axis=-1)[
    :, :, :
]
INSIDE = (GRID_XYZ**2).sum(-1) <= RADIUS**2
REFERENCE = phantom(GRID_XYZ[INSIDE], np.zeros(3), PARTS_XYZ)


def draw(center_zyx: np.ndarray, poses: np.ndarray) -> np.ndarray:
    zyx = np.moveaxis(np.indices(SHAPE_ZYX).astype(float), 0, -1)
    volume = np.zeros(SHAPE_ZYX)
    for center, pose in zip(center_zyx, poses, strict=True):
        volume += phantom(zyx[..., ::-1], center[::-1], PARTS_XYZ @ pose.T)
    return volume


def likeness(volume: np.ndarray, center_zyx: np.ndarray, pose: np.ndarray) -> float:
    """Correlation of the phantom and of what lies at a place, turned back."""
    xyz = center_zyx[::-1] + GRID_XYZ[INSIDE] @ pose.T
    cut = map_coordinates(volume, xyz[:, ::-1].T, order=3)
    return float(np.corrcoef(cut, REFERENCE)[0, 1])


def two_way() -> list[str]:
    formats = [get_format(name) for name in NAMES]
    return [one.name for one in formats if one.read is not None and one.write is not None]


def made(seed: int) -> tuple[ParticleSet, np.ndarray]:
    rng = np.random.default_rng(seed)
    poses = Rotation.random(3, random_state=seed)
    center = PLACES_ZYX + rng.uniform(-0.5, 0.5, (3, 3))
    info = TomogramInfo("TS_01", 10.0, SHAPE_ZYX, (-57, 60))
    particles = ParticleSet(
        np.array(["TS_01"] * 3),
        center,
        score=rng.uniform(0.1, 1, 3),
        euler_zyz_deg=poses.inv().as_euler("ZYZ", degrees=True),
        cluster=np.array([0, 2, 1]),
        box_center_zyx_px=np.floor(center + 0.5),
        tomograms={"TS_01": info},
    )
    return particles, draw(center, poses.as_matrix())


def test_the_phantom_tells_wrong_poses_apart():
    particles, volume = made(1)
    pose = as_matrices(particles.euler_zyz_deg)[0]
    center = particles.center_zyx_px[0]
    assert likeness(volume, center, pose) > 0.99
    assert likeness(volume, center, pose.T) < 0.9
    assert likeness(volume, center + 0.5, pose) < CORRELATION
    assert likeness(volume, center[::-1], pose) < 0.9
    turn = Rotation.from_euler("z", 10, degrees=True).as_matrix()
    assert likeness(volume, center, pose @ turn) < CORRELATION


@pytest.mark.parametrize("name", two_way())
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10_000))
def test_density_is_found_again(name, tmp_path_factory, seed):
    one = get_format(name)
    for library in filter(None, one.library.split(", ")):
        pytest.importorskip(library)
    particles, volume = made(seed)
    out = tmp_path_factory.mktemp(name) / f"out{one.suffixes[0]}"
    paths = one.write(out, particles, KNOWN)
    assert paths and all(path.exists() for path in paths)
    known = replace(KNOWN, tomogram_name=None) if "tomogram name" in one.keeps else KNOWN
    written = [path for path in paths if path.suffix in one.suffixes]
    read = read_particles(out if out.exists() else written, from_=name, known=known)
    assert len(read) == 3
    order = [int(((read.center_zyx_px - c) ** 2).sum(1).argmin()) for c in particles.center_zyx_px]
    read = read.select(np.array(order))
    tolerance = POSITION_PX.get(name, OTHERWISE_PX)
    np.testing.assert_allclose(read.center_zyx_px, particles.center_zyx_px, atol=tolerance)
    poses = as_matrices(particles.euler_zyz_deg)
    if POSE in one.keeps:
        found = as_matrices(read.euler_zyz_deg)
        off = Rotation.from_matrix(found @ poses.transpose(0, 2, 1)).magnitude()
        assert np.rad2deg(off).max() < ANGLE_DEG
        poses = found
    for center, pose in zip(read.center_zyx_px, poses, strict=True):
        assert likeness(volume, center, pose) > CORRELATION
    if BOX_CENTER in one.keeps:
        np.testing.assert_allclose(
            read.box_center_zyx_px, particles.box_center_zyx_px, atol=tolerance
        )
    if CLUSTER in one.keeps:
        assert read.cluster.tolist() == particles.cluster.tolist()
    if SCORE in one.keeps:
        np.testing.assert_allclose(read.score, particles.score, rtol=1e-5)
    if "tomogram name" in one.keeps:
        assert read.tomogram_name.tolist() == ["TS_01"] * 3
