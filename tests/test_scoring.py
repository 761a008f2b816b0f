"""One-to-one matching of picks with the truth."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from aitom_disca.errors import InputError
from aitom_disca.simulation import match_picks


def best_by_trying_all(found: np.ndarray, true: np.ndarray, tolerance: float) -> tuple[int, float]:
    """Most matches, then least distance, over every assignment (at most as many found as true)."""
    best = (0, 0.0)
    for order in permutations(range(len(true)), len(found)):
        d = np.linalg.norm(found - true[list(order)], axis=1)
        d = d[d <= tolerance]
        best = max(best, (len(d), -d.sum()))
    return best[0], -best[1]


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_trying_every_assignment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, true = rng.uniform(0, 10, (5, 3)), rng.uniform(0, 10, (7, 3))
    score = match_picks(found, true, 4.0)
    count, total = best_by_trying_all(found, true, 4.0)
    assert len(score.pairs) == count
    assert score.distances_px.sum() == pytest.approx(total)
    assert len(set(score.pairs[:, 0])) == len(set(score.pairs[:, 1])) == count


def test_known_answer() -> None:
    true = np.array([[0.0, 0, 0], [20, 0, 0], [40, 0, 0], [60, 0, 0]])
    found = np.array([[41.0, 0, 0], [0, 2, 0], [0, 0, 1], [99, 0, 0], [20, 0, 0]])
    score = match_picks(found, true, 3.0)
    np.testing.assert_array_equal(score.pairs, [[2, 0], [4, 1], [0, 2]])
    np.testing.assert_allclose(score.distances_px, [1, 0, 1])
    assert (score.precision, score.recall) == (3 / 5, 3 / 4)
    assert score.f1 == pytest.approx(2 * 0.6 * 0.75 / 1.35)


def test_a_chain_is_matched_whole_rather_than_greedily() -> None:
    true = np.array([[0.0, 0, 0], [3, 0, 0]])
    found = np.array([[2.0, 0, 0], [5.5, 0, 0]])  # the nearest pair would leave one alone
    score = match_picks(found, true[::-1], 2.6)
    np.testing.assert_array_equal(score.pairs, [[1, 0], [0, 1]])


def test_order_does_not_matter(rng: np.random.Generator) -> None:
    true = rng.uniform(0, 60, (40, 3))
    found = true + rng.normal(0, 1.5, true.shape)
    shuffled = rng.permutation(40)
    first, second = match_picks(found, true, 4), match_picks(found[shuffled], true, 4)
    np.testing.assert_array_equal(shuffled[second.pairs[:, 0]], first.pairs[:, 0])


@pytest.mark.parametrize(("n_found", "n_true"), [(0, 4), (3, 0), (0, 0)])
def test_nothing_to_match(n_found: int, n_true: int) -> None:
    score = match_picks(np.zeros((n_found, 3)), np.zeros((n_true, 3)), 2.0)
    assert (score.precision, score.recall, score.f1) == (0, 0, 0)
    assert (score.n_found, score.n_true, len(score.pairs)) == (n_found, n_true, 0)


def test_all_too_far() -> None:
    assert len(match_picks(np.zeros((2, 3)), np.full((3, 3), 9.0), 2.0).pairs) == 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"found_zyx must have shape \(N, 3\)"):
        match_picks(np.zeros((4, 2)), np.zeros((4, 3)), 2.0)
    with pytest.raises(InputError, match=r"true_zyx must have shape \(N, 3\)"):
        match_picks(np.zeros((4, 3)), np.zeros(3), 2.0)
    with pytest.raises(InputError, match="tolerance_px must be positive; got 0"):
        match_picks(np.zeros((4, 3)), np.zeros((4, 3)), 0)
