"""The doctor: every check is shown to pass and to fail."""

from __future__ import annotations

import json
from collections import namedtuple

import h5py
import mrcfile
import numpy as np
import pytest

from aitom_disca.cli.app import main
from aitom_disca.doctor import examine, machine
from aitom_disca.doctor.inputs import Inputs
from aitom_disca.io import (
    StoreWriter,
    open_tomogram,
    write_particles_star,
    write_picks_csv,
    write_volume,
)
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.picking import find_candidates
from aitom_disca.simulation import load_phantoms, simulate_tomogram

TILT = (-50.0, 60.0)
SHAPE = (56, 150, 140)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    phantoms = load_phantoms()
    chosen = [phantoms["chaperone"], phantoms["two_lobes"]]
    return simulate_tomogram(chosen, 40, SHAPE, 14.0, 0.2, TILT, gap_px=2).volume


@pytest.fixture
def states(tmp_path):
    """Writes a tomogram, examines it, and gives the states of all checks by name."""

    def look(volume, *, tilt=TILT, edit=None, dark_protein=False, **options):
        path = tmp_path / "t.mrc"
        write_volume(path, volume, 14.0, tilt_range_deg=tilt)
        if edit is not None:
            with mrcfile.open(path, "r+") as mrc:
                edit(mrc)
        tomogram = open_tomogram(path, dark_protein=dark_protein)
        rows = examine([tomogram], 200.0, out=tmp_path, **options)
        return {check.name: check.state for _, check in rows}

    return look


OF_A_TOMOGRAM = (
    "voxel size",
    "numbers",
    "header",
    "gold",
    "extreme voxels",
    "polarity",
    "tilt range",
)


def test_a_good_tomogram_is_well(states, volume):
    found = states(volume)
    assert {name: found[name] for name in OF_A_TOMOGRAM} == dict.fromkeys(OF_A_TOMOGRAM, "ok")
    assert found["disk"] == found["memory"] == found["backend"] == "ok"


def test_polarity(states, volume):
    assert states(-volume)["polarity"] == "warning"
    assert states(-volume, dark_protein=True)["polarity"] == "ok"
    assert states(volume, dark_protein=True)["polarity"] == "warning"
    noise = np.random.default_rng(0).normal(size=SHAPE)
    assert states(noise)["polarity"] == "warning"  # neither side stands out


@pytest.mark.parametrize(
    ("tilt", "state"), [((-50, 60), "ok"), ((-60, 60), "warning"), ((-50, 45), "warning")]
)
def test_tilt_range_against_the_power(states, volume, tilt, state):
    assert states(volume, tilt=tilt)["tilt range"] == state


def test_a_wedge_about_x_and_none_at_all(states, volume):
    assert states(volume.transpose(0, 2, 1))["tilt range"] == "error"
    noise = np.random.default_rng(0).normal(size=SHAPE)
    assert states(noise)["tilt range"] == "warning"


def test_what_is_no_number(states, volume):
    with_nan = volume.copy()
    with_nan[3:5, :4, :4] = np.nan
    assert states(with_nan)["numbers"] == "error"
    assert states(np.zeros(SHAPE))["numbers"] == "error"


@pytest.mark.parametrize(("grey", "extreme"), [(40, "ok"), (-40, "warning")])
def test_gold_is_what_picking_sets_apart(tmp_path, volume, grey, extreme):
    beads = volume.copy()
    for z, y, x in ((20, 30, 30), (30, 60, 50), (40, 20, 70)):
        beads[z - 3 : z + 3, y - 3 : y + 3, x - 3 : x + 3] = grey
    write_volume(tmp_path / "t.mrc", beads, 14.0, tilt_range_deg=TILT)
    tomogram = open_tomogram(tmp_path / "t.mrc")
    found = {c.name: c for _, c in examine([tomogram], 200.0, out=tmp_path)}
    n_apart = len(find_candidates(tomogram).junk.get("gold", ()))
    assert n_apart == 3 or grey < 0
    assert found["gold"].found.startswith(f"{n_apart} bright beads" if n_apart else "no bead")
    assert found["extreme voxels"].state == extreme


def test_a_header_that_lies(states, volume):
    def of_another(mrc):
        mrc.header.dmin, mrc.header.dmax, mrc.header.dmean = 0, 255, 120

    def silent(mrc):
        mrc.header.dmin, mrc.header.dmax = 0, -1

    assert states(volume, edit=of_another)["header"] == "warning"
    assert states(volume, edit=silent)["header"] == "ok"


def test_voxel_sizes(tmp_path, volume):
    write_volume(tmp_path / "a.mrc", volume, 140.0, tilt_range_deg=TILT)
    write_volume(tmp_path / "b.mrc", volume, 14.0, tilt_range_deg=TILT)
    opened = [open_tomogram(tmp_path / name) for name in ("a.mrc", "b.mrc")]
    rows = examine(opened, 200.0, out=tmp_path)
    assert [c.state for of, c in rows if c.name == "voxel size"] == ["warning", "ok"]
    assert [c.state for of, c in rows if c.name == "voxel sizes"] == ["error"]


def test_picks(states, volume, tmp_path):
    info = TomogramInfo("t", 14.0, SHAPE)
    good = np.random.default_rng(1).permutation(np.argwhere(np.ones((3, 4, 4))) * 20 + 8.0)[:20]

    def picks(centres, **options):
        names = np.array(["t"] * len(centres))
        write_picks_csv(tmp_path / "p.csv", ParticleSet(names, centres, tomograms={"t": info}))
        return states(volume, picks=[tmp_path / "p.csv"], **options)

    found = picks(good)
    assert found["picks inside"] == found["picks once"] == found["picks everywhere"] == "ok"
    assert picks(good * 4)["picks inside"] == "error"  # in unbinned pixels
    assert picks(np.concatenate([good, good + 1]))["picks once"] == "warning"
    # Neighbours of 100 A or so are no particles picked twice unless the diameter is known.
    grid = np.argwhere(np.ones((3, 4, 4))) * 7 + 8.0
    assert picks(grid)["picks once"] == "warning"
    assert picks(grid, is_guess=True)["picks once"] == "ok"
    assert picks(np.concatenate([grid, grid + 0.2]), is_guess=True)["picks once"] == "warning"
    none = ParticleSet(np.zeros(0, str), np.zeros((0, 3)), tomograms={"t": info})
    write_particles_star(tmp_path / "none.star", none)
    assert states(volume, picks=[tmp_path / "none.star"])["picks"] == "warning"
    (tmp_path / "bad.star").write_text("data_\n")
    assert states(volume, picks=[tmp_path / "bad.star"])["picks"] == "error"


@pytest.mark.parametrize(
    ("value", "state", "said"),
    [(None, "ok", "4 subtomograms of 12"), (5, "error", "1 hold one"), (np.nan, "error", "finite")],
)
def test_a_store(tmp_path, value, state, said):
    volumes = np.random.default_rng(0).normal(size=(4, 12, 12, 12)).astype(np.float32)
    particles = ParticleSet(np.array(["t"] * 4), np.full((4, 3), np.nan))
    with StoreWriter.create(tmp_path / "s.h5", (12,) * 3, 14.0, TILT) as writer:
        writer.append(volumes, particles)
    if value is not None:
        with h5py.File(tmp_path / "s.h5", "a") as file:  # as another program may write it
            file["subtomograms"][2] = value
            del file["crc32"], file.attrs["crc32"]
    found = {c.name: c for _, c in examine([], 200.0, stores=[tmp_path / "s.h5"])}
    assert found["store"].state == state and said in found["store"].found
    assert "positions" not in found or found["positions"].state == "warning"


def test_no_room(states, volume, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage(1e9, 1e9, 1e6))
    monkeypatch.setattr(machine, "_memory_gb", lambda: 1.0)
    found = states(volume)
    assert found["disk"] == "error" and found["memory"] == "warning"


def test_backend_and_packages(monkeypatch):
    assert machine.check_backend().state == "ok"
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert machine.check_backend().state == "error"
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert all("is not installed" in c.found and c.remedy for c in machine.check_packages())
    assert machine.check_aitom()[0].found == "not importable; nothing needs it"


def test_relion_is_named_with_its_version(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not on the PATH" in machine.check_relion().found
    program = tmp_path / "relion_refine"
    for said, found in (
        ("RELION version: 3.1.3", "3.1.3, {}; convert --to relion31"),
        ("RELION version: 5.0.0-commit-90d239", "5.0.0, {}; convert --to relion5"),
        ("RELION version: 3.0.8", "3.0.8, {}; convert --to relion30"),
        ("hello", "{}; it does not say"),
    ):
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
        assert machine.check_relion().found.startswith(found.format(program))


def test_the_command_and_its_exit_codes(tmp_path, volume, capsys):
    options = ["--particle-diameter-angstrom", "200", "--out", str(tmp_path)]
    write_volume(tmp_path / "a.mrc", volume, 14.0, tilt_range_deg=TILT)
    write_volume(tmp_path / "b.mrc", volume.transpose(0, 2, 1), 14.0, tilt_range_deg=TILT)
    assert main(["doctor", str(tmp_path / "a.mrc"), *options]) == 0
    found = tmp_path / "found.json"
    assert main(["doctor", str(tmp_path / "b.mrc"), "--json", str(found), *options]) == 2
    assert "swap the axes x and y" in " ".join(capsys.readouterr().out.split())
    rows = json.loads(found.read_text())
    assert {"of", "name", "state", "found", "remedy"} == set(rows[0])
    assert [row["state"] for row in rows if row["name"] == "tilt range"] == ["error"]
    assert main(["doctor"]) == 0


def test_files_are_told_apart_by_what_they_hold(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    centres = np.array([[10.0, 20, 20], [12, 30, 30]])
    info = TomogramInfo("t", 14.0, SHAPE)
    particles = ParticleSet(np.array(["t", "t"]), centres, tomograms={"t": info})
    write_picks_csv(tmp_path / "p.csv", particles)
    write_particles_star(tmp_path / "particles.star", particles)
    with StoreWriter.create(tmp_path / "s.h5", (12,) * 3, 14.0, TILT) as writer:
        writer.append(np.random.default_rng(0).normal(size=(2, 12, 12, 12)), particles)
    names = ["s.h5", "particles.star", "p.csv"]
    listed = tmp_path / "tomograms.star"
    listed.write_text("data_global\nloop_\n_rlnTomoName\n_rlnTomoReconstructedTomogram\nt t.mrc\n")
    given = Inputs.of([listed, *(tmp_path / name for name in names), tmp_path])
    assert given.tomograms == [listed, tmp_path] and given.stores == [tmp_path / "s.h5"]
    assert [path.name for path in given.picks] == ["particles.star", "p.csv"]
    assert main(["doctor", *(str(tmp_path / name) for name in names)]) == 0
    said = capsys.readouterr().out
    assert said.count("2 particles in 1 tomogram, with") == 2
    assert "2 subtomograms of 12 voxels" in said and "give their tomograms as well" in said
    assert main(["doctor", "--picks", str(tmp_path / "none.csv")]) == 2
