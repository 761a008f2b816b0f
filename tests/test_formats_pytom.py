"""PyTom particle lists: conventions against examples by hand, and what survives being written."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
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

pytom = get_format("pytom")


def particle(z1=0.0, x=0.0, z2=0.0, shift=(0, 0, 0), pick=(10, 20, 30), origin="tomo1.tomostar",
             score=0.0, number="0", wedge=(30.0, 30.0)):  # fmt: skip
    return f"""
  <Particle Filename="./particles/particle_0.em">
    <Rotation Z1="{z1}" Z2="{z2}" X="{x}" Paradigm="ZXZ"/>
    <Shift X="{shift[0]}" Y="{shift[1]}" Z="{shift[2]}"/>
    <PickPosition X="{pick[0]}" Y="{pick[1]}" Z="{pick[2]}" Origin="{origin}" Binning="8" RefMarkIndex="1"/>
    <Wedge Type="SingleTiltWedge">
      <SingleTiltWedge Angle1="{wedge[0]}" Angle2="{wedge[1]}" CutoffRadius="50.0" Smooth="0.0">
        <TiltAxisRotation Z1="0.0" Z2="0.0" X="0.0"/>
      </SingleTiltWedge>
    </Wedge>
    <InfoGUI ProjectDir=""/>
    <Score Type="FLCFScore" Value="{score}" RemoveAutocorr="False">
      <PeakPrior Filename="" Radius="0.0" Smooth="-1.0"/>
    </Score>
    <Class Name="{number}"/>
  </Particle>"""  # noqa: E501


def write_list(path, *particles):
    text = "<!-- PyTom Version: 1.0 -->\n<ParticleList>"
    path.write_text(text + "".join(particles) + "\n</ParticleList>\n")
    return path


def particles(rng, n=8):
    center = rng.uniform(5, 90, (n, 3))
    info = TomogramInfo("TS_01", 10.0, None, (-54.0, 60.0))
    return ParticleSet(
        np.array(["TS_01", "b c"] * (n // 2)),
        center,
        score=rng.normal(size=n),
        euler_zyz_deg=euler_zyz_deg_from_rotation(random_rotations(n, rng)),
        cluster=np.array([0, 2, -1, 1] * (n // 4)),
        box_center_zyx_px=np.round(center),
        tomograms={"TS_01": info, "b c": replace(info, name="b c")},
    )


def test_z1_about_z_then_x_about_x_then_z2_about_z(tmp_path):
    path = write_list(
        tmp_path / "a.xml",
        particle(x=90), particle(x=90, z2=90), particle(z1=90, x=90), particle(z1=20, x=30, z2=50),
    )  # fmt: skip
    tilted, turned, spun, general = rotation_from_euler_zyz_deg(
        pytom.read(path, Known()).euler_zyz_deg
    ).as_matrix()
    # anticlockwise by 90 degrees: about x, z goes to -y; about z, -y goes to x, and x to y
    np.testing.assert_allclose(tilted @ [0, 0, 1], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(turned @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(spun @ [1, 0, 0], [0, 0, 1], atol=1e-12)

    def about(axis, degrees):
        return Rotation.from_rotvec(np.radians(degrees) * np.eye(3)[axis]).as_matrix()

    np.testing.assert_allclose(general, about(2, 50) @ about(0, 30) @ about(2, 20), atol=1e-12)


def test_relation_to_relion(tmp_path):
    """PyTom's own converter: ZXZ to ZYZ about fixed axes, then all three negative."""
    path = write_list(tmp_path / "a.xml", particle(z1=303.99186, x=75.70288, z2=272.86358))
    zyz = Rotation.from_euler("zxz", [303.99186, 75.70288, 272.86358], degrees=True).as_euler(
        "zyz", degrees=True
    )
    one, other = (
        Rotation.from_euler("ZYZ", angles, degrees=True)
        for angles in (-zyz, pytom.read(path, Known()).euler_zyz_deg[0])
    )
    assert (one * other.inv()).magnitude() < 1e-9


def test_positions_wedge_and_names(tmp_path):
    path = write_list(
        tmp_path / "a.xml",
        particle(shift=(0.5, -1, 2), origin="/data/TS_01.mrc", wedge=(36, 30), score=0.5, number=2),
        particle(origin="/data/TS_02.em", number="None"),
    )
    read = pytom.read(path, Known(voxel_size_angstrom=12))
    assert read.tomogram_name.tolist() == ["TS_01", "TS_02"]
    assert read.box_center_zyx_px.tolist() == [[30, 20, 10]] * 2
    assert read.center_zyx_px.tolist() == [[32, 19, 10.5], [30, 20, 10]]
    assert read.tomograms["TS_01"].tilt_range_deg == (-54, 60)
    assert read.cluster.tolist() == [1, -1]
    assert read.score.tolist() == [0.5, 0]
    assert read.more["PickPosition@Binning"].tolist() == ["8", "8"]


def test_round_trip(tmp_path, rng):
    given = particles(rng)
    assert pytom.write(tmp_path / "p.xml", given, Known()) == [tmp_path / "p.xml"]
    assert recognise(tmp_path / "p.xml").name == "pytom"
    read = pytom.read(tmp_path / "p.xml", Known(voxel_size_angstrom=10))
    assert read.tomogram_name.tolist() == given.tomogram_name.tolist()
    np.testing.assert_allclose(read.center_zyx_px, given.center_zyx_px, rtol=1e-11)
    np.testing.assert_array_equal(read.box_center_zyx_px, given.box_center_zyx_px)
    np.testing.assert_allclose(read.score, given.score, rtol=1e-11)
    np.testing.assert_array_equal(read.cluster, given.cluster)
    assert read.tomograms["b c"].tilt_range_deg == (-54, 60)
    turn = rotation_from_euler_zyz_deg(read.euler_zyz_deg)
    turn *= rotation_from_euler_zyz_deg(given.euler_zyz_deg).inv()
    np.testing.assert_allclose(np.degrees(turn.magnitude()), 0, atol=1e-4)


def test_every_attribute_comes_back(tmp_path):
    path = write_list(
        tmp_path / "a.xml",
        particle(x=40.0, score=0.5, number=3, origin="/data/TS_01.mrc"),
        particle(shift=(1.5, 0, 0), wedge=(36, 28), number=1).replace('ProjectDir=""', 'A="1"'),
    )
    read = pytom.read(path, Known())
    pytom.write(tmp_path / "b.xml", read.select(np.array([1, 0])), Known())
    before, after = (
        [[(e.tag, e.attrib) for e in p.iter()] for p in ElementTree.parse(file).getroot()]
        for file in (path, tmp_path / "b.xml")
    )
    numbers = ("Rotation", "Shift", "PickPosition", "Score")
    for old, new in zip(before, after[::-1], strict=True):
        assert [tag for tag, _ in old] == [tag for tag, _ in new]
        new = dict(new)
        for tag, attributes in old:
            assert set(new[tag]) == set(attributes)
            for name, value in attributes.items():
                if tag in numbers and name in ("X", "Y", "Z", "Z1", "Z2", "Value"):
                    assert float(new[tag][name]) == pytest.approx(float(value), abs=1e-9)
                else:
                    assert new[tag][name] == value


def test_classes_in_words_are_kept_but_are_no_clusters(tmp_path, caplog):
    path = write_list(tmp_path / "a.xml", particle(number="ribosome"), particle(number="1,2"))
    read = pytom.read(path, Known())
    assert read.cluster is None
    assert "names its classes with words" in caplog.text
    pytom.write(tmp_path / "b.xml", read, Known())
    assert 'Class Name="1,2"' in (tmp_path / "b.xml").read_text()


def test_lists_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("Z1 Z2 X\n1 2 3\n")
    with pytest.raises(InputError, match=r"a\.xml is not XML"):
        pytom.read(path, Known())
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="is not a text file of XML"):
        pytom.read(path, Known())
    path.write_text("<JobDescription/>")
    with pytest.raises(InputError, match=r"no PyTom particle list .* is JobDescription"):
        pytom.read(path, Known())
    write_list(path, particle().replace('Y="20"', ""))
    with pytest.raises(InputError, match="a particle without the attribute PickPosition Y"):
        pytom.read(path, Known())
    write_list(path, particle(z1="left"))
    with pytest.raises(InputError, match=r"no number as Rotation .*left"):
        pytom.read(path, Known())
    write_list(path, particle(origin=""))
    with pytest.raises(InputError, match=r"give its name with --tomogram-name"):
        pytom.read(path, Known())
    assert pytom.read(path, Known(tomogram_name="t")).tomogram_name.tolist() == ["t"]
