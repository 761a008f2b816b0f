"""What a run writes and says of its own trust, also where subtomograms belong to no cluster."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import starfile
from rich.console import Console

pytest.importorskip("keras")

from tiny_settings import MINE

from aitom_disca import pipeline
from aitom_disca.analysis.stability import found_in_words
from aitom_disca.cli import main
from aitom_disca.cli.printed_tables import run_rows
from aitom_disca.io import StoreWriter, open_store, read_labels_csv, read_rows_csv
from aitom_disca.mining import disca as disca_module
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.progress import shown
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

BOX, VOXEL_SIZE, N = 14, 20.0, 60
NONE = np.arange(0, N, 10)  # rows that the sorting is made to give up


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two structures; the store keeps intensities in which the first ones are brighter."""
    phantoms = load_phantoms()
    made = simulate_subtomograms(
        [phantoms["rod"], phantoms["chaperone"]], N // 2, BOX, VOXEL_SIZE, snr=2.0, seed=1
    )
    rng = np.random.default_rng(0)
    info = TomogramInfo("t", VOXEL_SIZE, (80, 100, 120))
    center = rng.uniform(10, 70, (N, 3))
    particles = ParticleSet(np.full(N, "t"), center, tomograms={"t": info})
    raw_mean = rng.normal(size=N) + 8 * made.labels
    path = tmp_path_factory.mktemp("store") / "store.h5"
    with StoreWriter.create(path, (BOX,) * 3, VOXEL_SIZE, (-60, 60), {"t": info}) as writer:
        writer.append(made.volumes, particles, raw_mean=raw_mean, raw_std=np.ones(N))
    return path


@pytest.fixture(scope="module")
def some_in_none():
    """Sorting that puts some subtomograms into no cluster."""
    whole = disca_module.run_loop

    def run_loop(*arguments):
        result = whole(*arguments)
        labels = result.best.labels.copy()
        labels[NONE] = -1
        result.best = replace(result.best, labels=labels)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disca_module, "run_loop", run_loop)
        yield


@pytest.fixture(scope="module")
def finished(store, some_in_none, tmp_path_factory):
    """A run of three sortings, and what it said."""
    out = tmp_path_factory.mktemp("run") / "out"
    console = Console(record=True, width=300)
    with shown(console):
        folder = pipeline.mine(store, out, MINE, runs=3)
    return folder, console.export_text()


def test_files_count_those_in_none(finished):
    folder, _ = finished
    labels, posterior = read_labels_csv(folder.labels)
    np.testing.assert_array_equal(np.flatnonzero(labels < 0), NONE)
    assert (posterior[NONE] == 0).all()
    stage = json.loads(folder.record_file.read_text())["stages"]["mine"]
    assert stage["in_no_cluster"] == len(NONE)
    assert sum(stage["sizes"]) == N - len(NONE) and len(stage["sizes"]) == stage["n_clusters"]
    rows = starfile.read(folder.star, always_dict=True)["particles"]
    np.testing.assert_array_equal(rows["rlnClassNumber"], labels[labels >= 0] + 1)
    noise = starfile.read(folder.noise_star, always_dict=True)["particles"]
    assert len(noise) == len(NONE) and (noise["rlnClassNumber"] == 0).all()
    files = sorted(folder.star_folder.iterdir())
    assert [f.name for f in files] == [f"cluster_{k + 1:02d}.star" for k in range(labels.max() + 1)]
    lengths = [len(starfile.read(f, always_dict=True)["particles"]) for f in files]
    assert lengths == stage["sizes"]


def test_runs_are_compared(finished):
    folder, said = finished
    labels, _ = read_labels_csv(folder.labels)
    stage = folder.record["stages"]["mine"]["stability"]
    rows = read_rows_csv(folder.stability)
    assert [int(row["size"]) for row in rows] == np.bincount(labels[labels >= 0]).tolist()
    assert [int(row["found"]) for row in rows] == stage["found"]
    assert stage["runs"] == 3 and {f"jaccard_{r}" for r in (1, 2, 3)} < set(rows[0])
    words = found_in_words(stage["found"], 3)
    assert "run 3 of 3, seed 2" in said and words in said
    with folder.labels.open() as file:
        agreement = [float(row["agreement"]) for row in csv.DictReader(file)]
    assert set(np.round(agreement, 3)) <= {0.333, 0.667, 1.0} and len(agreement) == N
    assert not list(folder.path.glob("checkpoint*"))
    assert ("stability", words) in run_rows(folder)
    assert ("in no cluster", str(len(NONE))) in run_rows(folder)


def test_the_audit_is_written_and_said(finished):
    folder, said = finished
    rows = read_rows_csv(folder.nuisance)
    labels, _ = read_labels_csv(folder.labels)
    members = {row["cluster"]: int(row["members"]) for row in rows if row["property"] == "height"}
    assert members.pop("all") == (labels >= 0).sum()
    assert list(members.values()) == np.bincount(labels[labels >= 0]).tolist()
    warnings = folder.record["stages"]["audit"]["warnings"]
    assert any("is explained by contrast" in warning for warning in warnings)
    assert all(f"note: {warning}" in said for warning in warnings)


def test_the_report_shows_all_of_it(finished):
    text = finished[0].report.read_text()
    assert f"{len(NONE)} belong to none" in text
    assert "of 3 runs" in text and "What else could explain the clusters" in text
    assert "is explained by contrast" in text and "stability.csv" in text
    assert 'class="large"' in text and "mean intensity" in text


def test_one_run_is_as_before(store, tmp_path):
    once = pipeline.mine(store, tmp_path / "a", MINE)
    again = pipeline.mine(store, tmp_path / "b", MINE, runs=1)
    assert not once.stability.exists() and "stability" not in once.record["stages"]["mine"]
    for name in ("labels", "nuisance", "star", "history"):
        assert getattr(once, name).read_bytes() == getattr(again, name).read_bytes()
    assert once.labels.read_text().startswith("index,cluster,posterior\n")


def test_a_killed_run_of_several_goes_on(store, tmp_path, monkeypatch, finished, some_in_none):
    fits = []
    whole = disca_module.DISCA.fit

    def fit(self, *arguments, **more):
        fits.append(self.settings.seed)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return whole(self, *arguments, **more)

    monkeypatch.setattr(disca_module.DISCA, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        pipeline.mine(store, tmp_path / "out", MINE, runs=3)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"run.json", "checkpoint.h5", "checkpoint_2.h5"}
    folder = pipeline.mine(store, tmp_path / "out", MINE, runs=3, resume=True)
    assert folder.labels.read_bytes() == finished[0].labels.read_bytes()
    assert folder.stability.read_bytes() == finished[0].stability.read_bytes()


def test_predict_writes_scores_and_says_how_fast(finished, tmp_path, capsys):
    phantoms = load_phantoms()
    made = simulate_subtomograms(
        [phantoms["rod"]], [20], BOX, VOXEL_SIZE, snr=2.0, seed=9, n_noise=20
    )
    path = tmp_path / "new.h5"
    with StoreWriter.create(path, (BOX,) * 3, VOXEL_SIZE, (-60, 60)) as writer:
        writer.append(made.volumes, ParticleSet(np.full(40, "t"), np.full((40, 3), 20.0)))
    command = ["predict", str(path), "--model", str(finished[0].model), "--out"]
    assert main([*command, str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "subtomograms a second" in said and "in none" in said
    rows = read_rows_csv(tmp_path / "out" / "labels.csv")
    score = np.array([float(row["outlier_score"]) for row in rows])
    cluster = np.array([int(row["cluster"]) for row in rows])
    np.testing.assert_array_equal(cluster == 0, score > 0.99)
    assert np.mean(score[made.labels < 0]) > np.mean(score[made.labels >= 0]) + 0.2
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["stages"]["predict"]["subtomograms_per_second"] > 0
    assert record["stages"]["predict"]["in_no_cluster"] == (cluster == 0).sum()
    assert main([*command, str(tmp_path / "all"), "--outlier-quantile", "1"]) == 0
    assert (read_labels_csv(tmp_path / "all" / "labels.csv")[0] >= 0).all()


def test_a_store_of_before_is_audited_by_what_is_left(store, tmp_path):
    with open_store(store) as old:
        volumes, particles = old.read(), old.particles()
    path = tmp_path / "old.h5"
    with StoreWriter.create(path, (BOX,) * 3, VOXEL_SIZE, (-60, 60)) as writer:
        writer.append(volumes, particles)
    folder = pipeline.mine(path, tmp_path / "out", MINE)
    names = {row["property"] for row in read_rows_csv(folder.nuisance)}
    assert "centre less rim" in names and "mean intensity" not in names
