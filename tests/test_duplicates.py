"""Particles found twice: one of two stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.picking import without_duplicates


def particles(x_px: list[float], names: list[str], score: list[float] | None) -> ParticleSet:
    centres = np.zeros((len(x_px), 3))
    centres[:, 2] = x_px
    tomograms = {name: TomogramInfo(name, 10.0) for name in set(names)}
    scores = None if score is None else np.array(score)
    return ParticleSet(np.array(names), centres, scores, tomograms=tomograms)


def test_the_better_of_two_stays() -> None:
    given = particles([0, 4, 20], ["a"] * 3, [1.0, 2.0, 0.5])
    assert without_duplicates(given, 50.0).tolist() == [False, True, True]
    assert without_duplicates(given, 40.0).all()  # exactly so far apart


def test_without_scores_the_first_stays() -> None:
    assert without_duplicates(particles([0, 4], ["a"] * 2, None), 50.0).tolist() == [True, False]


def test_other_tomograms_and_unknown_places_do_not_count() -> None:
    given = particles([0, 0, np.nan, np.nan], ["a", "b", "a", "a"], None)
    assert without_duplicates(given, 1000.0).all()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(0, 2**31))
def test_none_left_is_too_near_and_none_left_out_was_alone(x: list[int], seed: int) -> None:
    score = np.random.default_rng(seed).permutation(len(x)).astype(float)
    stays = without_duplicates(particles(x, ["a"] * len(x), score.tolist()), 45.0)
    place = np.array(x) * 10.0
    near = np.abs(place[:, None] - place) < 45
    np.fill_diagonal(near, False)
    assert not near[np.ix_(stays, stays)].any()
    for row in np.flatnonzero(~stays):  # a better one that stays is near
        assert (near[row] & stays & (score > score[row])).any()


@pytest.mark.parametrize("distance", [0.0])
def test_no_distance_keeps_all(distance: float) -> None:
    assert without_duplicates(particles([0, 0], ["a"] * 2, None), distance).all()
