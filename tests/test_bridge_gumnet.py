"""Pairs for AITom's Gum-Net: axes, masks and motions, there and back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca import bridge
from aitom_disca.bridge.aitom_poses import pose_of_transform, transform_of_output
from aitom_disca.errors import InputError
from aitom_disca.geometry import random_rotations

TILTS = (-60.0, 60.0)


def volumes(n=4, edge=8, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, edge, edge, edge)).astype(np.float32)


def test_what_gumnet_is_given(tmp_path):
    moving, targets = volumes(), volumes(seed=1)
    bridge.write_gumnet_pairs(tmp_path / "p.pickle", moving, targets, TILTS)
    x, y, observed, missing, known = pickle.loads((tmp_path / "p.pickle").read_bytes())
    assert x.shape == y.shape == (4, 8, 8, 8, 1) and x.dtype == np.float32
    assert x[1, 2, 5, 7, 0] == moving[1, 7, 5, 2]
    assert y[3, 1, 0, 4, 0] == targets[3, 4, 0, 1]
    assert known.shape == (4, 6) and np.isnan(known).all()
    # (x, y, z), zero frequency at n // 2: the beam's axis is missing, the tilt axis measured.
    assert observed.shape == missing.shape == (8, 8, 8, 1)
    assert observed[4, 4, 4] == 1 and observed[4, 4, 6] == 0
    assert observed[4, 7, 4] == 1 and observed[7, 4, 4] == 1
    np.testing.assert_array_equal(observed + missing, 1)
    # as AITom tiles them, with one axis more
    assert np.tile(np.expand_dims(observed, -1), (1, 1, 1, 1, 1)).reshape(-1).size == 8**3


def test_pairs_there_and_back(tmp_path):
    moving = volumes()
    rotations = random_rotations(4, np.random.default_rng(0))
    offsets = np.random.default_rng(1).uniform(-2, 2, (4, 3))
    bridge.write_gumnet_pairs(tmp_path / "p.pickle", moving, moving[0], TILTS, (rotations, offsets))
    pairs = bridge.read_gumnet_pairs(tmp_path / "p.pickle")
    assert len(pairs) == 4
    np.testing.assert_array_equal(pairs.moving, moving)
    np.testing.assert_array_equal(pairs.targets, np.stack([moving[0]] * 4))
    assert (pairs.rotations * rotations.inv()).magnitude().max() < 1e-6
    np.testing.assert_allclose(pairs.offsets_zyx_px, offsets, atol=1e-9)
    assert pairs.observed.shape == (8, 8, 8) and pairs.observed[6, 4, 4] == 0  # z, y, x
    bridge.write_gumnet_pairs(tmp_path / "q.pickle", moving, moving, TILTS)
    assert bridge.read_gumnet_pairs(tmp_path / "q.pickle").rotations is None


def test_parameters_of_aitom_are_kept_as_they_are(tmp_path):
    known = np.array([[0.1, 0.5, -0.2, 1.0, -2.0, 0.5]] * 4)
    bridge.write_gumnet_pairs(tmp_path / "p.pickle", volumes(), volumes(), TILTS, known)
    assert pickle.loads((tmp_path / "p.pickle").read_bytes())[4].tolist() == known.tolist()
    pairs = bridge.read_gumnet_pairs(tmp_path / "p.pickle")
    rotation, offsets = pose_of_transform(known, 8)
    np.testing.assert_allclose(pairs.rotations.as_matrix(), rotation.as_matrix())
    np.testing.assert_allclose(pairs.offsets_zyx_px, offsets)


def test_a_pickle_of_python_2(tmp_path):
    """As the demo data are kept: protocol 2 and Latin-1, masks with and without their last axis."""
    edge = 8
    held = (
        volumes()[..., None], volumes()[..., None], np.ones((edge,) * 3),
        np.zeros((1, edge, edge, edge, 1)), np.zeros((4, 6)),
    )  # fmt: skip
    (tmp_path / "p.pickle").write_bytes(pickle.dumps(held, protocol=2))
    pairs = bridge.read_gumnet_pairs(tmp_path / "p.pickle")
    np.testing.assert_array_equal(pairs.moving[2], volumes()[2].transpose(2, 1, 0))
    assert pairs.rotations.magnitude().max() == 0
    np.testing.assert_allclose(pairs.offsets_zyx_px, 0)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([1, 2], "five parts"),
        ({"a": 1}, "five parts"),
        (("x",) * 5, "no arrays"),
        ((np.ones((2, 4, 4)),) * 5, "cubic"),
        ((np.ones((2, 4, 4, 5, 1)),) * 5, "cubic"),
        ((np.ones((2, 4, 4, 4, 1)), np.ones((3, 4, 4, 4, 1)), *[np.ones(64)] * 3), "targets"),
        ((*[np.ones((2, 4, 4, 4, 1))] * 2, np.ones(4), np.ones(64), None), "mask"),
        ((*[np.ones((2, 4, 4, 4, 1))] * 2, np.ones(64), np.ones(64), np.ones((3, 6))), "motions"),
    ],
)
def test_what_is_no_pairs(tmp_path, held, said):
    (tmp_path / "p.pickle").write_bytes(pickle.dumps(held))
    with pytest.raises(InputError, match=said):
        bridge.read_gumnet_pairs(tmp_path / "p.pickle")


@pytest.mark.parametrize(
    ("moving", "targets", "known", "said"),
    [
        (volumes()[:, :, :, :5], volumes(), None, "cubic volumes"),
        (volumes(), volumes(3), None, "one target or 4"),
        (volumes(), volumes(), np.zeros((3, 6)), "six parameters"),
        (volumes(), volumes(), (Rotation.identity(3), np.zeros((3, 3))), "six parameters"),
    ],
)
def test_what_cannot_be_written(tmp_path, moving, targets, known, said):
    with pytest.raises(InputError, match=said):
        bridge.write_gumnet_pairs(tmp_path / "p.pickle", moving, targets, TILTS, known)


def test_what_the_network_puts_out_means_the_same_pose():
    from aitom_disca.network.gumnet.poses import pose_of_parameters

    output = np.random.default_rng(0).uniform(0.05, 0.95, (5, 6)).astype(np.float32)
    for edge in (16, 17):
        rotation, offset = pose_of_transform(transform_of_output(output, edge), edge)
        expected, expected_offset = pose_of_parameters(output, edge)
        assert (rotation * expected.inv()).magnitude().max() < 1e-3
        np.testing.assert_allclose(offset, expected_offset, atol=1e-3)
