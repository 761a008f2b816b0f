"""AITom's rotation: ours against its definition, against AITom, and in training."""

from __future__ import annotations

import importlib
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aitom_disca import DISCA, bridge
from aitom_disca.bridge import volume_rotation
from aitom_disca.bridge.volume_rotation import angles_of_rotation, rotation_of_angles
from aitom_disca.cli.choices import Preset, RotatedBy
from aitom_disca.cli.given_options import mine_settings
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.pipeline.mine_clusters import rotation_of

ANGLES = st.tuples(*[st.floats(-3.1, 3.1)] * 3)


@pytest.fixture
def old_numpy(monkeypatch):
    """Names that NumPy no longer has, for AITom's code alone."""
    for name, kind in (("float", float), ("int", int)):
        monkeypatch.setattr(np, name, kind, raising=False)


def volume(shape=(9, 10, 13), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def matrix(phi: float, theta: float, psi: float) -> np.ndarray:
    """(Rz(phi) Ry(theta) Rz(psi))^T of right-handed rotations."""

    def about(axis, angle):
        c, s = np.cos(angle), np.sin(angle)
        return np.array({"z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
                         "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}[axis])  # fmt: skip

    return (about("z", phi) @ about("y", theta) @ about("z", psi)).T


@given(ANGLES)
@settings(max_examples=30)
def test_angles_mean_the_matrix_of_the_definition(angles):
    np.testing.assert_allclose(rotation_of_angles(angles).as_matrix(), matrix(*angles), atol=1e-12)
    relion = rotation_from_euler_zyz_deg(np.degrees([angles])).as_matrix()[0]
    np.testing.assert_allclose(relion, matrix(*angles), atol=1e-12)
    again = rotation_of_angles(angles_of_rotation(rotation_of_angles(angles)))
    # Within 1e-7 of a pole SciPy takes an angle for 0.
    np.testing.assert_allclose(again.as_matrix(), matrix(*angles), atol=1e-6)


def test_a_point_goes_where_it_should():
    """out(g) = v(rm (g - loc)): what is at r comes to rm^T r + loc."""
    box = np.zeros((11, 11, 11))
    at = np.array([2, 1, -3])  # x, y, z from the middle
    box[tuple(at + 5)] = 1.0
    angle, loc = (np.pi / 2, 0.0, 0.0), np.array([1, 0, 2])
    out = bridge.rotate(box, angle=angle, loc_r=loc, default_val=0.0)
    expected = np.round(matrix(*angle).T @ at + loc).astype(int) + 5
    assert np.unravel_index(out.argmax(), out.shape) == tuple(expected)
    assert out.max() == pytest.approx(1, abs=1e-6)


def test_what_comes_from_outside():
    assert np.isnan(bridge.rotate(volume(), loc_r=(4, 0, 0))).any()
    shifted = bridge.rotate(volume(), loc_r=(4, 0, 0), default_val=7.0)
    assert (shifted[:4] == 7).all() and (shifted[4:] != 7).all()


def test_angle_or_matrix():
    rm = matrix(0.4, 1.0, -2.0)
    by_angle = bridge.rotate(volume(), (0.4, 1.0, -2.0), default_val=0.0)
    np.testing.assert_allclose(by_angle, bridge.rotate(volume(), rm=rm, default_val=0), atol=1e-5)
    with pytest.raises(ValueError, match="not both"):
        bridge.rotate(volume(), (0, 0, 0), rm=rm)


@pytest.mark.aitom
@pytest.mark.parametrize("angle", [None, (0.3, 1.1, -2.0), (0, 0, 0), (3.0, 0.0, 0.2)])
@pytest.mark.parametrize("loc", [None, (1.5, -2, 0.25)])
def test_the_same_volumes_as_aitom(angle, loc, old_numpy):
    try:
        theirs = importlib.import_module("aitom.geometry.rotate")
    except ImportError as error:
        pytest.skip(f"AITom is not on the path ({error})")
    for default in (0.0, np.nan):
        expected = theirs.rotate(volume(), angle=angle, loc_r=loc, default_val=default)
        ours = bridge.rotate(volume(), angle, loc_r=loc, default_val=default)
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))
        np.testing.assert_allclose(ours, expected, atol=1e-5)


# -- training copies ---------------------------------------------------------------------------


def test_copies_turn_as_the_networks_own():
    """A point r goes to A r, as in `network.augmentation.rotate_volumes`; in (z, y, x) arrays."""
    copies = np.zeros((2, 9, 9, 9), np.float32)
    at_xyz = np.array([1, 2, -3])
    copies[(slice(None), *(at_xyz[::-1] + 4))] = 1.0
    rotations = Rotation.from_euler("z", [[90], [180]], degrees=True)
    turned = bridge.aitom_rotation()(copies, rotations)
    assert turned.shape == copies.shape and turned.dtype == np.float32
    for row, rotation in enumerate(rotations):
        expected = np.round(rotation.apply(at_xyz)).astype(int)[::-1] + 4
        assert np.unravel_index(turned[row].argmax(), (9, 9, 9)) == tuple(expected)


def test_corners_get_the_mean():
    copies = 5 + volume((10, 10, 10))[None]
    turned = bridge.aitom_rotation()(copies, Rotation.from_euler("x", [[45]], degrees=True))
    assert np.isfinite(turned).all()
    assert turned[0, 0, 0, 0] == pytest.approx(copies.mean(), rel=1e-6)


def test_ours_serves_where_aitoms_does_not_run(caplog, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "aitom.geometry.rotate", None)
    volume_rotation._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "aitom_disca"):
        turn = bridge.aitom_rotation()
        bridge.aitom_rotation()
    assert caplog.text.count("copies are turned by ours") == 1
    assert np.isfinite(turn(volume((6, 6, 6))[None], Rotation.identity(1))).all()


def test_the_option_reaches_the_training():
    chosen = mine_settings(Preset.fast, "2", 2, 0.05, 0, rotation=RotatedBy.aitom)
    assert chosen.rotation == "aitom"
    assert rotation_of(chosen) is not None and rotation_of(MineSettings()) is None


def test_a_rotation_that_nobody_handed_in():
    with pytest.raises(InputError, match=r"rotate=aitom_disca\.bridge"):
        DISCA(rotation="aitom", candidate_k=(1, 2)).fit(volume((6, 12, 12, 12)))


@pytest.mark.parametrize("known", [True, False])
def test_training_copies_are_turned_by_what_was_handed_in(known):
    turn, seen = bridge.aitom_rotation(), []

    def rotate(volumes, rotations):
        seen.append((volumes.shape, len(rotations)))
        return turn(volumes, rotations)

    blobs = volume((24, 12, 12, 12))
    blobs[:12, 4:8, 4:8, 4:8] += 4
    chosen = MineSettings(
        candidate_k=(2,),
        max_iterations=2,
        width=0.03,
        n_features=8,
        n_convolutions=2,
        n_cube_rotations=1,
        alignment=False,
        rotation="aitom",
    )
    disca = DISCA.from_settings(chosen, rotate=rotate)
    if known:
        disca.teach(blobs, np.repeat([0, 1], 12))
    else:
        disca.fit(blobs)
    assert sum(n for _, n in seen) >= len(blobs)
    assert all(shape == (n, 12, 12, 12) for shape, n in seen)
