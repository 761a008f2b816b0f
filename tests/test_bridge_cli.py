"""The commands that bring AITom's files here and ours there, and AITom's Gum-Net on the way."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from aitom_disca import bridge
from aitom_disca.cli import aitom as commands
from aitom_disca.cli import app
from aitom_disca.config import AverageSettings
from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, open_store, read_picks
from aitom_disca.io.formats import Known, get_format
from aitom_disca.particles import ParticleSet


@pytest.fixture
def subvolumes(tmp_path):
    rng = np.random.default_rng(0)
    entries = {
        f"u{i}": {"center": [10 + i, 20, 30], "id": f"u{i}", "v": rng.normal(size=(8, 8, 8))}
        for i in range(3)
    }
    path = tmp_path / "tomo.pickle"
    path.write_bytes(pickle.dumps({"v_siz": np.array([8] * 3), "vs": entries}, protocol=2))
    return path


def test_commands_run(subvolumes, tmp_path):
    here = typer.Typer()
    for command in (commands.aitom_import, commands.aitom_export):
        here.command()(command)
    store, again = tmp_path / "s.h5", tmp_path / "again.pickle"
    arguments = ["aitom-import", subvolumes, "--out", store, "--voxel-size-angstrom", 12.5]
    run = CliRunner().invoke(here, [*map(str, arguments), "--tilt-range", "-50", "40"])
    assert run.exit_code == 0, run.output
    with open_store(store) as found:
        assert len(found) == 3 and found.tilt_range_deg == (-50, 40)
    run = CliRunner().invoke(
        here, ["aitom-export", str(store), "--out", str(again), "--to", "subvolumes"]
    )
    assert run.exit_code == 0, run.output
    assert bridge.read_particles(again).center_zyx_px.tolist() == [
        [30, 20, 10], [30, 20, 11], [30, 20, 12]
    ]  # fmt: skip


def test_peaks_become_a_table_that_extract_takes(tmp_path):
    peaks = [{"val": 2.0, "x": [1, 2, 3], "uuid": "a"}, {"val": 1.0, "x": [4, 5, 6], "uuid": "b"}]
    (tmp_path / "tomo.json").write_text(json.dumps(peaks))
    commands.aitom_import(tmp_path / "tomo.json", tmp_path / "p.csv")
    picks = read_picks(tmp_path / "p.csv")
    assert picks.center_zyx_px.tolist() == [[3, 2, 1], [6, 5, 4]]
    assert picks.score.tolist() == [2.0, 1.0] and set(picks.tomogram_name) == {"tomo"}
    commands.aitom_export(
        tmp_path / "p.csv", tmp_path / "q.json", commands.Kind.peaks, voxel_size_angstrom=10.0
    )
    again = json.loads((tmp_path / "q.json").read_text())
    assert [(row["val"], row["x"], row["uuid"]) for row in again] == [
        (row["val"], row["x"], row["uuid"]) for row in peaks
    ]


def test_an_alignment_becomes_a_table_with_its_boxes(tmp_path, subvolumes):
    rows = [{"subtomogram": "u1", "mask": "m", "angle": [0.5, 1.0, -0.5], "loc": [1, 0, 2]}]
    table = tmp_path / "dj.json"
    table.write_text(json.dumps(rows))
    with pytest.raises(InputError, match="--boxes"):
        commands.aitom_import(table, tmp_path / "p.csv")
    commands.aitom_import(table, tmp_path / "p.csv", boxes=subvolumes, voxel_size_angstrom=10.0)
    found = get_format("csv").read(tmp_path / "p.csv", Known())
    np.testing.assert_allclose(found.euler_zyz_deg, np.degrees([[0.5, 1.0, -0.5]]))
    assert found.box_center_zyx_px.tolist() == [[30, 20, 11]]
    assert not np.allclose(found.center_zyx_px, found.box_center_zyx_px, atol=0.5)


def test_a_store_becomes_an_alignment_table(tmp_path):
    particles = ParticleSet(
        np.array(["t"]), np.full((1, 3), 20.0), euler_zyz_deg=np.array([[30.0, 60.0, -20.0]])
    )
    with StoreWriter.create(tmp_path / "s.h5", (8, 8, 8), 10.0, (-60, 60)) as store:
        store.append(np.random.default_rng(0).normal(size=(1, 8, 8, 8)), particles)
    commands.aitom_export(tmp_path / "s.h5", tmp_path / "dj.json", commands.Kind.table)
    (row,) = json.loads((tmp_path / "dj.json").read_text())
    np.testing.assert_allclose(row["angle"], np.radians([30, 60, -20]))
    assert np.linalg.norm(row["loc"]) > 0.1  # the two centres differ by half a voxel


def test_what_is_refused(tmp_path, subvolumes):
    with pytest.raises(InputError, match="--voxel-size-angstrom"):
        commands.aitom_import(subvolumes, tmp_path / "s.h5")
    with pytest.raises(InputError, match=r"\.h5 or \.csv"):
        commands.aitom_import(subvolumes, tmp_path / "s.star")
    with pytest.raises(InputError, match="--overwrite"):
        commands.aitom_import(subvolumes, subvolumes)
    with pytest.raises(InputError, match="from a store"):
        commands.aitom_export(subvolumes, tmp_path / "x.pickle", commands.Kind.subvolumes)
    points = tmp_path / "points.json"
    points.write_text('[{"peak": {"loc": [1, 2, 3]}}]')
    with pytest.raises(InputError, match="not subvolumes"):
        commands.aitom_import(points, tmp_path / "s.h5", voxel_size_angstrom=10.0)


# -- AITom's Gum-Net ---------------------------------------------------------------------------


def test_average_takes_aitoms_trained_gumnet(tmp_path, subvolumes, monkeypatch):
    pytest.importorskip("keras")
    from aitom_disca.network import gumnet
    from aitom_disca.pipeline.average_inputs import network_of

    bridge.import_store(subvolumes, tmp_path / "s.h5", voxel_size_angstrom=10.0)
    asked = []

    class Model:
        input_shape = ((None, 8, 8, 8, 1),)

    monkeypatch.setattr(gumnet, "build_gumnet", lambda box_px: asked.append(box_px) or Model())
    monkeypatch.setattr(gumnet, "load_legacy_weights", lambda path, model: asked.append(path))
    weights = str(tmp_path / "gum_demo_model.h5")
    with open_store(tmp_path / "s.h5") as store:
        network = network_of(AverageSettings(aligner="gumnet", gumnet=weights), store)
    assert asked == [8, weights] and callable(network)


def test_both_names_of_the_option():
    parameters = typer.main.get_command(app.app).commands["average"].params
    (option,) = [one for one in parameters if one.name == "gumnet"]
    assert option.opts == ["--gumnet", "--gumnet-weights"]


def test_status_names_every_part():
    rows = bridge.status()
    assert len(rows) == 9
    for part, state, remedy in rows:
        assert "aitom" in part and remedy
        assert state == "runs" or state.startswith(("fails: ", "not importable: "))


def test_status_without_aitom(monkeypatch):
    monkeypatch.setattr("aitom_disca.bridge.aitom_availability.find_spec", lambda name: None)
    assert {row.state for row in bridge.status()} == {"not importable: no package aitom here"}


@pytest.mark.aitom
def test_status_with_aitom():
    pytest.importorskip("aitom", reason="AITom is not on the path")
    state = {part.partition(" (")[0]: state for part, state, _ in bridge.status()}
    assert state["DoG picker"] == state["choice among close peaks"] == "runs"
    assert state["DISCA, Keras"].startswith("not importable: invalid syntax")
