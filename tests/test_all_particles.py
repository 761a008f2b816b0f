"""All subtomograms sorted from what was found among some: as in memory, with what is rare."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from aitom_disca.classification import AlignmentSorter, rounds_over_all, sort_all
from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.rounds_over_all import AllParticles
from aitom_disca.classification.shifts_by_class import finely, roughly, second_look
from aitom_disca.computing.parallel import added_in_pairs, sharing
from aitom_disca.config import MineSettings
from aitom_disca.config.sorting import SORTING
from aitom_disca.io import StoreWriter, open_store
from aitom_disca.io.stores.row_file import RowFile
from aitom_disca.io.stores.row_shards import RowShards
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.mining.sort_store import sort_source
from aitom_disca.particles import ParticleSet
from aitom_disca.simulation import SimulatedSubtomograms, load_phantoms, simulate_subtomograms
from aitom_disca.subtomograms.dataset import ArraySource

TILT, BOX, RARE = (-60.0, 60.0), 14, 25
QUICK = SORTING.changed(  # few rotations and tries
    coarse=SORTING.coarse.changed(radius=3.5, n_rotations=100, rounds=4),
    fine=SORTING.fine.changed(radius=4.5, n_rotations=200),
    splitting=SORTING.splitting.changed(tries=1),
    missed=SORTING.missed.changed(members=60),
)
UNKNOWN = np.ones((3, 1))  # signal of three averages


@pytest.fixture(scope="module", autouse=True)
def quick() -> Any:
    """Small blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds_over_all, "_BLOCK", 32)
        patch.setattr(rounds_over_all, "_PIECE_BLOCKS", 1)
        yield


@pytest.fixture(scope="module")
def made() -> SimulatedSubtomograms:
    """Two structures, and a few of a third."""
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in ("two_lobes", "ring", "cross")]
    return simulate_subtomograms(templates, (140, 110, RARE), BOX, 22.0, 0.3, TILT, 1.0, seed=3)


def sort(
    made: SimulatedSubtomograms, steps: Path | None, *, apart: bool = True, **options: Any
) -> Any:
    """From forty of each of the first two structures, none of the third."""
    drawn = np.sort(np.concatenate([np.flatnonzero(made.labels == k)[:40] for k in (0, 1)]))

    def begin(sorter: AlignmentSorter) -> np.ndarray:
        begun = made.labels[drawn] if apart else np.zeros(len(drawn), int)
        return sorter.refine(begun, splits=0, most=2 if apart else 1)

    given = {"looks": 1, "checkpoint": Checkpoint(steps, "these"), "settings": QUICK, **options}
    given.setdefault("source", ArraySource(made.volumes))
    return sort_source(given.pop("source"), drawn, begin, TILT, graded_wedge=False, seed=1, **given)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sorted") / "steps.h5"


@pytest.fixture(scope="module")
def found(made: SimulatedSubtomograms, steps: Path) -> Any:
    return sort(made, steps)


@pytest.fixture
def half_done(found: Any, steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint that was left after the first pass; what lies before is not done again."""
    path = Path(shutil.copy(steps, tmp_path))
    Checkpoint(path, "these").discard("pass 1")
    monkeypatch.setattr(AlignmentSorter, "refine", None)
    monkeypatch.setattr(AllParticles, "first_look", None)
    return path


def test_a_structure_of_which_none_was_drawn_is_found(made, found):
    assert found.labels.max() + 1 == 3
    assert adjusted_rand_score(made.labels, found.labels) > 0.95
    own = np.bincount(found.labels[made.labels == 2]).argmax()
    assert (found.labels[made.labels == 2] == own).sum() >= 0.8 * RARE
    assert len(found.sorter.averages()) == len(found.sorter.held_out()) == 3
    assert min(verdict.z for verdict in found.sorter.held_out()) > 3


def test_a_cluster_that_holds_several_is_parted(made):
    found = sort(made, None, apart=False)
    assert found.labels.max() + 1 == 3
    assert adjusted_rand_score(made.labels, found.labels) > 0.95


def test_a_sorting_goes_on_after_its_last_pass(made, found, half_done):
    again = sort(made, half_done)
    np.testing.assert_array_equal(again.labels, found.labels)
    np.testing.assert_array_equal(again.posterior, found.posterior)
    np.testing.assert_array_equal(again.sorter.averages(), found.sorter.averages())


class Elsewhere(Executor):
    """Does tasks as they are asked for, in memory of their own."""

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        for item in zip(*iterables, strict=True):
            task, own = pickle.loads(pickle.dumps((fn, item)))
            yield pickle.loads(pickle.dumps(task(*own)))


def test_pieces_are_computed_alike_elsewhere(made, found, steps, tmp_path):
    store, path = tmp_path / "these.h5", Path(shutil.copy(steps, tmp_path))
    nowhere = ParticleSet(np.full(len(made.volumes), ""), np.zeros((len(made.volumes), 3)))
    with StoreWriter.create(store, (BOX,) * 3, 10.0, TILT) as writer:
        writer.append(made.volumes, nowhere)
    for name in ("pass 0", "pass 1"):
        Checkpoint(path, "these").discard(name)
    checkpoint = Checkpoint(path, "these")
    with open_store(store) as source, sharing(Elsewhere(), tmp_path / "shared") as workers:
        assert workers is not None
        again = sort(made, None, source=source, checkpoint=checkpoint, workers=workers)
        n_files = len(list(workers.folder.iterdir()))
        assert again.sorter.held_out() == found.sorter.held_out()
    assert n_files == -(-len(made.volumes) // 32) and not workers.folder.exists()
    for name in ("labels", "posterior"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()
    one, other = (np.array(each.sorter.averages()) for each in (again, found))
    assert one.tobytes() == other.tobytes()


def test_sums_are_added_in_the_same_pairs(rng):
    """Fifteen numbers: eight, four, two and one, in pairs of pairs."""
    values = rng.normal(size=15).astype(np.float32).tolist()

    def in_pairs(some: list[float]) -> str:
        half = len(some) // 2
        return str(some[0]) if not half else f"({in_pairs(some[:half])}+{in_pairs(some[half:])})"

    a, b, c, d = (in_pairs(some) for some in np.split(np.array(values), [8, 12, 14]))
    added = added_in_pairs(map(str, values), lambda one, other: f"({one}+{other})")
    assert added == f"({a}+({b}+({c}+{d})))"
    assert added_in_pairs(iter([7]), max) == 7


@pytest.mark.parametrize("options", [{"looks": 0}, {"most": 2}])
def test_without_looks_or_room_nothing_joins(made, half_done, options):
    assert sort(made, half_done, **options).labels.max() + 1 == 2


def test_what_turns_out_to_be_known_does_not_join(made, half_done, monkeypatch):
    monkeypatch.setattr(sort_all, "of_their_own", lambda *_: [])
    assert sort(made, half_done).labels.max() + 1 == 2


def test_a_look_from_the_file_is_the_plain_one_in_memory(made, found, monkeypatch):
    """Half precision, blocks and averages that are left out change nothing."""
    everything: AllParticles = found.sorter.everything
    known: Classes = found.sorter.classes
    averages = np.array(known.averages)
    standing = Standing(
        known, np.stack([averages] * 4, 1), UNKNOWN, np.zeros(3, int), np.zeros((0, 3))
    )
    quick = everything.last_look(standing).classes
    half = np.zeros(len(made.volumes), int)
    levels = everything.levels
    rough, particles = (
        everything.looking.look.particles(search, made.volumes, half)
        for search in (levels.coarse, levels.fine)
    )
    nothing_known = known.for_others(np.zeros((len(half), 3)))
    plain = second_look(levels.fine, particles, levels.wide, rough, nothing_known)
    np.testing.assert_array_equal(quick.labels, plain.labels)
    all_are_near = QUICK.changed(wide=QUICK.wide.changed(far=1e6))
    monkeypatch.setattr(levels.fine, "settings", all_are_near)
    fits = roughly(levels.wide, rough, levels.wide.slices(known.averages), known.log_prior)
    slices = levels.fine.slices(known.averages)
    whole = finely(levels.fine, particles, slices, fits, nothing_known)
    np.testing.assert_allclose(quick.posterior, whole.posterior, atol=5e-3)
    apart = np.abs(quick.log_likelihood - whole.log_likelihood)
    assert np.quantile(apart, 0.98) < 0.02 and apart.max() < 0.5  # another of two equal places


def test_a_round_over_all_is_the_plain_one_in_memory(made, found, monkeypatch):
    everything: AllParticles = found.sorter.everything
    n, fine = len(made.volumes), everything.levels.fine
    monkeypatch.setattr(
        everything.looking, "part", np.arange(n) % 4
    )  # as rounds in memory have them
    known = found.sorter.classes
    begun = replace(
        Classes.start(known.averages, np.zeros((n, 3))), shell_weight=known.shell_weight
    ).with_even_prior()
    without = np.stack([np.array(known.averages)] * 4, 1)
    two_rounds = QUICK.changed(rounds=QUICK.rounds.changed(over_all=2))
    monkeypatch.setattr(everything, "settings", two_rounds)
    streamed = everything.rounds(
        Standing(begun, without, UNKNOWN, np.zeros(3, int), np.zeros((n, 3)))
    )
    particles = everything.load(np.arange(n)).particles
    plain = fine.iterate(particles, begun, rounds=2, prior="even")
    np.testing.assert_array_equal(streamed.classes.labels, plain.labels)
    for one, other in zip(streamed.classes.averages, plain.averages, strict=True):
        np.testing.assert_allclose(one, other, atol=0.01 * other.std())


def test_the_rows_of_a_folder_in_any_order(rng, tmp_path):
    shards = RowShards(tmp_path / "rows", (3, 2), "float16", 20)
    rows = rng.normal(size=(50, 3, 2)).astype(np.float16)
    for start in (40, 0, 20, 0):
        shards.write(start, rows[start : start + 20])
    wanted = rng.integers(0, 50, 80)
    np.testing.assert_array_equal(shards.read(wanted), rows[wanted])
    assert sorted(path.stat().st_size for path in shards.folder.iterdir()) == [120, 240, 240]
    for start, n in ((10, 10), (0, 21)):
        with pytest.raises(ValueError, match="are no file of 20"):
            shards.write(start, rows[:n])


@pytest.mark.parametrize(
    ("n", "most"), [(20, 12), (500, 12), (600, 15), (1000, 25), (1200, 30), (100_000, 30)]
)
def test_clusters_at_most(n, most):
    assert MineSettings().bounds(n) == (1, most)
    assert MineSettings(candidate_k=(3, 50)).bounds(n) == (3, 50)


def test_the_rows_of_a_file_in_any_order(rng):
    file = RowFile((3, 2), np.float16, "rows")
    rows = rng.normal(size=(50, 3, 2)).astype(np.float16)
    file.append(rows[:20])
    file.append(rows[20:])
    wanted = rng.integers(0, 50, 80)
    np.testing.assert_array_equal(file.read(wanted), rows[wanted])
    with pytest.raises(IndexError, match="of 50"):
        file.read(np.array([50]))
