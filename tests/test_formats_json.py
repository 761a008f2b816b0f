"""EMAN2, copick and the portal: conventions by hand, and what survives being written."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from aitom_disca.cli.app import main
from aitom_disca.errors import InputError
from aitom_disca.geometry import (
    euler_zyz_deg_from_rotation,
    random_rotations,
    rotation_from_euler_zyz_deg,
)
from aitom_disca.io.formats import get_format, recognise
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.relion.read_star import read_particles_star
from aitom_disca.particles import ParticleSet, TomogramInfo

eman2, copick, portal = (get_format(name) for name in ("eman2", "copick", "portal"))
# the reference's z axis points to the tomogram's x, its x to y, its y to z: columns of the matrix
Z_TO_X = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
NAMED = Known(tomogram_name="t")


def particles(rng, n=9):
    center = rng.uniform(5, 60, (n, 3))
    info = TomogramInfo("TS_01", 10.0, (61, 100, 121), tilt_series_pixel_size_angstrom=2.5)
    return ParticleSet(
        np.array(["TS_01", "b c"] * (n // 2) + ["TS_01"]),
        center,
        score=rng.normal(size=n),
        euler_zyz_deg=euler_zyz_deg_from_rotation(random_rotations(n, rng)),
        cluster=np.array([0, 2, -1] * (n // 3)),
        box_center_zyx_px=np.round(center),
        tomograms={
            "TS_01": info,
            "b c": TomogramInfo("b c", 8.0, (61, 100, 121)),
        },
    )


def same_poses(one, two):
    turn = rotation_from_euler_zyz_deg(one) * rotation_from_euler_zyz_deg(two).inv()
    np.testing.assert_allclose(np.degrees(turn.magnitude()), 0, atol=1e-4)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


# EMAN2


def test_eman2_from_the_middle_in_unbinned_pixels(tmp_path):
    path = write_json(
        tmp_path / "TS_01_info.json",
        {"apix_unbin": 2.5, "boxes_3d": [[-40, 0, 8, "manual", 0.5, 1], [4, 4, 4]]},
    )
    info = TomogramInfo("TS_01", 10.0, (61, 100, 121))  # the middle voxel is 30, 50, 60
    read = eman2.read(path, Known({"TS_01": info}))
    assert read.center_zyx_px.tolist() == [[32, 50, 50], [31, 51, 61]]
    assert read.tomogram_name.tolist() == ["TS_01"] * 2
    assert read.score.tolist() == [0.5, 0]
    assert read.cluster.tolist() == [1, 0]
    with pytest.raises(InputError, match=r"middle of tomogram TS_01, whose size is unknown.*-zyx"):
        eman2.read(path, Known(voxel_size_angstrom=10))
    with pytest.raises(InputError, match="give it with --voxel-size-angstrom"):
        eman2.read(path, Known())


def test_eman2_plain_voxels(tmp_path):
    path = write_json(
        tmp_path / "x.json",
        {
            "boxes_3d": [[10, 20, 30.5, "tm", 1, 0], [1, 2, 3, "tm", 0, 3]],
            "class_list": {"0": {"name": "a", "boxsize": 24}, "3": "no_cluster"},
        },
    )
    assert recognise(path).name == "eman2"
    read = eman2.read(path, NAMED)
    assert read.center_zyx_px.tolist() == [[30.5, 20, 10], [3, 2, 1]]
    assert read.cluster.tolist() == [0, -1]
    with pytest.raises(InputError, match="--tomogram-name"):
        eman2.read(path, Known())


def test_eman2_what_is_written(tmp_path, rng):
    given = particles(rng)
    files = eman2.write(tmp_path / "out_info.json", given, Known(box_px=16))
    assert [file.name for file in files] == ["TS_01_info.json", "b-c_info.json"]
    centred, plain = (json.loads(file.read_text()) for file in files)
    assert centred["apix_unbin"] == 2.5
    assert "apix_unbin" not in plain
    members = given.select(given.tomogram_name == "TS_01")
    xyz = np.array([box[:3] for box in centred["boxes_3d"]])
    np.testing.assert_allclose(xyz * 0.25 + [60, 50, 30], members.center_zyx_px[:, ::-1])
    assert centred["class_list"]["0"] == {"name": "cluster_01", "boxsize": 64}
    assert plain["class_list"]["2"] == {"name": "cluster_03", "boxsize": 16}
    assert plain["class_list"]["3"]["name"] == "no_cluster"


def test_eman2_round_trip(tmp_path, rng):
    given = particles(rng)
    for file in eman2.write(tmp_path / "out_info.json", given, Known()):
        assert recognise(file).name == "eman2"
        name = "TS_01" if "TS_01" in file.name else "b c"
        read = eman2.read(file, Known(given.tomograms, tomogram_name=name))
        members = given.select(given.tomogram_name == name)
        assert read.tomogram_name.tolist() == members.tomogram_name.tolist()
        np.testing.assert_allclose(read.center_zyx_px, members.center_zyx_px, atol=1e-12)
        np.testing.assert_array_equal(read.score, members.score)
        np.testing.assert_array_equal(read.cluster, members.cluster)


def test_eman2_everything_else_comes_back(tmp_path):
    content = {
        "apix_unbin": 2.5,
        "tlt_params": [[0.5, 1, 2, 3, 0]],
        "boxes_3d": [[-40.0, 0.0, 8.0, "manual", 0.5, 1], [4.0, 4.0, 4.0, "tm", 0.25, 4]],
        "class_list": {"1": {"name": "a", "boxsize": 64}, "4": {"name": "b", "boxsize": 32}},
    }
    path = write_json(tmp_path / "TS_01_info.json", content)
    known = Known({"TS_01": TomogramInfo("TS_01", 10.0, (61, 100, 121))})
    eman2.write(tmp_path / "b_info.json", eman2.read(path, known), known)
    assert json.loads((tmp_path / "b_info.json").read_text()) == content
    new = eman2.read(path, known).with_clusters(np.array([1, 0]), None)
    eman2.write(tmp_path / "c_info.json", new, known)
    written = json.loads((tmp_path / "c_info.json").read_text())
    assert [box[5] for box in written["boxes_3d"]] == [1, 0]
    assert written["class_list"] == {"0": "cluster_01", "1": "cluster_02"}


def test_eman2_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "a_info.json"
    path.write_text("{boxes}")
    with pytest.raises(InputError, match=r"a_info.json cannot be read as JSON"):
        eman2.read(path, Known())
    for content in ([], {}, {"boxes_3d": []}, {"boxes_3d": 5}, {"boxes_3d": [3]}):
        write_json(path, content)
        with pytest.raises(InputError, match="holds no boxes"):
            eman2.read(path, Known())
    write_json(path, {"boxes_3d": [[1, 2]]})
    with pytest.raises(InputError, match="a box without three coordinates"):
        eman2.read(path, Known())
    write_json(path, {"boxes_3d": [[1, 2, "three"]]})
    with pytest.raises(InputError, match=r"no number as a coordinate .*three"):
        eman2.read(path, Known())


# copick


def picks(**changes):
    matrix = np.eye(4)
    matrix[:3, :3] = Z_TO_X
    matrix[:3, 3] = 5, 0, -10
    point = {
        "location": {"x": 100.0, "y": 200.0, "z": 300.0},
        "transformation_": matrix.tolist(),
        "instance_id": 4,
        "score": 0.5,
    }
    return {
        "pickable_object_name": "ribosome",
        "user_id": "tool",
        "session_id": "19",
        "run_name": "TS_01",
        "voxel_spacing": 10.0,
        "unit": "angstrom",
        "points": [point],
        "trust_orientation": True,
    } | changes


def test_copick_angstrom_and_matrix(tmp_path, caplog):
    path = write_json(tmp_path / "tool_19_ribosome.json", picks())
    assert recognise(path).name == "copick"
    read = copick.read(path, Known())
    np.testing.assert_allclose(read.box_center_zyx_px, [[30, 20, 10]])
    np.testing.assert_allclose(read.center_zyx_px, [[29, 20, 10.5]])
    pose = rotation_from_euler_zyz_deg(read.euler_zyz_deg[0])
    np.testing.assert_allclose(pose.apply([0, 0, 1]), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(pose.apply([1, 0, 0]), [0, 1, 0], atol=1e-12)
    assert read.tomogram_name.tolist() == ["TS_01"]
    assert read.cluster is None
    assert read.score.tolist() == [0.5]
    unscored = picks()
    unscored["points"][0]["score"] = float("nan")  # as Python writes it
    write_json(path, unscored)
    assert np.isnan(copick.read(path, Known()).score).all()
    other = copick.read(path, Known(voxel_size_angstrom=20))
    np.testing.assert_allclose(other.center_zyx_px, [[14.5, 10, 5.25]])
    given = copick.read(path, Known({"TS_01": TomogramInfo("TS_01", 5.0)}))
    np.testing.assert_allclose(given.center_zyx_px, [[58, 40, 21]])
    assert not caplog.text


def test_copick_without_orientations_and_run(tmp_path):
    content = picks(trust_orientation=False, run_name=None, voxel_spacing=None)
    content["points"][0] = {"location": {"x": 8, "y": 16, "z": 24}}
    path = tmp_path / "ExperimentRuns" / "run7" / "Picks" / "tool_19_ribosome.json"
    write_json(path, content)
    read = copick.read(path, Known(voxel_size_angstrom=8))
    assert read.euler_zyz_deg is None
    assert read.center_zyx_px.tolist() == [[3, 2, 1]]
    assert read.tomogram_name.tolist() == ["run7"]
    with pytest.raises(InputError, match="voxel size of tomogram run7 is unknown"):
        copick.read(path, Known())


def test_copick_project_round_trip(tmp_path, rng):
    given = particles(rng)
    project = tmp_path / "project"
    files = copick.write(project, given, Known(object_name="my_protein"))
    names = {str(file.relative_to(project)) for file in files}
    assert "ExperimentRuns/TS_01/Picks/aitom-disca_0_my-protein-1.json" in names
    assert "ExperimentRuns/b-c/Picks/aitom-disca_0_my-protein.json" in names
    assert len(files) == 6  # two runs, clusters 1 and 3, and particles in none
    assert all(file.name.count("_") == 2 for file in files)
    assert recognise(project).name == "copick"
    read = copick.read(project, Known())
    order = [  # files come in alphabetical order
        np.flatnonzero(np.linalg.norm(given.center_zyx_px - c, axis=1) < 1e-9)[0]
        for c in read.center_zyx_px
    ]
    assert sorted(order) == list(range(9))
    expected = given.select(np.array(order))
    assert read.tomogram_name.tolist() == expected.tomogram_name.tolist()
    np.testing.assert_allclose(read.box_center_zyx_px, expected.box_center_zyx_px, atol=1e-9)
    np.testing.assert_array_equal(read.score, expected.score)
    np.testing.assert_array_equal(read.cluster, expected.cluster)
    same_poses(read.euler_zyz_deg, expected.euler_zyz_deg)
    assert set(read.more["pickable_object_name"]) == {"my-protein"}


def test_copick_a_file_comes_back(tmp_path):
    path = write_json(tmp_path / "a.json", picks())
    read = copick.read(path, Known())
    assert copick.write(tmp_path / "b.json", read, Known()) == [tmp_path / "b.json"]
    written = json.loads((tmp_path / "b.json").read_text())
    point, before = written.pop("points")[0], picks()["points"][0]
    assert written == {key: value for key, value in picks().items() if key != "points"}
    assert point["location"] == pytest.approx(before["location"])
    np.testing.assert_allclose(point["transformation_"], before["transformation_"], atol=1e-12)
    assert (point["instance_id"], point["score"]) == (4, 0.5)
    two = copick.write(tmp_path / "c.json", read.with_clusters(np.array([1]), None), Known())
    assert json.loads(two[0].read_text())["pickable_object_name"] == "ribosome-2"


def test_copick_objects_of_several_files_become_classes_with_a_legend(tmp_path, capsys):
    for name in ("ribosome", "apoferritin", "virus-2"):
        write_json(tmp_path / f"tool_19_{name}.json", picks(pickable_object_name=name))
    files = [str(tmp_path / f"tool_19_{n}.json") for n in ("ribosome", "apoferritin", "virus-2")]
    star = tmp_path / "all.star"
    command = ["convert", *files, "--out", str(star), "--to", "relion31"]
    assert main(command) == 0
    assert "classes: 1 apoferritin, 2 ribosome, 3 virus-2" in capsys.readouterr().out
    assert read_particles_star(star).cluster.tolist() == [1, 0, 2]
    legend = tmp_path / "all_classes.csv"
    assert legend.read_text() == "class,object\n1,apoferritin\n2,ribosome\n3,virus-2\n"
    star.unlink()
    assert main(command) == 2 and not star.exists()  # the legend is there
    one = ["convert", files[0], str(tmp_path / "one.star"), "--to", "relion31"]
    assert main(one) == 0 and not (tmp_path / "one_classes.csv").exists()
    again = ["convert", *files, "--out", str(tmp_path / "project"), "--to", "copick"]
    assert main(again) == 0
    read = copick.read(tmp_path / "project", Known())  # copick keeps the names themselves
    assert set(read.more["pickable_object_name"]) == {"ribosome", "apoferritin", "virus-2"}


def test_copick_orientations_of_some_files(tmp_path):
    folder = tmp_path / "ExperimentRuns" / "TS_01" / "Picks"
    write_json(folder / "a_1_x.json", picks(session_id="1", trust_orientation=False))
    write_json(folder / "a_2_x.json", picks(session_id="2"))
    read = copick.read(tmp_path, Known())
    files = copick.write(tmp_path / "b", read, Known())
    trust = [json.loads(file.read_text())["trust_orientation"] for file in files]
    assert trust == [False, True]


def test_copick_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("points")
    with pytest.raises(InputError, match=r"a.json cannot be read as JSON"):
        copick.read(path, Known())
    write_json(path, {"points": []})
    with pytest.raises(InputError, match="needs pickable_object_name and points"):
        copick.read(path, Known())
    write_json(path, picks(points=[]))
    with pytest.raises(InputError, match="holds no picks"):
        copick.read(path, Known())
    write_json(path, picks(unit="pixel"))
    with pytest.raises(InputError, match="counts in pixel; only picks in angstrom"):
        copick.read(path, Known())
    for point in ({}, {"location": {"x": 1, "y": 2}}, [1, 2, 3], {"location": None}):
        write_json(path, picks(points=[point]))
        with pytest.raises(InputError, match="points with location x, y, z"):
            copick.read(path, Known())
    place = {"x": 1, "y": 2, "z": 3}
    write_json(path, picks(points=[{"location": place | {"z": "up"}}]))
    with pytest.raises(InputError, match="no number as a location"):
        copick.read(path, Known())
    write_json(path, picks(points=[{"location": place, "transformation_": Z_TO_X}]))
    with pytest.raises(InputError, match="not 4 x 4"):
        copick.read(path, Known())
    mirror = np.diag([1.0, 1, -1, 1]).tolist()
    write_json(path, picks(points=[{"location": place, "transformation_": mirror}]))
    with pytest.raises(InputError, match="a matrix that is no rotation"):
        copick.read(path, Known())
    homeless = ParticleSet(np.array(["t"]), np.zeros((1, 3)))
    with pytest.raises(InputError, match="voxel size of tomogram t is unknown"):
        copick.write(path, homeless, Known())


# the portal


def test_portal_voxels_and_matrix(tmp_path):
    path = tmp_path / "a.ndjson"
    point = {"type": "orientedPoint", "location": {"x": 10, "y": 20, "z": 30.5}}
    path.write_text(json.dumps(point | {"xyz_rotation_matrix": Z_TO_X}) + "\n\n")
    assert recognise(path).name == "portal"
    read = portal.read(path, NAMED)
    assert read.center_zyx_px.tolist() == [[30.5, 20, 10]]
    pose = rotation_from_euler_zyz_deg(read.euler_zyz_deg[0])
    np.testing.assert_allclose(pose.apply([0, 0, 1]), [1, 0, 0], atol=1e-12)
    other = portal.read(path, replace(NAMED, transposed=True))
    pose = rotation_from_euler_zyz_deg(other.euler_zyz_deg[0])
    np.testing.assert_allclose(pose.apply([1, 0, 0]), [0, 0, 1], atol=1e-12)
    with pytest.raises(InputError, match="--tomogram-name"):
        portal.read(path, Known())


@pytest.mark.parametrize("transposed", [False, True])
def test_portal_round_trip(tmp_path, rng, transposed):
    given = particles(rng)
    known = Known(transposed=transposed)
    files = portal.write(tmp_path / "out.ndjson", given, known)
    assert [file.name for file in files] == ["out_TS_01.ndjson", "out_b-c.ndjson"]
    for file, name in zip(files, ("TS_01", "b c"), strict=True):
        read = portal.read(file, replace(known, tomogram_name=name))
        members = given.select(given.tomogram_name == name)
        np.testing.assert_array_equal(read.center_zyx_px, members.center_zyx_px)
        np.testing.assert_array_equal(read.cluster, members.cluster)
        same_poses(read.euler_zyz_deg, members.euler_zyz_deg)
        first = json.loads(file.read_text().splitlines()[0])
        assert first["type"] == "orientedPoint"
        matrix = rotation_from_euler_zyz_deg(members.euler_zyz_deg[0]).as_matrix()
        np.testing.assert_allclose(
            first["xyz_rotation_matrix"], matrix.T if transposed else matrix, atol=1e-12
        )


def test_portal_types(tmp_path, rng):
    given = replace(particles(rng), tomogram_name=np.array(["t"] * 9), euler_zyz_deg=None)
    for changed, kind in (
        (given, "instancePoint"),
        (replace(given, cluster=None), "point"),
    ):
        (file,) = portal.write(tmp_path / "p.ndjson", changed, Known())
        assert {json.loads(line)["type"] for line in file.read_text().splitlines()} == {kind}
        read = portal.read(file, NAMED)
        assert read.euler_zyz_deg is None
        assert (read.cluster is None) == (kind == "point")


def test_portal_further_keys_come_back(tmp_path):
    path = tmp_path / "a.ndjson"
    lines = [
        {"type": "point", "location": {"x": 1.0, "y": 2.0, "z": 3.0}, "radius": 5, "tags": ["a"]},
        {"type": "point", "location": {"x": 4.0, "y": 5.0, "z": 6.0}, "radius": 6},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    portal.write(tmp_path / "b.ndjson", portal.read(path, NAMED), Known())
    assert [json.loads(x) for x in (tmp_path / "b.ndjson").read_text().splitlines()] == lines


def test_portal_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.ndjson"
    good = json.dumps({"type": "point", "location": {"x": 1, "y": 2, "z": 3}})
    path.write_text(good + "\n{oh\n")
    with pytest.raises(InputError, match=r"line 2 of a.ndjson cannot be read as JSON"):
        portal.read(path, NAMED)
    path.write_text(good.replace("point", "line"))
    with pytest.raises(InputError, match=r"line 1 of a.ndjson is no portal point; its type must"):
        portal.read(path, NAMED)
    path.write_text("5\n")
    with pytest.raises(InputError, match="is no portal point"):
        portal.read(path, NAMED)
    path.write_text(good.replace('"y"', '"w"'))
    with pytest.raises(InputError, match=r"line 1 of .* a point with location x, y, z"):
        portal.read(path, NAMED)
    path.write_text(good.replace("2", '"b"'))
    with pytest.raises(InputError, match="no number as a location"):
        portal.read(path, NAMED)
    path.write_text(good.replace("}}", '}, "xyz_rotation_matrix": [[1, 0], [0, 1]]}'))
    with pytest.raises(InputError, match="not 3 x 3"):
        portal.read(path, NAMED)
    path.write_text(good.replace("}}", '}, "xyz_rotation_matrix": [[1, 0], [0]]}'))
    with pytest.raises(InputError, match="no number as a rotation matrix"):
        portal.read(path, NAMED)
    path.write_text("\n")
    with pytest.raises(InputError, match="holds no points"):
        portal.read(path, NAMED)
