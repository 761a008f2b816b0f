"""IMOD models: bytes by the specification, the half voxel, and what survives being written."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace

import numpy as np
import pytest

from aitom_disca.errors import InputError
from aitom_disca.io.formats import get_format, recognise
from aitom_disca.io.formats.format import Known
from aitom_disca.particles import ParticleSet, TomogramInfo

pytest.importorskip("imodmodel")
imod = get_format("imod")
NAMED = Known(tomogram_name="TS_01")


def model_bytes(objects, pixel_nm=0.0, minx=None, flags=1 << 14):
    """A binary model written by hand from the specification: big-endian, chunk by chunk."""
    header = struct.pack(">128s4iI", b"hand", 64, 48, 32, len(objects), 1 << 10 | flags)
    header += struct.pack(">4i6f5i", 1, 0, 0, 255, 0, 0, 0, 1, 1, 1, 0, 0, 0, 3, 128)
    header += struct.pack(">fii3f", pixel_nm, -9 if pixel_nm else 0, 0, 0, 0, 0)
    assert len(header) == 232
    data = b"IMODV1.2" + header
    for name, points in objects:
        head = struct.pack(">64s16I", name, *[0] * 16) + struct.pack(">iIii", 1, 1 << 9, 0, 1)
        head += struct.pack(">3fi8Bii", 0, 1, 0, 2, *[1] * 8, 0, 0)
        data += b"OBJT" + head + b"CONT" + struct.pack(">iIii", len(points), 0, 0, 0)
        data += np.asarray(points, ">f4").tobytes()
    if minx is not None:
        data += b"MINX" + struct.pack(">i18f", 72, *minx)
    return data + b"IEOF"


def particles(rng, n=9):
    info = TomogramInfo("TS_01", 13.5, (60, 100, 120))
    return ParticleSet(
        np.array(["TS_01", "b c"] * (n // 2) + ["TS_01"]),
        rng.uniform(0, 60, (n, 3)),
        cluster=np.array([2, 2, 0, 0, -1, -1, 2, 0, 0]),
        tomograms={"TS_01": info, "b c": replace(info, name="b c")},
    )


def test_voxel_centres(tmp_path):
    path = tmp_path / "a.mod"
    path.write_bytes(model_bytes([(b"", [[10.5, 20.5, 30.0], [0.5, 0.5, 0.0]])], pixel_nm=1.35))
    read = imod.read(path, NAMED)
    assert read.center_zyx_px.tolist() == [[30, 20, 10], [0, 0, 0]]
    assert read.tomogram_name.tolist() == ["TS_01"] * 2
    assert read.tomograms["TS_01"].voxel_size_angstrom == pytest.approx(13.5)
    assert read.cluster is None


def test_a_part_of_the_volume(tmp_path):
    # scale, origin and turn of old; scale, start and turn of the part that was loaded:
    # pixel = model + (origin of old - start of the part) / scale
    path = tmp_path / "a.mod"
    minx = [1, 1, 1, 0, 0, 0, 0, 0, 0, 2, 2, 2, -20, -40, -60, 0, 0, 0]
    path.write_bytes(model_bytes([(b"", [[10.5, 20.5, 30.0]])], minx=minx))
    assert imod.read(path, NAMED).center_zyx_px.tolist() == [[60, 40, 20]]


IMAGE = [1, 1, 1, 0, 0, 0, 0, 0, 0, 10, 10, 10, -60, 45, 30, 0, 0, 0]


@pytest.mark.parametrize(
    ("flags", "point"),
    [(0, [10.5, 20.5, 30]), (1 << 16, [10.5, 30, 20.5]), (1 << 17, [10.5, 30, 32 - 1 - 20.5])],
)
def test_flags_that_say_how_it_is_meant(tmp_path, flags, point):
    """Without bit 14 otrans is whatever was in memory; 16 exchanges y and z, 17 turns about x."""
    minx = [*IMAGE[:3], 3e-41, -5.9e8, 0, *IMAGE[6:]]
    path = tmp_path / "a.mod"
    path.write_bytes(model_bytes([(b"", [point])], minx=minx, flags=flags))
    assert imod.read(path, NAMED).center_zyx_px.tolist() == [[30, 20, 10]]


def test_flipped_on_a_part_of_the_volume(tmp_path):
    path = tmp_path / "a.mod"
    minx = [1, 1, 1, 0, 0, 0, 0, 0, 0, 2, 2, 2, -20, -40, -60, 0, 0, 0]
    content = model_bytes([(b"", [[10.5, 30, 20.5]])], minx=minx, flags=1 << 14 | 1 << 16)
    path.write_bytes(content)
    assert imod.read(path, NAMED).center_zyx_px.tolist() == [[60, 40, 20]]


def test_the_pixel_of_the_image_counts(tmp_path, caplog):
    path = tmp_path / "a.mod"
    info = TomogramInfo("TS_01", 20.0)
    path.write_bytes(model_bytes([(b"", [[10.5, 20.5, 30]])], minx=IMAGE, flags=0))
    read = imod.read(path, Known({"TS_01": info}))
    assert read.center_zyx_px.tolist() == [[15, 10, 5]]
    assert "two pixel sizes" not in caplog.text
    path.write_bytes(model_bytes([(b"", [[10.5, 20.5, 30]])], 2.0, IMAGE, 0))
    read = imod.read(path, Known({"TS_01": info}))
    assert read.center_zyx_px.tolist() == [[15, 10, 5]]
    assert "its image has 10 Angstrom, the model itself 20" in caplog.text
    unset = [*IMAGE[:9], 1, 1, 1, *IMAGE[12:]]
    path.write_bytes(model_bytes([(b"", [[10.5, 20.5, 30]])], 2.0, unset, 0))
    assert imod.read(path, Known({"TS_01": info})).center_zyx_px.tolist() == [[30, 20, 10]]
    uneven = [*IMAGE[:9], 10, 10, 20, *IMAGE[12:]]
    path.write_bytes(model_bytes([(b"", [[10.5, 20.5, 30]])], minx=uneven, flags=0))
    with pytest.raises(InputError, match=r"different edges \(x, y, z: 10, 10, 20 Angstrom\)"):
        imod.read(path, Known({"TS_01": info}))
    given = imod.read(path, Known({"TS_01": info}, file_pixel_angstrom=10.0))
    assert given.center_zyx_px.tolist() == [[15, 10, 5]]


def test_several_objects_are_clusters(tmp_path):
    path = tmp_path / "a.mod"
    one, two = (b"ribosomes", [[1.5, 1.5, 1]]), (b"", [[2.5, 2.5, 2], [3.5, 3.5, 3]])
    path.write_bytes(model_bytes([one, two]))
    read = imod.read(path, NAMED)
    assert read.cluster.tolist() == [0, 1, 1]
    assert read.more["object_id"].tolist() == [0, 1, 1]


def test_bytes_that_are_written(tmp_path):
    given = ParticleSet(
        np.array(["t"] * 2),
        np.array([[3, 2, 1.25], [6, 5, 4]]),
        cluster=np.array([1, -1]),
        tomograms={"t": TomogramInfo("t", 8.0, (30, 40, 50))},
    )
    imod.write(tmp_path / "a.mod", given, Known())
    data = (tmp_path / "a.mod").read_bytes()
    assert data.startswith(b"IMODV1.2t\x00")
    assert struct.unpack(">4iI", data[136:156]) == (50, 40, 30, 2, 1 << 10)
    first, second = data.split(b"OBJT")[1:]
    assert first.startswith(b"cluster 2\x00")
    assert second.startswith(b"no cluster\x00")
    for part, expected in ((first, (1.75, 2.5, 3)), (second, (4.5, 5.5, 6))):
        contour = part.split(b"CONT")[1]
        assert struct.unpack(">i", contour[:4]) == (1,)
        assert struct.unpack(">3f", contour[16:28]) == expected


def test_round_trip(tmp_path, rng):
    given = particles(rng)
    files = imod.write(tmp_path / "out.mod", given, Known())
    assert [file.name for file in files] == ["out_TS_01.mod", "out_b-c.mod"]
    for file, name in zip(files, ("TS_01", "b c"), strict=True):
        assert recognise(file).name == "imod"
        read = imod.read(file, Known(tomogram_name=name))
        members = given.select(given.tomogram_name == name)
        order = np.lexsort((members.cluster, members.cluster < 0))
        np.testing.assert_allclose(read.center_zyx_px, members.center_zyx_px[order], atol=1e-5)
        assert read.cluster.tolist() == members.cluster[order].tolist()
        assert read.tomograms[name].voxel_size_angstrom == pytest.approx(13.5)


def test_without_clusters_and_voxel_size(tmp_path):
    given = ParticleSet(np.array(["t"]), np.array([[3.0, 2, 1]]))
    assert imod.write(tmp_path / "a.mod", given, Known()) == [tmp_path / "a.mod"]
    read = imod.read(tmp_path / "a.mod", Known(tomogram_name="t"))
    assert read.center_zyx_px.tolist() == [[3, 2, 1]]
    assert read.cluster is None
    assert read.tomograms == {}


def test_models_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.mod"
    path.write_text("object 1\n1 2 3\n")
    with pytest.raises(InputError, match=r"a.mod is not an IMOD model: it does not begin with"):
        imod.read(path, NAMED)
    whole = model_bytes([(b"", [[1.5, 1.5, 1]])])
    for end in range(8, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="breaks off or is damaged"):
            imod.read(path, NAMED)
    path.write_bytes(model_bytes([]))
    with pytest.raises(InputError, match=r"a.mod holds no points"):
        imod.read(path, NAMED)
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"its name with --tomogram-name"):
        imod.read(path, Known())
    lost = ParticleSet(np.array(["a"]), np.full((1, 3), np.nan))
    with pytest.raises(InputError, match="an IMOD model needs positions, which"):
        imod.write(path, lost, Known())


def test_without_the_package(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "imodmodel"] + ["imodmodel"]:
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "a.mod"
    with pytest.raises(
        InputError, match=r"an IMOD model needs the package imodmodel; .*disca\[exports\]"
    ):
        imod.write(path, ParticleSet(np.array(["t"]), np.zeros((1, 3))), Known())
