"""What is read for a sorting by alignment, and what is gone on from; the sorter is a stand-in."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.classes import Classes
from aitom_disca.config.sorting import SORTING
from aitom_disca.io import StoreWriter, open_store
from aitom_disca.mining import sort_store
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.mining.sort_store import assign_rows, drawn_rows, sort_source, steps_of
from aitom_disca.particles import ParticleSet
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes

TILT = (-60.0, 50.0)


@pytest.fixture(scope="module")
def volumes() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(7, 32, 32, 32)).astype(np.float32)


# -- which are drawn -------------------------------------------------------------------------


def test_some_are_drawn_in_order_and_all_where_they_are_few() -> None:
    rng = np.random.default_rng
    np.testing.assert_array_equal(drawn_rows(30, 30, rng(0)), np.arange(30))
    found = drawn_rows(1000, 100, rng(0))
    assert len(found) == 100 and (np.diff(found) > 0).all()
    assert found[0] < 50 and found[-1] > 950
    assert not np.array_equal(found, drawn_rows(1000, 100, rng(1)))


def test_fifty_of_every_known_cluster_are_drawn() -> None:
    labels = np.repeat([0, 1, 2], [5000, 60, 30])
    found = drawn_rows(len(labels), 130, np.random.default_rng(0), labels)
    np.testing.assert_array_equal(np.bincount(labels[found]), [50, 50, 30])
    found = drawn_rows(len(labels), 1000, np.random.default_rng(0), labels)
    assert len(np.unique(found)) == len(found) == 1000 and (np.diff(found) > 0).all()
    counts = np.bincount(labels[found])
    assert 50 <= counts[1] < 60 and counts[2] == 30


# -- what the sorter is given ----------------------------------------------------------------


class Sorter:
    """Stands in for `AlignmentSorter`: keeps what it is given."""

    def __init__(self, volumes: np.ndarray, tilt_range_deg: Any, **options: Any) -> None:
        self.volumes, self.tilt_range_deg, self.options = volumes, tilt_range_deg, options
        self.posterior = np.full((len(volumes), 2), 0.5)

    def learnt(self) -> LearntAverages:
        return LearntAverages(
            np.zeros((2, 6, 6, 6)), np.zeros(2), np.ones(3), 0.0, TILT, box_share=0.5
        )


@pytest.fixture(autouse=True)
def sorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort_store, "AlignmentSorter", Sorter)


@pytest.mark.parametrize(
    ("radius_px", "crop_px", "box_px"), [(np.inf, 32, 20), (9.6, 24, 20), (6.0, 16, 16)]
)
def test_the_sorter_sees_the_middle_of_the_boxes(
    volumes: np.ndarray, radius_px: float, crop_px: int, box_px: int
) -> None:
    source, every = ArraySource(volumes), np.arange(7)
    found = sort_source(
        source, every, lambda s: np.arange(7) - 1, TILT, mask_radius_px=radius_px, seed=4
    )
    np.testing.assert_array_equal(found.labels, np.arange(7) - 1)
    assert found.posterior.dtype == np.float32 and found.posterior.shape == (7, 2)
    expected = PreparedVolumes(source, box_px=box_px, crop_px=crop_px).read(every)
    np.testing.assert_array_equal(found.sorter.volumes, expected)
    assert found.sorter.tilt_range_deg == TILT
    assert found.sorter.options == {
        "mask_radius_px": pytest.approx(radius_px * box_px / crop_px),
        "box_share": crop_px / 32,
        "graded_wedge": True,
        "seed": 4,
        "settings": SORTING,
    }


# -- some, then all --------------------------------------------------------------------------


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Two passes over all, played: what is asked of each sorting."""
    asked: list[dict[str, Any]] = []

    def everything(read: Any, n: int, learnt: Any, tilts: Any, **options: Any) -> Any:
        return SimpleNamespace(read=read, n=n, learnt=learnt, tilts=tilts, options=options)

    def sort_all(everything: Any, learnt: Any, *, keep: Any, **options: Any) -> Any:
        asked.append({"everything": everything, "learnt": learnt, "done": [], **options})

        def work(number: int) -> Standing:
            asked[-1]["done"].append(number)
            averages = [np.full((6, 6, 6), float(number))] * 2
            classes = Classes.start(averages, np.zeros((7, 3)))
            return Standing(classes, np.zeros(1), np.zeros(1), np.array([0, 0]), np.zeros((7, 3)))

        held = [keep(f"pass {number}", partial(work, number)) for number in (0, 1)]
        return SimpleNamespace(classes=held[-1].classes, held=held)

    monkeypatch.setattr(sort_store, "AllParticles", everything)
    monkeypatch.setattr(sort_store, "sort_all", sort_all)
    return asked


def test_all_are_sorted_by_what_some_gave(volumes: np.ndarray, passes: list) -> None:
    begun: list[Sorter] = []
    source, rows = ArraySource(volumes), np.array([1, 4, 6])
    tilts = np.tile(TILT, (7, 1)) + np.arange(7)[:, None]
    options = {"most": 9, "looks": 5, "seed": 3}
    settings = SORTING.model_copy(update={"box_px": 18})
    found = sort_source(
        source, rows, begun.append, tilts, graded_wedge=False, settings=settings, **options
    )
    (drawn,) = begun
    assert drawn.options["settings"] is settings
    expected = PreparedVolumes(source, box_px=18).read(rows)
    np.testing.assert_array_equal(drawn.volumes, expected)
    np.testing.assert_array_equal(drawn.tilt_range_deg, tilts[rows])
    assert not drawn.options["graded_wedge"]
    (asked,) = passes
    assert {name: asked[name] for name in options} == options and asked["done"] == [0, 1]
    everything = asked["everything"]
    assert everything.n == 7
    assert everything.options == {"seed": 3, "workers": None, "settings": settings}
    assert everything.tilts is tilts and everything.learnt is asked["learnt"]
    # Read in the box that what was learnt has: half of the edge, in six voxels.
    half = PreparedVolumes(source, box_px=6, crop_px=16).read(np.array([5, 0]))
    np.testing.assert_array_equal(everything.read(np.array([5, 0])), half)
    assert found.labels is found.sorter.classes.labels
    assert found.posterior is found.sorter.classes.posterior


def test_what_was_kept_is_not_done_again(volumes: np.ndarray, passes: list, tmp_path) -> None:
    begun: list[Sorter] = []

    def sort(path: Any) -> Any:
        kept = Checkpoint(path, "these")
        rows = np.array([0, 2])
        return sort_source(ArraySource(volumes), rows, begun.append, TILT, checkpoint=kept)

    first, again = (sort(tmp_path / "checkpoint.h5") for _ in range(2))
    assert len(begun) == 1 and [asked["done"] for asked in passes] == [[0, 1], []]
    assert [asked["most"] for asked in passes] == [1000, 1000]
    for name in ("averages", "power", "noise_limit", "box_share", "shell_weight"):
        one, other = (getattr(asked["learnt"], name) for asked in passes)
        np.testing.assert_array_equal(one, other)
    for was, now in zip(first.sorter.held, again.sorter.held, strict=True):
        np.testing.assert_array_equal(now.classes.averages, was.classes.averages)
        np.testing.assert_array_equal(now.found_in, was.found_in)
    assert steps_of(1) == ["drawn", "pass 0", "pass 1"]


def test_workers_open_the_store_themselves(volumes: np.ndarray, passes: list, tmp_path) -> None:
    with StoreWriter.create(tmp_path / "store.h5", (32,) * 3, 10.0, TILT) as writer:
        writer.append(volumes, ParticleSet(np.full(7, "t"), np.zeros((7, 3))))
    store, workers, rows = open_store(tmp_path / "store.h5"), object(), np.array([2])
    for given in (None, workers):
        sort_source(store, np.arange(2), lambda sorter: None, TILT, workers=given)
    alone, shared = (asked["everything"] for asked in passes)
    assert alone.options["workers"] is None and shared.options["workers"] is workers
    assert alone.read.args[0] is store
    assert shared.read.args[0] == store.path.absolute()  # and nothing that is open
    np.testing.assert_array_equal(alone.read(rows), shared.read(rows))
    sort_source(ArraySource(volumes), np.arange(2), lambda sorter: None, TILT, workers=workers)
    assert passes[-1]["everything"].options["workers"] is None  # an array is not sent about


# -- others, by averages ---------------------------------------------------------------------


def test_rows_are_assigned_piece_by_piece(
    volumes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sort_store, "_ASSIGNED_AT_ONCE", 2)
    pieces: list[tuple[np.ndarray, Any]] = []

    def assign(given: np.ndarray, wedge: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        pieces.append((given, wedge))
        return np.arange(len(given)) + 10 * len(pieces), np.full((len(given), 3), len(pieces))

    assigner: Any = SimpleNamespace(box_px=8, box_share=0.75, assign=assign)
    source, rows, wedge = ArraySource(volumes), np.array([6, 0, 3]), np.arange(7) % 4
    labels, posterior = assign_rows(source, rows, assigner, wedge)
    np.testing.assert_array_equal(labels, [10, 11, 20])
    np.testing.assert_array_equal(posterior[:, 0], [1, 1, 2])
    read = np.concatenate([given for given, _ in pieces])
    expected = PreparedVolumes(source, box_px=8, crop_px=24, rows=rows).read(np.arange(3))
    np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(np.concatenate([w for _, w in pieces]), wedge[rows])
    pieces.clear()
    assign_rows(source, rows, assigner)
    assert [w for _, w in pieces] == [None, None]
