"""Small inputs that RELION, or its star files, once took to wrong places."""

from __future__ import annotations

import shutil

import mrcfile
import numpy as np
import pytest
import starfile

from aitom_disca.cli.app import main
from aitom_disca.io import open_store

pytestmark = pytest.mark.relion

XYZ = [f"rlnCoordinate{axis}" for axis in "XYZ"]
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


def test_case_4_reduced_images_keep_voxels_of_the_tomogram(folder, relion):
    run(
        "extract fine.mrc --picks fine_poses.star --out f.h5 --box-px 8 "
        f"--working-voxel-size-angstrom 10 {TILTS}",
        "convert f.h5 f.star --to relion31 --images",
    )
    blocks = starfile.read("f.star")
    boxes = blocks["particles"][XYZ].to_numpy()
    assert boxes.tolist() == np.round(planted("fine")).tolist()
    place = boxes - blocks["particles"][ORIGINS].to_numpy() / 5
    np.testing.assert_allclose(place, planted("fine"), atol=1e-5)
    assert blocks["optics"]["rlnMicrographOriginalPixelSize"].tolist() == [5]
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [10]
    text = (folder / "f.star").read_text().replace("fine fine ", "fine fine.mrc ")
    (folder / "f_mic.star").write_text(text.replace("fine\tfine\t", "fine\tfine.mrc\t"))
    relion(
        "preprocess --i fine_mics.star --reextract_data_star f_mic.star --part_dir R/",
        "--part_star R.star --extract --extract_size 16 --scale 8",
    )
    # both leave out fine detail, but not in the same way
    assert correlations("R.star", "f.h5").min() > 0.95


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
