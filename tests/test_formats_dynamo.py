"""Dynamo tables: conventions against examples by hand, and what survives being written."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import (
    euler_zyz_deg_from_rotation,
    random_rotations,
    rotation_from_euler_zyz_deg,
)
from aitom_disca.io.formats import get_format, recognise
from aitom_disca.io.formats.format import Known
from aitom_disca.particles import ParticleSet, TomogramInfo

pytest.importorskip("dynamotable")
dynamo = get_format("dynamo")
NUMBERS = {  # columns by the numbers that Dynamo's help gives them
    "tag": 1, "dx": 4, "dy": 5, "dz": 6, "tdrot": 7, "tilt": 8, "narot": 9, "cc": 10, "ftype": 13,
    "ymintilt": 14, "ymaxtilt": 15, "tomo": 20, "reg": 21, "class": 22, "x": 24, "y": 25, "z": 26,
    "daxis": 28, "apix": 36,
}  # fmt: skip


def row(n_columns=42, **values):
    cells = ["0"] * n_columns
    for name, value in values.items():
        cells[NUMBERS[name] - 1] = str(value)
    return " ".join(cells) + "\n"


def cells(path):
    return [line.split() for line in Path(path).read_text().splitlines()]


def particles(rng, n=9):
    center = rng.uniform(5, 90, (n, 3))
    info = TomogramInfo("TS_01", 13.48, (60, 100, 120), (-54.0, 57.0))
    return ParticleSet(
        np.array(["TS_01", "b c"] * (n // 2) + ["TS_01"]),
        center,
        score=rng.normal(size=n),
        euler_zyz_deg=euler_zyz_deg_from_rotation(random_rotations(n, rng)),
        cluster=np.array([0, 2, -1] * (n // 3)),
        box_center_zyx_px=np.round(center),
        tomograms={"TS_01": info, "b c": replace(info, name="b c", voxel_size_angstrom=10.0)},
    )


def same_poses(one, two, atol_deg=1e-4):
    turn = rotation_from_euler_zyz_deg(one) * rotation_from_euler_zyz_deg(two).inv()
    np.testing.assert_allclose(np.degrees(turn.magnitude()), 0, atol=atol_deg)


def test_turns_are_clockwise_about_z_new_x_and_new_z(tmp_path):
    # A vector that turns clockwise by 90 degrees about +z goes from +x to -y,
    # about +x from +z to +y.
    path = tmp_path / "a.tbl"
    path.write_text(
        row(tomo=1, tdrot=90) + row(tomo=1, tilt=90) + row(tomo=1, tdrot=90, tilt=90)
        + row(tomo=1, tilt=90, narot=90)
    )  # fmt: skip
    first, second, third, fourth = rotation_from_euler_zyz_deg(
        dynamo.read(path, Known()).euler_zyz_deg
    ).as_matrix()
    np.testing.assert_allclose(first @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(second @ [0, 0, 1], [0, 1, 0], atol=1e-12)
    # tdrot took the particle's x axis to -y; the tilt is about that one: z goes to +x
    np.testing.assert_allclose(third @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    # the tilt took z to +y; narot turns about that and leaves it there, x goes to +z
    np.testing.assert_allclose(fourth @ [0, 0, 1], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(fourth @ [1, 0, 0], [0, 0, 1], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-179, 179)] * 3))
def test_angles_against_products_of_axis_rotations(tmp_path_factory, angles):
    path = tmp_path_factory.mktemp("dynamo") / "a.tbl"
    tdrot, tilt, narot = angles
    path.write_text(row(tomo=1, tdrot=tdrot, tilt=tilt, narot=narot))

    def about(axis, degrees):
        return Rotation.from_rotvec(np.radians(degrees) * np.eye(3)[axis]).as_matrix()

    expected = (about(2, narot) @ about(0, tilt) @ about(2, tdrot)).T
    read = rotation_from_euler_zyz_deg(dynamo.read(path, Known()).euler_zyz_deg[0]).as_matrix()
    np.testing.assert_allclose(read, expected, atol=1e-6)  # 1e-4 degrees


def test_voxel_centres_are_at_half_integers(tmp_path):
    path = tmp_path / "a.tbl"
    path.write_text(row(tomo=3, x=508.5, y=378.5, z=318.5, dx=-1.25, dy=2, dz=0.5, cc=0.15539))
    read = dynamo.read(path, Known())
    assert read.box_center_zyx_px.tolist() == [[318, 378, 508]]
    assert read.center_zyx_px.tolist() == [[318.5, 380, 506.75]]
    assert read.score.tolist() == [0.15539]
    assert read.tomogram_name.tolist() == ["3"]
    assert read.cluster is None


def test_written_columns(tmp_path, rng):
    given = particles(rng)
    files = dynamo.write(tmp_path / "out.tbl", given, Known())
    assert [file.name for file in files] == ["out.tbl", "out.doc"]
    written = cells(files[0])
    assert {len(line) for line in written} == {42}
    column = {name: np.array([line[i - 1] for line in written], float)
              for name, i in NUMBERS.items()}  # fmt: skip
    assert column["class"].tolist() == [1, 3, 0] * 3
    assert column["tag"].tolist() == list(range(1, 10))
    assert column["tomo"].tolist() == [1, 2] * 4 + [1]
    assert column["apix"].tolist() == [13.48, 10] * 4 + [13.48]
    assert (column["ftype"] == 1).all()
    assert set(column["ymintilt"]) == {-54}
    np.testing.assert_allclose(column["x"], given.box_center_zyx_px[:, 2] + 0.5)
    np.testing.assert_allclose(column["x"] + column["dx"] - 0.5, given.center_zyx_px[:, 2])
    assert files[1].read_text() == "1 TS_01\n2 b c\n"


def test_round_trip(tmp_path, rng):
    given = particles(rng)
    dynamo.write(tmp_path / "out.tbl", given, Known())
    assert recognise(tmp_path / "out.tbl").name == "dynamo"
    read = dynamo.read(tmp_path / "out.tbl", Known())
    assert read.tomogram_name.tolist() == given.tomogram_name.tolist()
    np.testing.assert_allclose(read.center_zyx_px, given.center_zyx_px, atol=1e-9)
    np.testing.assert_array_equal(read.box_center_zyx_px, given.box_center_zyx_px)
    np.testing.assert_allclose(read.score, given.score, rtol=1e-11)
    np.testing.assert_array_equal(read.cluster, given.cluster)
    same_poses(read.euler_zyz_deg, given.euler_zyz_deg)
    assert read.tomograms["b c"].voxel_size_angstrom == 10
    assert read.tomograms["TS_01"].tilt_range_deg == (-54, 57)


@pytest.mark.parametrize("n_columns", [35, 41, 42, 44])
def test_every_column_comes_back(tmp_path, n_columns):
    path = tmp_path / "a.tbl"
    text = row(n_columns, tag=43, tomo=7, reg=5, daxis="1.5+2.25i", x=10.5, y=11.5, z=12.5, tilt=20)
    path.write_text(text + text.replace("1.5+2.25i", "NaN").replace("43 ", "44 ", 1))
    (tmp_path / "a.doc").write_text("7 /data/TS_07.mrc\n")
    read = dynamo.read(path, Known())
    assert read.tomogram_name.tolist() == ["TS_07"] * 2
    assert len(read.more) == n_columns - 11
    dynamo.write(tmp_path / "b.tbl", read.select(np.array([1, 0])), Known())
    written = cells(tmp_path / "b.tbl")
    original = cells(path)[::-1]
    assert (tmp_path / "b.doc").read_text() == "7 /data/TS_07.mrc\n"
    assert [line[27] for line in written] == ["NaN", "1.5+2.25i"]
    assert [line[19] for line in written] == ["7", "7"]
    for line, before in zip(written, original, strict=True):
        assert len(line) == max(n_columns, 42)
        kept = [i for i in range(n_columns) if i not in (6, 7, 8, 27)]
        assert [float(line[i]) for i in kept] == [float(before[i]) for i in kept]


def test_pixels_of_another_size_are_scaled(tmp_path, caplog):
    path = tmp_path / "a.tbl"
    path.write_text(row(tomo=1, x=20.5, y=40.5, z=60.5, dx=1, apix=5))
    (tmp_path / "a.doc").write_text("1 TS_01\n")
    info = TomogramInfo("TS_01", 10.0, (50, 60, 70), (-40, 50))
    read = dynamo.read(path, Known({"TS_01": info}))
    np.testing.assert_allclose(read.center_zyx_px, [[30, 20, 10.5]])
    np.testing.assert_allclose(read.box_center_zyx_px, [[30, 20, 10]])
    assert read.tomograms["TS_01"] == info
    assert "counts in pixels of 5 Angstrom, the tomogram has 10" in caplog.text
    same = dynamo.read(path, Known({"TS_01": info}, file_pixel_angstrom=10))
    np.testing.assert_allclose(same.center_zyx_px, [[60, 40, 21]])


def test_the_tomogram_given_by_name(tmp_path):
    path = tmp_path / "a.tbl"
    path.write_text(row(tomo=4, x=1.5, y=1.5, z=1.5))
    read = dynamo.read(path, Known(tomogram_name="TS_04", voxel_size_angstrom=8))
    assert read.tomogram_name.tolist() == ["TS_04"]
    assert read.tomograms["TS_04"].voxel_size_angstrom == 8


def test_tables_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.tbl"
    path.write_text("1 2 3\n")
    with pytest.raises(InputError, match=r"a.tbl has 3 columns, a Dynamo table needs 26 or more"):
        dynamo.read(path, Known())
    path.write_text(row(tomo=1) + "1 2\n3 " + row(tomo=1))
    with pytest.raises(InputError, match=r"row 2 has 2 values, but there are 42 columns"):
        dynamo.read(path, Known())
    path.write_text("")
    with pytest.raises(InputError, match="holds no rows"):
        dynamo.read(path, Known())
    path.write_text(row(tomo=1, x="one"))
    with pytest.raises(InputError, match=r"no number as column x .*one"):
        dynamo.read(path, Known())
    path.write_text(row(tomo=1, tilt="nan"))
    with pytest.raises(InputError, match="no number as column tilt"):
        dynamo.read(path, Known())
    path.write_text(row(tomo=1))
    (tmp_path / "a.doc").write_text("TS_01\n")
    with pytest.raises(InputError, match=r"a.doc needs lines of a number and the file"):
        dynamo.read(path, Known())
    lost = ParticleSet(np.array(["a"]), np.full((1, 3), np.nan))
    with pytest.raises(InputError, match="a Dynamo table needs positions, which"):
        dynamo.write(path, lost, Known())


def test_scores_that_are_not_known(tmp_path, rng):
    given = replace(particles(rng), score=np.array([np.nan] * 8 + [0.5]))
    dynamo.write(tmp_path / "a.tbl", given, Known())
    assert dynamo.read(tmp_path / "a.tbl", Known()).score.tolist() == [0] * 8 + [0.5]
    text = (tmp_path / "a.tbl").read_text()
    (tmp_path / "a.tbl").write_text(text.replace(" 0.5 ", " NaN "))
    assert dynamo.read(tmp_path / "a.tbl", Known()).score is None


def test_what_is_lost_is_said(tmp_path):
    path = tmp_path / "a.tbl"
    path.write_text(row(43, tomo=1))
    read = dynamo.read(path, Known())
    assert dynamo.loses(read, Known()) == []
    foreign = replace(read, more={**read.more, "rlnImageName": np.array(["a.mrc"])})
    assert dynamo.loses(foreign, Known()) == ["further columns rlnImageName"]
    assert "further columns tag, " in get_format("stopgap").loses(read, Known())[0]


def test_without_the_package(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "dynamotable"] + ["dynamotable"]:
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "a.tbl"
    with pytest.raises(
        InputError, match=r"a Dynamo table needs the package dynamotable; .*disca\[exports\]"
    ):
        dynamo.write(path, ParticleSet(np.array(["t"]), np.zeros((1, 3))), Known())
