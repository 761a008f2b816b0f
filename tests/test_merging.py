"""What decides whether two clusters are one structure: the limits, and how a pair is judged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.merge_clusters import Merger, Verdict
from aitom_disca.config.sorting import SORTING
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

MOST = 800  # members of a pair whose test is taken as it is


# -- a pair ------------------------------------------------------------------------------------


@pytest.fixture
def judge(monkeypatch):
    """Judge two clusters of 30 and 10, whose joint averages are as good as is scripted.

    A joint average is named by a number: 9 is the two laid on one another, 0 the mean of both that
    members are aligned to, 1 and 2 are grown from either, n + 10 is refined from n.
    """

    def run(laid: float, **z_of: float):
        z = {int(name[1:]): value for name, value in z_of.items()}
        a, b = (
            SimpleNamespace(rows=np.arange(n), average=np.full((2, 2, 2), float(name)))
            for n, name in ((30, 1), (10, 2))
        )
        tried = []

        def verdict(name: int, value: float) -> Verdict:
            return Verdict(value, 40, np.full((2, 2, 2), name + 10.0))

        def judge_from(self, average, *_):
            name = 0 if average[0, 0, 0] == 1.25 else int(average[0, 0, 0])  # 3/4 of 1, 1/4 of 2
            tried.append(name)
            return verdict(name, z.get(name, -99.0))

        monkeypatch.setattr(Merger, "_judge_laid_together", lambda *_: verdict(9, laid))
        monkeypatch.setattr(Merger, "_judge_from", judge_from)
        merger = Merger.__new__(Merger)
        merger._settings = SORTING.merging
        merger._pairs = SimpleNamespace(brought_onto=lambda moving, fixed: moving)
        return merger._judge(a, b).z, tried

    return run


def test_averages_that_fit_as_they_lie_are_not_judged_further(judge):
    assert judge(0.5) == (0.5, [])


@pytest.mark.parametrize("z", [0.5, -8.5])
def test_a_clear_pair_is_judged_once_more(judge, z):
    assert judge(-9, z0=z) == (z, [0])


def test_a_joint_average_is_grown_from_either_where_the_mean_of_both_leaves_a_doubt(judge):
    assert judge(-9, z0=-4, z1=-5, z2=0.7) == (0.7, [0, 1, 2])
    assert judge(-9, z0=-4, z1=0.6, z2=-5) == (0.6, [0, 1, 2])


@pytest.mark.parametrize(
    ("best", "z"), [(0, (-2, -3, -4)), (1, (-3, -2, -4)), (2, (-4, -3, -2)), (9, (-6, -7, -7))]
)
def test_what_stays_in_doubt_is_refined_from_the_best_joint_average(judge, best, z):
    z0, z1, z2 = z
    for refined, expected in ((-1.5, -1.5), (-20, max(*z, -5))):  # where that is better
        found = judge(-5, z0=z0, z1=z1, z2=z2, **{f"z{best + 10}": refined})
        assert found == (expected, [0, 1, 2, best + 10])


# -- the limits --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_structures():
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in ("rod", "ring")]
    return simulate_subtomograms(templates, 16, 14, 20.0, snr=3.0, seed=1)


def n_left(made, monkeypatch, z: float) -> int:
    """Clusters that remain of two where the members of a pair say z, counted for 800."""

    def judge(self, a, b):
        n = len(a.tested) + len(b.tested)
        return Verdict(z * np.sqrt(n / MOST), n, a.average)

    monkeypatch.setattr(Merger, "_judge", judge)
    sorter = AlignmentSorter(made.volumes, (-60, 60))
    return int(sorter.refine(made.labels, splits=0).max()) + 1


@pytest.mark.parametrize(("z", "left"), [(-3.5, 2), (-2.5, 1)])
def test_clusters_are_one_above_three_standard_errors_below_zero(
    two_structures, monkeypatch, z, left
):
    assert n_left(two_structures, monkeypatch, z) == left


def test_the_limit_goes_with_the_root_of_the_members_tested():
    """Few gain much from being averaged with others: -3 of 800 is -1.5 of 200."""
    rows = [np.arange(k, 200, 2) for k in range(2)]

    def n_after(z: float) -> int:
        merger = Merger.__new__(Merger)
        merger._settings = SORTING.merging
        merger._pairs = SimpleNamespace(similarity=lambda averages: np.eye(2))
        merger._cluster = lambda r, average: SimpleNamespace(rows=r, average=average)
        merger._judge = lambda a, b: Verdict(z, 200, np.zeros((2, 2, 2)))
        return len(merger.merge(rows, [np.zeros((2, 2, 2))] * 2, least_z=-3.0))

    assert (n_after(-1.6), n_after(-1.4)) == (2, 1)
