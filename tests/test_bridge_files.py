"""AITom's particle files: their axes, angles and boxes, and what comes back."""

from __future__ import annotations

import importlib
import json
import logging
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from aitom_disca import bridge
from aitom_disca.bridge.aitom_poses import (
    loc_of_offset,
    offset_of_loc,
    output_of_transform,
    pose_of_transform,
    transform_of_output,
    transform_of_pose,
)
from aitom_disca.errors import InputError
from aitom_disca.particles import ParticleSet

PEAKS = [
    {"val": 9.5, "x": [np.int64(1), np.int64(20), np.int64(3)], "uuid": "a"},
    {"val": 4.0, "x": [np.int64(4), np.int64(5), np.int64(6)], "uuid": "b"},
]
REAL = st.floats(-3, 3)


def dump(path, held):
    path.write_bytes(pickle.dumps(held, protocol=2))
    return path


def write_json(path, held):
    path.write_text(json.dumps(held))
    return path


def subvolumes(edge: int, n: int = 3) -> dict:
    """As AITom's peaks_to_subvolumes makes them: None where the box leaves the map."""
    rng = np.random.default_rng(0)
    entries = {
        f"u{i}": {
            "center": [np.int64(10 + i), 20, 30],
            "id": f"u{i}",
            "v": rng.normal(size=(edge,) * 3).astype(np.float32),
        }
        for i in range(n)
    }
    return {
        "v_siz": np.array([edge] * 3),
        "vs": {**entries, "out": {"center": [0, 0, 0], "id": "out", "v": None}},
    }


# -- peaks and points --------------------------------------------------------------------------


def test_peaks_are_x_y_z_from_zero(tmp_path):
    particles = bridge.read_particles(dump(tmp_path / "tomo.pickle", PEAKS))
    assert particles.center_zyx_px.tolist() == [[3, 20, 1], [6, 5, 4]]
    assert particles.score.tolist() == [9.5, 4.0]
    assert particles.more["uuid"].tolist() == ["a", "b"]
    assert particles.tomogram_name.tolist() == ["tomo", "tomo"]
    assert particles.tomograms == {}


def test_minima_are_listed_lowest_first(tmp_path):
    rows = [{"val": -8.0, "x": [1, 2, 3], "uuid": "a"}, {"val": -1.0, "x": [1, 2, 9], "uuid": "b"}]
    particles = bridge.read_particles(write_json(tmp_path / "t.json", rows))
    assert particles.score.tolist() == [8.0, 1.0]
    assert particles.more["val"].tolist() == [-8.0, -1.0]


@pytest.mark.parametrize("suffix", [".json", ".pickle"])
def test_peaks_come_back_as_aitom_writes_them(tmp_path, suffix):
    particles = bridge.read_particles(dump(tmp_path / "tomo.pickle", PEAKS))
    path = bridge.write_particles(tmp_path / f"again{suffix}", particles, kind="peaks")
    if suffix == ".json":
        found = json.loads(path.read_text())
    else:
        found = pickle.loads(path.read_bytes())
        assert isinstance(found[0]["x"][0], np.int64)  # AITom's scripts call .tolist() of each
    for row, expected in zip(found, PEAKS, strict=True):
        assert row.pop("tomogram_id") == "tomo"
        assert row == expected


def test_several_tomograms_keep_their_names(tmp_path):
    particles = ParticleSet(np.array(["A", "B"]), np.array([[1.0, 2, 3], [4, 5, 6]]))
    path = bridge.write_particles(tmp_path / "p.json", particles, kind="peaks")
    assert bridge.read_particles(path).tomogram_name.tolist() == ["A", "B"]
    with pytest.raises(InputError, match="one tomogram"):
        bridge.write_particles(tmp_path / "q.json", particles, kind="3dmod")


def test_rounding_is_said(tmp_path, caplog):
    particles = ParticleSet(np.array(["A"]), np.array([[1.5, 2.4, 3.0]]))
    with caplog.at_level(logging.WARNING, "aitom_disca"):
        path = bridge.write_particles(tmp_path / "p.json", particles, kind="peaks")
    assert "1 positions were rounded" in caplog.text
    assert json.loads(path.read_text())[0]["x"] == [3, 2, 2]


def test_points_for_3dmod(tmp_path):
    path = write_json(tmp_path / "t.json", [{"peak": {"loc": [1, 20, 3]}}])
    particles = bridge.read_particles(path, voxel_size_angstrom=10.0, tilt_range_deg=(-50, 40))
    assert particles.center_zyx_px.tolist() == [[3, 20, 1]]
    info = particles.tomograms["t"]
    assert info.voxel_size_angstrom == 10 and info.tilt_range_deg == (-50, 40)
    bridge.write_particles(tmp_path / "again.json", particles, kind="3dmod")
    assert (tmp_path / "again.json").read_text() == path.read_text()


# -- subvolumes --------------------------------------------------------------------------------


@pytest.mark.parametrize(("edge", "before"), [(8, 0), (9, 1)])
def test_boxes_of_subvolumes(tmp_path, edge, before):
    """The cut begins ceil(n / 2) before the pick: voxel n // 2 is the pick, or one before it."""
    assert edge // 2 == -(-edge // 2) - before
    path = dump(tmp_path / "t.pickle", subvolumes(edge))
    particles = bridge.read_particles(path)
    assert particles.center_zyx_px[0].tolist() == [30, 20, 10]
    boxes = particles.box_center_zyx_px
    boxes = particles.center_zyx_px if boxes is None else boxes
    assert boxes[0].tolist() == [30 - before, 20 - before, 10 - before]
    assert len(particles) == 4


def test_store_there_and_back(tmp_path):
    held = subvolumes(9)
    path = dump(tmp_path / "t.pickle", held)
    n = bridge.import_store(path, tmp_path / "s.h5", voxel_size_angstrom=12.0)
    assert n == 3
    with bridge_store(tmp_path / "s.h5") as store:
        raw = held["vs"]["u1"]["v"].transpose(2, 1, 0)
        expected = (raw - raw.mean()) / raw.std()
        np.testing.assert_allclose(store.read([1])[0], expected, atol=1e-5)
        np.testing.assert_allclose(store.raw_mean[1], raw.mean(), atol=1e-6)
        assert store.voxel_size_angstrom == 12 and store.tilt_range_deg == (-60, 60)
        particles = store.particles()
        assert particles.center_zyx_px.tolist() == [[29, 19, 9], [29, 19, 10], [29, 19, 11]]
        assert particles.tomogram_name.tolist() == ["t"] * 3
    bridge.export_subvolumes(tmp_path / "s.h5", tmp_path / "again.pickle")
    again = pickle.loads((tmp_path / "again.pickle").read_bytes())
    assert again["v_siz"].tolist() == [9, 9, 9]
    entries = list(again["vs"].values())
    for i, entry in enumerate(entries):
        assert entry["center"] == held["vs"][f"u{i}"]["center"]
        raw = held["vs"][f"u{i}"]["v"]
        np.testing.assert_allclose(entry["v"], (raw - raw.mean()) / raw.std(), atol=1e-5)


def bridge_store(path):
    from aitom_disca.io import open_store

    return open_store(path)


def test_dark_protein_becomes_bright(tmp_path):
    path = dump(tmp_path / "t.pickle", subvolumes(8))
    for dark in (False, True):
        bridge.import_store(
            path, tmp_path / f"{dark}.h5", voxel_size_angstrom=12.0, dark_protein=dark
        )
    with bridge_store(tmp_path / "True.h5") as dark, bridge_store(tmp_path / "False.h5") as bright:
        np.testing.assert_allclose(dark.read(), -bright.read(), atol=1e-6)


def test_poses_of_a_table_go_into_the_store(tmp_path, caplog):
    path = dump(tmp_path / "t.pickle", subvolumes(8))
    rows = [
        {"subtomogram": f"u{i}", "mask": "m", "angle": [0.1 * i, 0.5, -1.0], "loc": [0, 0, 0]}
        for i in (2, 0, 1)
    ]
    rows[0]["loc"] = [3.0, 0, 0]
    table = write_json(tmp_path / "dj.json", rows)
    with caplog.at_level(logging.WARNING, "aitom_disca"):
        bridge.import_store(path, tmp_path / "s.h5", voxel_size_angstrom=12.0, table=table)
    assert "1 particles lie off the middle" in caplog.text
    with bridge_store(tmp_path / "s.h5") as store:
        euler = store.particles().euler_zyz_deg
    np.testing.assert_allclose(euler, np.degrees([[0.1 * i, 0.5, -1.0] for i in range(3)]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v_siz": np.array([8, 8, 9])}, "cubic"),
        ({"vs": {}}, "no subvolumes"),
        ({"vs": {"a": {"center": [1, 2, 3], "v": None}}}, "no subvolume was cut"),
    ],
)
def test_subvolumes_that_cannot_be_used(tmp_path, change, said):
    path = dump(tmp_path / "t.pickle", subvolumes(8) | change)
    with pytest.raises(InputError, match=said):
        bridge.import_store(path, tmp_path / "s.h5", voxel_size_angstrom=12.0)


# -- poses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [16, 17])
def test_a_table_says_where_the_particle_lies(edge):
    """A volume laid on the reference by AITom's motion: the pose finds it again about n // 2.

    The reference is a sum of blobs, known at every point; the particle is the reference, turned
    and shifted as AITom's rotate would undo it.
    """
    angle, loc = np.array([0.4, 1.1, -2.0]), np.array([1.2, -0.7, 2.1])
    (about,) = Rotation.from_euler("ZYZ", [angle]).inv().as_matrix()
    blobs = np.random.default_rng(0).uniform(-3, 3, (6, 3))  # x, y, z from (n - 1) / 2

    def density(points):
        return np.exp(-((points[:, None] - blobs) ** 2).sum(-1) / 2).sum(-1)

    grid = np.indices((edge,) * 3).reshape(3, -1).T.astype(float)  # x, y, z
    middle = (edge - 1) / 2
    # reference(g) = particle(R (g - loc)): particle(r) = reference(R^T r + loc)
    particle = density((grid - middle) @ about + loc).reshape((edge,) * 3)
    back = bridge.rotate(particle, angle, loc_r=loc, default_val=0.0)
    reference = density(grid - middle).reshape((edge,) * 3)
    assert np.corrcoef(back.ravel(), reference.ravel())[0, 1] > 0.999

    euler = np.degrees(angle)[None]
    offset_xyz = offset_of_loc(euler, loc[None], edge)[0, ::-1]
    # particle(centre + offset + A q) = reference(centre + q) about n // 2
    near = np.random.default_rng(1).uniform(-2, 2, (40, 3))
    there = edge // 2 + offset_xyz + near @ about.T
    found = map_coordinates(particle, there.T, order=3)
    np.testing.assert_allclose(found, density(edge // 2 + near - middle), atol=0.03)


@given(st.tuples(REAL, REAL, REAL), st.tuples(REAL, REAL, REAL), st.sampled_from([8, 9]))
@settings(max_examples=40)
def test_poses_there_and_back(angle, loc, edge):
    euler = np.degrees([angle])  # within 1e-7 of a pole SciPy takes an angle for 0
    np.testing.assert_allclose(
        loc_of_offset(euler, offset_of_loc(euler, np.array([loc]), edge), edge), [loc], atol=1e-6
    )
    rotation, offset = pose_of_transform([*angle, *loc], edge)
    np.testing.assert_allclose(offset, offset_of_loc(euler, np.array([loc]), edge), atol=1e-6)
    again, moved = pose_of_transform(transform_of_pose(rotation, offset, edge), edge)
    assert (again * rotation.inv()).magnitude().max() < 1e-6
    np.testing.assert_allclose(moved, offset, atol=1e-6)
    output = output_of_transform([*angle, *loc], edge)
    np.testing.assert_allclose(transform_of_output(output, edge), [[*angle, *loc]], atol=1e-6)


@pytest.mark.parametrize("suffix", [".json", ".pickle"])
def test_tables_there_and_back(tmp_path, suffix):
    boxes = bridge.read_particles(dump(tmp_path / "t.pickle", subvolumes(8)))
    rows = [
        {
            "subtomogram": f"/data/u{i}.mrc",
            "mask": "wedge",
            "angle": [0.5, 1.0 + i, -0.25],
            "loc": [1.0, -2.0, 0.5 * i],
            "score": 0.5 + i,
            "cluster": i,
            "template_id": "x",
        }
        for i in range(3)
    ]
    table = write_json(tmp_path / "dj.json", rows)
    particles = bridge.read_particles(table, boxes=boxes)
    assert particles.cluster.tolist() == [0, 1, 2] and particles.score.tolist() == [0.5, 1.5, 2.5]
    np.testing.assert_allclose(particles.euler_zyz_deg[1], np.degrees([0.5, 2.0, -0.25]))
    assert not np.allclose(particles.center_zyx_px, particles.box_center_zyx_px)
    for one in (particles, bridge.read_particles(table)):  # with positions, and without
        path = bridge.write_particles(tmp_path / f"again{suffix}", one, kind="table", box_px=8)
        read = path.read_bytes()
        found = json.loads(read) if suffix == ".json" else pickle.loads(read)
        for row, expected in zip(found, rows, strict=True):
            row.pop("tomogram_id")
            assert list(row) == list(expected)
            np.testing.assert_allclose(row.pop("angle"), expected["angle"], atol=1e-12)
            np.testing.assert_allclose(row.pop("loc"), expected["loc"], atol=1e-9)
            assert row == {k: v for k, v in expected.items() if k not in ("angle", "loc")}


def test_passes_of_an_alignment_give_the_last(tmp_path):
    rows = [{"subtomogram": "a", "mask": "m", "angle": np.zeros(3), "loc": np.zeros(3)}]
    last = [{**rows[0], "angle": np.array([1.0, 0, 0])}]
    particles = bridge.read_particles(dump(tmp_path / "p.pickle", {0: rows, 1: last}))
    assert particles.euler_zyz_deg[0, 0] == pytest.approx(np.degrees(1))
    assert np.isnan(particles.center_zyx_px).all()


def test_what_a_table_lacks(tmp_path):
    rows = [{"subtomogram": "nobody", "mask": "m", "angle": [0, 0, 0], "loc": [0, 0, 0]}]
    table = write_json(tmp_path / "dj.json", rows)
    boxes = dump(tmp_path / "t.pickle", subvolumes(8))
    with pytest.raises(InputError, match=r"nobody .* is none of the boxes"):
        bridge.read_particles(table, boxes=boxes)
    plain = ParticleSet(np.array(["t"]), np.zeros((1, 3)), more={"uuid": np.array(["nobody"])})
    with pytest.raises(InputError, match="box_px"):
        bridge.read_particles(table, boxes=plain)
    with pytest.raises(InputError, match="box_px"):
        bridge.write_particles(tmp_path / "x.json", plain, kind="table")


# -- what is none ------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [[], {}, [1, 2], {"a": 1}, [{"y": 1}], "text"])
def test_other_files(tmp_path, held):
    for path in (write_json(tmp_path / "a.json", held), dump(tmp_path / "a.pickle", held)):
        with pytest.raises(InputError, match="none of AITom's particle files"):
            bridge.read_particles(path)


@pytest.mark.parametrize(
    "rows",
    [
        [{"x": [1, 2], "val": 1.0}],
        [{"x": [1, 2, 3], "val": "high"}],
        [{"x": None, "val": 1.0}],
        [{"peak": [1, 2, 3]}],
        [{"angle": [1, 2], "loc": [0, 0, 0]}],
    ],
)
def test_broken_rows(tmp_path, rows):
    with pytest.raises(InputError, match="as AITom writes them"):
        bridge.read_particles(write_json(tmp_path / "a.json", rows))


def test_broken_files(tmp_path):
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(InputError, match="read as JSON"):
        bridge.read_particles(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        bridge.read_particles(tmp_path / "nothing.pickle")
    with pytest.raises(InputError, match="kind must be one of"):
        bridge.write_particles(
            tmp_path / "a", ParticleSet(np.array(["t"]), np.ones((1, 3))), kind="x"
        )


def test_what_cannot_be_written(tmp_path):
    nowhere = ParticleSet(np.array(["t"]), np.full((1, 3), np.nan))
    with pytest.raises(InputError, match="positions in voxels"):
        bridge.write_particles(tmp_path / "a.json", nowhere, kind="peaks")
    somewhere = ParticleSet(np.array(["t"]), np.ones((1, 3)))
    with pytest.raises(InputError, match="a volume for each of 1"):
        bridge.write_particles(tmp_path / "a.pickle", somewhere, kind="subvolumes")
    with pytest.raises(InputError, match=r"without \.json"):
        bridge.write_particles(tmp_path / "a.json", somewhere, kind="subvolumes")


# -- against AITom -----------------------------------------------------------------------------


@pytest.mark.aitom
@pytest.mark.parametrize("edge", [6, 7])
def test_aitoms_own_subvolumes_lie_where_we_say(tmp_path, edge, monkeypatch):
    try:
        name = "aitom.classify.deep.unsupervised.autoencoder.autoencoder_util"
        util = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"AITom is not on the path ({error})")
    for alias, kind in (("float", float), ("int", int)):
        monkeypatch.setattr(np, alias, kind, raising=False)
    tomogram_xyz = np.random.default_rng(0).normal(size=(20, 22, 24)).astype(np.float32)
    peaks = [{"x": np.array([9, 10, 13]), "val": 2.0, "uuid": "a"}]
    path = dump(tmp_path / "t.pickle", util.peaks_to_subvolumes(tomogram_xyz, peaks, edge))
    bridge.import_store(path, tmp_path / "s.h5", voxel_size_angstrom=1.0)
    with bridge_store(tmp_path / "s.h5") as store:
        z, y, x = store.particles().center_zyx_px[0].astype(int)
        middle = store.read([0])[0][(edge // 2,) * 3] * store.raw_std[0] + store.raw_mean[0]
    assert middle == pytest.approx(tomogram_xyz[x, y, z], abs=1e-5)
