"""In which order sorting goes on, and what ends it; what is computed in each step is told."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from aitom_disca.classification import missed_structures, sort_all, sort_subset
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.missed_structures import (
    Missed,
    _members,
    _merged,
    _worst,
    missed,
    of_their_own,
    some_of,
)
from aitom_disca.classification.sort_all import name_of_pass
from aitom_disca.classification.sort_subset import AlignmentSorter, _common
from aitom_disca.config.sorting import SORTING

N = 80


def average(name: float) -> np.ndarray:
    return np.full((2, 2, 2), float(name))


def names_of(averages) -> list[float]:
    return [float(one.flat[0]) for one in averages]


def classes_of(labels, names, **fields) -> Classes:
    start = Classes.start([average(name) for name in names], np.zeros((len(labels), 3)))
    posterior = np.eye(len(names))[labels]
    return replace(start, labels=np.asarray(labels), posterior=posterior, **fields)


# -- a draw that is sorted in memory -------------------------------------------------------------


class Level:
    """Rounds at one level of detail; what is asked for is written down."""

    def __init__(self, name: str, said: list) -> None:
        self.name, self.said, self.rotations = name, said, "grid of " + name

    def iterate(self, particles, classes, *, rounds=None, prior="learnt"):
        self.said.append((self.name, rounds, prior))
        return classes


class Seen:
    """Second looks change as many labels as is told, one look after the other."""

    def __init__(self, said: list, moved=()) -> None:
        self.said, self.moved = said, list(moved)
        self.levels = SimpleNamespace(fine=Level("fine", said), wide="wide")
        self.rough = SimpleNamespace(moved=lambda offset: "rough")
        self.particles = "particles"

    def second_look(self, classes):
        self.said.append("second look")
        labels, n = classes.labels.copy(), self.moved.pop(0) if self.moved else 0
        labels[:n] = 1 - labels[:n]
        return replace(classes, labels=labels)

    def merger(self, offset):
        return "merger"


@pytest.fixture
def sorter(monkeypatch) -> AlignmentSorter:
    """One whose steps write down that they were asked for."""
    said: list = []
    made = AlignmentSorter.__new__(AlignmentSorter)
    made.said, made._rng, made._whole = said, np.random.default_rng(0), []
    made._seen, made._pairs = Seen(said), "pairs"
    made._settings = SORTING
    levels = {name: Level(name, said) for name in ("coarse", "fine", "first")}
    made._levels = SimpleNamespace(**levels, wide="wide")
    made._look_at = lambda offset: said.append("look at")
    monkeypatch.setattr(
        sort_subset, "centred", lambda one, grid, how: (said.append(f"centred, {grid}"), one)[1]
    )
    return made


def merged_as_told(monkeypatch, said: list, sizes: list) -> None:
    """Merging leaves so many clusters, one time after the other."""

    def merged(merger, classes, *, least_z, fewest, most):
        said.append(("merged", least_z, fewest, most))
        k = sizes.pop(0)
        return classes_of(classes.labels % k, range(k)) if k < len(classes.averages) else classes

    monkeypatch.setattr(sort_subset, "merged", merged)


def test_sorting_begins_roughly_and_is_then_settled(sorter, monkeypatch) -> None:
    said, begun = sorter.said, classes_of(np.arange(N) % 3, (1, 2, 3))
    for name in ("_roughly", "_from"):
        monkeypatch.setattr(
            AlignmentSorter,
            name,
            lambda self, classes, name=name, **how: (said.append((name, classes, how)), classes)[1],
        )
    monkeypatch.setattr(sort_subset, "singles", lambda rough, starts, how: ("singles", starts))
    monkeypatch.setattr(
        sort_subset, "averages_of", lambda *given: (said.append(("averages", *given)), begun)[1]
    )
    bounds = {"fewest": 2, "most": 7}
    sorter.sort(np.array([4, 5]), **bounds, splits=3)
    (first, classes, how), (last, _, more) = said[-2:]
    assert (first, last) == ("_roughly", "_from") and classes[0] == "singles"
    assert (how, more) == (bounds, bounds | {"splits": 3})
    said.clear()
    labels = np.array([3, -1, 0, 3, 0, -2, 5])
    assert sorter.refine(labels, fewest=0, most=4) is begun
    (_, searches, rough, members, rng), (_, classes, how), (_, _, more) = said
    assert [one.name for one in searches] == ["first", "coarse"] and rough is sorter._seen.rough
    assert [rows.tolist() for rows in members] == [[2, 4], [0, 3], [6]] and rng is sorter._rng
    assert how == {"fewest": 1, "most": 4} and more == how | {"splits": 1}
    assert classes is begun


def test_rough_sorting_merges_what_is_clearly_one(sorter, monkeypatch) -> None:
    merged_as_told(monkeypatch, sorter.said, [2])
    monkeypatch.setattr(sort_subset, "Merger", lambda *given: given)
    found = sorter._roughly(classes_of(np.arange(N) % 3, (1, 2, 3)), fewest=1, most=9)
    assert len(found.averages) == 2
    assert sorter.said == [
        ("coarse", None, "learnt"),
        "centred, grid of coarse",
        "look at",
        ("merged", 1.5, 1, 9),
    ]


@pytest.mark.parametrize("moved", [0, 1, 2])  # of 500 labels
def test_it_settles_when_nothing_merges_any_more(sorter, monkeypatch, moved) -> None:
    said, again = sorter.said, moved == 2
    sorter._look_at = lambda offset: said.append("look at")
    sorter._seen = Seen(said, [moved] * 9)
    merged_as_told(monkeypatch, said, [3, 2, 2])
    found = sorter._settled(classes_of(np.arange(500) % 3, (1, 2, 3)), "even", fewest=1, most=8)
    # Three stay three at once: there is nothing to settle.
    rounds = [("fine", 6, "even"), "centred, grid of fine", "look at", "second look"]
    rounds += [("fine", 2, "even")] if again else []
    rounds += [("merged", -3.0, 1, 8)]
    assert said == rounds and len(found.averages) == 3
    said.clear()
    found = sorter._settled(classes_of(np.arange(500) % 3, (1, 2, 3)), "even", fewest=1, most=8)
    assert said == rounds * 2 and len(found.averages) == 2


def ends(sorter, monkeypatch) -> None:
    """Noise and posteriors are told."""
    said = sorter.said
    sorter._look = SimpleNamespace(mask_radius_px=5.0)

    def noise(search, particles, classes, mask_radius_px, rng):
        said.append(("noise", search.name, mask_radius_px, classes))
        return replace(classes, labels=np.full(N, 7)), 1.25

    monkeypatch.setattr(sort_subset, "without_noise", noise)
    monkeypatch.setattr(sort_subset, "posterior_by_others", lambda *given: ("posterior", *given))


@pytest.mark.parametrize(
    ("sizes", "may", "n_splits"),
    [
        ([2], True, 0),  # none is wanted
        ([2, 3, 3, 3], True, 3),  # something new may be split again
        ([2, 3, 3, 3], False, 2),  # nothing new, and no more than before
        ([2, 2, 3, 4], False, 1),
        ([2, 3, 4, 4], False, 3),
    ],
)
def test_clusters_are_split_until_nothing_new_comes(sorter, monkeypatch, sizes, may, n_splits):
    said, sizes = sorter.said, list(sizes)
    ends(sorter, monkeypatch)

    def settled(self, classes, prior, *, fewest, most):
        said.append(("settled", prior, fewest, most))
        k = sizes.pop(0)
        return classes_of(np.arange(N) % k, range(k))

    monkeypatch.setattr(AlignmentSorter, "_settled", settled)
    monkeypatch.setattr(AlignmentSorter, "_may_split", lambda self, rows: may)
    monkeypatch.setattr(AlignmentSorter, "_split", lambda self, one: (said.append("split"), one)[1])
    wanted = 0 if len(sizes) == 1 else 3
    begun = classes_of(np.arange(N) % 3, (1, 2, 3))
    labels = sorter._from(begun, fewest=2, most=9, splits=wanted)
    rounds = [("settled", "learnt", 2, 9)] + ["split", ("settled", "even", 2, 9)] * n_splits
    assert said[: len(rounds)] == rounds
    assert said[len(rounds)] == "second look" and len(said) == len(rounds) + 2
    name, search, radius, classes = said[-1]
    assert (name, search, radius) == ("noise", "fine", 5.0)
    size = np.bincount(classes.labels) / N
    np.testing.assert_allclose(np.exp(classes.log_prior), size)  # learnt again
    assert (labels == 7).all() and sorter.labels is labels and sorter._noise_limit == 1.25
    name, search, particles, wide, rough, classes = sorter.posterior
    assert (name, particles, wide) == ("posterior", "particles", "wide")
    assert rough is sorter._seen.rough and classes is sorter.classes


def test_parts_take_the_place_of_a_cluster_that_holds_several(sorter, monkeypatch) -> None:
    """The first is too small, the second parts, the third does not; misfits hold one more."""
    labels = np.repeat([0, 1, 2], [20, 30, 50])
    likelihood = np.concatenate([np.zeros(20), np.zeros(30), np.arange(50.0)])
    likelihood[np.arange(4, 100, 4)] -= 900  # 24 of them, of which 15 are looked at
    classes = classes_of(labels, (1, 2, 3), log_likelihood=likelihood)
    tried, misfits = [], np.arange(10, 70, 2)

    def parts(self, given, rows, tries):
        assert given is classes and [len(one) for one in tries] == [3, 3]
        assert all(one.max() < len(rows) for one in tries)
        tried.append(rows.tolist())
        if len(rows) == 30 and rows[0] == 20:
            return [(rows[:18], average(4)), (rows[18:28], average(5))]
        if len(rows) == len(misfits):
            return [(rows[:6], average(6))]
        return [(rows, average(9))]

    monkeypatch.setattr(AlignmentSorter, "_parts", parts)
    asked = []
    monkeypatch.setattr(Classes, "misfits", lambda self, share: (asked.append(share), misfits)[1])
    found = sorter._split(classes)
    assert asked == [0.15]
    assert sorted(tried) == sorted([list(range(20, 50)), list(range(50, 100)), misfits.tolist()])
    assert names_of(found.averages) == [1, 4, 5, 3, 6]
    expected = np.repeat([0, 1, 2, -1, 3], [20, 18, 10, 2, 50])
    expected[misfits[:6]] = 4
    np.testing.assert_array_equal(found.labels, expected)
    # What did not part is not looked into again, unless a fifth of it is another.
    assert [len(rows) for rows in sorter._whole] == [20, 50]
    assert not sorter._may_split(np.arange(50, 100)) and not sorter._may_split(np.arange(50, 91))
    assert sorter._may_split(np.arange(50, 90))
    assert sorter._may_split(np.arange(40, 64)) and not sorter._may_split(np.arange(30, 53))


def test_common_members_are_a_share_of_all() -> None:
    assert _common(np.arange(4), np.arange(2, 8)) == pytest.approx(2 / 8)
    assert _common(np.arange(4), np.arange(4)) == 1 and _common(np.arange(2), np.arange(2, 4)) == 0


def test_parts_are_rows_of_the_whole(sorter) -> None:
    offsets = np.arange(30.0).reshape(10, 3)

    class Few:
        def structures(self, offset, tries):
            np.testing.assert_array_equal(offset, offsets[[3, 7, 9]])
            return [(np.array([2, 0]), average(1))], None

    sorter._seen = SimpleNamespace(select=lambda rows: Few())
    classes = replace(classes_of(np.zeros(10, int), (1,)), offset_zyx_px=offsets)
    ((rows, one),) = sorter._parts(classes, np.array([3, 7, 9]), [])
    assert rows.tolist() == [9, 3] and one.flat[0] == 1


def test_known_labels_are_judged_as_they_are(sorter, monkeypatch) -> None:
    monkeypatch.setattr(sort_subset, "judge_known", lambda seen, members, rng: (seen, members, rng))
    seen, members, rng = sorter.judge_known(np.array([1, -1, 0, 1]))
    assert seen is sorter._seen and rng is sorter._rng
    assert [rows.tolist() for rows in members] == [[2], [0, 3]]


def test_a_sorter_sees_its_volumes_in_a_box_of_twenty(rng) -> None:
    volumes = rng.normal(size=(6, 24, 24, 24)).astype(np.float32)
    tilts = np.array([(-60.0, 40.0), (-50.0, 60.0)] * 3)
    made = AlignmentSorter(volumes, tilts, mask_radius_px=6.0, box_share=0.75, seed=3)
    assert made.box_px == 20 and made._volumes.shape == (6, 20, 20, 20)
    assert made._look.mask_radius_px == 5.0 and made._wedge.tolist() in ([0, 1] * 3, [1, 0] * 3)
    assert np.bincount(made._half).tolist() == [3, 3] and made._fall_off is None
    assert made.labels.tolist() == [0] * 6 and made.posterior.shape == (6, 0)
    seen = made._seen
    assert len(seen) == 6 and not seen.particles.offset_zyx_px.any()
    np.testing.assert_array_equal(seen.particles.half, made._half)
    again = made._look.particles(made._levels.fine, made._volumes, made._half, None, made._wedge)
    np.testing.assert_array_equal(seen.particles.values, again.values)
    made.classes = classes_of(made.labels, (1, 2), shell_weight=np.ones((2, 20)))
    learnt = made.learnt()
    assert names_of(learnt.averages) == [1, 2] and learnt.tilt_range_deg == (-50, 40)
    assert learnt.mask_radius_px == 5 and learnt.box_share == 0.75 and learnt.fall_off is None
    assert learnt.noise_limit == -np.inf and learnt.power is made._look.power
    assert learnt.shell_weight is made.classes.shell_weight
    small = AlignmentSorter(volumes[:, 8:16, 8:16, 8:16], (-60, 60), graded_wedge=False)
    assert small.box_px == 8 and small._look.mask_radius_px == np.inf
    assert sorted(small._half) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("given", [{}, {"graded_wedge": False}])
def test_a_fall_off_is_measured_unless_it_is_told_not_to(monkeypatch, rng, given) -> None:
    from aitom_disca.geometry.fall_off_with_tilt import FallOff

    falls = FallOff(np.linspace(0.5, 1, 60), np.ones(60))
    asked = []

    def measured(volumes, tilt_range_deg, **_):
        asked.append(volumes.shape)
        return falls

    monkeypatch.setattr(sys.modules[AlignmentSorter.__module__], "measure_fall_off", measured)
    made = AlignmentSorter(rng.normal(size=(4, 8, 8, 8)).astype(np.float32), (-60, 60), **given)
    made.classes = classes_of(made.labels, (1,))
    learnt = made.learnt()
    assert learnt.box_share == 1 and learnt.mask_radius_px == np.inf
    if given:
        assert not asked and learnt.fall_off is None
    else:
        assert asked == [(4, 8, 8, 8)]
        np.testing.assert_array_equal(learnt.fall_off, falls.as_array())
        assert made._levels.coarse.coefficients.fall_off is falls


# -- structures that were missed -----------------------------------------------------------------


def test_some_of_a_cluster_are_spread_evenly() -> None:
    few, many = np.arange(200) * 3, np.arange(0, 3000, 2)
    np.testing.assert_array_equal(some_of(few, SORTING.missed), few)
    some = some_of(many, SORTING.missed)
    assert len(some) == 200 and some[[0, -1]].tolist() == [0, 2998]
    assert np.diff(some).min() >= 14 and np.diff(some).max() <= 16


def test_the_worst_come_in_bands_of_rank_and_apart_from_noise() -> None:
    n = 5000
    rng = np.random.default_rng(4)
    likelihood = rng.permutation(n).astype(float)
    classes = classes_of(np.zeros(n, int), (1,), log_likelihood=likelihood)
    found = _worst(classes, 799.0, np.random.default_rng(0), SORTING)
    order = np.argsort(likelihood)[800:]  # those above the limit
    # 15 % of 4,200 are more than the last rank.
    for band, (first, last) in zip(
        found[:-1], [(0, 75), (75, 150), (150, 300), (300, 600)], strict=True
    ):
        np.testing.assert_array_equal(band, np.sort(order[first:last]))
    assert len(found[-1]) == 600 and (likelihood[found[-1]] <= 799).all()
    assert (np.diff(found[-1]) > 0).all() and found[-1].max() > 4000
    few = _worst(classes.select(np.arange(1000)), -1.0, np.random.default_rng(0), SORTING)
    assert [len(band) for band in few] == [75, 75]  # 15 % of them, and no noise
    # Bands of less than 24 are left out; 23 of noise too.
    some = classes.select(np.arange(660))
    limit = np.sort(some.log_likelihood)[22]
    assert [len(band) for band in _worst(some, limit, np.random.default_rng(0), SORTING)] == [75]
    limit = np.sort(some.log_likelihood)[23]
    assert [len(band) for band in _worst(some, limit, np.random.default_rng(0), SORTING)] == [
        75,
        24,
    ]


def test_members_that_are_looked_into_are_not_those_of_others() -> None:
    classes = classes_of(np.repeat([0, 1, 2], [50, 700, 10]), (1, 2, 3))
    others = [np.arange(40, 60), np.array([755])]
    first, last, many = _members(classes, [0, 2, 1], others, np.random.default_rng(0), 300)
    assert first.tolist() == list(range(40)) and last.tolist() == [
        *range(750, 755),
        *range(756, 760),
    ]
    assert len(many) == 300 and many.min() >= 60 and many.max() < 750
    assert (np.diff(many) > 0).all() and np.diff(many).max() > 1
    (every,) = _members(classes, [0], [], np.random.default_rng(0), 300)
    assert every.tolist() == list(range(50))


class Everything:
    """Compares averages by name: the nearer, the more alike; merges as is told."""

    def __init__(self, one=()) -> None:
        self.one, self.asked, self.wedge = {frozenset(pair) for pair in one}, [], None
        self.levels = SimpleNamespace(fine="fine")
        self.settings = SORTING
        self.pairs = SimpleNamespace(similarity=self.similarity)

    def similarity(self, averages):
        names = np.array(names_of(averages))
        return -np.abs(names[:, None] - names)

    def load(self, rows):
        return SimpleNamespace(merger=lambda offset: self.merger(rows, offset))

    def merger(self, loaded, offset):
        def merge(members, averages, *, least_z):
            assert least_z == -3.0
            names = tuple(int(name) for name in names_of(averages))
            self.asked.append((names, [loaded[rows].tolist() for rows in members], offset))
            groups = list(zip(members, averages, strict=True))
            for i, j in itertools.combinations(range(len(names)), 2):
                if frozenset((names[i], names[j])) in self.one:
                    joined = np.concatenate([groups[i][0], groups[j][0]])
                    return [(joined, averages[i])] + [
                        g for k, g in enumerate(groups) if k not in (i, j)
                    ]
            return groups

        return SimpleNamespace(merge=merge)


def group(name: int, *rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array(rows, int), average(name)


def test_groups_are_merged_by_some_of_their_members() -> None:
    offsets, everything = np.arange(3000.0).reshape(1000, 3), Everything()
    rows = np.arange(300, 900)
    found = _merged(everything, offsets, [group(1, 4, 2), (rows, average(2))])
    ((names, members, offset),) = everything.asked
    assert names == (1, 2) and members == [[4, 2], some_of(rows, SORTING.missed).tolist()]
    np.testing.assert_array_equal(offset, offsets[[4, 2, *some_of(rows, SORTING.missed)]])
    assert [rows.tolist() for rows, _ in found] == members


def test_what_is_found_is_compared_with_the_two_nearest_and_then_with_one_another() -> None:
    known = [group(10, 0), group(20, 1), group(30), group(40, 2, 3)]
    found = [group(12, 4), group(29, 5), group(38, 6), group(39, 7), group(90, 8)]
    everything = Everything([(20, 29), (38, 39)])
    offsets = np.zeros((9, 3))
    left = of_their_own(everything, offsets, known, found)
    asked = [names for names, _, _ in everything.asked]
    # 30 has no members to ask.
    assert sorted(asked[:-1]) == sorted(
        [(12, 10), (12, 20), (29, 20), (38, 40), (39, 40), (90, 40)]
    )
    assert asked[-1] == (12, 38, 39, 90)
    assert {int(one.flat[0]): rows.tolist() for rows, one in left} == {38: [6, 7], 12: [4], 90: [8]}
    assert of_their_own(everything, offsets, known, []) == []
    assert of_their_own(Everything([(12, 10)]), offsets, known, found[:1]) == []


def test_parts_of_new_clusters_and_of_the_worst_are_found(monkeypatch) -> None:
    n = 300
    labels = np.repeat([0, 1, 2, 3], [100, 100, 80, 20])
    classes = classes_of(labels, (1, 2, 3, 4), offset_zyx_px=np.ones((n, 3)))
    standing = Standing(classes, np.zeros(0), np.zeros(0), np.array([0, 1, 1, 1]), np.zeros(0))
    worst = [np.arange(0, 30), np.arange(110, 120)]  # the second are too few
    asked = {}

    def limit(search, known, radius, rng, wedge):
        asked["limit"] = (search, radius, wedge)
        return 2.5

    monkeypatch.setattr(missed_structures, "noise_limit", limit)
    monkeypatch.setattr(
        missed_structures, "_worst", lambda known, at, rng, how: (asked.update(at=at), worst)[1]
    )
    looked = []

    class Few:
        def __init__(self, rows) -> None:
            self.rows, self.particles = rows, self

        def structures(self, offset, tries):
            np.testing.assert_array_equal(offset, np.ones((len(self.rows), 3)))
            assert [len(one) for one in tries] == [3, 3]
            looked.append(self.rows.tolist())
            m, name = len(self.rows), self.rows[0]
            parts = [(np.arange(0, m, 3), average(name)), (np.arange(1, m, 3), average(name + 0.5))]
            return parts[: 1 if name == 200 else 2], np.full((m, 3), 5.0 + name)

        def moved(self, offset):
            assert offset[0, 0] == 5.0 + self.rows[0]
            return self

        def select(self, part):
            return Few(self.rows[part])

    everything = Everything()
    everything.load = Few

    def structure(search, particles, average):  # the second of the worst is none
        assert search == "fine" and particles.rows[0] == int(average.flat[0]) + (
            average.flat[0] % 1 > 0
        )
        return average.flat[0] != 0.5

    def own(given, offset, known, groups):
        asked.update(known=known, groups=groups)
        return groups[1:]

    monkeypatch.setattr(missed_structures, "is_structure", structure)
    monkeypatch.setattr(missed_structures, "of_their_own", own)
    found = missed(everything, standing, 4.0, np.random.default_rng(0))
    assert asked["limit"] == ("fine", 4.0, None) and asked["at"] == 2.5
    # Of the clusters that are new the last has too few; none of the worst is among them.
    members = [*range(100, 110), *range(120, 200)]
    assert sorted(looked) == sorted([members, list(range(200, 280)), list(range(30))])
    assert found.replaced.tolist() == [1]
    names = [float(one.flat[0]) for _, one in asked["groups"]]
    assert names == [100, 100.5, 0]
    np.testing.assert_array_equal(asked["groups"][0][0], np.array(members)[::3])
    assert [one.flat[0] for _, one in found.groups] == [100.5, 0]
    expected = np.ones(n)
    expected[members], expected[:30] = 105, 5
    np.testing.assert_array_equal(found.offset_zyx_px[:, 1], expected)
    taken = np.concatenate([rows for rows, _ in asked["groups"]])
    for (rows, one), k in zip(asked["known"], (0, 2, 3), strict=True):
        assert one is classes.averages[k]
        np.testing.assert_array_equal(rows, np.setdiff1d(np.flatnonzero(labels == k), taken))
    assert (classes.offset_zyx_px == 1).all()


# -- all subtomograms ----------------------------------------------------------------------------


def standing_of(*found_in: int, n: int = 12) -> Standing:
    k = len(found_in)
    return Standing(
        classes_of(np.arange(n) % k, range(10, 10 + k)),
        np.zeros((k, 4, 2, 2, 2)),
        np.ones((k, 2)),
        np.array(found_in),
        np.full((n, 3), 0.5),
    )


class Passes:
    """All subtomograms; what is asked of them is written down."""

    def __init__(self, seen: bool = True) -> None:
        self.said: list = []
        self.seen, self.wedge = seen, "wedge"
        self.levels = SimpleNamespace(fine="fine")
        self.settings = SORTING

    def first_look(self):
        self.said.append("first look")
        return standing_of(0, 0)

    def see_again(self, seen_at):
        self.said.append(("again", seen_at[0, 0]))

    def rounds(self, standing):
        self.said.append("rounds")
        return standing

    def last_look(self, standing):
        self.said.append(("last look", standing))
        return standing

    def joined_by(self, kept, groups, offset, number):
        self.said.append(("joined", kept.found_in.tolist(), names_of(a for _, a in groups), number))
        return standing_of(*kept.found_in, *[number] * len(groups))

    def load(self, rows):
        return SimpleNamespace(particles=SimpleNamespace(moved=lambda at: (rows, at)))


@pytest.fixture
def known() -> LearntAverages:
    return LearntAverages(np.zeros((2, 2, 2, 2)), np.zeros(2), np.ones(3), 0.0, (-60, 60), 6.0)


@pytest.mark.parametrize("looks", [0, 1, 2, 3])
def test_passes_go_on_while_something_joins(known, monkeypatch, looks) -> None:
    """Two clusters, three after the first look at what was missed, and no more after the second."""
    everything, kept = Passes(), []
    rngs = []

    def with_missed(every, standing, radius, most, number, rng):
        assert every is everything and radius == 6.0 and most == 9
        everything.said.append(("missed", number, len(standing.found_in)))
        rngs.append(rng.random())
        return standing_of(0, 0, 1)

    def noise(every, classes, given, rng):
        everything.said.append("noise")
        np.testing.assert_allclose(np.exp(classes.log_prior), 1 / len(classes.averages))
        rngs.append(rng.random())
        return classes

    def keep(name, work):
        kept.append(name)
        return work()

    monkeypatch.setattr(sort_all, "_with_missed", with_missed)
    monkeypatch.setattr(sort_all, "_without_noise", noise)
    found = sort_all.sort_all(everything, known, most=9, looks=looks, seed=5, keep=keep)
    n = min(looks, 2)
    assert kept == [name_of_pass(i) for i in range(n + 1)] and name_of_pass(1) == "pass 1"
    said = [one[0] if isinstance(one, tuple) else one for one in everything.said]
    assert said == ["first look", "rounds", *["missed"] * n, "last look", "noise"]
    assert [one[1:] for one in everything.said if one[0] == "missed"] == [(1, 2), (2, 3)][:n]
    assert len(found.averages) == (3 if looks else 2)
    numbers = [*range(1, n + 1), looks + 1]
    assert rngs == [np.random.default_rng((5, i)).random() for i in numbers]


def test_without_a_checkpoint_all_is_done_and_what_was_kept_is_seen_again(known, monkeypatch):
    monkeypatch.setattr(sort_all, "_with_missed", lambda *given: given[1])
    monkeypatch.setattr(sort_all, "_without_noise", lambda every, classes, *_: classes)
    everything = Passes(seen=True)
    sort_all.sort_all(everything, known)
    assert everything.said[:2] == ["first look", "rounds"]
    everything = Passes(seen=False)
    sort_all.sort_all(everything, known, keep=lambda name, work: standing_of(0, 0))
    assert everything.said[0] == ("again", 0.5)


def pass_with(monkeypatch, begun, groups, replaced=(), stay=None, most=9, number=2):
    """One pass in which groups of these names are found, and those stay that are named."""
    everything, asked = Passes(), {}

    def missed(every, standing, radius, rng):
        assert radius == 6.0
        found = [group(name, name) for name in groups]
        return Missed(found, np.array(replaced, int), np.full((12, 3), 3.0))

    def own(every, offset, known, found):
        asked["known"] = names_of(a for _, a in known)
        asked["found"] = names_of(a for _, a in found)
        return found if stay is None else found[:stay]

    monkeypatch.setattr(sort_all, "missed", missed)
    monkeypatch.setattr(sort_all, "of_their_own", own)
    rng = np.random.default_rng(0)
    found = sort_all._with_missed(everything, begun, 6.0, most, number, rng)
    return found, everything.said, asked


def test_what_was_missed_joins_and_is_asked_again(monkeypatch) -> None:
    begun = standing_of(0, 1, 1)
    found, said, asked = pass_with(monkeypatch, begun, [5, 6])
    assert said == [("joined", [0, 1, 1], [5, 6], 2), "rounds"]
    assert found.found_in.tolist() == [0, 1, 1, 2, 2]
    assert asked == {"known": [10, 11, 12], "found": [13, 14]}
    # One of the two turns out to be known: the other joins alone.
    found, said, _ = pass_with(monkeypatch, begun, [5, 6], stay=1)
    assert said[2:] == [("joined", [0, 1, 1], [13], 2), "rounds"]
    assert found.found_in.tolist() == [0, 1, 1, 2]
    assert pass_with(monkeypatch, begun, [5, 6], stay=0)[0] is begun


def test_parts_replace_their_cluster_where_they_are_more(monkeypatch) -> None:
    begun = standing_of(0, 1, 1)
    found, said, _ = pass_with(monkeypatch, begun, [5, 6], replaced=[1])
    assert said[0] == ("joined", [0, 1], [5, 6], 2) and found.found_in.tolist() == [0, 1, 2, 2]
    found, said, _ = pass_with(monkeypatch, begun, [5], replaced=[1])
    assert found is begun and said == []
    found, said, _ = pass_with(monkeypatch, begun, [5, 6], replaced=[1], stay=1)
    assert found is begun and len(said) == 2


def test_no_more_join_than_there_is_room_for(monkeypatch) -> None:
    begun = standing_of(0, 1, 1)
    assert pass_with(monkeypatch, begun, [5, 6], most=3)[0] is begun
    assert pass_with(monkeypatch, begun, [5, 6], most=3)[1] == []
    found, said, _ = pass_with(monkeypatch, begun, [5, 6, 7], most=5)
    assert said[0][2] == [5, 6] and len(found.found_in) == 5


def test_noise_is_set_apart_by_a_limit_and_by_cluster(known, monkeypatch) -> None:
    likelihood = np.array([5.0, 5, 5, 1, 5, 5, 5, 2, 5, 5, 5, 5])
    classes = classes_of(
        np.arange(12) % 3, (1, 2, 3), log_likelihood=likelihood, offset_zyx_px=np.ones((12, 3))
    )
    asked = []

    def limit(search, given, radius, rng, wedge):
        asked.append((search, radius, wedge))
        return 2.0

    def stands_out(search, members, average, own, at):
        rows, offset = members
        assert at in (2.0, 9.0) and (offset == 1).all() and search == "fine"
        np.testing.assert_array_equal(own, likelihood[rows])
        return average.flat[0] != 2

    monkeypatch.setattr(sort_all, "noise_limit", limit)
    monkeypatch.setattr(sort_all, "stands_out", stands_out)
    rng = np.random.default_rng(0)
    found = sort_all._without_noise(Passes(), classes, known, rng)
    assert asked == [("fine", 6.0, "wedge")] and found.limit == 2
    assert found.classes.labels.tolist() == [0, -1, 1, -1, -1, 1, 0, -1, 1, 0, -1, 1]
    learnt = found.learnt()
    assert names_of(learnt.averages) == [1, 3] and learnt.noise_limit == 2.0
    assert learnt.log_prior is found.classes.log_prior and learnt.power is known.power
    monkeypatch.setattr(sort_all, "noise_limit", lambda *_: 9.0)
    found = sort_all._without_noise(Passes(), classes, known, rng)
    assert found.classes is classes and found.limit == -np.inf
    monkeypatch.setattr(sort_all, "noise_limit", lambda *_: 0.0)
    monkeypatch.setattr(sort_all, "stands_out", lambda *_: True)
    found = sort_all._without_noise(Passes(), classes, known, rng)
    np.testing.assert_array_equal(found.classes.labels, classes.labels)


def test_some_members_of_each_are_asked_what_was_held_out(known, monkeypatch) -> None:
    labels = np.repeat([0, 1, -1], [500, 30, 20])
    classes = classes_of(labels, (1, 2, 3))
    everything = SimpleNamespace(
        load=lambda rows: SimpleNamespace(particles=rows),
        levels=SimpleNamespace(fine="fine"),
        settings=SORTING,
    )
    monkeypatch.setattr(sort_all, "held_out_gain", lambda *given: given)
    found = sort_all.SortedAll(everything, classes, known, 1.0)
    search, rows, some, rng = found.held_out()
    assert search == "fine" and rng.random() == np.random.default_rng(0).random()
    np.testing.assert_array_equal(
        rows, [*some_of(np.arange(500), SORTING.missed), *range(500, 530)]
    )
    np.testing.assert_array_equal(some.labels, labels[rows])
