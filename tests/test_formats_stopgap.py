"""STOPGAP motive lists: conventions against examples by hand, and what survives being written."""

from __future__ import annotations

import numpy as np
import pytest
import starfile
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

stopgap = get_format("stopgap")
# as STOPGAP itself writes it: no comments, no numbers behind the labels, padded columns
HEADER = """
data_stopgap_motivelist

loop_
_motl_idx
_tomo_num
_object
_subtomo_num
_halfset
_orig_x
_orig_y
_orig_z
_score
_x_shift
_y_shift
_z_shift
_phi
_psi
_the
_class

"""


def line(idx=1, tomo=7, half="A", orig=(31, 41, 51), score=0.25, shift=(0, 0, 0),
         phi=0.0, psi=0.0, the=0.0, number=1):  # fmt: skip
    values = (idx, tomo, 3, 10 + idx, half, *orig, score, *shift, phi, psi, the, number)
    return "  ".join(map(str, values)) + "\n"


def particles(rng, n=8):
    center = rng.uniform(5, 90, (n, 3))
    return ParticleSet(
        np.array(["TS_01", "b"] * (n // 2)),
        center,
        score=rng.normal(size=n),
        euler_zyz_deg=euler_zyz_deg_from_rotation(random_rotations(n, rng)),
        cluster=np.array([0, 2, -1, 1] * (n // 4)),
        box_center_zyx_px=np.round(center),
        tomograms={"TS_01": TomogramInfo("TS_01", 10.0)},
    )


def test_phi_about_z_then_the_about_x_then_psi_about_z(tmp_path):
    path = tmp_path / "a.star"
    # axes of the tomogram; anticlockwise by 90 degrees: about x, z goes to -y; about z, x to y
    path.write_text(
        HEADER
        + line(1, the=90)
        + line(2, the=90, psi=90)
        + line(3, phi=90, the=90)
        + line(4, phi=90)
    )
    tilted, turned, spun, flat = rotation_from_euler_zyz_deg(
        stopgap.read(path, Known()).euler_zyz_deg
    ).as_matrix()
    np.testing.assert_allclose(tilted @ [0, 0, 1], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(turned @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(spun @ [1, 0, 0], [0, 0, 1], atol=1e-12)  # x to y, then y to z
    np.testing.assert_allclose(flat @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-179, 179).map(lambda v: round(v, 6))] * 3))
def test_angles_against_products_of_axis_rotations(tmp_path_factory, angles):
    path = tmp_path_factory.mktemp("stopgap") / "a.star"
    phi, the, psi = angles
    path.write_text(HEADER + line(phi=phi, the=the, psi=psi))

    def about(axis, degrees):
        return Rotation.from_rotvec(np.radians(degrees) * np.eye(3)[axis]).as_matrix()

    expected = about(2, psi) @ about(0, the) @ about(2, phi)
    read = stopgap.read(path, Known()).euler_zyz_deg
    matrix = rotation_from_euler_zyz_deg(read[0]).as_matrix()
    np.testing.assert_allclose(matrix, expected, atol=1e-6)  # 1e-4 degrees


def test_dynamo_has_the_negative_angles(tmp_path):
    """STOPGAP's own conversion: tdrot, tilt, narot are -psi, -the, -phi."""
    pytest.importorskip("dynamotable")
    (tmp_path / "a.star").write_text(HEADER + line(phi=20, the=30, psi=50))
    get_format("dynamo").write(
        tmp_path / "a.tbl", stopgap.read(tmp_path / "a.star", Known()), Known()
    )
    written = np.array((tmp_path / "a.tbl").read_text().split()[6:9], float)
    one, other = (
        Rotation.from_euler("zxz", angles, degrees=True) for angles in (written, (-50, -30, -20))
    )
    assert (one * other.inv()).magnitude() < 1e-9


def test_voxels_are_counted_from_1(tmp_path):
    path = tmp_path / "a.star"
    path.write_text(HEADER + line(orig=(31, 41, 51), shift=(0.5, -0.25, 2), number=2))
    (tmp_path / "a_tomolist.txt").write_text("7 /data/TS_07.rec\n")
    read = stopgap.read(path, Known(voxel_size_angstrom=8))
    assert read.box_center_zyx_px.tolist() == [[50, 40, 30]]
    assert read.center_zyx_px.tolist() == [[52, 39.75, 30.5]]
    assert read.cluster.tolist() == [1]
    assert read.score.tolist() == [0.25]
    assert read.tomogram_name.tolist() == ["TS_07"]
    assert read.tomograms["TS_07"].voxel_size_angstrom == 8
    assert str(read.tomograms["TS_07"].path) == "/data/TS_07.rec"


def test_what_is_written(tmp_path, rng):
    given = particles(rng)
    files = stopgap.write(tmp_path / "m.star", given, Known())
    assert [file.name for file in files] == ["m.star", "m_tomolist.txt"]
    text = files[0].read_text()
    assert text.startswith(HEADER)
    assert "#" not in text
    table = starfile.read(files[0])
    assert table["class"].tolist() == [1, 3, 0, 2] * 2
    assert table["halfset"].tolist() == ["A", "B"] * 4
    assert table["tomo_num"].tolist() == [1, 2] * 4
    np.testing.assert_allclose(
        table["orig_y"] + table["y_shift"] - 1, given.center_zyx_px[:, 1], atol=1e-7
    )
    assert files[1].read_text() == "1 TS_01\n2 b\n"


def test_round_trip(tmp_path, rng):
    given = particles(rng)
    stopgap.write(tmp_path / "m.star", given, Known())
    assert recognise(tmp_path / "m.star").name == "stopgap"
    read = stopgap.read(tmp_path / "m.star", Known())
    assert read.tomogram_name.tolist() == given.tomogram_name.tolist()
    np.testing.assert_allclose(read.center_zyx_px, given.center_zyx_px, atol=1e-7)
    np.testing.assert_array_equal(read.box_center_zyx_px, given.box_center_zyx_px)
    np.testing.assert_allclose(read.score, given.score, rtol=1e-9)
    np.testing.assert_array_equal(read.cluster, given.cluster)
    turn = rotation_from_euler_zyz_deg(read.euler_zyz_deg)
    turn *= rotation_from_euler_zyz_deg(given.euler_zyz_deg).inv()
    np.testing.assert_allclose(np.degrees(turn.magnitude()), 0, atol=1e-4)


def test_every_column_comes_back(tmp_path):
    path = tmp_path / "a.star"
    path.write_text(
        HEADER.replace("_class\n", "_class\n_extra\n")
        + line(1, half="B").replace("\n", " 2.5\n")
        + line(2, tomo=9).replace("\n", " 3.5\n")
    )
    read = stopgap.read(path, Known())
    stopgap.write(tmp_path / "b.star", read.select(np.array([1, 0])), Known())
    (tmp_path / "a_tomolist.txt").write_text("7 /data/TS_07.rec\n9 TS_09\n")
    read = stopgap.read(path, Known())
    stopgap.write(tmp_path / "b.star", read.select(np.array([1, 0])), Known())
    assert (tmp_path / "b_tomolist.txt").read_text() == "9 TS_09\n7 /data/TS_07.rec\n"
    before, after = starfile.read(path), starfile.read(tmp_path / "b.star")
    assert list(before) == list(after)
    for name in before:
        assert after[name].tolist() == before[name].tolist()[::-1], name


def test_lists_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.star"
    with pytest.raises(InputError, match="does not exist"):
        stopgap.read(path, Known())
    path.write_text(HEADER.replace("_orig_z\n", "") + line().replace(" 51 ", " "))
    with pytest.raises(
        InputError, match=r"a.star lacks the columns orig_z of a STOPGAP motive list"
    ):
        stopgap.read(path, Known())
    path.write_text(HEADER + line(psi="left"))
    with pytest.raises(InputError, match=r"no number as column psi .*left"):
        stopgap.read(path, Known())
    path.write_text("data_other\n\nloop_\n_a\n_b\n1 2\n")
    with pytest.raises(InputError, match="needs a table with one of the columns motl_idx"):
        stopgap.read(path, Known())
    lost = ParticleSet(np.array(["a"]), np.full((1, 3), np.nan))
    with pytest.raises(InputError, match="a STOPGAP motive list needs positions, which"):
        stopgap.write(path, lost, Known())
