"""Inputs that once put particles into the wrong tomogram: names, and the structure of files."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from aitom_disca.cli import main
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, open_tomograms
from aitom_disca.io.tomograms.mrc import write_volume
from aitom_disca.io.tomograms.project_folders import tomograms_in
from aitom_disca.pipeline.picks_of_run import matched

AT_80 = {"x": 80, "y": 80, "z": 80}


@pytest.fixture
def case(shared_cases, tmp_path, monkeypatch):
    """Go to a copy of a case's folder."""

    def enter(name: str) -> Path:
        (folder,) = shared_cases.glob(f"{name}_*")
        copy = tmp_path / "case"
        shutil.copytree(folder, copy)
        monkeypatch.chdir(copy)
        return copy

    return enter


def converted(*arguments: str) -> list[dict[str, str]]:
    """Rows of the table that a conversion writes."""
    assert main(["convert", *arguments, "--out", "o.csv", "--to", "csv"]) == 0
    with open("o.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_of(*arguments: str) -> list[str]:
    return [row["tomogram"] for row in converted(*arguments)]


def refused(capsys, *arguments: str) -> str:
    """What a command that ends with exit code 2 says, which is one line and no option of others."""
    assert main(list(arguments)) == 2
    err = capsys.readouterr().err.splitlines()
    assert len([line for line in err if line.startswith("error: ")]) == 1
    return err[-1]


def extracted(*arguments: str) -> list[tuple[str, list[float]]]:
    assert main(["extract", *arguments, "--out", "x.h5", "--box-px", "8", "--overwrite"]) == 0
    with open_store("x.h5") as store:
        one = store.particles()
    return list(zip(one.tomogram_name.tolist(), one.center_zyx_px.tolist(), strict=True))


def test_a_missing_name_is_filled_in_or_refused(case, capsys):  # bug_01
    case("bug_01")
    names = ["grid1_TS_01", "grid1_TS_02", "grid2_TS_07", "grid2_TS_08"]
    assert names_of("merged.star") == names
    for to in ("relion31", "relion5"):
        sizes = ["--voxel-size-angstrom", "5", "--size-zyx", "99", "99", "99", "--overwrite"]
        assert main(["convert", "merged.star", "o.star", "--to", to, *sizes]) == 0
        assert sorted(set(names_of("o.star", *sizes))) == names
    assert main(["convert", "merged.star", "o.tbl", "--to", "dynamo"]) == 0
    assert Path("o.doc").read_text() == "".join(f"{i} {n}\n" for i, n in enumerate(names, 1))
    assert "row 2 'nan'" in refused(capsys, "convert", "one_nan.star", "p.csv", "--to", "csv")
    assert "row 2 '<NA>'" in refused(capsys, "info", "tomograms.star")


def test_files_of_one_name_in_two_folders_are_two_tomograms(case):  # bug_02
    case("bug_02")
    assert names_of("crop.tbl") == ["TS_03/rec", "TS_04/rec"]
    assert names_of("particles.xml", "--overwrite") == ["TS_03/rec/tomogram", "TS_04/rec/tomogram"]
    assert names_of("motl.star", "--overwrite") == ["TS_03/rec", "TS_04/rec"]
    for to, file in (("dynamo", "o.tbl"), ("stopgap", "o.star"), ("pytom", "o.xml")):
        assert main(["convert", "crop.tbl", file, "--to", to, "--voxel-size-angstrom", "5"]) == 0
        assert names_of(file, "--overwrite") == ["TS_03/rec", "TS_04/rec"]


def test_a_missing_name_is_what_other_rows_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns = "rlnMicrographName rlnTomoName rlnCoordinateX rlnCoordinateY rlnCoordinateZ"
    rows = ["a.tomostar TS_1", "a.tomostar nan", "b.tomostar nan", "c.tomostar x", "c.tomostar y"]
    head = "data_\n\nloop_\n" + "".join(f"_{column}\n" for column in columns.split())
    Path("p.star").write_text(head + "".join(f"{row} 8 8 8\n" for row in rows))
    names = names_of("p.star", "--voxel-size-angstrom", "10")
    assert names == ["TS_1", "TS_1", "b", "x", "y"]


@pytest.fixture
def two_series(tmp_path, monkeypatch):
    """Particles of one file name in two folders, in a file for each, and a tomogram of one."""
    monkeypatch.chdir(tmp_path)
    columns = ("rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
    head = "data_\n\nloop_\n" + "".join(f"_{column}\n" for column in columns)
    for name in ("TS_03", "TS_04"):
        Path(name).mkdir()
        Path(name, "p.star").write_text(f"{head}/old/{name}/rec.mrc 8 8 8\n")
        Path(name, "q.ndjson").write_text('{"type":"point","location":{"x":1,"y":2,"z":3}}\n')
    write_volume("TS_03/rec.mrc", np.arange(16**3, dtype=np.float32).reshape(16, 16, 16), 10)


def test_files_of_one_name_in_two_folders_are_two_tomograms_of_two_files(two_series):
    sizes = ["--voxel-size-angstrom", "10", "--overwrite"]
    assert names_of("TS_03/p.star", "TS_04/p.star", *sizes) == ["TS_03/rec", "TS_04/rec"]
    assert names_of("TS_03/q.ndjson", "TS_04/q.ndjson", *sizes) == ["TS_03/q", "TS_04/q"]


def test_a_tomogram_of_another_folder_is_another(two_series, capsys):
    assert extracted("TS_03/rec.mrc", "--picks", "TS_03/p.star") == [("rec", [8, 8, 8])]
    said = refused(capsys, "extract", "TS_03/rec.mrc", "--picks", "TS_04/p.star", "--out", "y.h5")
    assert "none of the tomograms given (rec)" in said


def test_a_folder_without_particles_has_a_name_in_the_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert f"the folder {tmp_path} holds no" in refused(capsys, "convert", ".", "o.csv", "--to",
                                                        "csv")  # fmt: skip


def test_ts_10_is_not_ts_1(case, capsys):  # bug_03
    case("bug_03")
    with pytest.raises(InputError, match="--pick-on has no tomogram of the name TS_1 "):
        matched(open_tomograms(["raw"]), open_tomograms(["denoised"]))
    tomograms = ["--tomogram", "raw/TS_1.mrc", "--tomogram", "raw/TS_2.mrc"]
    rows = converted("points", *tomograms)
    assert {row["tomogram"] for row in rows} == {"TS_1", "TS_2", "TS_10"}
    assert [row["tomogram"] for row in rows if row["x"] == "12"] == ["TS_10", "TS_10"]
    said = refused(capsys, "extract", "raw/TS_1.mrc", "--picks", "points/TS_2_ribosome.ndjson",
                   "--out", "x.h5")  # fmt: skip
    assert "particles of TS_2, none of the tomograms given (TS_1)" in said


def test_star_files_put_together_or_cut(case, capsys):  # bug_08
    case("bug_08")
    for file, message in (
        ("catenated.star", "the block data_particles twice (lines 1 and 12)"),
        ("cut_short.star", "row 3 of the table data_particles and has 4 values, but there are 5"),
        ("two_tables.star", "holds 2 tables with such columns (data_TS_01, data_TS_02)"),
    ):
        assert message in refused(capsys, "convert", file, "a.csv", "--to", "csv")
    assert not Path("a.csv").exists()


@pytest.mark.parametrize("second", ["Particles", "", "old"])
def test_a_second_table_of_particles_is_not_passed_over(tmp_path, monkeypatch, capsys, second):
    monkeypatch.chdir(tmp_path)
    columns = ("rlnTomoName", "rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
    head = "\nloop_\n" + "".join(f"_{column}\n" for column in columns)
    first = f"data_particles\n{head}TS_1 5 6 7\n\n"
    Path("p.star").write_text(f"{first}data_{second}\n{head}TS_2 5 6 7\n")
    arguments = ("convert", "p.star", "p.csv", "--to", "csv", "--voxel-size-angstrom", "10")
    assert f"2 tables with such columns (data_particles, data_{second})" in refused(
        capsys, *arguments
    )
    Path("p.star").write_text(f"{first}data_{second}\n{head}")  # without rows nothing is lost
    assert main(list(arguments)) == 0


def test_names_of_warp(case, capsys):  # bug_14
    case("bug_14")
    places = [("TS_1_10.00Apx", [11, 16, 21]), ("TS_2_10.00Apx", [10, 17, 22])]
    assert extracted(".", "--picks", "particles.star") == places
    assert (
        "TS_1.tomostar, TS_2.tomostar is taken as the tomogram TS_1_10" in capsys.readouterr().out
    )
    sizes = ["--voxel-size-angstrom", "10"]
    assert main(["convert", "picks.csv", "w.star", "--to", "warp", *sizes]) == 0
    assert "TS_1.tomostar" in Path("w.star").read_text().split()


def test_what_a_folder_holds(case, capsys):  # bug_16
    folder = case("bug_16")
    (one,) = open_tomograms([folder / "aretomo3"])
    assert one.path.name == "TS_01_Vol.mrc" and one.tilt_range_deg == (-51, 53)
    shutil.copy("mac/TS_01.mrc", "mac/._TS_01.mrc")
    assert [path.name for path in tomograms_in(folder / "mac")] == ["TS_01.mrc"]
    assert [path.name for path in tomograms_in(folder / "names")] == ["wt_02.mrc", "wt_odd_01.mrc"]
    assert main(["info", "aretomo3"]) == 0
    assert "TS_01.mrc (tilt series); TS_01_CTF.mrc (spectra" in capsys.readouterr().out
    Path("names/z.mrc").write_bytes(b"no volume")
    assert "z.mrc" in refused(capsys, "info", "names")


@pytest.mark.parametrize(
    ("files", "tomograms"),
    [
        ("T_1.mrc T_1_CTF.mrc T_1_Vol.mrc T_1_2ND_Vol.mrc T_2.mrc T_2_CTF.mrc", "T_1_Vol.mrc"),
        ("T_1.rec T_1_full.rec T_2_full.rec", "T_1.rec T_2_full.rec"),
        ("T_1.mrc T_1_MemBrain_seg_v10_alpha.ckpt_segmented.mrc", "T_1.mrc"),
        ("T_1.mrc T_1_denoised.mrc T_2_denoised.mrc", "T_1.mrc T_2_denoised.mrc"),
        ("T_1.mrc T_10_seg.mrc T_1_mask_2.mrc", "T_1.mrc T_10_seg.mrc T_1_mask_2.mrc"),
        ("a.mrc a_ctf_1.mrc b_ctf.mrc", "a.mrc a_ctf_1.mrc b_ctf.mrc"),
    ],
)
def test_what_is_a_tomogram_of_its_own(tmp_path, files, tomograms):
    for name in files.split():
        (tmp_path / name).touch()
    assert [path.name for path in tomograms_in(tmp_path)] == tomograms.split()


def test_a_list_of_a_job_that_broke_off_is_passed_over(tmp_path, capsys):
    good, broken = (tmp_path / f"Tomograms/{job}/tomograms.star" for job in ("job009", "job010"))
    for star in (good, broken):
        star.parent.mkdir(parents=True)
    columns = ("rlnTomoName", "rlnTomoReconstructedTomogram")
    head = "data_global\n\nloop_\n" + "".join(f"_{column}\n" for column in columns)
    good.write_text(f"{head}TS_1 TS_1.mrc\n")
    broken.write_text(f"{head}TS_1\n")
    assert tomograms_in(tmp_path) == [good]
    assert main(["info", str(tmp_path)]) == 2  # there is no TS_1.mrc
    assert f"passed over {broken}: " in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("name", ["o'brien_01", "grid#3_01"])
def test_names_come_back(case, name):  # bug_18
    case("bug_18")
    Path("p.csv").write_text(f"tomogram,z,y,x,score\n{name},12,18,24,1\n")
    sizes = ["--voxel-size-angstrom", "10"]
    assert main(["convert", "p.csv", "p.star", "--to", "relion31", *sizes]) == 0
    assert extracted(f"{name}.mrc", "--picks", "p.star") == [(name, [12, 18, 24])]


@pytest.mark.parametrize(
    "picks",
    [["--picks", "TS_1_ribosome.ndjson", "--picks", "TS_2_ribosome.ndjson"], ["--picks", "."]],
)
def test_points_of_several_tomograms(case, picks):  # bug_20
    case("bug_20")
    assert extracted("TS_1.mrc", "TS_2.mrc", *picks) == [
        ("TS_1", [11, 16, 21]),
        ("TS_2", [12, 17, 22]),
    ]


def test_coordinate_files_of_relion_are_told_by_their_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    zyx = np.arange(16**3, dtype=np.float32).reshape(16, 16, 16)
    head = "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n"
    Path("p").mkdir()
    for i, name in enumerate(("TS_1", "TS_10")):
        write_volume(f"{name}.mrc", zyx, 10)
        Path(f"p/{name}_manualpick.star").write_text(f"{head}{8 + i} 8 8\n")
    places = [("TS_1", [8, 8, 8]), ("TS_10", [8, 8, 9])]
    assert sorted(extracted("TS_1.mrc", "TS_10.mrc", "--picks", "p")) == places
    said = refused(capsys, "extract", "TS_1.mrc", "--picks", "p/TS_10_manualpick.star", "--out",
                   "y.h5")  # fmt: skip
    assert "particles of TS_10, none of the tomograms given (TS_1)" in said
    Path("p/TS_1_manualpick.star").rename("picks.star")
    said = refused(capsys, "extract", "TS_1.mrc", "TS_10.mrc", "--picks", "picks.star", "--out",
                   "y.h5")  # fmt: skip
    assert "call the file by it, such as TS_1.star" in said


@pytest.mark.parametrize("kind", ["copick", "eman2", "star"])
def test_files_of_other_tomograms_in_a_folder(tmp_path, monkeypatch, capsys, caplog, kind):
    """Nothing says the voxel size of those that are not given; they are left out."""
    monkeypatch.chdir(tmp_path)
    zyx = np.arange(16**3, dtype=np.float32).reshape(16, 16, 16)
    write_volume("TS_1.mrc", zyx, 10)
    for name in ("TS_1", "TS_9"):
        picks = {"pickable_object_name": "r", "run_name": name, "points": [{"location": AT_80}]}
        boxes = {"apix_unbin": 5.0, "boxes_3d": [[0, 0, 0]]}
        columns = "rlnTomoName rlnCoordinateX rlnCoordinateY rlnCoordinateZ rlnOriginXAngst "
        columns += "rlnOriginYAngst rlnOriginZAngst"
        star = "data_\nloop_\n" + "".join(f"_{c}\n" for c in columns.split())
        Path("p").mkdir(exist_ok=True)
        file, text = {
            "copick": (f"{name}.json", json.dumps(picks)),
            "eman2": (f"{name}_info.json", json.dumps(boxes)),
            "star": (f"{name}.star", f"{star}{name} 8 8 8 0 0 0\n"),
        }[kind]
        Path("p", file).write_text(text)
    assert extracted("TS_1.mrc", "--picks", "p") == [("TS_1", [8, 8, 8])]
    if kind == "copick":
        monkeypatch.chdir("p")
        assert extracted("../TS_1.mrc", "--picks", ".") == [("TS_1", [8, 8, 8])]
        assert [line for line in caplog.messages if "left out" in line][-1].startswith("p: 1 of 2")
        monkeypatch.chdir("..")
    said = refused(capsys, "extract", "TS_1.mrc", "--picks", f"p/{file}", "--out", "y.h5")
    assert "holds particles of TS_9, none of the tomograms given (TS_1)" in said
    Path("TS_1.mrc").rename("TS_2.mrc")
    assert "TS_2" in refused(capsys, "extract", "TS_2.mrc", "--picks", "p", "--out", "y.h5")


def test_points_with_and_without_poses(case, caplog):  # bug_20
    case("bug_20")
    rows = converted("mixed.ndjson", "--tomogram-name", "T")
    assert "rot" not in rows[0]
    assert "poses of 1 of 2 points are left out" in caplog.text


@pytest.mark.parametrize(
    ("command", "picks", "said"),
    [
        ("extract", "mixed.ndjson", "does not say which tomogram"),
        ("run", "mixed.ndjson", "does not say which tomogram"),
        ("doctor", "mixed.ndjson", "does not say which tomogram"),
        ("extract", "README.md", "of no particle format"),
        ("extract", "TS_9_info.json", "particles of TS_9, none of the tomograms given"),
        ("extract", "short.star", "row 2 of the table data_ and has 3 values, but there are 4"),
    ],
)
def test_what_is_said_names_options_of_the_command(case, capsys, command, picks, said):  # bug_20
    case("bug_20")
    info = {"boxes_3d": [[1, 2, 3, "manual", 0.5, 0]], "apix_unbin": 2.5}
    Path("TS_9_info.json").write_text(json.dumps(info))
    columns = "".join(f"_rln{name}\n" for name in ("CoordinateX", "CoordinateY", "CoordinateZ"))
    Path("short.star").write_text(f"data_\nloop_\n{columns}_rlnTomoName\n1 2 3 TS_1\n4 5 6\n")
    main([command, "--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    code = main([command, "TS_1.mrc", "TS_2.mrc", "--picks", picks, "--out", "o"])
    shown = " ".join("".join(capsys.readouterr()).partition("machine")[0].split())
    assert code == 2 and (said in shown or command == "doctor")  # whose table breaks lines
    assert set(re.findall(r"(?<!run )--[a-z][a-z-]+", shown)) <= known


def test_the_tomogram_of_a_file_is_given(case):  # bug_20
    case("bug_20")
    one = extracted("TS_1.mrc", "TS_2.mrc", "--picks", "mixed.ndjson", "--tomogram-name", "TS_2",
                    "--file-pixel-angstrom", "20")  # fmt: skip
    assert one == [("TS_2", [20, 30, 40])]
