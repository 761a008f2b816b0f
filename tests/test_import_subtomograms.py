"""Subtomograms that are files already become a store."""

from __future__ import annotations

import numpy as np
import pytest
import starfile
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.to_reference import AlignedPoses
from aitom_disca.cli.app import main
from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.io import StoreWriter, open_store, read_rows_csv, write_volume
from aitom_disca.io.formats.relion.star_blocks import ANGLE_COLUMNS
from aitom_disca.io.formats.relion.subtomogram_images import export_subtomograms
from aitom_disca.io.tomograms.wedge_volume import wedge_volume
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.pipeline.average_files import write_members
from aitom_disca.subtomograms.from_files import import_subtomograms

TILT = (-60.0, 60.0)
BOX, VOXEL = 12, 10.0


@pytest.fixture
def volumes(rng) -> np.ndarray:
    made = rng.normal(size=(5, BOX, BOX, BOX)).astype(np.float32)
    return (made - made.mean(axis=(1, 2, 3), keepdims=True)) / made.std(
        axis=(1, 2, 3), keepdims=True
    )


@pytest.fixture
def folder(tmp_path, volumes):
    for i, volume in enumerate(volumes):
        write_volume(tmp_path / "cubes" / f"p{i:02d}.mrc", 3 * volume + 7, VOXEL)
    return tmp_path / "cubes"


def test_a_folder_of_volumes(tmp_path, folder, volumes, capsys):
    write_volume(folder / "p05.mrc", np.full((BOX,) * 3, 4.0), VOXEL)
    out = tmp_path / "s.h5"
    options = ["--tilt-range", "-50", "55", "--dark-protein"]
    assert main(["import-subtomograms", str(folder), "--out", str(out), *options]) == 0
    assert "left out: 1 volume with one value only" in capsys.readouterr().out
    with open_store(out) as store:
        np.testing.assert_allclose(store.read(), -volumes, atol=1e-5)
        assert store.voxel_size_angstrom == VOXEL and store.tilt_range_deg == (-50, 55)
        assert store.particles().tomogram_name.tolist() == [f"p{i:02d}" for i in range(5)]
        assert not store.particles().has_positions


def test_ctf_images_in_a_folder_are_no_subtomograms(tmp_path, folder, capsys):
    for name in ("wedge_-60_60.mrc", "p00_ctf.mrc", "q_1_10.00A.mrc", "q_1_ctf_10.00A.mrc"):
        write_volume(folder / name, np.arange(BOX**3, dtype=float).reshape((BOX,) * 3), VOXEL)
    write_volume(folder / "no_ctf.mrc", np.arange(BOX**3, dtype=float).reshape((BOX,) * 3), VOXEL)
    out = tmp_path / "s.h5"
    assert main(["import-subtomograms", str(folder), "--out", str(out)]) == 0
    assert "left out: 3 files of CTFs or wedges" in capsys.readouterr().out
    with open_store(out) as store:
        names = store.particles().tomogram_name.tolist()
    assert names == ["no_ctf", *(f"p{i:02d}" for i in range(5)), "q_1_10.00A"]


def test_what_relion_was_given_comes_back(tmp_path, volumes, monkeypatch):
    """Exported for RELION and imported again: the same volumes at the same places."""
    monkeypatch.chdir(tmp_path)
    info = TomogramInfo("TS_01", VOXEL, (50, 60, 70), TILT, voltage_kv=200, amplitude_contrast=0.07)
    centres = np.arange(15.0).reshape(5, 3) + 12
    particles = ParticleSet(np.array(["TS_01"] * 5), centres, tomograms={"TS_01": info})
    with StoreWriter.create("a.h5", (BOX,) * 3, VOXEL, TILT, {"TS_01": info}) as writer:
        writer.append(volumes, particles)
    with open_store("a.h5") as store:
        export_subtomograms(store, "images", store.particles(), "a.star")
    options = ["--out", "b.h5", "--tilt-range", "-60", "60"]
    assert main(["import-subtomograms", "a.star", *options]) == 0
    with open_store("b.h5") as store:
        np.testing.assert_allclose(store.read(), volumes, atol=1e-5)
        again = store.particles()
    np.testing.assert_allclose(again.center_zyx_px, centres, atol=1e-5)
    assert again.tomograms["TS_01"].tilt_range_deg == TILT
    assert again.tomograms["TS_01"].optics == info.optics
    text = (tmp_path / "a.star").read_text().splitlines()
    text = [line + " 31000 29000" if "TS_01" in line else line for line in text]
    last = next(i for i, line in enumerate(text) if "TS_01" in line)
    n = int(text[last - 1].split("#")[1])
    text[last:last] = [f"_rlnDefocusU #{n + 1}", f"_rlnDefocusV #{n + 2}"]
    (tmp_path / "a.star").write_text("\n".join(text) + "\n")
    assert main(["import-subtomograms", "a.star", *options, "--voltage-kv", "100"]) == 2
    options[1] = "c.h5"
    assert main(["import-subtomograms", "a.star", *options, "--voltage-kv", "100"]) == 0
    with open_store("c.h5") as store:
        found = store.particles().tomograms["TS_01"]
    assert (found.defocus_angstrom, found.voltage_kv) == (30000, 100)


def star(path, names):
    head = "\ndata_\n\nloop_\n_rlnMicrographName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
    head += "_rlnCoordinateZ #4\n_rlnImageName #5\n"
    path.write_text(head + "".join(f"a.mrc 1 2 3 {name}\n" for name in names))


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["cubes/p00.mrc", "cubes/p09.mrc"], "cubes/p09.mrc of a.star is neither"),
        (["1@cubes/s.mrcs"], "images of a stack"),
        (["cubes/p00.mrc", "odd.mrc"], "odd.mrc is (10, 10, 10) (z, y, x) and the first one"),
        (["flat.mrc"], "cubic"),
    ],
)
def test_what_cannot_be_imported_is_said(tmp_path, folder, capsys, names, match):
    write_volume(tmp_path / "odd.mrc", np.ones((10, 10, 10)), VOXEL)
    write_volume(tmp_path / "flat.mrc", np.ones((10, 12, 12)), VOXEL)
    star(tmp_path / "a.star", names)
    options = ["--out", str(tmp_path / "s.h5"), "--file-pixel-angstrom", "10"]
    assert main(["import-subtomograms", str(tmp_path / "a.star"), *options]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "s.h5").exists()


def test_a_pixel_that_nothing_says_is_assumed_aloud(tmp_path, folder, caplog):
    write_volume(tmp_path / "wedge.mrc", wedge_volume(BOX, (-50, 50)), VOXEL)
    labels = ["rlnTomoName", *(f"rlnCoordinate{axis}" for axis in "XYZ"), "rlnImageName"]
    head = "".join(f"_{label}\n" for label in [*labels, "rlnCtfImage"])
    row = f"TS_01 30 20 10 {folder / 'p00.mrc'} {tmp_path / 'wedge.mrc'}\n"
    (tmp_path / "a.star").write_text(f"data_\nloop_\n{head}{row}")
    command = ["import-subtomograms", str(tmp_path / "a.star"), "--out", str(tmp_path / "s.h5")]
    assert main(command) == 2
    assert main([*command, "--voxel-size-angstrom", "10"]) == 0
    assert "the voxels of the volumes, 10 Angstrom, are assumed" in caplog.text
    caplog.clear()
    options = ["--voxel-size-angstrom", "10", "--file-pixel-angstrom", "5", "--overwrite"]
    assert main([*command, *options]) == 0 and not caplog.text


def test_a_folder_without_volumes_and_a_star_without_images(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    out = ["--out", str(tmp_path / "s.h5")]
    assert main(["import-subtomograms", str(tmp_path / "empty"), *out]) == 2
    assert "holds no .mrc" in capsys.readouterr().err
    star(tmp_path / "a.star", ["x"])
    text = (tmp_path / "a.star").read_text().replace("_rlnImageName", "_rlnGroupName")
    (tmp_path / "a.star").write_text(text)
    code = main(
        ["import-subtomograms", str(tmp_path / "a.star"), *out, "--file-pixel-angstrom", "9"]
    )
    assert code == 2 and "names no volumes" in capsys.readouterr().err


def test_angles_of_files_go_into_a_star_file_and_others_into_a_table(tmp_path, folder, volumes):
    rows = np.array([0, 2, 3])
    shifts = np.array([[1, 2, 3], [0, -1, 0.5], [0, 0, 0]])
    poses = AlignedPoses(Rotation.random(3, random_state=0), shifts, np.array([0.5, 0.6, 0.7]))
    import_subtomograms(folder, tmp_path / "s.h5")
    with open_store(tmp_path / "s.h5") as store:
        write_members(tmp_path, store, 1, rows, poses, np.array([0, 1, 0]), "3.1")
    optics, particles = starfile.read(tmp_path / "particles.star").values()
    assert optics["rlnImageSize"].item() == BOX
    assert particles["rlnImageName"].tolist() == [str(folder / f"p0{i}.mrc") for i in rows]
    angles = rotation_from_euler_zyz_deg(particles[ANGLE_COLUMNS].to_numpy())
    assert (angles * poses.rotations.inv()).magnitude().max() < 1e-4
    # RELION's particle lies at minus its origin.
    origins = particles[[f"rlnOrigin{axis}Angst" for axis in "ZYX"]].to_numpy()
    np.testing.assert_allclose(origins, -VOXEL * shifts)
    assert particles["rlnClassNumber"].tolist() == [2, 2, 2]
    assert particles["rlnRandomSubset"].tolist() == [1, 2, 1]

    unplaced = ParticleSet(np.array(["a"] * 5), np.full((5, 3), np.nan))
    with StoreWriter.create(tmp_path / "t.h5", (BOX,) * 3, VOXEL, TILT) as writer:
        writer.append(volumes, unplaced)
    with open_store(tmp_path / "t.h5") as store:
        assert write_members(tmp_path, store, 1, rows, poses, np.zeros(3, int), "3.1") is None
    table = read_rows_csv(tmp_path / "poses.csv")
    assert [int(row["index"]) for row in table] == rows.tolist()
    assert [float(row["shift_x_angstrom"]) for row in table] == [30, 5, 0]
