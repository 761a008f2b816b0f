"""Members whose boxes share voxels stay together; masks are where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.averaging.half_sets import balanced_halves, neighbour_groups
from aitom_disca.averaging.masks import sphere_round_particle
from aitom_disca.errors import InputError


def test_neighbours_in_one_tomogram_are_one_group() -> None:
    places = np.array([[0, 0, 0], [0, 0, 8], [0, 0, 16], [0, 0, 40], [0, 0, 1], [np.nan] * 3])
    tomogram = np.array(["a", "a", "a", "a", "b", "a"])
    more = np.column_stack([np.zeros((30, 2)), 100.0 * np.arange(1, 31)])
    groups, n_cut = neighbour_groups(
        np.r_[tomogram, np.full(30, "a")], np.concatenate([places, more]), 10.0
    )
    assert n_cut == 0 and groups[0] == groups[1] == groups[2]
    assert len(np.unique(groups)) == len(groups) - 2


def test_a_group_that_is_too_large_is_cut_into_compact_pieces(rng) -> None:
    places = np.column_stack([np.zeros((64, 2)), 5.0 * rng.permutation(64)])
    groups, n_cut = neighbour_groups(np.full(64, "a"), places, 6.0)
    assert n_cut == 1 and np.bincount(groups).max() <= 8
    for k in np.unique(groups):
        assert np.ptp(places[groups == k, 2]) <= 5 * 7


def test_groups_stay_together_and_halves_are_balanced(rng) -> None:
    groups = rng.integers(0, 25, 90)
    half = balanced_halves(groups, rng)
    assert abs(int(half.sum()) - 45) <= 3
    assert all(len(np.unique(half[groups == k])) == 1 for k in np.unique(groups))
    assert int(balanced_halves(np.arange(9), rng).sum()) == 4


def test_a_mask_is_of_the_size_and_at_the_place_that_was_asked_for() -> None:
    mask = sphere_round_particle(30, 14.0, (2.0, 0.0, -3.0))
    place = (np.indices(mask.shape) * mask).sum(axis=(1, 2, 3)) / mask.sum() - 15
    np.testing.assert_allclose(place, (2, 0, -3), atol=0.05)
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.1)
    with pytest.raises(InputError, match="a mask of 31 voxels does not fit into a box of 30"):
        sphere_round_particle(30, 31.0)
