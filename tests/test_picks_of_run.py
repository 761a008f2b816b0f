"""Picks from files of any format, from several of them, and from other versions of tomograms."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.cli.app import main
from aitom_disca.config import PickSettings, RunSettings
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, open_tomogram, read_picks, write_picks_csv, write_volume
from aitom_disca.io.formats import Known, get_format
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.pipeline.picks_of_run import (
    matched,
    picks_of_run,
    read_all_picks,
    tomograms_to_pick_on,
)
from aitom_disca.simulation import load_phantoms, simulate_tomogram

SHAPE, VOXEL = (40, 100, 90), 14.0
CENTRES = np.array([[20.0, 30, 30], [20, 70, 60], [18, 30, 65]])


@pytest.fixture
def tomogram(tmp_path, rng):
    volume = rng.normal(size=SHAPE)
    write_volume(tmp_path / "TS_01.mrc", volume, VOXEL, tilt_range_deg=(-60, 60))
    return open_tomogram(tmp_path / "TS_01.mrc")


def particles(rows, name="TS_01") -> ParticleSet:
    info = TomogramInfo(name, VOXEL, SHAPE)
    return ParticleSet(np.array([name] * len(rows)), CENTRES[rows], tomograms={name: info})


@pytest.mark.parametrize("to", ["relion5", "dynamo", "stopgap", "copick", "imod", "eman2", "csv"])
def test_picks_of_any_format_lie_where_they_were(tmp_path, tomogram, to):
    known = Known(tomograms={"TS_01": tomogram.info}, binning=4.0, box_px=16)
    own = get_format(to)
    (path, *_) = own.write(tmp_path / f"TS_01{own.suffixes[0]}", particles([0, 1, 2]), known)
    found = read_picks(path, tomograms={"TS_01": tomogram.info})
    np.testing.assert_allclose(found.center_zyx_px, CENTRES, atol=1e-3)


def test_a_particle_of_two_files_counts_once(tmp_path, tomogram, capsys):
    get_format("dynamo").write(tmp_path / "a.tbl", particles([0, 1]), Known())
    write_picks_csv(tmp_path / "b.csv", particles([1, 2]))
    found = read_all_picks([tmp_path / "a.tbl", tmp_path / "b.csv"], [tomogram], 100.0)
    np.testing.assert_allclose(found.center_zyx_px, CENTRES, atol=1e-3)
    options = ["--picks", str(tmp_path / "a.tbl"), "--picks", str(tmp_path / "b.csv")]
    options += ["--particle-diameter-angstrom", "200", "--out", str(tmp_path / "s.h5")]
    assert main(["extract", str(tomogram.path), *options]) == 0
    assert "4 picks of 2 files, 1 of them found twice" in capsys.readouterr().out
    with open_store(tmp_path / "s.h5") as store:
        assert len(store) == 3


def test_a_run_takes_picks_in_place_of_picking(tmp_path, tomogram):
    get_format("stopgap").write(tmp_path / "m.star", particles([2, 0]), Known())
    found = picks_of_run([tomogram], RunSettings(picks=(str(tmp_path / "m.star"),))).particles
    np.testing.assert_allclose(found.center_zyx_px, CENTRES[[2, 0]], atol=1e-3)
    assert list(found.tomograms) == ["TS_01"]


def test_picks_are_made_on_another_version(tmp_path):
    """Noise hides the particles in the tomogram itself; the clean version shows them."""
    chaperone = load_phantoms()["chaperone"]
    made = simulate_tomogram([chaperone], 8, (40, 110, 110), 14.0, snr=5.0, gap_px=4)
    noise = np.random.default_rng(0).normal(size=made.volume.shape)
    write_volume(tmp_path / "raw/TS_01.mrc", noise, 14.0, tilt_range_deg=(-60, 60))
    write_volume(tmp_path / "clean/TS_01_denoised.mrc", made.volume, 14.0, tilt_range_deg=(-60, 60))
    raw = open_tomogram(tmp_path / "raw/TS_01.mrc")
    pick = PickSettings(particle_diameter_angstrom=200)
    settings = RunSettings(pick=pick, pick_on=(str(tmp_path / "clean"),))
    found = picks_of_run([raw], settings, tomograms_to_pick_on(settings)).particles
    assert set(found.tomogram_name) == {"TS_01"}
    away = np.linalg.norm(found.center_zyx_px[:, None] - made.truth.center_zyx_px, axis=2)
    assert (away.min(axis=0) < 4).mean() > 0.7, away.min(axis=0)


def test_another_version_of_another_size_or_name_is_refused(tmp_path, tomogram, capsys):
    write_volume(tmp_path / "TS_01_iso.mrc", np.ones((20, 50, 45)), 28.0, tilt_range_deg=(-60, 60))
    with pytest.raises(InputError, match="20, 50, 45"):
        matched([tomogram], [open_tomogram(tmp_path / "TS_01_iso.mrc")])
    write_volume(tmp_path / "B.mrc", np.ones(SHAPE), VOXEL, tilt_range_deg=(-60, 60))
    with pytest.raises(InputError, match="no tomogram of the name TS_01"):
        matched([tomogram], [open_tomogram(tmp_path / "B.mrc")])
    both = ["--picks", "a.star", "--pick-on", str(tmp_path / "B.mrc"), "--out", str(tmp_path / "o")]
    assert main(["run", str(tomogram.path), *both]) == 2
    assert "give one of the two" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
