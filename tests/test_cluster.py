"""Tasks in other processes: what comes of them is what one process makes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from small_run import DIAMETER, SETTINGS, VOXEL_SIZE, check_same_store

from aitom_disca import picking, pipeline
from aitom_disca.classification import AlignmentSorter, rounds_over_all
from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.rounds_over_all import AllParticles
from aitom_disca.cli import main
from aitom_disca.computing import chosen_device
from aitom_disca.computing.cores import n_cores
from aitom_disca.computing.executors import tasks_on
from aitom_disca.computing.parallel import in_tasks, sharing
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram, open_store, open_tomogram, open_tomograms, write_volume
from aitom_disca.mining import predicting
from aitom_disca.pipeline.pick import find_in_tomograms
from aitom_disca.pipeline.search import search_tomograms
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.simulation import load_phantoms, simulate_subtomograms
from aitom_disca.subtomograms import cut_boxes, extract_subtomograms


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Executor]:
    pytest.importorskip("distributed", reason="Dask is not installed")
    with tasks_on(workers=2) as executor:
        assert executor is not None
        yield executor


def test_a_run_on_two_workers_is_that_of_one_process(alone, tomograms, two_workers, tmp_path):
    shared = pipeline.run(tomograms, tmp_path / "run", SETTINGS, executor=two_workers)
    compared = [path.relative_to(alone.path) for path in alone.results()]
    names = {str(path) for path in compared}
    assert {"picks.csv", "labels.csv", "particles.star", "clusters/cluster_01.star"} <= names
    for path in compared:
        if path.suffix in (".csv", ".star"):
            assert (shared.path / path).read_bytes() == (alone.path / path).read_bytes()
    for name in ("pick", "extract"):
        one, other = (run.record["stages"][name] for run in (alone, shared))
        own = {"seconds": 0, "store": None}  # the file of an index is another
        assert {**one, **own} == {**other, **own}
    check_same_store(alone.store, shared.store)
    assert len(list(shared.shards.iterdir())) == 2
    moved = shutil.move(shared.path, tmp_path / "elsewhere")
    check_same_store(alone.store, Path(moved) / "subtomograms.h5")


def test_a_run_that_was_moved_with_its_tomograms_ends_alike(alone, tomograms, tmp_path):
    for path in (alone.path, tomograms[0].path.parent):
        to = tmp_path / path.relative_to(alone.path.parents[1])
        shutil.copytree(path, to)
    moved = RunFolder(tmp_path / alone.path.relative_to(alone.path.parents[1]))
    record = json.loads(moved.record_file.read_text())
    del record["stages"]["write"]
    moved.record_file.write_text(json.dumps(record))
    moved.star.unlink()
    again = open_tomograms(sorted(tmp_path.rglob("TS*.mrc")))
    assert [one.name for one in again] == [one.name for one in tomograms]
    pipeline.run(again, moved.path, SETTINGS, resume=True)
    assert moved.star.read_bytes() == alone.star.read_bytes()


@pytest.mark.full
def test_chunks_are_predicted_alike_anywhere(alone, two_workers, tmp_path, monkeypatch):
    monkeypatch.setattr(predicting, "_CHUNK", 8)
    folders = [
        pipeline.predict(alone.store, alone.model, tmp_path / str(i), executor=executor)[0]
        for i, executor in enumerate((None, two_workers))
    ]
    one, other = (folder.labels.read_bytes() for folder in folders)
    assert one == other and one.count(b"\n") > 17


class Here(Executor):
    """Does tasks as they are asked for."""

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        return map(fn, *iterables)


def test_tomograms_that_are_done_are_not_done_again(alone, tomograms, tmp_path, monkeypatch):
    done: dict[str, list[str]] = {"pick": [], "extract": []}
    find, store = picking.find_candidates, cut_boxes.BoxCutter.store

    def found(tomogram, *args, **kwargs):
        done["pick"].append(tomogram.name)
        if len(done["pick"]) == 2:
            raise KeyboardInterrupt
        return find(tomogram, *args, **kwargs)

    def cut(self, path, used, *args, **kwargs):
        done["extract"] += used
        if len(done["extract"]) == 2:
            raise KeyboardInterrupt
        return store(self, path, used, *args, **kwargs)

    monkeypatch.setattr(picking, "find_candidates", found)
    monkeypatch.setattr(cut_boxes.BoxCutter, "store", cut)
    out = tmp_path / "run"
    for _ in ("picking", "extracting"):
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(tomograms, out, SETTINGS, resume=True, executor=Here())
    run = pipeline.run(tomograms, out, SETTINGS, resume=True, executor=Here())
    first, second = (tomogram.name for tomogram in tomograms)
    assert done == {"pick": [first, second, second], "extract": [first, second, second]}
    for name in ("picks.csv", "labels.csv", "particles.star", "junk/noise.star"):
        assert (out / name).exists() == (alone.path / name).exists()
        assert (
            not (out / name).exists()
            or (out / name).read_bytes() == (alone.path / name).read_bytes()
        )
    check_same_store(alone.store, run.store)
    assert not run.picking.exists()


@pytest.mark.full
def test_several_sortings_are_alike_anywhere(alone, two_workers, tmp_path):
    for name, executor in (("one", None), ("other", two_workers)):
        pipeline.mine(alone.store, tmp_path / name, SETTINGS.mine, runs=2, executor=executor)
    for name in ("labels.csv", "stability.csv", "particles.star"):
        one, other = (tmp_path / folder / name for folder in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.rglob("checkpoint*"))


@pytest.mark.full
def test_a_process_pool_does_as_well(alone, tomograms, tmp_path):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        found = find_in_tomograms(tomograms, SETTINGS.pick, executor=pool).particles
        mixed = found.select(np.random.default_rng(0).permutation(len(found)))
        for name, executor in (("one.h5", None), ("other.h5", pool)):
            extract_subtomograms(
                tomograms, mixed, tmp_path / name, SETTINGS.extract, executor=executor
            )
    check_same_store(tmp_path / "one.h5", tmp_path / "other.h5")
    next((tmp_path / "other_shards").iterdir()).unlink()
    with pytest.raises(InputError, match="index of shards, of which other_shards/"):
        open_store(tmp_path / "other.h5")


def test_a_task_that_cannot_be_done_is_said_in_one_line(tomograms, two_workers, tmp_path, capfd):
    write_volume(tmp_path / "flat.mrc", np.ones((36, 60, 60)), 20.0, tilt_range_deg=(-60, 60))
    pick = ["pick", str(tmp_path / "flat.mrc"), "--out", str(tmp_path / "picks.csv"), "-d", "220"]
    assert main([*pick, "--scheduler", two_workers._client.scheduler.address]) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("error: every voxel of tomogram flat is 1") and "\n" not in error


def fail(number: int) -> int:
    raise InputError(f"{number} cannot be used.")


def cores(_: int) -> int:
    return n_cores()


def device_there(_: int) -> str:
    return chosen_device.chosen()


def test_errors_threads_and_device_of_tasks(two_workers):
    with pytest.raises(InputError, match=r"^1 cannot be used\.$"):
        list(in_tasks(fail, [1], two_workers, "failing"))
    assert list(in_tasks(cores, [1, 2], two_workers, "counting")) == [max(1, n_cores() // 2)] * 2
    chosen_device.use("cpu")
    assert list(in_tasks(device_there, [1], two_workers, "asking")) == ["cpu"]
    chosen_device.use("auto")
    assert list(in_tasks(device_there, [1], two_workers, "asking")) == ["auto"]


@pytest.mark.full
def test_clusters_are_averaged_and_embedded_alike(alone, two_workers, tmp_path):
    address = ["--scheduler", two_workers._client.scheduler.address]
    for name, options in (("one", []), ("other", address)):
        averages, embedded = tmp_path / name / "averages", tmp_path / name / "embedded"
        average = ["average", str(alone.store), "--out", str(averages), "--null-test", "none"]
        assert main([*average, "--labels", str(alone.labels), *options]) == 0
        embed = ["embed", str(alone.store), "--averages", str(averages), "--out", str(embedded)]
        assert main([*embed, *options]) == 0
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*")]
    assert {Path("embedded/TS_2.cxc"), Path("averages/cluster_02/half2.mrc")} <= {*files}
    for name in files:
        if name.suffix in (".mrc", ".csv", ".cxc", ".star"):
            maps = [open_map(tmp_path / folder / name) for folder in ("one", "other")]
            np.testing.assert_array_equal(*maps, err_msg=str(name))


def open_map(path: Path) -> np.ndarray:
    if path.suffix != ".mrc":
        return np.frombuffer(path.read_bytes(), np.uint8)
    return open_tomogram(path, voxel_size_angstrom=1, tilt_range_deg=(-90, 90)).read()


@pytest.mark.full
def test_one_sorting_is_alike_anywhere(alone, two_workers, tmp_path, monkeypatch):
    """All subtomograms in pieces of five, from a draw of some."""
    monkeypatch.setattr(rounds_over_all, "_BLOCK", 5)
    monkeypatch.setattr(rounds_over_all, "_PIECE_BLOCKS", 1)
    settings = SETTINGS.mine.changed(alignment=True, alignment_most=14, alignment_splits=1)
    for name, executor in (("one", None), ("other", two_workers)):
        mined = pipeline.mine(alone.store, tmp_path / name, settings, executor=executor)
        into = tmp_path / name / "refined"
        pipeline.refine(alone.store, mined.labels, into, settings, teach=True, executor=executor)
    for name in ("labels.csv", "particles.star", "refined/labels.csv", "refined/refinement.csv"):
        one, other = (tmp_path / folder / name for folder in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
    one, other = (np.load(tmp_path / folder / "clusters.npz") for folder in ("one", "other"))
    np.testing.assert_array_equal(one["averages"], other["averages"])
    assert not list(tmp_path.rglob("coefficients*"))


@pytest.mark.full
def test_a_search_is_alike_anywhere(tomograms, two_workers, tmp_path):
    maps = [tmp_path / f"{name}.mrc" for name in ("ring", "rod")]
    for path in maps:
        density = load_phantoms()[path.stem].density(20, VOXEL_SIZE)
        write_volume(path, density, VOXEL_SIZE)
    for name, executor in (("one", None), ("other", two_workers)):
        search_tomograms(tomograms, maps, tmp_path / name, DIAMETER, executor=executor)
    assert (tmp_path / "one" / "picks.csv").read_bytes().count(b"\n") > 5
    for name in ("picks.csv", "labels.csv", "particles.star", "junk/noise.star"):
        one, other = (tmp_path / folder / name for folder in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()


class DeadlyToRead:
    """Volumes that cost the first process that reads the second block of them its life."""

    def __init__(self, volumes: np.ndarray, mark: Path | None) -> None:
        self._volumes, self._mark = volumes, mark

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if self._mark is not None and rows[0] > 0 and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._volumes[rows]


def test_all_subtomograms_are_compared_alike_although_a_worker_dies(
    two_workers, tmp_path, monkeypatch
):
    monkeypatch.setattr(rounds_over_all, "_BLOCK", 8)
    monkeypatch.setattr(rounds_over_all, "_PIECE_BLOCKS", 1)
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in ("ring", "rod")]
    made = simulate_subtomograms(templates, (20, 20), 12, 22.0, 1.0, (-60, 60), 1.0, seed=1)
    sorter = AlignmentSorter(made.volumes, (-60, 60))
    sorter.refine(made.labels, splits=0, most=2)

    def sort(executor: Executor | None, mark: Path | None) -> Standing:
        with sharing(executor, tmp_path / "shared") as workers:
            read = DeadlyToRead(made.volumes, mark)
            everything = AllParticles(read, 40, sorter.learnt(), (-60, 60), workers=workers)
            return everything.rounds(everything.first_look())

    mark = tmp_path / "died"
    one, other = sort(None, None), sort(two_workers, mark)
    n_clusters = len(one.found_in)
    assert mark.exists() and n_clusters == 2
    for name in ("labels", "posterior", "averages", "rotation", "offset_zyx_px"):
        np.testing.assert_array_equal(getattr(one.classes, name), getattr(other.classes, name))
    np.testing.assert_array_equal(one.without, other.without)


class Deadly:
    """Voxels that cost the first process that reads them its life."""

    def __init__(self, tomogram: Tomogram, mark: Path) -> None:
        self.shape, self.dtype = tomogram.data.shape, tomogram.data.dtype
        self._data, self._mark = tomogram.data, mark

    def __getitem__(self, slices):
        if not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._data[slices]


@pytest.mark.full  # each worker begins with imports
def test_a_worker_that_dies_costs_its_task_only(tomograms, two_workers, tmp_path):
    mark = tmp_path / "died"
    deadly = [replace(tomograms[0], data=Deadly(tomograms[0], mark)), tomograms[1]]
    found = find_in_tomograms(deadly, SETTINGS.pick, executor=two_workers).particles
    assert mark.exists()
    expected = find_in_tomograms(tomograms, SETTINGS.pick).particles
    np.testing.assert_array_equal(found.center_zyx_px, expected.center_zyx_px)
    np.testing.assert_array_equal(found.score, expected.score)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--scheduler", "tcp://127.0.0.1:9", "--workers", "2"], "leave out --workers"),
        (["--cluster-config", "nowhere.yaml"], "of --cluster; give both"),
        (["--cluster", "slurm", "--cluster-config", "nowhere.yaml"], "cannot be read as YAML"),
        (["--cluster", "slurm"], "at least cores and memory"),
    ],
)
def test_options_that_cannot_be(tomograms, tmp_path, capsys, options, match):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    paths = [str(tomogram.path) for tomogram in tomograms]
    out = ["--out", str(tmp_path / "picks.csv"), "--particle-diameter-angstrom", "220"]
    assert main(["pick", *paths, *out, *options]) == 2
    error = capsys.readouterr().err
    assert match in " ".join(error.split()) and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_without_dask_one_sentence_says_what_to_install(tomograms, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    command = ["pick", str(tomograms[0].path), "--out", str(tmp_path / "picks.csv"), "-d", "220"]
    assert main([*command, "--workers", "2"]) == 2
    assert "pip install 'aitom-disca[cluster]'" in capsys.readouterr().err
    assert main(command) == 0
