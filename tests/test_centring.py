"""Particles are brought to the middle of their boxes, hollow ones among neighbours too."""

from __future__ import annotations

import numpy as np
import pytest
from few_rotations import sorting_quickly

from aitom_disca.bench.crowded import crowded_subtomograms, hollow_shell
from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.centring import dense_centre


def shell(box_px: int, centre_zyx_px: np.ndarray, radius_px: float) -> np.ndarray:
    grid = np.indices((box_px,) * 3) - box_px // 2 - centre_zyx_px[:, None, None, None]
    return np.exp(-((np.linalg.norm(grid, axis=0) - radius_px) ** 2) / 2)


@pytest.mark.parametrize("seed", range(6))
def test_a_hollow_particle_among_neighbours_is_centred(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, radius = 32, 6.0
    truth = rng.uniform(-3.5, 3.5, 3)
    volume = shell(n, truth, radius)
    for direction in rng.normal(size=(3, 3)):
        direction *= (2 * radius + 4 + rng.uniform(0, 3)) / np.linalg.norm(direction)
        volume += shell(n, truth + direction, radius)
    axis = np.arange(n) - n // 2
    volume *= 1 + 0.6 * (axis / n * 2)[:, None, None]  # one wall is brighter than the other
    volume += 0.2 * rng.normal(size=volume.shape)
    found = dense_centre(volume, diameter_px=2 * radius * 1.25 + 2)
    assert np.linalg.norm(truth) > 1 and np.linalg.norm(found - truth) < 1.2


def test_nothing_has_no_centre_to_move_to() -> None:
    np.testing.assert_array_equal(dense_centre(np.zeros((12, 12, 12))), np.zeros(3))


@sorting_quickly()
def test_a_hollow_particle_off_centre_in_many_ways_is_one_cluster() -> None:
    shell_ = hollow_shell()
    made = crowded_subtomograms(
        shell_, [shell_], 28, 16, 16.0, 0.2, n_neighbours=(2, 3), shift_max_px=2.5, seed=1
    )
    sorter = AlignmentSorter(made.volumes, (-60.0, 60.0), mask_radius_px=5.0)
    labels = sorter.sort(np.arange(3), most=4, splits=1)
    off = np.linalg.norm(sorter.classes.offset_zyx_px - made.shifts_zyx_px, axis=1)
    assert np.linalg.norm(made.shifts_zyx_px, axis=1).mean() > 2
    assert (labels == 0).all() and np.median(off) < 0.6
