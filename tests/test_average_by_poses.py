"""Averages at known poses: the planted structure comes back, in its own frame."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca.averaging.average_at_poses import average_at_poses
from aitom_disca.errors import InputError
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

TILTS = (-60.0, 60.0)


@pytest.mark.parametrize("box_px", [20, 21])
def test_the_true_poses_give_the_structure_where_it_was_drawn(box_px: int) -> None:
    phantom = load_phantoms()["letter_l"]
    made = simulate_subtomograms([phantom], 90, box_px, 20.0, snr=1.0, seed=2)
    found = average_at_poses(made.volumes, made.rotations, made.shifts_zyx_px, TILTS)
    truth = phantom.density(box_px, 20.0)
    away = np.linalg.norm(np.indices(truth.shape) - box_px // 2, axis=0)
    inside = away < box_px / 2 - 2
    assert np.corrcoef(found[inside], truth[inside])[0, 1] > 0.9
    turned = average_at_poses(made.volumes, made.rotations.inv(), made.shifts_zyx_px, TILTS)
    moved = average_at_poses(made.volumes, made.rotations, -made.shifts_zyx_px, TILTS)
    for wrong in (turned, moved):
        assert np.corrcoef(wrong[inside], truth[inside])[0, 1] < 0.85


def test_more_than_one_batch_is_the_same_sum(rng) -> None:
    phantom = load_phantoms()["cross"]
    made = simulate_subtomograms([phantom], 70, 16, 24.0, snr=2.0, seed=1)
    whole = average_at_poses(made.volumes, made.rotations, made.shifts_zyx_px, TILTS)
    order = rng.permutation(70)
    again = average_at_poses(
        made.volumes[order], made.rotations[order], made.shifts_zyx_px[order], TILTS
    )
    np.testing.assert_allclose(again, whole, atol=1e-3 * np.abs(whole).max())


def test_a_pose_too_few_is_refused() -> None:
    volumes = np.zeros((3, 8, 8, 8), np.float32)
    with pytest.raises(InputError, match="3 subtomograms, 2 rotations"):
        average_at_poses(volumes, Rotation.identity(2), np.zeros((3, 3)), TILTS)
