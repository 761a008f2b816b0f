"""Phantoms and map templates: centre, pose, scale, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import affine_transform, center_of_mass
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, rotation_from_euler_zyz_deg
from aitom_disca.simulation import MapTemplate, load_phantoms, phantoms, read_template

PHANTOMS = load_phantoms()
BOXES = (40, 41, 46)
POSE = Rotation.from_euler("ZYZ", (35, 70, -110), degrees=True)


def turned_by_scipy(volume: np.ndarray, rotation: Rotation) -> np.ndarray:
    """Rotate about voxel n // 2 with an independent implementation."""
    matrix_zyx = rotation.as_matrix()[::-1, ::-1]  # of the output
    centre = np.array(volume.shape) // 2
    return affine_transform(volume, matrix_zyx.T, centre - matrix_zyx.T @ centre, order=3)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def small_map(n: int = 24) -> MapTemplate:
    return MapTemplate("two_lobes", PHANTOMS["two_lobes"].density(n, 14.0), 14.0)


def test_there_are_enough_different_phantoms() -> None:
    assert len(PHANTOMS) >= 8
    assert all(85 <= p.radius_angstrom <= 170 for p in PHANTOMS.values())
    drawn = {name: p.density(28, 12.0) for name, p in PHANTOMS.items()}
    for a in drawn:
        for b in drawn:
            assert a == b or correlation(drawn[a], drawn[b]) < 0.9


@pytest.mark.parametrize("name", PHANTOMS)
def test_centre_of_mass_is_the_centre_index(name: str) -> None:
    for box in (60, 61, 67):
        centre = center_of_mass(PHANTOMS[name].density(box, 6.0))
        np.testing.assert_allclose(np.array(centre) * 6, box // 2 * 6, atol=1.0)


@pytest.mark.parametrize("name", PHANTOMS)
def test_radius_holds_the_phantom_but_is_not_wasteful(name: str) -> None:
    phantom = PHANTOMS[name]
    inside = np.argwhere(phantom.density(88, 4.0) > 0.5)
    furthest = np.linalg.norm(inside - 44, axis=1).max() * 4
    assert phantom.radius_angstrom - 12 < furthest < phantom.radius_angstrom + 2


@pytest.mark.parametrize("box", BOXES)
def test_rotation_agrees_with_scipy(box: int) -> None:
    phantom = PHANTOMS["letter_l"]
    expected = turned_by_scipy(phantom.density(box, 9.0), POSE)
    assert correlation(phantom.density(box, 9.0, POSE), expected) > 0.995
    assert correlation(phantom.density(box, 9.0, POSE.inv()), expected) < 0.7


def test_rotation_by_a_quarter_turn_is_exact() -> None:
    phantom = PHANTOMS["letter_l"]
    quarter = Rotation.from_euler("z", 90, degrees=True)  # x to y, y to -x
    volume = phantom.density(41, 9.0)
    expected = np.flip(volume.transpose(0, 2, 1), 2)
    np.testing.assert_allclose(phantom.density(41, 9.0, quarter), expected, atol=1e-6)


def test_relion_angles_lead_back_to_the_same_density() -> None:
    phantom = PHANTOMS["two_lobes"]
    again = rotation_from_euler_zyz_deg(euler_zyz_deg_from_rotation(POSE))
    expected = phantom.density(24, 14.0, POSE)
    np.testing.assert_allclose(phantom.density(24, 14.0, again), expected, atol=1e-5)


@pytest.mark.parametrize("template", [PHANTOMS["two_lobes"], small_map()], ids=["phantom", "map"])
def test_whole_shifts_move_whole_voxels(template: phantoms.Template) -> None:
    moved = template.density(37, 14.0, POSE, (3, -2, 1))
    expected = np.roll(template.density(37, 14.0, POSE), (3, -2, 1), (0, 1, 2))
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_symmetry_holds() -> None:
    ring = PHANTOMS["ring"]
    turned = ring.density(36, 9.0, Rotation.from_euler("z", 30, degrees=True))
    np.testing.assert_allclose(turned, ring.density(36, 9.0), atol=1e-6)
    assert correlation(ring.density(36, 9.0, POSE), turned) < 0.7


def test_coarser_voxels_keep_the_mass() -> None:
    phantom = PHANTOMS["chaperone"]
    fine, coarse = phantom.density(80, 5.0), phantom.density(31, 14.0)
    assert coarse.sum() * 14**3 == pytest.approx(fine.sum() * 5**3, rel=0.05)


@pytest.mark.parametrize("box", (24, 25, 30))
def test_map_template_agrees_with_its_phantom(box: int) -> None:
    phantom = PHANTOMS["two_lobes"]
    template = MapTemplate("map", phantom.density(67, 5.0), 5.0)
    drawn = template.density(box, 14.0, POSE, (0.3, -1.2, 0.8))
    expected = phantom.density(box, 14.0, POSE, (0.3, -1.2, 0.8))
    assert correlation(drawn, expected) > 0.99
    assert template.radius_angstrom == pytest.approx(phantom.radius_angstrom, abs=20)


def test_read_template(tmp_path: Path) -> None:
    path = tmp_path / "lobes.v2.mrc"
    template = small_map()
    with mrcfile.new(path, template.map_zyx.astype(np.float32)) as handle:
        handle.voxel_size = 14.0
    read = read_template(path)
    assert (read.name, read.voxel_size_angstrom) == ("lobes", 14.0)
    np.testing.assert_allclose(read.density(20, 10.0), template.density(20, 10.0), atol=1e-5)
    assert read_template(path, "other").name == "other"


def test_real_template_is_centred(shared_data: Path) -> None:
    template = read_template(shared_data / "templates" / "4v4r.mrc.gz")
    centre = center_of_mass(template.density(33, 14.0, POSE))
    np.testing.assert_allclose(centre, 16, atol=0.1)
    assert template.radius_angstrom == pytest.approx(157, abs=5)


@pytest.mark.parametrize(
    ("map_zyx", "voxel_size", "message"),
    [
        (np.ones((8, 9, 8)), 10.0, "must be a cubic map"),
        (np.full((8, 8, 8), np.nan), 10.0, "must be finite with protein bright"),
        (-np.ones((8, 8, 8)), 10.0, "must be finite with protein bright"),
        (np.ones((8, 8, 8)), 0.0, "must have a positive voxel size; its header says 0"),
    ],
)
def test_bad_maps_are_refused(map_zyx: np.ndarray, voxel_size: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MapTemplate("bad", map_zyx, voxel_size)


def test_a_file_that_is_no_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.mrc"
    path.write_text("not a map")
    with pytest.raises(InputError, match=r"text\.mrc cannot be read as an MRC map"):
        read_template(path)


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        json.dumps({"phantoms": {"a": {}}}),
        json.dumps({"phantoms": {"a": {"symmetry": "T", "solids": []}}}),
        json.dumps({"phantoms": {"a": {"symmetry": "C0", "solids": []}}}),
        json.dumps({"phantoms": {"a": {"solids": [{"from": [0, "x", 0], "radius": 1}]}}}),
    ],
)
def test_bad_phantom_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "phantoms.json"
    path.write_text(content)
    with pytest.raises(InputError, match="cannot be read as phantoms"):
        load_phantoms(path)


def test_phantoms_of_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps({"phantoms": {"ball": {"solids": [{"from": [0, 0, 0], "radius": 60}]}}})
    )
    ball = load_phantoms(path)["ball"]
    assert ball.density(31, 5.0).sum() * 125 == pytest.approx(4 / 3 * np.pi * 60**3, rel=0.03)


def test_data_file_is_found_or_missed_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "aitom_disca"
    monkeypatch.setattr(phantoms, "__file__", str(package / "simulation" / "phantoms.py"))
    with pytest.raises(FileNotFoundError, match=r"phantoms\.json is neither in"):
        phantoms.data_file("phantoms.json")
    for folder in (tmp_path / "data", package / "data"):  # the installed folder wins
        folder.mkdir(parents=True)
        (folder / "phantoms.json").write_text("{}")
        assert phantoms.data_file("phantoms.json").parent == folder
