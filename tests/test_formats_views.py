"""Views of particles: ChimeraX, ArtiaX, napari. Places and poses are those of the tomogram."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import mrcfile
import numpy as np
import pytest
import starfile

from aitom_disca.colours import cluster_colour
from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, random_rotations
from aitom_disca.io.formats import NAMES, get_format
from aitom_disca.io.formats.artiax import name_for_artiax
from aitom_disca.io.formats.format import Known
from aitom_disca.particles import ParticleSet, TomogramInfo

chimerax, artiax, napari = (get_format(name) for name in ("chimerax", "artiax", "napari"))


@pytest.fixture
def particles(tmp_path, rng):
    with mrcfile.new(tmp_path / "TS_01.mrc") as mrc:
        mrc.set_data(np.zeros((8, 10, 12), np.float32))
    info = TomogramInfo("TS_01", 12.5, (8, 10, 12), path=tmp_path / "TS_01.mrc")
    euler = euler_zyz_deg_from_rotation(random_rotations(6, rng))
    euler[0] = 90, 90, 0
    return ParticleSet(
        np.array(["TS_01", "other"] * 3),
        rng.uniform(0, 7, (6, 3)).round(3),
        score=np.array([0.5, 1, 1.5, 2, 2.5, 3]),
        euler_zyz_deg=euler,
        cluster=np.array([1, 0, -1, 0, 1, 0]),
        tomograms={"TS_01": info, "other": TomogramInfo("other", 10.0)},
    )


def test_views_are_only_written():
    for view in (chimerax, artiax, napari):
        assert view.name in NAMES
        assert view.read is None
        assert view.one_tomogram


def test_chimerax(tmp_path, particles):
    files = chimerax.write(tmp_path / "v.cxc", particles, Known(box_px=16))
    assert [file.name for file in files] == [
        "v_TS_01.cxc", "v_TS_01_cluster_02.cmm", "v_TS_01_no_cluster.cmm",
        "v_other.cxc", "v_other_cluster_01.cmm",
    ]  # fmt: skip
    lines = [line for line in files[0].read_text().splitlines() if not line.startswith("#")]
    assert lines == [
        "set bgColor white",
        'open "TS_01.mrc" name "tomogram"',
        "volume #1 style image step 1 region 0,0,4,11,9,4",
        "volume #1 voxelSize 12.5 originIndex 0,0,0",
        'open "v_TS_01_cluster_02.cmm" name "cluster 2"',
        'open "v_TS_01_no_cluster.cmm" name "no cluster"',
        "lighting soft",
        "view",
    ]
    assert "the tomogram's own file was not found" in files[3].read_text().lower()


def test_chimerax_markers(tmp_path, particles):
    chimerax.write(tmp_path / "v.cxc", particles, Known(box_px=16))
    root = ElementTree.parse(tmp_path / "v_TS_01_cluster_02.cmm").getroot()
    assert root.tag == "marker_set"
    markers = {m.get("id"): [float(m.get(axis)) for axis in "xyz"] for m in root.iter("marker")}
    colour = cluster_colour(1)
    for i, row in enumerate((0, 4), 1):
        expected = particles.center_zyx_px[row, ::-1] * 12.5
        np.testing.assert_allclose(markers[str(i)], expected, atol=1e-3)
    first = root.find("marker")
    assert float(first.get("radius")) == 50  # a quarter of 16 voxels
    assert round(float(first.get("r")) * 255) == int(colour[1:3], 16)
    assert round(float(first.get("b")) * 255) == int(colour[5:7], 16)
    link = root.find("link")
    assert (link.get("id1"), link.get("id2")) == ("1", "3")
    rod = np.subtract(markers["3"], markers["1"])
    # (Rz(90) Ry(90)) transposed: about z by -90 degrees z stays, about y by -90 it goes to -x
    np.testing.assert_allclose(rod, [-100, 0, 0], atol=2e-3)


def test_chimerax_without_clusters_and_poses(tmp_path):
    plain = ParticleSet(np.array(["t"]), np.array([[1.0, 2, 3]]))
    files = chimerax.write(tmp_path / "v.cxc", plain, Known(voxel_size_angstrom=10))
    root = ElementTree.parse(files[1]).getroot()
    assert len(root) == 1
    assert [root[0].get(axis) for axis in "xyz"] == ["30.000", "20.000", "10.000"]
    with pytest.raises(InputError, match="the voxel size of tomogram t is unknown"):
        chimerax.write(tmp_path / "v.cxc", plain, Known())


def test_artiax(tmp_path, particles):
    files = artiax.write(tmp_path / "v.cxc", particles, Known())
    assert [file.name for file in files] == [
        "v_TS_01.cxc", "v_TS_01_cluster_02.star", "v_TS_01_no_cluster.star",
        "v_other.cxc", "v_other_cluster_01.star",
    ]  # fmt: skip
    lines = [line for line in files[0].read_text().splitlines() if not line.startswith("#")]
    colour, grey = cluster_colour(1), cluster_colour(-1)
    assert lines == [
        "artiax start",
        'artiax open tomo "TS_01.mrc"',
        'open "v_TS_01_cluster_02.star" format relion',
        f"artiax particles #1.2.1 originScaleFactor 12.5 transScaleFactor 1 color {colour}",
        'open "v_TS_01_no_cluster.star" format relion',
        f"artiax particles #1.2.2 originScaleFactor 12.5 transScaleFactor 1 color {grey}",
        "view",
    ]
    table = starfile.read(files[1])["particles"]
    assert table["rlnTomoName"].tolist() == ["TS_01"] * 2
    members = particles.select(np.array([0, 4]))
    np.testing.assert_allclose(table["rlnCoordinateX"], members.center_zyx_px[:, 2])
    np.testing.assert_allclose(table["rlnAngleTilt"], members.euler_zyz_deg[:, 1], atol=1e-6)
    assert "the tomogram is called other_2, for ArtiaX" in files[3].read_text()
    assert starfile.read(files[4])["particles"]["rlnTomoName"].tolist() == ["other_2"] * 3


def test_names_for_artiax():
    assert name_for_artiax("TS_01", 3) == "TS_01"
    assert name_for_artiax("tomo 7", 3) == "tomo-7_3"
    assert name_for_artiax("01", 1) == "01_1"


def test_napari(tmp_path, particles):
    files = napari.write(tmp_path / "p.csv", particles, Known())
    assert [file.name for file in files] == ["p_TS_01.csv", "p_other.csv"]
    with files[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["index", "axis-0", "axis-1", "axis-2"]
    members = particles.select(particles.tomogram_name == "TS_01")
    read = np.array([[float(row[f"axis-{i}"]) for i in range(3)] for row in rows])
    np.testing.assert_array_equal(read, members.center_zyx_px)
    assert [row["cluster"] for row in rows] == ["2", "0", "2"]
    assert [row["score"] for row in rows] == ["0.5", "1.5", "2.5"]
    assert [float(rows[0][name]) for name in ("rot", "tilt", "psi")] == [90, 90, 0]


def test_positions_that_are_not_known(tmp_path):
    lost = ParticleSet(np.array(["a"]), np.full((1, 3), np.nan))
    for view in (chimerax, artiax, napari):
        with pytest.raises(InputError, match="needs positions, which"):
            view.write(tmp_path / "v.x", lost, Known())
