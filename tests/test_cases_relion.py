"""Small inputs that RELION, or its star files, once took to wrong places."""

from __future__ import annotations

import shutil
import subprocess

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
from scipy.spatial.transform import Rotation

from aitom_disca.cli.app import main
from aitom_disca.io import open_store
from aitom_disca.io.formats.particles_of_store import labels_of

pytestmark = pytest.mark.relion

XYZ = [f"rlnCoordinate{axis}" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
ORIGINS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
TILTS = "--tilt-range -60 60"


@pytest.fixture
def folder(tmp_path, monkeypatch, shared_cases):
    """The inputs that the cases share, in the working folder."""
    for path in (shared_cases / "relion_common").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*commands: str) -> None:
    for command in commands:
        assert main(command.split()) == 0, command


def planted(name: str) -> np.ndarray:
    """Where the particles lie (x, y, z), in voxels."""
    return starfile.read(f"{name}_poses.star")["particles"][XYZ].to_numpy()


def particles(path: str):
    return starfile.read(path, always_dict=True)["particles"]


def volume(path: str) -> np.ndarray:
    with mrcfile.open(path) as mrc:
        return mrc.data.astype(float)


def correlations(star: str, store: str) -> np.ndarray:
    """Of the images that a star file names with the subtomograms of a store."""
    with open_store(store) as opened:
        own = opened.read()
    names = particles(star)["rlnImageName"]
    return np.array(
        [np.corrcoef(volume(n).ravel(), v.ravel())[0, 1] for n, v in zip(names, own, strict=True)]
    )


def test_case_2_coordinate_files_for_extraction(folder, relion):
    """One file a tomogram, with all that is known; poses go over into what RELION cuts."""
    run(
        f"extract tomo.mrc --picks tomo_poses.star --out s.h5 --box-px 16 {TILTS}",
        "convert s.h5 picks/p.star --to relion_coordinates --micrographs tomo_mics.star",
    )
    relion(
        "preprocess --i tomo_mics.star --coord_dir picks/ --coord_suffix _p.star --part_dir P/",
        "--part_star P.star --extract --extract_size 16",
    )
    run("convert P.star back.csv --to csv", "convert picks/tomo_p.star own.csv --to csv")
    for name in ("back", "own"):
        rows = np.genfromtxt(f"{name}.csv", delimiter=",", names=True)
        np.testing.assert_allclose(
            np.stack([rows[axis] for axis in "xyz"], axis=1), planted("tomo"), atol=1e-4
        )
        tilt = starfile.read("tomo_poses.star")["particles"]["rlnAngleTilt"]
        np.testing.assert_allclose(rows["tilt"], tilt, atol=1e-3)
    assert correlations("P.star", "s.h5").min() > 0.999999
    run("convert s.h5 again.star --to relion31 --micrographs tomo_mics.star")
    relion(
        "preprocess --i tomo_mics.star --reextract_data_star again.star --part_dir R/",
        "--part_star R.star --extract --extract_size 16",
    )
    assert correlations("R.star", "s.h5").min() > 0.999999


@pytest.mark.parametrize("layout", ["relion30", "relion31"])
def test_case_3_the_fraction_is_in_the_origins(folder, layout):
    run(
        f"extract tomo.mrc --picks tomo_poses.star --out s.h5 --box-px 16 {TILTS}",
        f"convert s.h5 p.star --to {layout}",
    )
    table = starfile.read("p.star")
    table = table["particles"] if isinstance(table, dict) else table
    boxes = table[XYZ].to_numpy()
    assert boxes.tolist() == np.round(planted("tomo")).tolist()
    names, pixel = (ORIGINS, 10.0) if layout == "relion31" else ([n[:-5] for n in ORIGINS], 1.0)
    np.testing.assert_allclose(boxes - table[names].to_numpy() / pixel, planted("tomo"), atol=1e-5)


def test_case_3_relion_cuts_what_we_cut(folder, relion):
    run(
        f"extract tomo.mrc --picks tomo_poses.star --out s.h5 --box-px 16 {TILTS}",
        "convert s.h5 tomo_p.star --to relion30",
    )
    relion(
        "preprocess --i tomo_mics.star --coord_dir ./ --coord_suffix _p.star --part_dir P/",
        "--part_star P.star --extract --extract_size 16",
    )
    assert len(particles("P.star")) == 8
    assert correlations("P.star", "s.h5").min() > 0.999999


def test_case_4_reduced_images_keep_voxels_of_the_tomogram(folder, relion, capsys):
    run(
        "extract fine.mrc --picks fine_poses.star --out f.h5 --box-px 8 "
        f"--working-voxel-size-angstrom 10 {TILTS}",
        "convert f.h5 f.star --to relion31 --images --micrographs fine_mics.star",
    )
    blocks = starfile.read("f.star")
    boxes = blocks["particles"][XYZ].to_numpy()
    assert boxes.tolist() == np.round(planted("fine")).tolist()
    place = boxes - blocks["particles"][ORIGINS].to_numpy() / 5
    np.testing.assert_allclose(place, planted("fine"), atol=1e-5)
    assert blocks["optics"]["rlnMicrographOriginalPixelSize"].tolist() == [5]
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [10]
    relion(
        "preprocess --i fine_mics.star --reextract_data_star f.star --part_dir R/",
        "--part_star R.star --extract --extract_size 16 --scale 8",
    )
    # both leave out fine detail, but not in the same way
    assert correlations("R.star", "f.h5").min() > 0.95
    assert main("convert f.h5 old.star --to relion30 --images".split()) == 2
    assert "no place for images of pixels of 10 A" in capsys.readouterr().err


def test_case_5_relion_rescaled_and_the_places_stay(folder, shared_cases):
    shutil.copyfile(shared_cases / "relion_5_scaled_star_read" / "F.star", "F.star")
    run(
        "convert F.star F.csv --to csv --tomogram fine.mrc",
        "convert F.star alone.csv --to csv",
        f"extract fine.mrc --picks F.star --out x.h5 --box-px 16 {TILTS}",
        "convert F.star again.star --to relion31",
    )
    for name in ("F", "alone"):
        rows = np.genfromtxt(f"{name}.csv", delimiter=",", names=True)
        np.testing.assert_allclose(
            np.stack([rows[axis] for axis in "xyz"], axis=1), planted("fine"), atol=1e-3
        )
    with open_store("x.h5") as store:
        np.testing.assert_allclose(
            store.particles().center_zyx_px[:, ::-1], planted("fine"), atol=1e-3
        )
    again, old = starfile.read("again.star"), starfile.read("F.star")
    assert again["optics"].equals(old["optics"])
    np.testing.assert_array_equal(again["particles"][XYZ], old["particles"][XYZ])


def test_case_7_groups_of_two_pixel_sizes_stay_two(folder, relion, capsys):
    for name, store in (("fine", "a"), ("tomo", "b")):
        run(
            f"extract {name}.mrc --picks {name}_poses.star --out {store}.h5 --box-px 16 {TILTS}",
            f"convert {store}.h5 {store}.star --to relion31 --images",
        )
    command = ["relion_star_handler", "--combine", "--i", "a.star b.star", "--o", "ab.star"]
    subprocess.run(command, check=True, capture_output=True)
    run("convert a.star b.star ours.star --to relion31")
    for name in ("ab.star", "ours.star"):
        blocks = starfile.read(name)
        optics, table = blocks["optics"], blocks["particles"]
        assert sorted(optics["rlnImagePixelSize"]) == [5, 10]
        assert optics["rlnOpticsGroupName"].is_unique
        pixel = optics.set_index("rlnOpticsGroup")["rlnImagePixelSize"][table["rlnOpticsGroup"]]
        assert [name.split("/")[0] for name in table["rlnImageName"]] == [
            {5: "a", 10: "b"}[size] for size in pixel
        ]
    run("convert ab.star ab.csv --to csv")
    rows = np.genfromtxt("ab.csv", delimiter=",", names=True)
    places = np.stack([rows[axis] for axis in "xyz"], axis=1)
    np.testing.assert_allclose(
        places, np.concatenate([planted("fine"), planted("tomo")]), atol=1e-3
    )
    assert rows["voxel_size_angstrom"].tolist() == [5] * 8 + [10] * 8
    assert main("import-subtomograms ab.star --out ab.h5".split()) == 2
    assert "of one voxel size" in capsys.readouterr().err


def test_one_group_in_several_files_is_one(folder):
    run("convert tomo_poses.star tomo_poses.star ours.star --to relion31")
    blocks = starfile.read("ours.star", always_dict=True)
    assert len(blocks["optics"]) == 1 and set(blocks["particles"]["rlnOpticsGroup"]) == {1}


def test_bug_13_groups_and_labels_that_occur_twice(tmp_path, shared_cases, capsys):
    case = shared_cases / "bug_13_optics_group_crashes"
    out = tmp_path / "a.csv"
    assert main(["convert", str(case / "group_twice.star"), str(out), "--to", "csv"]) == 0
    rows = np.genfromtxt(out, delimiter=",", names=True)
    assert [[row[axis] for axis in "xyz"] for row in rows] == [[40, 30, 20], [90, 60, 30]]
    for name, said in (("label_twice", "a second time"), ("group_is_text", "('A')")):
        assert main(["convert", str(case / f"{name}.star"), str(out), "--to", "csv"]) == 2
        assert said in capsys.readouterr().err
    text = (case / "group_twice.star").read_text().replace("1 og1 10.0\n1 og1", "1 og1 5.0\n1 og1")
    (tmp_path / "b.star").write_text(text)
    assert main(["convert", str(tmp_path / "b.star"), str(out), "--to", "csv", "--overwrite"]) == 2
    assert "the optics group 1 is described twice" in capsys.readouterr().err
    text = (case / "group_twice.star").read_text().replace("30 20 1", "30 20 7")
    (tmp_path / "c.star").write_text(text)
    assert main(["convert", str(tmp_path / "c.star"), str(out), "--to", "csv", "--overwrite"]) == 2
    assert "the optics group 7 of 1 particles is not in" in capsys.readouterr().err


def test_case_1_poses_and_images_in_one_file(folder, relion, capsys):
    """`average --images`, and poses of a file beside the images of a store."""
    run(
        f"extract tomo.mrc --picks tomo_poses.star --out s.h5 --box-px 16 {TILTS}",
        "average s.h5 --out avg --images --null-test none",
        "convert s.h5 out.star --to relion31 --images --poses avg/particles.star",
    )
    one, other = particles("avg/particles.star"), particles("out.star")
    for table in (one, other):
        assert set(table["rlnRandomSubset"]) == {1, 2} and set(table["rlnClassNumber"]) == {1}
        np.testing.assert_array_equal(table[XYZ], np.round(planted("tomo")))
        volumes = [volume(name).shape for name in table["rlnImageName"]]
        wedges = [volume(name).shape for name in table["rlnCtfImage"]]
        assert set(volumes + wedges) == {(16, 16, 16)}
    same = [*XYZ, *ORIGINS, *ANGLES, "rlnRandomSubset"]
    np.testing.assert_allclose(one[same], other[same], atol=1e-4)
    (folder / "x").mkdir()
    relion(
        "refine --i avg/particles.star --o x/x --ref avg/cluster_01/average.mrc --K 1 --iter 1",
        "--skip_align --ctf --particle_diameter 140",
    )
    relion("reconstruct --i out.star --o x.mrc --ctf --3d_rot")
    assert main("average s.h5 --out five --images --relion 5".split()) == 2  # before averaging
    assert "binning of the tomogram" in capsys.readouterr().err


def test_case_6_without_positions(folder, relion, capsys):
    run(
        f"extract tomo.mrc --picks tomo_poses.star --out s.h5 --box-px 16 {TILTS}",
        "convert s.h5 t.star --to relion31 --images",
        f"import-subtomograms t/tomo --out n.h5 {TILTS}",
        "average n.h5 --out navg --null-test none",
        "convert n.h5 n.star --to relion31 --images --poses navg/particles.star",
        "import-subtomograms n.star --out again.h5",
        "convert again.h5 again.star --to relion31 --images",
    )
    of_average, of_convert = particles("navg/particles.star"), particles("n.star")
    assert not set(XYZ) & set(of_convert)
    assert (of_average[ANGLES].to_numpy() != 0).any(axis=1).all()
    np.testing.assert_allclose(of_average[ORIGINS], of_convert[ORIGINS], atol=1e-5)
    again = particles("again.star")
    columns = [*ANGLES, *ORIGINS, "rlnClassNumber", "rlnRandomSubset"]
    np.testing.assert_allclose(again[columns], of_convert[columns], atol=1e-4)
    for name in ("n", "again"):
        relion(f"reconstruct --i {name}.star --o {name}.mrc --ctf --3d_rot")
    np.testing.assert_allclose(volume("n.mrc"), volume("again.mrc"), atol=1e-4)
    assert main("convert n.h5 n.csv --to csv".split()) == 2
    assert "positions, which these particles do not have" in capsys.readouterr().err


def test_case_8_classes_of_relion(folder, relion):
    """A classification of RELION's: its classes, poses and halves come back."""
    run(
        f"extract tomo.mrc --picks tomo_poses.star --out s.h5 --box-px 16 {TILTS}",
        "convert s.h5 t.star --to relion31 --images",
    )
    blocks = starfile.read("t.star")
    for k in (1, 2):  # a reference of every second particle
        half = blocks["particles"].iloc[k - 1 :: 2].reset_index(drop=True)
        starfile.write({**blocks, "particles": half}, f"t{k}.star")
        relion(f"reconstruct --i t{k}.star --o t{k}.mrc --ctf --3d_rot")
    starfile.write(pd.DataFrame({"rlnReferenceImage": ["t1.mrc", "t2.mrc"]}), "refs.star")
    (folder / "x").mkdir()
    relion(
        "refine --i t.star --o x/run --ref refs.star --iter 1 --ctf --particle_diameter 140",
        "--skip_align --firstiter_cc",
    )
    star = "x/run_it001_data.star"
    table = particles(star)
    assert table["rlnClassNumber"].tolist() == [1, 2] * 4
    shuffled = starfile.read(star)
    shuffled["particles"] = table.iloc[::-1].reset_index(drop=True)
    starfile.write(shuffled, "shuffled.star")
    for name in (star, "shuffled.star"):
        with open_store("s.h5") as store:
            cluster, _ = labels_of(store, name)
        assert (cluster + 1).tolist() == table["rlnClassNumber"].tolist()
    run(
        f"export s.h5 --labels {star} --out stars --images",
        f"import-subtomograms {star} --out i.h5",
        "convert i.h5 again.star --to relion31 --images",
        f"convert {star} kept.star --to relion31",
    )
    for k in (1, 2):
        relion(f"reconstruct --i stars/clusters/cluster_0{k}.star --o c.mrc --ctf --3d_rot")
        np.testing.assert_allclose(volume("c.mrc"), volume(f"t{k}.mrc"), atol=1e-3)
    again, kept = particles("again.star"), particles("kept.star")
    assert set(table) - {"rlnTomoName"} <= set(kept)
    for other in (again, kept):
        assert other["rlnClassNumber"].tolist() == table["rlnClassNumber"].tolist()
        columns = [*XYZ, *ORIGINS, "rlnLogLikeliContribution"]
        np.testing.assert_allclose(other[columns], table[columns], atol=1e-4)
        turned = (Rotation.from_euler("ZYZ", t[ANGLES], degrees=True) for t in (other, table))
        assert (next(turned) * next(turned).inv()).magnitude().max() < 1e-4
