"""Particle sets: rows chosen and sets joined, with every column."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.particles import ParticleSet, concatenate


def made(n: int, **more: np.ndarray) -> ParticleSet:
    return ParticleSet(np.full(n, "t"), np.arange(3.0 * n).reshape(n, 3), more=more)


def test_further_columns_follow_their_rows() -> None:
    chosen = made(4, dose=np.arange(4)).select(np.array([3, 1]))
    assert chosen.more["dose"].tolist() == [3, 1]
    assert chosen.center_zyx_px[:, 0].tolist() == [9, 3]


def test_sets_are_joined_with_the_further_columns_that_all_hold() -> None:
    joined = concatenate([made(2, a=np.ones(2), b=np.ones(2)), made(1, a=np.zeros(1))])
    assert list(joined.more) == ["a"]
    assert joined.more["a"].tolist() == [1, 1, 0]


def test_a_further_column_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="dose has 3 rows, expected 2"):
        made(2, dose=np.zeros(3))
