"""Are two clusters one structure? How a pair is judged, and in which order pairs are merged."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from plain_expectation import plain_expect
from scipy.spatial.transform import Rotation

from aitom_disca.alignment import Particles
from aitom_disca.alignment.align_averages import turned
from aitom_disca.alignment.search_grids import ball, cross
from aitom_disca.classification import judge_known as judging
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.judge_known import Pair, judge_known
from aitom_disca.classification.merge_clusters import (
    Cluster,
    Fitted,
    Merger,
    Verdict,
    _candidates,
    merged,
)
from aitom_disca.config.sorting import SORTING

ONE = (-60.0, 60.0)
BOX, N = 9, 14


def average(name: float) -> np.ndarray:
    return np.full((2, 2, 2), float(name))


# -- words and limits ----------------------------------------------------------------------------


def test_a_verdict_in_words() -> None:
    for z, doubt in ((-8.5, False), (-7.5, True), (-0.5, True), (0.0, False), (0.5, False)):
        assert Verdict(z, 10, average(0)).in_doubt == doubt
    assert "better than two do, by 1.5 " in Verdict(1.54, 10, average(0)).in_words
    assert "worse than two do, by 1.5 " in Verdict(-1.54, 10, average(0)).in_words


@pytest.mark.parametrize("n", [800, 200, 50])
def test_a_limit_below_zero_goes_with_the_root_of_the_members(n) -> None:
    verdict = Verdict(-2.0, n, average(0))
    assert verdict.beyond(-3.0) == pytest.approx(-2 + 3 * np.sqrt(n / 800))
    assert verdict.beyond(1.5) == -3.5


def test_candidates_are_the_two_that_look_most_alike() -> None:
    similar = np.array([[1, 9, 8, 2, 1], [9, 1, 3, 7, 6], [8, 3, 1, 2, 1], [2, 7, 3, 1, 9]])
    similar = np.vstack([similar, [1, 6, 2, 9, 1]])
    alive = dict.fromkeys([0, 1, 2, 3, 4])
    assert _candidates(alive, similar, 2) == [(0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (3, 4)]
    del alive[1]
    assert _candidates(alive, similar, 2) == [(0, 2), (0, 3), (2, 3), (2, 4), (3, 4)]


# -- the order of merging ------------------------------------------------------------------------


class Told(Merger):
    """What is said of a pair is told by the names of its averages, which add up."""

    def __init__(self, z: dict, similar: np.ndarray) -> None:
        self.z, self.asked = z, []
        self._settings = SORTING.merging
        self._pairs = SimpleNamespace(similarity=lambda averages: similar.copy())

    def _cluster(self, rows, average):
        return SimpleNamespace(rows=rows, average=average)

    def _judge(self, a, b):
        names = tuple(sorted(int(one.average[0, 0, 0]) for one in (a, b)))
        self.asked.append(names)
        return Verdict(self.z.get(names, -99.0), 800, a.average + b.average)


MEMBERS = [np.array([0, 5]), np.array([1]), np.array([2, 6, 7]), np.array([3, 4])]
NAMES = [1, 2, 4, 8]


def after(z: dict, *, similar=None, members=MEMBERS, **bounds) -> tuple[dict, list]:
    merger = Told(z, np.ones((4, 4)) if similar is None else similar)
    groups = merger.merge(members, [average(name) for name in NAMES], least_z=1.0, **bounds)
    return {int(a[0, 0, 0]): rows.tolist() for rows, a in groups}, merger.asked


def test_the_clearest_pair_is_merged_first_and_what_it_makes_is_judged_anew() -> None:
    left, asked = after({(1, 2): 1.5, (2, 4): 3.0, (1, 6): 1.0, (6, 8): 0.9, (7, 8): 0.99})
    assert left == {7: [0, 5, 1, 2, 6, 7], 8: [3, 4]}
    # Each with two others; then the new one, 2 + 4; then the last.
    assert sorted(asked[:5]) == [(1, 2), (1, 4), (1, 8), (2, 4), (2, 8)]
    assert sorted(asked[5:7]) == [(1, 6), (6, 8)] and asked[7:] == [(7, 8)]


def test_nothing_is_merged_that_does_not_reach_the_limit() -> None:
    left, _ = after({(1, 2): 0.99})
    assert left == {name: rows.tolist() for name, rows in zip(NAMES, MEMBERS, strict=True)}


def test_merging_ends_between_bounds() -> None:
    everything = {(1, 2): 5.0, (3, 4): 4.0, (7, 8): 3.0}
    assert [len(after(everything, fewest=n)[0]) for n in (1, 2, 3, 4, 9)] == [1, 2, 3, 4, 4]
    assert after(everything, fewest=4)[1] == []
    assert [len(after({}, most=n)[0]) for n in (1, 2, 3, 4)] == [1, 2, 3, 4]


def test_clusters_without_members_are_left_out() -> None:
    members = [MEMBERS[0], np.zeros(0, int), *MEMBERS[2:]]
    left, asked = after({}, members=members, similar=np.ones((3, 3)))
    assert set(left) == {1, 4, 8} and sorted(asked) == [(1, 4), (1, 8), (4, 8)]


def test_a_merged_cluster_looks_like_what_either_looked_like() -> None:
    """With 1 and 2 one, 8 is as near to them as it was to 2, and is asked before 4."""
    similar = np.array(
        [[1, 0.9, 0.5, 0.1], [0.9, 1, 0.2, 0.8], [0.5, 0.2, 1, 0.3], [0.1, 0.8, 0.3, 1]]
    )
    merger = Told({(1, 2): 2.0}, similar)
    kept = {}
    real = _candidates
    from aitom_disca.classification import merge_clusters as module

    def candidates(alive, now, n):
        kept[len(alive)] = now.copy()
        return real(alive, now, n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_candidates", candidates)
        merger.merge(MEMBERS, [average(name) for name in NAMES], least_z=1.0)
    np.testing.assert_array_equal(kept[3][0, 2:], [0.5, 0.8])
    np.testing.assert_array_equal(kept[3][2:, 0], [0.5, 0.8])


def test_verdicts_are_given_and_nothing_is_merged() -> None:
    merger = Told({(1, 2): 5.0}, np.ones((4, 4)))
    found = merger.verdicts(MEMBERS, [average(name) for name in NAMES])
    assert sorted(found) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    assert found[0, 1].z == 5 and found[1, 2].z == -99


def test_classes_stay_as_they_are_where_nothing_was_merged() -> None:
    labels = np.array([0, 1, 2, 3, 3, 0, 2, 2])
    start = replace(Classes.start([average(n) for n in NAMES], np.zeros((8, 3))), labels=labels)
    bounds = {"least_z": 1.0, "fewest": 1, "most": 9}
    assert merged(Told({}, np.ones((4, 4))), start, **bounds) is start
    found = merged(Told({(2, 4): 1.0}, np.ones((4, 4))), start, **bounds)
    assert [int(a[0, 0, 0]) for a in found.averages] == [1, 6, 8]
    assert found.labels.tolist() == [0, 1, 1, 2, 2, 0, 1, 1]


# -- a pair, judged by its members ---------------------------------------------------------------


class Pairs:
    """Poses of averages on one another are told, not looked for."""

    rotation, shift = Rotation.from_rotvec([0.0, 0.0, 0.3]), np.array([0.5, 0, -0.5])

    def pose_on(self, moving, fixed):
        return self.rotation, self.shift


@pytest.fixture
def merger(rng) -> Merger:
    fine, coarse = (Search(BOX, r, ONE, 25, np.zeros((1, 3)), 1) for r in (3.5, 2.5))
    truth = 0.4 * rng.normal(size=(2, BOX, BOX, BOX))
    volumes = rng.normal(size=(N, BOX, BOX, BOX)) + truth[np.arange(N) % 2]
    offset, half = rng.uniform(-0.5, 0.5, (N, 3)), np.arange(N) // 2 % 2
    particles, rough = (
        Particles(s.coefficients, s.coefficients.of(volumes) / np.float32(19), offset, half)
        for s in (fine, coarse)
    )
    made = Merger(fine, particles, Pairs(), first=(coarse, rough))
    made.truth = truth / 19
    return made


def plain_fit(search, particles, halves, shifts) -> np.ndarray:
    """Log likelihood of each subtomogram in the average of the half that it is not in."""
    found = []
    for i in range(len(particles)):
        slices = search.slicer(halves[1 - particles.half[i]])[None]
        one = particles.select(np.array([i]))
        found.append(plain_expect(one, slices, np.zeros(1), shifts).log_likelihood[0])
    return np.array(found)


def plain_refine(merger, rows, average, steps) -> tuple:
    """Aligned to an average, then to their own, in every step."""
    offset = steps[0].particles.offset_zyx_px[rows]
    for step in steps:
        particles = step.particles.select(rows).moved(offset)
        slices = step.search.slicer(average)[None]
        found = plain_expect(particles, slices, np.zeros(1), step.shifts_zyx_px)
        made = step.search.averager.average(
            found.sums[:, 0].astype(np.complex64), found.counts[:, 0, :, 0], with_halves=True
        )
        average, offset = made.volume, found.offset_zyx_px
    aligned = particles.moved(offset)
    return (
        average,
        made.halves,
        plain_fit(step.search, aligned, made.halves, step.shifts_zyx_px),
        aligned,
    )


def plain_z(gains, sizes) -> float:
    total = sum(size * np.mean(gain) for gain, size in zip(gains, sizes, strict=True))
    error = sum(size**2 * np.var(gain) / len(gain) for gain, size in zip(gains, sizes, strict=True))
    return total / np.sqrt(error)


def clusters(merger) -> tuple[Cluster, Cluster]:
    """All of odd number are in the second, and two of the others that it should not have."""
    rows = np.array([0, 4, 6, 8, 10]), np.array([1, 2, 3, 5, 7, 9, 11, 12, 13])
    return tuple(merger._cluster(*pair) for pair in zip(rows, merger.truth, strict=True))


def test_steps_go_from_wide_and_rough_to_near_and_fine(merger) -> None:
    rough, near, last = merger._steps
    np.testing.assert_array_equal(rough.shifts_zyx_px, ball(1.67, 3.8))
    np.testing.assert_array_equal(near.shifts_zyx_px, cross(0.8))
    assert last is near and near.search is not rough.search
    alone = Merger(near.search, near.particles, Pairs())
    assert [step.search for step in alone._steps] == [near.search] * 3


def test_members_are_aligned_to_their_average_and_asked_by_half(merger) -> None:
    for cluster, truth in zip(clusters(merger), merger.truth, strict=True):
        volume, halves, fit, aligned = plain_refine(merger, cluster.rows, truth, merger._steps[-1:])
        own: Fitted = cluster.own
        np.testing.assert_array_equal(cluster.tested, cluster.rows)
        np.testing.assert_array_equal(cluster.average, truth)
        np.testing.assert_allclose(own.average, volume, atol=1e-3 * volume.std())
        np.testing.assert_allclose(own.halves, halves, atol=1e-3 * volume.std())
        np.testing.assert_allclose(own.fit, fit, atol=1e-2)
        np.testing.assert_allclose(own.particles.offset_zyx_px, aligned.offset_zyx_px, atol=1e-6)


def test_at_most_so_many_members_are_tested_spread_evenly(merger, monkeypatch) -> None:
    monkeypatch.setattr(Merger, "_refine", lambda self, rows, average, steps: rows)
    few, many = (merger._cluster(np.arange(n) * 2, None) for n in (400, 1201))
    np.testing.assert_array_equal(few.tested, few.rows)
    assert len(many.tested) == 400 and many.tested[[0, -1]].tolist() == [0, 2400]
    assert np.diff(many.tested).min() >= 6 and np.diff(many.tested).max() <= 8
    assert many.own is many.tested


def test_two_averages_are_laid_on_one_another(merger) -> None:
    """Each member keeps its pose; either average lies as its members do."""
    a, b = clusters(merger)
    gains, joint = [], []
    for own, other in ((a, b), (b, a)):
        share = len(own.rows) / N
        mine, its = ([c.own.average, *c.own.halves] for c in (own, other))
        mean = [
            share * one + (1 - share) * turned(two, Pairs.rotation, Pairs.shift)
            for one, two in zip(mine, its, strict=True)
        ]
        joint.append(mean[0])
        step = merger._steps[-1]
        fit = plain_fit(step.search, own.own.particles, mean[1:], step.shifts_zyx_px)
        gains.append(fit - own.own.fit)
    found = merger._judge_laid_together(a, b)
    assert found.z == pytest.approx(plain_z(gains, [5, 9]), abs=0.02)
    assert found.n_tested == N
    np.testing.assert_allclose(found.average, joint[0], atol=1e-5)


def test_members_of_both_are_aligned_to_a_joint_average(merger) -> None:
    a, b = clusters(merger)
    start = merger.truth.mean(axis=0)
    rows = np.concatenate([a.rows, b.rows])
    volume, halves, _, _ = plain_refine(merger, rows, start, merger._steps)
    gains = []
    for cluster in (a, b):
        there = [turned(half, Pairs.rotation, Pairs.shift) for half in halves]
        step = merger._steps[-1]
        fit = plain_fit(step.search, cluster.own.particles, there, step.shifts_zyx_px)
        gains.append(fit - cluster.own.fit)
    found = merger._judge_from(start, a, b)
    assert found.z == pytest.approx(plain_z(gains, [5, 9]), abs=0.05)
    assert found.n_tested == N
    np.testing.assert_allclose(found.average, volume, atol=1e-2 * volume.std())


def test_gains_count_by_the_size_of_clusters_not_by_those_tested(merger) -> None:
    from aitom_disca.classification.merge_clusters import _z

    gains = [np.array([1.0, 2, 6]), np.array([-1.0, 0, 1, 4])]
    assert _z(gains, [30, 4]) == pytest.approx(plain_z(gains, [30, 4]))


# -- clusters that are known ---------------------------------------------------------------------


def test_known_clusters_are_averaged_alone_and_then_judged(monkeypatch) -> None:
    """The likeliest of three starts is gone on with; one average of each meets the others."""
    said: list = []

    class Level:
        def __init__(self, name: str) -> None:
            self.name = name

        def iterate(self, particles, classes, rounds=None):
            said.append((self.name, rounds, float(classes.averages[0].flat[0])))
            return replace(
                classes,
                log_likelihood=classes.averages[0].flat[0] + np.zeros(len(particles)),
                offset_zyx_px=np.ones((len(particles), 3)) * len(said),
            )

    class Few:
        """Subtomograms, which are their own numbers."""

        def __init__(self, rows: np.ndarray) -> None:
            self.rows, self.rough, self.particles = rows, rows, rows
            levels = {name: Level(name) for name in ("coarse", "fine", "first")}
            self.levels, self.settings = SimpleNamespace(**levels), SORTING
            levels["fine"].rotations = "grid"

        def __len__(self) -> int:
            return len(self.rows)

        def select(self, rows):
            return Few(self.rows[rows])

        def second_look(self, classes):
            said.append(("look", None, float(classes.averages[0].flat[0])))
            return classes

        def merger(self, offset):
            said.append(("merger", offset))
            return SimpleNamespace(verdicts=lambda members, averages: given(members, averages))

    def given(members, averages):
        said.append(("asked", [float(a.flat[0]) for a in averages]))
        return {(0, 1): Verdict(-0.5, 200, averages[0]), (0, 2): Verdict(-1.6, 200, averages[0])}

    def begun(rows, start, how):
        return Classes.start([average(rows[start[0]])], np.zeros((len(rows), 3)))

    def held_out(search, particles, classes, rng):
        said.append(("held out", search.name, classes))
        return "verdicts"

    monkeypatch.setattr(judging, "singles", begun)
    monkeypatch.setattr(
        judging,
        "centred",
        lambda classes, *how: classes if how == ("grid", SORTING.centring) else 0,
    )
    monkeypatch.setattr(judging, "held_out_gain", held_out)
    monkeypatch.setattr(judging, "on_all_cores", lambda work, jobs: [work(job) for job in jobs])
    members = [np.arange(0, 20, 2), np.array([1, 3]), np.arange(5, 19, 2)]
    pairs, verdicts = judge_known(Few(np.arange(20)), members, np.random.default_rng(0))
    assert verdicts == "verdicts"
    tried = [one[2] for one in said if one[0] == "first"]
    assert [len(set(tried[:3])), len(set(tried[3:5])), len(set(tried[5:]))] == [3, 2, 3]
    best = [max(tried[:3]), max(tried[3:5]), max(tried[5:])]
    assert [one[1:] for one in said if one[0] == "coarse"] == [(None, name) for name in best]
    for name in best:  # rounds, and four second looks between them
        after = [(step, n) for step, n, *one in said[:-3] if step != "first" and one == [name]]
        assert after == [("coarse", None), *[("fine", 3), ("look", None)] * 4, ("fine", 3)]
    assert [one[1] for one in said if one[0] == "asked"] == [best]
    (offset,) = (one[1] for one in said if one[0] == "merger")
    assert [sorted(set(offset[rows, 1])) for rows in members] == [[13.0], [25.0], [38.0]]
    assert not offset[19].any()
    (_, level, classes) = said[-1]
    assert level == "fine" and len(classes.labels) == 20
    np.testing.assert_allclose(np.exp(classes.log_prior), 1 / 3)
    assert [(p.first, p.second, p.z) for p in pairs] == [(0, 1, -0.5), (0, 2, -1.6)]
    assert [p.one for p in pairs] == [True, False]
    np.testing.assert_allclose([p.limit for p in pairs], -1.5)
    assert Pair(0, 1, -1.5, -1.5).one
    said.clear()
    pairs, _ = judge_known(Few(np.arange(20)), members[:1], np.random.default_rng(0))
    assert pairs == [] and not any(one[0] == "merger" for one in said)
