"""Tomograms and tilt ranges from the folders and files of other programs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aitom_disca import progress
from aitom_disca.cli.app import main
from aitom_disca.errors import InputError
from aitom_disca.io import open_tomogram, open_tomograms, write_volume
from aitom_disca.io.tomograms.project_folders import tomograms_in
from aitom_disca.io.tomograms.tilt_angles import read_tilts, tilts_beside
from aitom_disca.io.tomograms.zarr_tomogram import open_zarr_volume

ANGLES = [0.0, 3.0, -3.0, 51.0, -54.02]
RANGE = (-54.02, 51.0)
TABLES = {
    "a.tlt": "\n".join(f" {a:7.2f}" for a in ANGLES),
    "a.rawtlt": "\n".join(map(str, ANGLES)) + "\n\n",
    "a_TLT.txt": "\n".join(f"{a} {i}" for i, a in enumerate(ANGLES)),
    "a.mrc.mdoc": "PixelSpacing = 2.1\n"
    + "\n".join(f"[ZValue = {i}]\nTiltAngle = {a}\nDose = 3" for i, a in enumerate(ANGLES)),
    "a.aln": "# AreTomo Alignment / Priims bprmMn\n"
    + "\n".join(f"{i} 85.4 1.0 0.1 0.2 1 1 1 0 {a}" for i, a in enumerate(ANGLES))
    + "\n# Local Alignment\n0 0 1.0 2.0",
    "a.tomostar": "\ndata_\n\nloop_\n_wrpMovieName #1\n_wrpAngleTilt #2\n_wrpDose #3\n"
    + "\n".join(f"m{i}.mrc {a} {3 * i}" for i, a in enumerate(ANGLES))
    + "\n",
}


@pytest.fixture
def volume(rng) -> np.ndarray:
    return rng.normal(size=(20, 22, 26)).astype(np.float32)


# -- tilt ranges -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_tilts_is_read_and_found(tmp_path, volume, name, capsys):
    (tmp_path / name).write_text(TABLES[name])
    assert read_tilts(tmp_path / name) == tuple(sorted(ANGLES))
    write_volume(tmp_path / "a.mrc", volume, 10.0)
    assert tilts_beside(tmp_path / "a.mrc") == (tuple(sorted(ANGLES)), tmp_path / name)
    opened = open_tomogram(tmp_path / "a.mrc")
    assert opened.tilt_range_deg == opened.info.tilt_range_deg == RANGE
    assert opened.info.tilts_deg == tuple(sorted(ANGLES))
    assert main(["info", str(tmp_path / "a.mrc")]) == 0
    assert "tilt range -54.02 to 51 degrees" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("added", ["_rec", "_full", "_Vol", "_10.00Apx", "_bin4_rec"])
def test_what_reconstruction_adds_to_a_name_does_not_count(tmp_path, added):
    (tmp_path / "TS_01.tlt").write_text(TABLES["a.tlt"])
    assert tilts_beside(tmp_path / f"TS_01{added}.mrc")[1] == tmp_path / "TS_01.tlt"
    assert tilts_beside(tmp_path / f"TS_012{added}.mrc") is None


def test_what_is_given_wins_over_the_header_and_that_over_files(tmp_path, volume):
    (tmp_path / "a.tlt").write_text(TABLES["a.tlt"])
    (tmp_path / "b.rawtlt").write_text("-40\n40\n")
    write_volume(tmp_path / "a.mrc", volume, 10.0, tilt_range_deg=(-45, 45))
    (one,) = open_tomograms([tmp_path / "a.mrc"])
    assert one.tilt_range_deg == (-45, 45)
    (one,) = open_tomograms([tmp_path / "a.mrc"], tilt_file=tmp_path / "b.rawtlt")
    assert one.tilt_range_deg == (-40, 40)
    options = {"tilt_file": tmp_path / "b.rawtlt", "tilt_range_deg": (-30, 30)}
    (one,) = open_tomograms([tmp_path / "a.mrc"], **options)
    assert one.tilt_range_deg == (-30, 30)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.tlt", "0\nthree\n", "no number as tilt angle"),
        ("a.tlt", "0\n", "there are 1 different"),
        ("a.tlt", "0\n120\n", "number 2 is 120"),
        ("a.mdoc", "PixelSpacing = 3\n", "there are 0 different"),
        ("a.csv", "0\n3\n", "a file of tilt angles"),
    ],
)
def test_a_table_without_tilts_is_said(tmp_path, name, text, match):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=match):
        read_tilts(tmp_path / name)


# -- OME-Zarr --------------------------------------------------------------------------------


def write_zarr(path: Path, volume: np.ndarray, scale: float, unit: str, version: int) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    datasets = []
    for level in (0, 1):
        n = 2**level
        nz, ny, nx = (m // n for m in volume.shape)
        part = volume[: nz * n, : ny * n, : nx * n].reshape(nz, n, ny, n, nx, n).mean((1, 3, 5))
        array = group.create_array(str(level), shape=part.shape, chunks=(8, 8, 8), dtype="f4")
        array[...] = part
        step = {"type": "scale", "scale": [scale * n] * 3}
        datasets.append({"path": str(level), "coordinateTransformations": [step]})
    axes = [{"name": axis, "type": "space", "unit": unit} for axis in "zyx"]
    image = [{"axes": axes, "datasets": datasets, "version": "0.4"}]
    group.attrs.update({"multiscales": image} if version == 2 else {"ome": {"multiscales": image}})


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_is_read_by_regions(tmp_path, volume, version):
    write_zarr(tmp_path / "TS_1.zarr", volume, 1.348, "nanometer", version)
    tomogram = open_tomogram(tmp_path / "TS_1.zarr", tilt_range_deg=(-50, 50), dark_protein=True)
    assert tomogram.name == "TS_1" and tomogram.shape_zyx == volume.shape
    assert tomogram.voxel_size_angstrom == pytest.approx(13.48)
    region = (slice(3, 9), slice(0, 22), slice(20, 26))
    np.testing.assert_array_equal(tomogram.read(region), -volume[region])
    np.testing.assert_array_equal(tomogram.read(), -volume)
    sent = pickle.dumps(tomogram)  # to another process
    assert len(sent) < volume.nbytes / 4
    np.testing.assert_array_equal(pickle.loads(sent).read(region), -volume[region])
    half = open_tomogram(tmp_path / "TS_1.zarr", tilt_range_deg=(-50, 50), zarr_level=1)
    assert half.shape_zyx == (10, 11, 13)
    assert half.voxel_size_angstrom == pytest.approx(26.96)
    assert half.read()[1, 2, 3] == pytest.approx(volume[2:4, 4:6, 6:8].mean(), abs=1e-6)


def test_a_zarr_tomogram_is_picked_as_its_mrc(tmp_path):
    from aitom_disca.simulation import load_phantoms, simulate_tomogram

    made = simulate_tomogram([load_phantoms()["ring"]], 8, (40, 90, 90), 14.0, snr=0.5, gap_px=3)
    write_volume(tmp_path / "a.mrc", made.volume, 14.0, tilt_range_deg=(-60, 60))
    write_zarr(tmp_path / "b.zarr", made.volume, 14.0, "angstrom", 2)
    for name in ("a.mrc", "b.zarr"):
        options = ["--particle-diameter-angstrom", "200", "--tilt-range", "-60", "60"]
        assert (
            main(["pick", str(tmp_path / name), "-o", str(tmp_path / f"{name}.csv"), *options]) == 0
        )
    first, second = ((tmp_path / f"{n}.csv").read_text() for n in ("a.mrc", "b.zarr"))
    assert first.replace("\na,", "\nb,") == second


def test_what_is_wrong_with_a_zarr_folder_is_said(tmp_path, volume, capsys):
    write_zarr(tmp_path / "a.zarr", volume, 10.0, "parsec", 2)
    with pytest.raises(InputError, match="--voxel-size-angstrom"):
        open_zarr_volume(tmp_path / "a.zarr")
    assert open_zarr_volume(tmp_path / "a.zarr", voxel_size_angstrom=9.0)[1] == 9.0
    with pytest.raises(InputError, match="levels 0 to 1; got --zarr-level 2"):
        open_zarr_volume(tmp_path / "a.zarr", 2)
    attributes = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    attributes["multiscales"][0]["axes"][0]["name"] = "t"
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(InputError, match="axes z, y, x"):
        open_zarr_volume(tmp_path / "a.zarr")
    (tmp_path / "empty.zarr").mkdir()
    assert main(["info", str(tmp_path / "empty.zarr")]) == 2
    assert "OME-Zarr" in capsys.readouterr().err


# -- folders of projects ---------------------------------------------------------------------


def test_the_newest_tomograms_star_of_relion_is_taken(tmp_path, volume, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for job, column in (("job006", ""), ("job009", "_rlnTomoReconstructedTomogram #2\n")):
        folder = tmp_path / "Tomograms" / job
        folder.mkdir(parents=True)
        write_volume(folder / "rec_a.mrc", volume, 10.0, tilt_range_deg=(-60, 60))
        row = f"TS_01 Tomograms/{job}/rec_a.mrc" if column else "TS_01"
        text = f"\ndata_global\n\nloop_\n_rlnTomoName #1\n{column}{row}\n"
        (folder / "tomograms.star").write_text(text)
    assert tomograms_in(tmp_path) == [tmp_path / "Tomograms/job009/tomograms.star"]
    (one,) = open_tomograms([tmp_path])
    assert one.name == "TS_01" and one.path.name == "rec_a.mrc"


def test_a_folder_of_warp_brings_its_tilts(tmp_path, volume):
    (tmp_path / "tomostar").mkdir()
    (tmp_path / "tomostar" / "TS_01.tomostar").write_text(TABLES["a.tomostar"])
    write_volume(tmp_path / "warp_tiltseries/reconstruction/TS_01_10.00Apx.mrc", volume, 10.0)
    write_volume(tmp_path / "warp_tiltseries/reconstruction/TS_01_10.00Apx_half1.mrc", volume, 10.0)
    (one,) = open_tomograms([tmp_path])
    assert one.name == "TS_01_10.00Apx" and one.tilt_range_deg == RANGE


def test_a_folder_of_aretomo_brings_its_tilts(tmp_path, volume):
    for name in ("a_Vol.mrc", "a_EVN_Vol.mrc", "a_ODD_Vol.mrc"):
        write_volume(tmp_path / name, volume, 10.0)
    (tmp_path / "a.aln").write_text(TABLES["a.aln"])
    (one,) = open_tomograms([tmp_path])
    assert one.name == "a_Vol" and one.tilt_range_deg == RANGE


@pytest.mark.parametrize(
    "place",
    [
        "Reconstructions/VoxelSpacing10.000/Tomograms/100",
        "Tomograms/VoxelSpacing10/CanonicalTomogram",
    ],
)
def test_a_run_of_the_portal_gives_its_zarr(tmp_path, volume, place):
    write_zarr(tmp_path / place / "TS_1.zarr", volume, 10.0, "angstrom", 2)
    write_volume(tmp_path / place / "TS_1.mrc", volume, 10.0)
    assert tomograms_in(tmp_path) == [tmp_path / place / "TS_1.zarr"]


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["a_EVN.mrc", "a_ODD.mrc", "a.mrc", "a_Vol.mrc", "a_2ND_Vol.mrc"], ["a_Vol.mrc"]),
        (["a.mrc", "a_ali.mrc", "a_full.rec", "a.rec"], ["a.rec"]),
        (["a.mrc", "a_full.rec"], ["a_full.rec"]),
        (["a.mrc", "a_full.mrc"], ["a.mrc", "a_full.mrc"]),
        (["a_rec.mrc", "a_full_rec.mrc", "b_full_rec.mrc"], ["a_rec.mrc", "b_full_rec.mrc"]),
        (["a.mrc", "a_seg.mrc", "a_MemBrain_seg_v10.ckpt_segmented.mrc"], ["a.mrc"]),
        (["a_10.00Apx.mrc", "a_mask.mrc", "b_mask.mrc"], ["a_10.00Apx.mrc", "b_mask.mrc"]),
        (["TS_1.mrc", "TS_10_seg.mrc", "odd_1.mrc"], ["TS_1.mrc", "TS_10_seg.mrc", "odd_1.mrc"]),
        (["a_half1.mrc", "b_even.mrc", "b.mrc"], ["a_half1.mrc", "b.mrc"]),
        ([".a.mrc", "._b.mrc", "b.mrc", "c.mrc/d.txt"], ["b.mrc"]),
    ],
)
def test_what_lies_beside_a_tomogram_tells_what_is_none(tmp_path, there, taken):
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in tomograms_in(tmp_path)] == taken


def test_of_several_kinds_in_a_run_of_the_portal_one_is_taken(tmp_path, capsys):
    place = tmp_path / "Reconstructions/VoxelSpacing10.000/Tomograms"
    for kind in ("100", "101", ".hidden"):
        (place / kind).mkdir(parents=True)
        (place / kind / "TS_1.mrc").write_bytes(b"")
    with progress.shown(Console(width=400)):
        assert tomograms_in(tmp_path) == [place / "100" / "TS_1.mrc"]
    assert "not taken: Reconstructions/VoxelSpacing10.000/Tomograms/101" in capsys.readouterr().out


def test_a_folder_of_halves_alone(tmp_path):
    for name in ("a_EVN_Vol.mrc", "a_ODD_Vol.mrc"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        InputError, match=r"only half sets .*but no whole tomograms; give the files"
    ):
        tomograms_in(tmp_path)


def test_a_folder_without_tomograms_is_said(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("nothing")
    assert main(["info", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "holds no tomograms" in said and "RELION" in said and "Warp" in said
