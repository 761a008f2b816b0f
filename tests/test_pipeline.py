"""All stages after one another: from a simulated tomogram to star files and a report."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import starfile

pytest.importorskip("keras")

from tiny_settings import MINE

from aitom_disca import pipeline
from aitom_disca.cli import main
from aitom_disca.config import ExtractSettings, PickSettings, RunSettings
from aitom_disca.curation import Curation, Decision, decided
from aitom_disca.errors import InputError
from aitom_disca.io import (
    StoreWriter,
    open_store,
    open_tomogram,
    read_labels_csv,
    read_particles_star,
    write_labels_csv,
    write_volume,
)
from aitom_disca.particles import ParticleSet
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.simulation import load_phantoms, match_picks, simulate_tomogram

VOXEL_SIZE = 20.0
DIAMETER = 220.0
SETTINGS = RunSettings(
    pick=PickSettings(particle_diameter_angstrom=DIAMETER),
    extract=ExtractSettings(particle_diameter_angstrom=DIAMETER, box_px=14),
    mine=MINE,
    until="mine",
)
RESULTS = {
    "run.json",
    "picks.csv",
    "subtomograms.h5",
    "model.h5",
    "labels.csv",
    "history.csv",
    "nuisance.csv",
    "clusters.npz",
    "particles.star",
    "clusters",
    "report.html",
}


@pytest.fixture(scope="module")
def tomogram(tmp_path_factory):
    phantoms = load_phantoms()
    simulated = simulate_tomogram(
        [phantoms[name] for name in ("ring", "rod")],
        24,
        (40, 90, 100),
        VOXEL_SIZE,
        snr=2.0,
        seed=5,
        gap_px=3,
        border_px=5,
    )
    path = tmp_path_factory.mktemp("data") / "TS_7.mrc"
    write_volume(path, simulated.volume, VOXEL_SIZE, tilt_range_deg=(-60, 60))
    return path, simulated.truth


@pytest.fixture(scope="module")
def finished(tomogram, tmp_path_factory) -> RunFolder:
    out = tmp_path_factory.mktemp("run") / "results"
    return pipeline.run([open_tomogram(tomogram[0])], out, SETTINGS)


def no_positions(path, n=12) -> None:
    """A store of subtomograms that do not know where they come from."""
    rng = np.random.default_rng(0)
    particles = ParticleSet(np.full(n, "unknown"), np.full((n, 3), np.nan))
    with StoreWriter.create(path, (10,) * 3, VOXEL_SIZE, (-60, 60)) as store:
        store.append(rng.normal(size=(n, 10, 10, 10)).astype(np.float32), particles)


# -- run -----------------------------------------------------------------------------------


def test_a_run_writes_every_result_and_nothing_else(finished):
    assert {path.name for path in finished.path.iterdir()} == RESULTS
    clusters = {path.name for path in finished.star_folder.iterdir()}
    assert len(clusters) == finished.record["stages"]["mine"]["n_clusters"]
    assert {path.name for path in finished.results()} == RESULTS - {"clusters"} | clusters


def test_the_record_sums_the_run_up(finished):
    record = json.loads(finished.record_file.read_text())
    stages = record["stages"]
    assert list(stages) == ["pick", "extract", "mine", "audit", "write", "report"]
    assert record["settings"] == json.loads(SETTINGS.model_dump_json(exclude={"until"}))
    n = stages["extract"]["n_extracted"]
    assert stages["pick"]["n_picks"] == n + stages["extract"]["n_dropped_border"]
    assert sum(stages["mine"]["sizes"]) == n
    assert len(stages["mine"]["sizes"]) == stages["mine"]["n_clusters"]
    assert stages["write"]["star_files"] == 1 + stages["mine"]["n_clusters"]


def test_particles_are_where_they_were_planted(finished, tomogram):
    with open_store(finished.store) as store:
        found = store.particles().center_zyx_px
    score = match_picks(found, tomogram[1].center_zyx_px, DIAMETER / 2 / VOXEL_SIZE)
    assert score.recall >= 0.9 and score.precision >= 0.8


def test_star_files_agree_with_labels_and_store(finished):
    cluster, posterior = read_labels_csv(finished.labels)
    with open_store(finished.store) as store:
        particles = store.particles()
    blocks = starfile.read(finished.star, always_dict=True)
    rows = blocks["particles"]
    assert len(rows) == len(cluster)
    np.testing.assert_array_equal(rows["rlnClassNumber"], cluster + 1)
    placed = read_particles_star(finished.star)
    np.testing.assert_allclose(placed.center_zyx_px, particles.center_zyx_px, atol=1e-3)
    xyz = rows[["rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"]].to_numpy()
    assert (xyz == np.round(xyz)).all()  # RELION 3 drops fractions
    assert set(rows["rlnMicrographName"].astype(str)) == {"TS_7"} or "TS_7" in str(rows.iloc[0])
    assert len(posterior) == len(cluster)
    names = sorted(path.name for path in finished.star_folder.iterdir())
    assert names == [f"cluster_{k + 1:02d}.star" for k in range(cluster.max() + 1)]
    for k, name in enumerate(names):
        part = starfile.read(finished.star_folder / name, always_dict=True)["particles"]
        assert len(part) == (cluster == k).sum()


def test_history_has_a_row_an_iteration(finished):
    with finished.history.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1
    assert {"iteration", "k", "ddbi", "label_change", "sizes", "bic_2", "bic_3"} <= set(rows[0])
    sizes = [int(size) for size in rows[0]["sizes"].split()]
    assert sum(sizes) == len(read_labels_csv(finished.labels)[0])


def test_the_report_needs_nothing_else(finished):
    html = finished.report.read_text(encoding="utf-8")
    assert "<html" in html and len(html) > 20_000
    assert "data:image/png;base64," in html
    assert all(src.startswith("data:") for src in re.findall(r"""src\s*=\s*["']([^"']*)""", html))
    links = re.findall(r"""href\s*=\s*["'](?!#|data:)([^"']*)""", html)
    assert "particles.star" in links  # files of the run, in its folder
    assert [link for link in links if not (finished.report.parent / link).exists()] == []
    assert not re.findall(r"@import|url\((?!['\"]?data:)", html)
    assert "TS_7" in html


def test_the_report_can_be_written_again(finished):
    before = finished.report.read_text(encoding="utf-8")
    finished.report.unlink()
    assert pipeline.report_again(finished.path) == finished.report
    after = finished.report.read_text(encoding="utf-8")
    assert abs(len(after) - len(before)) < 0.05 * len(before)


def test_the_report_tells_what_was_out_of_the_ordinary(finished, tomogram, tmp_path):
    assert "<th>event</th>" not in finished.report.read_text(encoding="utf-8")
    shutil.copytree(finished.path, tmp_path / "results")
    saved = dict(np.load(tmp_path / "results" / "clusters.npz"))
    history = json.loads(str(saved.pop("history")))
    history[0]["event"] = "the loss was not a number; went back to iteration 3 with half the rate"
    np.savez(tmp_path / "results" / "clusters.npz", history=json.dumps(history), **saved)
    moved = tomogram[0].rename(tmp_path / "moved.mrc")
    html = pipeline.report_again(tmp_path / "results").read_text(encoding="utf-8")
    moved.rename(tomogram[0])
    assert "Tomogram TS_7 is not where it was, and not drawn" in html and 'id="cells"' not in html
    assert "<th>event</th>" in html
    assert "Iteration 1: the loss was not a number; went back to iteration 3" in html


def test_prediction_on_the_same_store_gives_the_same(finished, tmp_path):
    folder, labels = pipeline.predict(finished.store, finished.model, tmp_path / "again")
    expected, _ = read_labels_csv(finished.labels)
    np.testing.assert_array_equal(labels, expected)
    assert {p.name for p in folder.path.iterdir()} == {
        "run.json",
        "labels.csv",
        "particles.star",
        "clusters",
    }
    star = starfile.read(folder.star, always_dict=True)["particles"]
    np.testing.assert_array_equal(star["rlnClassNumber"], expected + 1)
    with pytest.raises(InputError, match="already holds a run"):
        pipeline.predict(finished.store, finished.model, tmp_path / "again")


def test_decisions_about_a_models_clusters_hold_for_what_it_predicts(finished, tmp_path):
    for path in (finished.labels, finished.model):
        shutil.copy(path, tmp_path)
    decisions = [Decision("merge", (1, 2)), Decision("move", (1,), (0,))]
    Curation(tmp_path).add([*decisions, Decision("name", (1,), name="both")])
    out = tmp_path / "predicted"
    folder, labels = pipeline.predict(finished.store, tmp_path / "model.h5", out)
    before, _ = read_labels_csv(finished.labels)
    np.testing.assert_array_equal(labels, np.where(before == 1, 0, before))
    assert decided(folder.labels)[0] == {1: "both"}
    assert (folder.star_folder / "cluster_01_both.star").is_file()
    write_labels_csv(tmp_path / "labels.csv", before[::-1])
    with pytest.raises(InputError, match="made anew"):
        pipeline.predict(finished.store, tmp_path / "model.h5", tmp_path / "again")


def test_several_tomograms_and_one_without_particles(tomogram, tmp_path, caplog):
    opened = open_tomogram(tomogram[0])
    rng = np.random.default_rng(0)
    noise = tmp_path / "empty.mrc"
    write_volume(noise, rng.normal(size=(40, 60, 60)) * 1e-3, VOXEL_SIZE)
    settings = PickSettings(particle_diameter_angstrom=DIAMETER, threshold_rule="absolute")
    settings = settings.model_copy(update={"threshold": 6.0})
    picks = pipeline.pick_tomograms([opened, open_tomogram(noise), opened], settings)
    assert set(picks.tomogram_name) == {"TS_7"}
    assert "empty" in caplog.text
    assert len(pipeline.pick_tomograms([open_tomogram(noise)], settings)) == 0


def test_a_run_without_any_particle_says_so_and_leaves_valid_files(tmp_path, capsys):
    noise = np.random.default_rng(0).normal(size=(40, 60, 60))
    write_volume(tmp_path / "noise.mrc", noise, VOXEL_SIZE, tilt_range_deg=(-60, 60))
    out = tmp_path / "out"
    size = ["--particle-diameter-angstrom", str(DIAMETER)]
    assert main(["run", str(tmp_path / "noise.mrc"), "--out", str(out), *size]) == 0
    assert "nothing to sort" in "".join(capsys.readouterr())
    star = (out / "particles.star").read_text().split("data_particles")[1].split("loop_")[1]
    lines = [line for line in star.splitlines() if line.strip()]
    assert "_rlnCoordinateX" in star and all(line.startswith("_rln") for line in lines)
    assert (out / "picks.csv").read_text().startswith("tomogram,z,y,x,score,diameter_angstrom,kind")
    assert main(["run", str(tmp_path / "noise.mrc"), "--out", str(out), *size, "--resume"]) == 0
    picks = ["pick", str(tmp_path / "noise.mrc"), "--out", str(tmp_path / "picks.star"), *size]
    assert main(picks) == 0
    assert not (tmp_path / "picks_junk").exists()


# -- structures ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gone_further(finished, tomogram, tmp_path_factory) -> RunFolder:
    """The finished run, resumed to go to the end."""
    out = tmp_path_factory.mktemp("further") / "results"
    shutil.copytree(finished.path, out)
    further = SETTINGS.model_copy(update={"until": "embed"})
    return pipeline.run([open_tomogram(tomogram[0])], out, further, resume=True)


def test_a_run_can_be_resumed_to_go_further(gone_further, finished):
    stages = list(gone_further.record["stages"])
    assert stages[:5] == list(finished.record["stages"])[:5]
    assert stages[5:] == ["refine", "average", "embed", "report"]
    assert (gone_further.path / "labels_mined.csv").read_bytes() == finished.labels.read_bytes()


def test_averages_and_their_places_are_written_and_shown(gone_further, tomogram):
    averages = gone_further.record["stages"]["average"]["rows"]
    assert averages and all("p_value" in row for row in averages)
    html = gone_further.report.read_text(encoding="utf-8")
    for row in averages:
        card = html.partition(f'id="cluster-{row["cluster"]}"')[2].partition("</article>")[0]
        assert "Fourier shell correlation" in card and "From which sides" in card
    density = open_tomogram(gone_further.embedded / "TS_7_density.mrc", tilt_range_deg=(-90, 90))
    assert density.shape_zyx == open_tomogram(tomogram[0]).shape_zyx
    posed = starfile.read(gone_further.averages / "particles.star", always_dict=True)["particles"]
    assert len(posed) == sum(row["members"] for row in averages)
    assert posed["rlnAngleTilt"].abs().max() > 20
    assert (gone_further.averages / "space" / "neighbours.csv").exists()


def test_every_file_of_a_run_is_named_in_the_documentation(gone_further):
    page = (Path(__file__).parents[1] / "docs" / "files.md").read_text(encoding="utf-8")
    named = {part for path in re.findall(r"`([\w./]+)`", page) for part in path.split("/")}
    written = {path.name for path in gone_further.path.rglob("*")}
    may_be = {path.name for path in vars(gone_further).values() if isinstance(path, Path)}

    def general(name: str) -> str:
        return re.sub(r"\d+", "01", name.replace("TS_7", "NAME"))

    wanted = {general(name) for name in written | may_be - {gone_further.path.name}}
    assert len(wanted) > 40 and wanted - {general(name) for name in named} == set()


def test_a_run_that_is_replaced_leaves_no_averages_behind(gone_further, tomogram, tmp_path):
    out = tmp_path / "results"
    shutil.copytree(gone_further.path, out)
    pipeline.run([open_tomogram(tomogram[0])], out, SETTINGS, overwrite=True)
    assert {path.name for path in RunFolder(out).results()} & {"average.mrc", "TS_7.cxc"} == set()


# -- resuming and replacing ----------------------------------------------------------------


@pytest.fixture
def quick_mining(monkeypatch, finished):
    """Mining that copies the finished run's files, to look at the stages alone."""
    calls = []

    def mine(folder, store, settings, runs, executor=None):
        calls.append(settings)
        for name in ("labels", "history", "model", "clusters"):
            getattr(folder, name).write_bytes(getattr(finished, name).read_bytes())
        return {k: v for k, v in finished.record["stages"]["mine"].items() if k != "seconds"}

    monkeypatch.setattr(pipeline.run_stages, "mine_clusters", mine)
    return calls


def test_a_killed_run_goes_on_where_it_stopped(tomogram, tmp_path, monkeypatch, finished):
    opened = [open_tomogram(tomogram[0])]
    out = tmp_path / "results"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.run_stages, "mine_clusters", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(opened, out, SETTINGS)
    assert {p.name for p in out.iterdir()} == {"run.json", "picks.csv", "subtomograms.h5"}
    written = {p.name: p.stat().st_mtime_ns for p in out.iterdir() if p.name != "run.json"}
    with pytest.raises(InputError, match="already holds a run"):
        pipeline.run(opened, out, SETTINGS)
    other = SETTINGS.model_copy(update={"mine": MINE.model_copy(update={"seed": 3})})
    with pytest.raises(InputError, match=r"other settings \(seed = 0, now seed = 3\)"):
        pipeline.run(opened, out, other, resume=True)
    folder = pipeline.run(opened, out, SETTINGS, resume=True)
    assert {p.name for p in out.iterdir()} == RESULTS
    assert written == {name: (out / name).stat().st_mtime_ns for name in written}
    # The interrupted run ends like the one that was not.
    assert folder.labels.read_bytes() == finished.labels.read_bytes()
    assert folder.star.read_bytes() == finished.star.read_bytes()


def test_a_finished_run_resumed_does_nothing(tomogram, finished):
    before = {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")}
    pipeline.run([open_tomogram(tomogram[0])], finished.path, SETTINGS, resume=True)
    assert before == {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")}


def test_overwrite_leaves_nothing_of_the_earlier_run(tomogram, tmp_path, quick_mining):
    opened = [open_tomogram(tomogram[0])]
    out = tmp_path / "results"
    pipeline.run(opened, out, SETTINGS)
    stale = out / "clusters" / "cluster_17.star"
    stale.write_text("of an earlier run")
    own = out / "clusters" / "my_selection.star"
    own.write_text("of the user")
    pipeline.run(opened, out, SETTINGS, overwrite=True)
    assert not stale.exists()
    assert own.read_text() == "of the user"
    assert {p.name for p in out.iterdir()} == RESULTS
    assert len(quick_mining) == 2


def snapshot(path):
    return {p: p.read_bytes() if p.is_file() else None for p in path.rglob("*")}


def test_overwrite_with_a_bad_tomogram_leaves_the_earlier_run(tomogram, tmp_path, quick_mining):
    out = tmp_path / "results"
    pipeline.run([open_tomogram(tomogram[0])], out, SETTINGS)
    before = snapshot(out)
    volume = open_tomogram(tomogram[0]).read()
    volume[:] = 3
    write_volume(tmp_path / "bad.mrc", volume, VOXEL_SIZE)
    with pytest.raises(InputError, match="bad"):
        pipeline.run([open_tomogram(tmp_path / "bad.mrc")], out, SETTINGS, overwrite=True)
    assert snapshot(out) == before


def test_a_bad_tomogram_leaves_nothing_of_a_new_run(tomogram, tmp_path):
    volume = np.full((40, 60, 60), 3, np.float32)
    write_volume(tmp_path / "bad.mrc", volume, VOXEL_SIZE, tilt_range_deg=(-60, 60))
    both = [open_tomogram(path) for path in (tomogram[0], tmp_path / "bad.mrc")]
    with pytest.raises(InputError, match="bad"):
        pipeline.run(both, tmp_path / "results", SETTINGS)
    assert not (tmp_path / "results").exists()


def test_overwrite_with_too_few_subtomograms_leaves_the_earlier_run(finished, tmp_path):
    out = tmp_path / "results"
    shutil.copytree(finished.path, out)
    before = snapshot(out)
    no_positions(tmp_path / "few.h5", n=2)
    with pytest.raises(InputError, match="expected at least 3 subtomograms"):
        pipeline.mine(tmp_path / "few.h5", out, MINE, overwrite=True)
    assert snapshot(out) == before


def test_relative_paths_hold_in_another_folder(tomogram, tmp_path, monkeypatch, quick_mining):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    shutil.copy(tomogram[0], here / "TS_7.mrc")
    monkeypatch.chdir(here)
    pipeline.run([open_tomogram("TS_7.mrc")], "run", SETTINGS)
    pipeline.mine("run/subtomograms.h5", "mined", MINE)
    pipeline.predict("run/subtomograms.h5", "run/model.h5", "predicted")
    monkeypatch.chdir(there)
    for name, relative in (("run", "../here/run"), ("mined", "../here/mined")):
        inputs = RunFolder.open(relative).record["inputs"]
        assert [Path(path).is_absolute() for path in inputs] == [True]
        before = (here / name / "report.html").read_text(encoding="utf-8")
        (here / name / "report.html").unlink()
        pipeline.report_again(relative)
        after = (here / name / "report.html").read_text(encoding="utf-8")
        assert after.count("data:image/") == before.count("data:image/") > 3
    inputs = RunFolder.open(here / "predicted").record["inputs"]
    assert inputs == [str(here / "run" / "subtomograms.h5"), str(here / "run" / "model.h5")]
    # The same run, named from here, is gone on with.
    written = snapshot(here)
    pipeline.run([open_tomogram("../here/TS_7.mrc")], "../here/run", SETTINGS, resume=True)
    pipeline.mine("../here/run/subtomograms.h5", "../here/mined", MINE, resume=True)
    assert snapshot(here) == written


def test_a_stage_that_fails_while_writing_leaves_no_half_file(finished, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(pipeline.star_files, "write_cluster_stars", fail)
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        pipeline.mine(finished.store, tmp_path / "out", MINE)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"run.json", "checkpoint.h5", "labels.csv", "history.csv", "model.h5"}
    assert RunFolder.open(tmp_path / "out").record["stages"] == {}


# -- a store alone -------------------------------------------------------------------------


def test_a_store_without_positions_gives_labels_but_no_star_file(tmp_path):
    store = tmp_path / "store.h5"
    no_positions(store)
    folder = pipeline.mine(store, tmp_path / "out", MINE)
    assert {p.name for p in folder.path.iterdir()} == RESULTS - {
        "picks.csv",
        "subtomograms.h5",
        "particles.star",
        "clusters",
    }
    assert len(read_labels_csv(folder.labels)[0]) == 12
    assert folder.record["stages"]["write"]["star_files"] == 0
    assert pipeline.report_again(folder.path).exists()


def test_too_few_subtomograms_leave_nothing(tmp_path):
    store = tmp_path / "store.h5"
    no_positions(store, n=2)
    with pytest.raises(InputError, match="expected at least 3 subtomograms"):
        pipeline.mine(store, tmp_path / "out", MINE)
    assert {p.name for p in tmp_path.iterdir()} == {"store.h5"}


def test_a_store_in_the_runs_own_folder_is_not_removed(finished, tmp_path):
    out = tmp_path / "results"
    out.mkdir()
    store = out / "subtomograms.h5"
    store.write_bytes(finished.store.read_bytes())
    for act in (
        lambda: pipeline.mine(store, out, MINE, overwrite=True),
        lambda: pipeline.predict(store, finished.model, out, overwrite=True),
    ):
        with pytest.raises(InputError, match=r"subtomograms.h5 is an input of this run"):
            act()
    assert [p.name for p in out.iterdir()] == ["subtomograms.h5"]


def test_labels_of_another_store_are_refused(finished, tmp_path):
    labels = tmp_path / "labels.csv"
    write_labels_csv(labels, np.array([0, 1, 0]))
    with pytest.raises(InputError, match=r"has 3 and .* holds"):
        pipeline.write_stars(finished.store, labels, tmp_path / "stars")
    assert not (tmp_path / "stars").exists()


@pytest.mark.parametrize("relion", ["3.1", "5"])
def test_star_files_for_either_relion(finished, tmp_path, relion):
    summary = pipeline.write_stars(finished.store, finished.labels, tmp_path, relion=relion)
    assert summary["relion"] == relion
    rows = starfile.read(tmp_path / "particles.star", always_dict=True)["particles"]
    column = "rlnCoordinateX" if relion == "3.1" else "rlnCenteredCoordinateXAngst"
    assert column in rows


def test_a_report_needs_a_run_with_clusters(tmp_path):
    with pytest.raises(InputError, match=r"holds no run.json"):
        pipeline.report_again(tmp_path)
    RunFolder(tmp_path).start("run", {}, ["tomogram.mrc"])
    with pytest.raises(InputError, match="has no clusters yet"):
        pipeline.report_again(tmp_path)


def test_prediction_with_another_box_writes_nothing(finished, tmp_path):
    store = tmp_path / "store.h5"
    no_positions(store)
    with pytest.raises(InputError, match="expected subtomograms of 14 voxels"):
        pipeline.predict(store, finished.model, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["store.h5"]
