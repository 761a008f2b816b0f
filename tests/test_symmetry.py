"""Point groups are groups on the right axes; the axes of turned, noisy phantoms are found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry.symmetry import point_group

SIZES = {
    "C1": 1, "C2": 2, "C7": 7, "C12": 12, "D1": 2, "D2": 4, "D7": 14, "T": 12, "O": 24,
    "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60,
}  # fmt: skip


def distance_deg(group: Rotation, turn: Rotation) -> float:
    """From a rotation to the nearest of a group."""
    return float(np.rad2deg((group * turn.inv()).magnitude().min()))


def has_fold(group: Rotation, fold: int, axis) -> bool:
    turn = Rotation.from_rotvec(2 * np.pi / fold * np.array(axis) / np.linalg.norm(axis))
    return distance_deg(group, turn) < 1e-3


# -- point groups ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_groups_have_their_size_and_are_closed(name):
    group = point_group(name)
    assert len(group) == SIZES[name]
    assert group[0].magnitude() < 1e-9
    for a in group:
        products = a * group
        for product in products:
            assert distance_deg(group, product) < 1e-4
    apart = [(group[i] * group[:i].inv()).magnitude().min() for i in range(1, len(group))]
    assert min(apart, default=1) > np.pi / 51  # no rotation twice


def test_axes_are_those_of_relion():
    """Values as its documentation and its symmetry tables give them."""
    assert has_fold(point_group("c5"), 5, (0, 0, 1))
    assert has_fold(point_group("d7"), 2, (1, 0, 0)) and has_fold(point_group("D7"), 7, (0, 0, 1))
    assert has_fold(point_group("T"), 3, (0, 0, 1))
    assert has_fold(point_group("T"), 2, (0, 0.816496, 0.577350))
    assert all(has_fold(point_group("O"), 4, axis) for axis in np.eye(3))
    assert has_fold(point_group("I2"), 2, (0, 0, 1))
    assert has_fold(point_group("I2"), 5, (0.525731, 0, 0.850651))
    assert has_fold(point_group("I2"), 3, (0, 0.356822, 0.934172))
    assert has_fold(point_group("I1"), 2, (1, 0, 0))
    assert has_fold(point_group("I1"), 5, (0.850651, 0, -0.525731))
    assert has_fold(point_group("I1"), 3, (0.934172, 0.356822, 0))
    assert has_fold(point_group("I3"), 2, (-0.525731, 0, 0.850651))
    assert has_fold(point_group("I3"), 3, (-0.491123, 0.356822, 0.794654))
    assert has_fold(point_group("I4"), 5, (0.894427, 0, 0.447214))
    assert has_fold(point_group("I4"), 3, (0.491123, 0.356822, 0.794654))


def test_i_is_i2_and_not_i1():
    first, second = point_group("I"), point_group("I1")
    assert all(distance_deg(point_group("I2"), g) < 1e-4 for g in first)
    assert not all(distance_deg(second, g) < 1e-4 for g in first)


@pytest.mark.parametrize("name", ["C0", "C", "D-1", "I5", "X", "", "C1.5", "C100", "O2"])
def test_other_names_are_refused_in_one_sentence(name):
    with pytest.raises(InputError, match="symmetry is C or D"):
        point_group(name)
