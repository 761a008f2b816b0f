"""Cases of pixel sizes, numbers and headers that once went wrong; each with the right value."""

from __future__ import annotations

import runpy
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest

from aitom_disca.cli.app import main
from aitom_disca.io import open_tomogram, open_tomograms, read_picks, write_picks_csv

CENTRES = [[12, 20, 24], [20, 30, 44]]


def run(*arguments):
    return main([str(argument) for argument in arguments])


def converted(tmp_path, source, *options, expected=0):
    """The table that a file is converted to."""
    out = tmp_path / "out.csv"
    code = run("convert", source, out, "--to", "csv", "--overwrite", *options)
    assert code == expected
    return pd.read_csv(out) if expected == 0 else None


@pytest.mark.parametrize("made", ["now", "before"])
def test_picks_of_one_binning_on_another(shared_cases, tmp_path, caplog, capsys, made):
    case = shared_cases / "bug_04_picks_csv_forgets_voxel_size"
    picks = case / "picks.csv"  # as written before the column was there
    if made == "now":
        of_bin2 = open_tomogram(case / "bin2" / "TS_01.mrc", tilt_range_deg=(-60, 60)).info
        read = read_picks(picks, tomograms={"TS_01": of_bin2})
        picks = tmp_path / "picks.csv"
        write_picks_csv(picks, read)
    arguments = ["--picks", picks, "--out", tmp_path / "x.h5", "--box-px", 8]
    caplog.clear()
    assert run("extract", case / "bin1/TS_01.mrc", *arguments, "--tilt-range", -60, 60) == 0
    if made == "before":
        more = [*arguments, "--overwrite", "--file-pixel-angstrom", 10]
        assert run("extract", case / "bin1/TS_01.mrc", *more) == 0
        with h5py.File(tmp_path / "x.h5") as store:
            assert np.abs(store["center_zyx_px"][:] - CENTRES).max() <= 0.5
        assert "does not say in which pixels it counts; the voxels of the tomogram" in caplog.text
        return
    assert "counts in pixels of 10 Angstrom, the tomogram has 5" in caplog.text
    with h5py.File(tmp_path / "x.h5") as store:
        found = store["center_zyx_px"][:]
    assert np.abs(found - CENTRES).max() <= 0.5
    assert run("doctor", case / "bin1/TS_01.mrc", "--picks", picks, "-d", 25) in (0, 2)
    assert "0 of 2 lie outside" in capsys.readouterr().out


def test_rows_of_two_voxel_sizes(shared_cases, tmp_path):
    case = shared_cases / "bug_04_picks_csv_forgets_voxel_size"
    table = converted(tmp_path, case / "two_sizes.csv")
    angstrom = table[["x", "y", "z"]].mul(table["voxel_size_angstrom"], axis=0)
    assert angstrom.to_numpy().tolist() == [[50] * 3, [100] * 3]


@pytest.mark.parametrize("given", ["tomogram", "voxel size", "nothing"])
def test_a_detector_pixel_alone(shared_cases, tmp_path, given):
    case = shared_cases / "bug_05_detector_pixel_size_alone"
    options = {
        "tomogram": ["--tomogram", case / "TS_01.mrc"],
        "voxel size": ["--voxel-size-angstrom", 5],
        "nothing": [],
    }[given]
    table = converted(tmp_path, case / "pytom_match_pick.star", *options)
    scale = 1 if given == "nothing" else 2
    assert (table[["x", "y", "z"]].iloc[0] == np.array([12, 10, 6]) * scale).all()
    assert table["voxel_size_angstrom"][0] == 10 / scale


def test_angles_that_no_program_means(shared_cases, tmp_path, caplog):
    table = converted(tmp_path, shared_cases / "bug_12_angles_no_program_means" / "warp.star")
    assert "divide by 57.2958" in caplog.text
    np.testing.assert_allclose(
        table[["rot", "tilt", "psi"]].iloc[0], [3867.465, 671.269, 10742.958]
    )


def test_images_that_relion_scaled(shared_cases, tmp_path):
    case = shared_cases / "relion_5_scaled_star_read"
    tomogram = shared_cases / "relion_common" / "fine.mrc"
    table = converted(tmp_path, case / "F.star", "--tomogram", tomogram)
    np.testing.assert_allclose(table[["x", "y", "z"]].iloc[0], [39.671, 33.466, 38.439])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("plain", [20, 15, 8]),
        ("flipped", [20, 15, 8]),
        ("point2model", [20, 15, 8]),
        ("point2model_memory", [20, 15, 8]),
        ("unbinned", [5, 4, 2]),
    ],
)
def test_flags_of_imod(shared_cases, tmp_path, model, expected):
    pytest.importorskip("imodmodel")
    source = shared_cases / "bug_07_imod_flags" / f"{model}.mod"
    options = ["--tomogram-name", "T", "--voxel-size-angstrom", 10, "--size-zyx", 24, 36, 48]
    table = converted(tmp_path, source, *options)
    assert table[["x", "y", "z"]].iloc[0].tolist() == expected
    assert len(table) == 1 or table[["x", "y", "z"]].iloc[1].tolist() == [30, 21, 12]


@pytest.mark.parametrize("name", ["statistics", "no_statistics", "unknown_statistics"])
def test_unsigned_bytes(shared_cases, tmp_path, monkeypatch, name):
    case = shared_cases / "bug_11_unsigned_bytes"
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(case / "make.py"))
    with warnings.catch_warnings():  # no warning: the voxels leave no doubt
        warnings.simplefilter("error")
        tomogram = open_tomogram(f"{name}.mrc", tilt_range_deg=(-60, 60))
    volume = tomogram.read()
    assert volume.min() >= 0
    for z, y, x in ((20, 30, 40), (30, 60, 90), (40, 25, 100), (25, 65, 30), (35, 45, 65)):
        inside = volume[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3]
        assert inside.mean() > volume.mean() + 50  # not wrapped


@pytest.mark.parametrize(
    ("name", "found"), [("upper", "X, Y, Z"), ("semicolon", "x;y;z"), ("plain", "1, 2, 3")]
)
def test_tables_of_other_columns(shared_cases, tmp_path, capsys, name, found):
    source = shared_cases / "bug_22_words" / f"{name}.csv"
    converted(tmp_path, source, "--tomogram-name", "T", expected=2)
    line = capsys.readouterr().err.strip()
    assert "needs the columns x, y, z" in line and f"found: {found}." in line


def test_blanks_in_a_table(shared_cases, tmp_path):
    source = shared_cases / "bug_22_words" / "space.csv"
    table = converted(tmp_path, source, "--tomogram-name", "T")
    assert table[["x", "y", "z"]].to_numpy().tolist() == [[1, 2, 3]]


def test_an_object_that_ends_in_a_number(shared_cases, tmp_path):
    table = converted(tmp_path, shared_cases / "bug_22_words" / "hsp.json")
    assert "cluster" not in table and table["pickable_object_name"].tolist() == ["hsp-60"]


def test_two_stages_of_angles(shared_cases, tmp_path, recwarn):
    source = shared_cases / "bug_22_words" / "two_stages.star"
    options = ["--voxel-size-angstrom", 10, "--size-zyx", 60, 90, 120]
    assert len(converted(tmp_path, source, *options)) == 1
    assert not [one for one in recwarn if "Gimbal" in str(one.message)]


def test_an_extended_header_that_was_not_copied(shared_cases, caplog):
    path = shared_cases / "bug_22_words" / "cryocare.mrc"
    tomogram = open_tomogram(path, tilt_range_deg=(-60, 60), voxel_size_angstrom=10)
    whole = np.frombuffer(path.read_bytes()[1024:], tomogram.data.dtype).reshape(12, 16, 16)
    np.testing.assert_array_equal(tomogram.read(), whole)
    assert "promises an extended header of 57600 bytes that it does not have" in caplog.text


@pytest.mark.parametrize("source", [".", "Tomograms/job006/tomograms.star"])
def test_half_tomograms_of_relion_5(shared_cases, monkeypatch, capsys, source):
    case = shared_cases / "bug_15_relion5_half_tomograms"
    monkeypatch.chdir(case)
    assert run("info", source) == 0
    cells = " ".join(capsys.readouterr().out.split())
    assert "TS_01" in cells and "48, 36, 24" in cells and "-58 to 62" in cells
    (tomogram,) = open_tomograms([source])
    assert tomogram.voxel_size_angstrom == 10
    halves = [
        open_tomogram(f"Tomograms/job006/tomograms/rec_TS_01_half{i}.mrc", tilt_range_deg=(-1, 1))
        for i in (1, 2)
    ]
    region = (slice(3, 9), slice(0, 36), slice(7, 8))
    mean = np.mean([half.read(region) for half in halves], axis=0)
    np.testing.assert_allclose(tomogram.read(region), mean, rtol=1e-6)


def test_a_tilt_series_that_is_none(shared_cases, monkeypatch, caplog):
    case = shared_cases / "bug_15_relion5_half_tomograms" / "hand_made"
    monkeypatch.chdir(case)
    (tomogram,) = open_tomograms(["from_warp.star"])
    assert tomogram.name == "TS_01" and tomogram.tilt_range_deg == (-60, 60)
    assert caplog.text.count("the tilt series rec_TS_01.mrc of TS_01 is passed over") == 1
