"""All subtomograms, piece after piece: each step beside the same in memory, without pieces."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from threadpoolctl import threadpool_limits

from aitom_disca.alignment import expect
from aitom_disca.classification import run_pieces
from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.assignments_of_all import side_by_side
from aitom_disca.classification.classes import Classes, equal_detail
from aitom_disca.classification.expectation_tasks import (
    Expecting,
    Meeting,
    SecondReading,
)
from aitom_disca.classification.pieces_of_all import Looking, Piece, Setup, levels_for
from aitom_disca.classification.rounds_over_all import AllParticles
from aitom_disca.classification.run_pieces import in_a_task
from aitom_disca.classification.shifts_by_class import finely, roughly
from aitom_disca.computing import cores
from aitom_disca.computing.parallel import sharing
from aitom_disca.geometry.fall_off_with_tilt import TILTS_DEG, FallOff
from aitom_disca.io.stores.row_file import RowFile
from aitom_disca.progress import shown

BOX, N, K = 8, 30, 2
ONE, TWO = (-60.0, 60.0), np.array([[-60.0, 60.0], [-40.0, 50.0]])


@dataclass(frozen=True)
class Read:
    """Gives volumes for row numbers, and can be sent elsewhere."""

    volumes: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self.volumes[rows]


class Elsewhere(Executor):
    """Does tasks as they are asked for, in memory of their own."""

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        for item in zip(*iterables, strict=True):
            task, own = pickle.loads(pickle.dumps((fn, item)))
            yield pickle.loads(pickle.dumps(task(*own)))


@pytest.fixture(scope="module")
def learnt() -> LearntAverages:
    rng = np.random.default_rng(2)
    return LearntAverages(
        0.02 * rng.normal(size=(K, BOX, BOX, BOX)),
        np.log([0.6, 0.4]),
        rng.uniform(300, 700, 4),
        noise_limit=2.0,
        tilt_range_deg=ONE,
        mask_radius_px=3.0,
        shell_weight=rng.uniform(0.5, 1, (K, BOX)),
    )


@pytest.fixture(scope="module")
def volumes(learnt) -> np.ndarray:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(N, BOX, BOX, BOX)) + 20 * learnt.averages[np.arange(N) % K]
    return noise.astype(np.float32)


def tilts_of(how: str):
    return ONE if how == "one" else TWO[np.arange(N) % 2]


@pytest.fixture(scope="module", params=["one", "two"])
def everything(request, learnt, volumes) -> AllParticles:
    """Seen once."""
    made = AllParticles(Read(volumes), N, learnt, tilts_of(request.param), seed=4)
    assert len(made) == N and not made.seen
    made.standing = made.first_look()
    assert made.seen
    return made


def agree(found: Classes, plain: Classes, *, posterior: float = 5e-3) -> None:
    """To half precision."""
    np.testing.assert_array_equal(found.labels, plain.labels)
    np.testing.assert_allclose(found.posterior, plain.posterior, atol=posterior)
    np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood, atol=0.05)
    np.testing.assert_array_equal(found.rotation, plain.rotation)
    np.testing.assert_allclose(found.offset_zyx_px, plain.offset_zyx_px, atol=1e-6)


def test_parts_are_quarters_at_random(everything, learnt) -> None:
    part = everything.looking.part
    assert sorted(np.bincount(part)) == [7, 7, 8, 8]
    other = AllParticles(Read(np.zeros(0)), N, learnt, ONE, seed=5).looking.part
    assert (part != other).any() and (part != np.arange(N) % 4).any()
    np.testing.assert_array_equal(part, np.random.default_rng(4).permutation(N) % 4)


def test_levels_are_those_of_what_was_learnt(learnt) -> None:
    falls = FallOff(1 - (TILTS_DEG / 110) ** 2, np.ones(60))
    graded = levels_for(replace(learnt, fall_off=falls.as_array()), np.array([ONE]))
    plain = levels_for(learnt, np.array([ONE]))
    assert plain.fine.coefficients.noise is None
    np.testing.assert_allclose(
        graded.fine.coefficients.noise, falls.at(graded.fine.coefficients.index_zyx)[0]
    )
    assert plain.fine.averager._mask[0, 0, 0] < 0.1  # averages end at the mask
    assert len(plain.wide.shifts_zyx_px) > len(plain.coarse.shifts_zyx_px)


def looked_at(everything, volumes, learnt) -> tuple:
    """Where each lies by the average that it fits best, and its coefficients from there."""
    looking, levels = everything.looking, everything.levels
    half = looking.part.astype(int) % 2
    rough = looking.look.particles(levels.coarse, volumes, half, wedge=everything.wedge)
    coarse, fine = (search.slices(learnt.averages) for search in (levels.wide, levels.fine))
    fits = roughly(levels.wide, rough, coarse, learnt.log_prior)
    best = np.argmax([fit.log_likelihood for fit in fits], axis=0)
    offset = np.array([fits[k].offset_zyx_px[i] for i, k in enumerate(best)])
    seen = [
        looking.look.particles(search, volumes, half, offset, everything.wedge)
        for search in (levels.coarse, levels.fine)
    ]
    known = replace(
        Classes.start(list(learnt.averages), offset),
        log_prior=learnt.log_prior,
        shell_weight=learnt.shell_weight,
    )
    return offset, seen, finely(levels.fine, seen[1], fine, fits, known)


def test_a_first_look_lays_the_mask_where_each_fits_best(everything, volumes, learnt) -> None:
    offset, seen, plain = looked_at(everything, volumes, learnt)
    standing = everything.standing
    agree(standing.classes, plain)
    np.testing.assert_allclose(standing.seen_at_zyx_px, offset)
    assert np.abs(offset).max() > 1
    assert standing.without.shape == (K, 4, BOX, BOX, BOX) and standing.signal.tolist() == [[1]] * K
    for part in range(4):
        np.testing.assert_array_equal(standing.without[:, part], learnt.averages)
    assert standing.found_in.tolist() == [0] * K
    np.testing.assert_array_equal(standing.classes.averages, learnt.averages)
    assert standing.classes.log_prior is learnt.log_prior
    rows = np.array([7, 0, 29, 12])
    kept = everything.load(rows)
    for found, own in zip((kept.rough, kept.particles), seen, strict=True):
        np.testing.assert_allclose(found.values, own.values[rows], rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(found.half, everything.looking.part[rows] % 2)
        assert not found.offset_zyx_px.any() and found.offset_zyx_px.shape == (4, 3)
        if everything.wedge is None:
            assert found.wedge is None
        else:
            np.testing.assert_array_equal(found.wedge, everything.wedge[rows])


def test_what_was_seen_can_be_read_again(everything, volumes, learnt) -> None:
    tilts = ONE if everything.wedge is None else tilts_of("two")
    again = AllParticles(Read(volumes), N, learnt, tilts, seed=4)
    again.see_again(everything.standing.seen_at_zyx_px)
    assert again.seen
    one, other = (each.load(np.arange(N)) for each in (again, everything))
    np.testing.assert_array_equal(one.particles.values, other.particles.values)
    np.testing.assert_array_equal(one.rough.values, other.rough.values)


def plain_round(everything, standing) -> tuple[Classes, list, list]:
    """Each part by itself meets its own averages; what all parts add up to."""
    fine, classes = everything.levels.fine, standing.classes
    met, sums = {}, []
    for part in range(4):
        rows = np.flatnonzero(everything.looking.part == part)
        found = expect(
            everything.load(rows).particles.moved(classes.offset_zyx_px[rows]),
            fine.slices(list(standing.without[:, part])),
            classes.log_prior,
            fine.shifts_zyx_px,
            by_half=False,
            compared=classes.posterior[rows] > 1e-3,
            shell_weight=classes.shell_weight,
        )
        pairs = zip(found.sums[0], found.counts[0], strict=True)
        sums.append([fine.averager.inserted(*pair) for pair in pairs])
        for i, row in enumerate(rows):
            met[row] = [
                found.posterior[i],
                found.log_likelihood[i],
                found.rotation[i],
                found.offset_zyx_px[i],
            ]
    fields = [np.array([met[row][j] for row in range(N)]) for j in range(4)]
    return fields, sums


def test_a_round_is_that_of_each_part_with_averages_of_the_others(everything) -> None:
    standing, fine = everything.standing, everything.levels.fine
    # A third average that too few fit; and one subtomogram that was compared with one only.
    nobody = np.concatenate([standing.classes.posterior, np.full((N, 1), 5e-4)], axis=1)
    nobody[:4, 2], nobody[5] = 2e-3, [0, 1, 0]
    without = np.concatenate([standing.without, 3 * standing.without[:1]])
    without *= np.array([1, 1.1, 0.9, 1])[:, None, None, None]
    begun = replace(
        standing,
        classes=replace(
            standing.classes,
            averages=list(without[:, 0]),
            posterior=nobody,
            log_prior=np.log([0.5, 0.4, 0.1]),
            shell_weight=None,
        ),
        without=without,
        found_in=np.array([0, 1, 2]),
    )
    fields, sums = plain_round(everything, begun)
    size = fields[0].sum(axis=0)
    assert size[2] < 4 < min(size[:2])
    made = [fine.averager.without_each([part[k] for part in sums]) for k in (0, 1)]
    found = everything._round(begun)
    posterior = fields[0][:, :2]
    plain = replace(
        begun.classes,
        labels=posterior.argmax(axis=1),
        posterior=posterior,
        log_likelihood=fields[1],
        rotation=fields[2],
        offset_zyx_px=fields[3],
    )
    agree(found.classes, plain, posterior=1e-4)
    assert found.found_in.tolist() == [0, 1]
    np.testing.assert_allclose(found.classes.averages, [one.whole for one in made], atol=1e-5)
    np.testing.assert_allclose(found.without, [one.others for one in made], atol=1e-5)
    np.testing.assert_allclose(found.signal, [one.signal for one in made], atol=1e-5)
    np.testing.assert_allclose(np.exp(found.classes.log_prior), 0.5)
    weight = equal_detail(found.signal, BOX)
    np.testing.assert_allclose(found.classes.shell_weight, weight, atol=1e-6)
    np.testing.assert_array_equal(found.seen_at_zyx_px, standing.seen_at_zyx_px)


@pytest.mark.parametrize(("moved", "n"), [([0, 0], 1), ([1, 0, 0], 2), ([9, 1, 9, 9], 3)])
def test_rounds_end_where_labels_stay(everything, monkeypatch, moved, n) -> None:
    done, moved = [], list(moved)

    def one(self, standing):
        labels, m = standing.classes.labels.copy(), moved.pop(0)
        labels[:m] = 1 - labels[:m]
        done.append(labels)
        return replace(standing, classes=replace(standing.classes, labels=labels))

    monkeypatch.setattr(AllParticles, "_round", one)
    said, first = StringIO(), moved[0] / N
    with shown(Console(file=said, width=200)):
        found = everything.rounds(everything.standing)
    assert len(done) == n and found.classes.labels is done[-1]
    sizes = np.bincount(done[0]).tolist()
    assert f"all, round 1: {first:.1%} moved, sizes {sizes}" in said.getvalue().replace(" %", "%")


def looked_everywhere(everything, classes, without) -> Classes:
    """All that are in a part meet averages without it, over the whole range of shifts."""
    levels, found = everything.levels, {}
    for part in range(4):
        rows = np.flatnonzero(everything.looking.part == part)
        seen = everything.load(rows)
        coarse, fine = (s.slices(list(without[:, part])) for s in (levels.wide, levels.fine))
        fits = roughly(levels.wide, seen.rough, coarse, classes.log_prior)
        known = classes.for_others(np.zeros((len(rows), 3)))
        met = finely(levels.fine, seen.particles, fine, fits, known)
        found |= {row: met.select(np.array([i])) for i, row in enumerate(rows)}
    order = [found[row] for row in range(N)]
    names = ("labels", "posterior", "log_likelihood", "rotation", "offset_zyx_px")
    return replace(
        classes, **{name: np.concatenate([getattr(one, name) for one in order]) for name in names}
    )


def test_a_last_look_is_over_the_whole_range_of_shifts(everything) -> None:
    without = everything.standing.without * np.array([1, 1.2, 0.8, 1])[:, None, None, None]
    lost = replace(everything.standing.classes, offset_zyx_px=np.full((N, 3), 9.0))
    standing = replace(everything.standing, without=without, classes=lost)
    found = everything.last_look(standing)
    agree(found.classes, looked_everywhere(everything, lost, without), posterior=1e-4)
    assert found.without is without


@pytest.mark.parametrize("n_known", [K, 0])
def test_further_clusters_are_met_by_all_beside_those_that_are_known(everything, n_known) -> None:
    fine, part = everything.levels.fine, everything.looking.part
    standing = replace(everything.standing, signal=np.full((K, 4), 0.7), found_in=np.array([0, 1]))
    if not n_known:
        standing = standing.without_clusters(np.arange(K))
        standing = replace(standing, signal=np.zeros((0, 4)))
    offset = standing.classes.offset_zyx_px
    rng = np.random.default_rng(6)
    groups = [
        (np.arange(k, N, 2), 0.03 * rng.normal(size=(BOX, BOX, BOX)).astype(np.float32))
        for k in (0, 1)
    ]
    made = []
    for rows, average in groups:
        totals = []
        for p in range(4):
            mine = rows[part[rows] == p]
            own = everything.load(mine).particles.moved(offset[mine])
            met = expect(
                own, fine.slices([average]), np.zeros(1), fine.shifts_zyx_px, by_half=False
            )
            totals.append(fine.averager.inserted(met.sums[0, 0], met.counts[0, 0]))
        made.append(fine.averager.without_each(totals))
    found = everything.joined_by(standing, groups, offset, 2)
    signal = np.concatenate([standing.signal, [one.signal for one in made]])
    np.testing.assert_allclose(found.signal, signal, atol=1e-5)
    weight = equal_detail(signal, BOX)
    np.testing.assert_allclose(found.classes.shell_weight, weight, atol=1e-5)
    others = np.array([one.others for one in made])
    np.testing.assert_allclose(found.without[n_known:], others, atol=1e-5)
    np.testing.assert_allclose(found.without[:n_known], standing.without)
    assert found.found_in.tolist() == [*standing.found_in, 2, 2]
    new = Classes.start([one.whole for one in made], np.zeros((N, 3)))
    plain = looked_everywhere(everything, replace(new, shell_weight=weight[n_known:]), others)
    if n_known:
        known = replace(standing.classes, shell_weight=weight[:n_known])
        fields, _ = plain_round(everything, replace(standing, classes=known))
        known = replace(
            known,
            labels=fields[0].argmax(axis=1),
            posterior=fields[0],
            log_likelihood=fields[1],
            rotation=fields[2],
            offset_zyx_px=fields[3],
        )
        plain = side_by_side(known, plain)
    agree(found.classes, plain, posterior=1e-3)
    assert len(found.classes.averages) == n_known + 2


# -- pieces --------------------------------------------------------------------------------------


def test_blocks_change_nothing(everything, volumes, learnt) -> None:
    ranges = np.array([ONE]) if everything.wedge is None else TWO
    width = len(everything.levels.coarse.coefficients) + len(everything.levels.fine.coefficients)
    file = RowFile((width, 2), np.float16, "rows")
    setup = Setup(
        Read(volumes), learnt, ranges, everything.wedge, everything.looking.part, file, 4, "small"
    )
    looking = Looking(setup, everything.levels)
    assert [rows.tolist() for rows in looking.blocks(np.arange(3, 13))] == [
        [3, 4, 5, 6],
        [7, 8, 9, 10],
        [11, 12],
    ]
    known = replace(everything.standing.classes, log_prior=learnt.log_prior)
    reading = SecondReading(looking, known.averages)
    for rows in looking.blocks(np.arange(N)):
        seen_at = replace(known, offset_zyx_px=everything.standing.seen_at_zyx_px).select(rows)
        assert reading(Piece(rows, seen_at)) is None
    rows = np.array([1, 3, 4, 8, 9, 11, 20, 21, 28])
    for add_up in (True, False):
        piece = Piece(rows, known.select(rows), add_up)
        (few, sums), (many, expected) = (
            Expecting(one, known.averages)(piece) for one in (looking, everything.looking)
        )
        agree(few, many, posterior=1e-5)
        assert len(sums) == len(expected) == K * add_up and few.averages == []
        for one, other in zip(sums, expected, strict=True):
            np.testing.assert_allclose(one[0], other[0], atol=1e-4)
            np.testing.assert_allclose(one[1], other[1], atol=1e-4)
    few, many = (
        Meeting(one, known.averages)(Piece(rows, known.select(rows)))
        for one in (looking, everything.looking)
    )
    agree(few, many, posterior=1e-5)
    assert few.averages == []


def test_sums_of_pieces_are_added_cluster_by_cluster() -> None:
    one, other = [(1.0, 2.0), (3.0, 4.0)], [(10.0, 20.0), (30.0, 40.0)]
    module = sys.modules[AllParticles.__module__]
    assert module._both(one, other) == [(11, 22), (33, 44)]


def same_to_the_last_bit(there: AllParticles, here: AllParticles) -> None:
    """A first look, a round, and a last look."""
    standing = there.first_look()
    pairs = [(standing, here.standing)]
    pairs.append((there._round(standing), here._round(here.standing)))
    pairs.append(tuple(one.last_look(pairs[1][1]) for one in (there, here)))
    for one, other in pairs:
        for name in ("labels", "posterior", "log_likelihood", "rotation", "offset_zyx_px"):
            found, expected = getattr(one.classes, name), getattr(other.classes, name)
            assert found.tobytes() == expected.tobytes()
        np.testing.assert_array_equal(one.classes.averages, other.classes.averages)


def test_tasks_elsewhere_say_the_same(everything, volumes, learnt, tmp_path) -> None:
    tilts = ONE if everything.wedge is None else tilts_of("two")
    with sharing(Elsewhere(), tmp_path / "shared") as workers:
        there = AllParticles(Read(volumes), N, learnt, tilts, seed=4, workers=workers)
        same_to_the_last_bit(there, everything)
        assert there.seen and len(list(workers.folder.iterdir())) == 1


@pytest.mark.parametrize("n_cores", [1, 2, 3])
def test_on_any_number_of_cores_it_is_the_same(
    everything, volumes, learnt, n_cores, monkeypatch
) -> None:
    monkeypatch.setattr(cores, "_chosen", n_cores)
    tilts = ONE if everything.wedge is None else tilts_of("two")
    with threadpool_limits(n_cores):  # as `use_threads` does
        there = AllParticles(Read(volumes), N, learnt, tilts, seed=4)
        same_to_the_last_bit(there, everything)


def test_what_a_task_made_ready_is_kept_for_the_next(everything, learnt, monkeypatch) -> None:
    made = []

    class Work:
        def __init__(self, looking, averages) -> None:
            made.append(averages)

        def __call__(self, piece):
            return len(made)

    class Other(Work):
        pass

    monkeypatch.setattr(run_pieces, "_looking", lambda setup: None)
    setup = everything._run._setup
    averages, others = list(learnt.averages), list(learnt.averages + 1)
    one, two = (
        Piece(np.arange(2), Classes.start(some, np.zeros((2, 3)))) for some in (averages, others)
    )
    again = Piece(np.arange(2), Classes.start([a.copy() for a in averages], np.zeros((2, 3))))
    said = [in_a_task(setup, Work, piece) for piece in (one, one, again, two, one)]
    assert said == [1, 1, 1, 2, 3]
    assert in_a_task(setup, Other, one) == 4
    assert in_a_task(replace(setup, token="another"), Other, one) == 5
