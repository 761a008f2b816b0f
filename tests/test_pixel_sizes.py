"""In which pixel a file counts: the rule of star files, and what is said of the others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from aitom_disca.errors import InputError
from aitom_disca.io import read_picks
from aitom_disca.io.formats import Known, get_format
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.io.formats.relion.star_pixels import (
    check_labels_agree,
    coordinate_pixel_angstrom,
    image_pixel_angstrom,
    listed_voxel_angstrom,
)
from aitom_disca.io.pixel_sizes import pixel_in_folders, pixels_in_voxels, to_pixel_sizes
from aitom_disca.particles import TomogramInfo

TS, MIC, ORIGINAL = "rlnTomoTiltSeriesPixelSize", "rlnMicrographPixelSize", None
ORIGINAL = "rlnMicrographOriginalPixelSize"
IMAGE, DETECTOR, MAGNIFICATION = "rlnImagePixelSize", "rlnDetectorPixelSize", "rlnMagnification"
PLAIN = "rlnPixelSize"
KNOWN = {"TS_01": TomogramInfo("TS_01", 5.0, (40, 50, 60))}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({TS: 1.35, IMAGE: 10.8, MIC: 10.8}, 1.35),
        ({MIC: 4.0, ORIGINAL: 2.0, IMAGE: 8.0}, 4),
        ({ORIGINAL: 5.0, IMAGE: 10.0}, 5),
        ({IMAGE: 10.0}, 10),
        ({DETECTOR: 10.0}, 10),
        ({DETECTOR: 5.0, MAGNIFICATION: 5000.0}, 10),
        ({PLAIN: 10.0, DETECTOR: 10.05, MAGNIFICATION: 10000}, 10.05),
        ({MAGNIFICATION: 10000}, None),
        ({}, None),
    ],
)
def test_the_label_that_counts(said, expected):
    table = pd.DataFrame({label: [value] for label, value in said.items()}, index=[0])
    pixel, is_unbinned = coordinate_pixel_angstrom("a.star", table)
    assert (None if pixel is None else pixel.tolist()) == (expected and [expected])
    assert is_unbinned == (TS in said)
    if TS in said:
        assert coordinate_pixel_angstrom("a.star", table, by_images=True)[0].tolist() == [10.8]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({IMAGE: 10.0, PLAIN: 5.0}, r"two pixel sizes, 10 \(rlnImagePixelSize\) and 5 Angstrom"),
        ({DETECTOR: 5.0, PLAIN: 10.0}, r"two pixel sizes, 5 .*DetectorPixelSize\) and 10"),
        ({DETECTOR: 5.0, MAGNIFICATION: 0}, "magnification of 0"),
        ({DETECTOR: 5.0, MAGNIFICATION: "<NA>"}, "no number as rlnMagnification in row 1"),
        ({PLAIN: 0.0}, r"pixel size of 0 Angstrom \(rlnPixelSize\)"),
        ({PLAIN: -2.0}, "pixel size of -2 Angstrom"),
        ({PLAIN: "nan"}, "no number as rlnPixelSize in row 1"),
        ({TS: "bin4"}, "no number as rlnTomoTiltSeriesPixelSize in row 1"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_pixel_sizes_that_cannot_be_used(said, message):
    table = {label: np.array([value]) for label, value in said.items()}
    check_labels_agree("a.star", {PLAIN: [0.0]}, {PLAIN: [0.0]})
    with pytest.raises(InputError, match=message) as error:
        coordinate_pixel_angstrom("a.star", table)
    assert "\n" not in str(error.value)


def test_images_that_were_scaled_are_told(caplog):
    coordinate_pixel_angstrom("a.star", {ORIGINAL: np.array([5.0]), IMAGE: np.array([10.0])})
    assert "images with pixels of 10 Angstrom; its coordinates count in 5" in caplog.text
    assert image_pixel_angstrom("a.star", {ORIGINAL: np.array([5.0])}) is None


def test_scales_and_what_is_said(caplog):
    pixel = np.array([10.0, 5.01, np.nan, 10])
    voxel = np.array([5.0, 5, 5, np.nan])
    assert pixels_in_voxels("a", pixel, voxel, is_known_why=True).tolist() == [2, 1, 1, 1]
    assert not caplog.text
    pixels_in_voxels("a", pixel, voxel)
    assert "a counts in pixels of 10 Angstrom, the tomogram has 5; coordinates are" in caplog.text
    assert "a does not say in which pixels it counts; the voxels of the tomogram, 5" in caplog.text


def test_sizes_beyond_any_pixel():
    assert to_pixel_sizes(["1.35", "nan"], "a", "apix", may_be_missing=True)[0] == 1.35
    with pytest.raises(InputError, match=r"1e-09 Angstrom \(apix\)"):
        to_pixel_sizes([1e-9], "a", "apix")


def test_folders_of_the_data_portal(tmp_path):
    folder = tmp_path / "VoxelSpacing13.480" / "Annotations" / "100"
    folder.mkdir(parents=True)
    assert pixel_in_folders(folder / "a.ndjson") == 13.48
    assert pixel_in_folders(tmp_path / "a.ndjson") is None
    line = '{"type": "point", "location": {"x": 10, "y": 20, "z": 30}}\n'
    (folder / "a.ndjson").write_text(line)
    known = Known({"TS_01": TomogramInfo("TS_01", 6.74)})
    read = get_format("portal").read(folder / "a.ndjson", known)
    np.testing.assert_allclose(read.center_zyx_px, [[60, 40, 20]])


def test_rows_that_count_in_several_pixels(tmp_path, caplog):
    text = "tomogram,x,y,z,voxel_size_angstrom\nTS_01,10,10,10,5\nTS_01,10,10,10,10\n"
    (tmp_path / "a.csv").write_text(text)
    csv = get_format("csv")
    for known in (Known(), Known(KNOWN)):
        caplog.clear()
        read = csv.read(tmp_path / "a.csv", known)
        assert read.center_zyx_px.tolist() == [[10] * 3, [20] * 3]
        assert read.tomograms["TS_01"].voxel_size_angstrom == 5
        assert "counts in pixels of 10 Angstrom" in caplog.text
    (tmp_path / "a.csv").write_text(text.replace("10,10\n", "10,\n"))
    with pytest.raises(InputError, match="pixel size of some particles of TS_01, but not of 1"):
        csv.read(tmp_path / "a.csv", Known())


def test_picks_in_angstrom_may_lack_a_spacing(tmp_path):
    """Of copick: Angstrom are Angstrom, whichever file of a run says the voxel."""
    project = tmp_path / "ExperimentRuns" / "TS_01" / "Picks"
    project.mkdir(parents=True)
    point = {"location": {"x": 100, "y": 200, "z": 300}}
    content = {"pickable_object_name": "x", "run_name": "TS_01", "points": [point]}
    for user, spacing in (("a", None), ("b", 10.0)):
        own = content | {"user_id": user, "session_id": "1", "voxel_spacing": spacing}
        (project / f"{user}_1_x.json").write_text(json.dumps(own))
    read = get_format("copick").read(tmp_path, Known())
    assert read.center_zyx_px.tolist() == [[30, 20, 10]] * 2


def test_what_is_not_said_is_told(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("tomogram,x,y,z\nTS_01,10,11,12\n")
    read_picks(tmp_path / "a.csv", tomograms=KNOWN)
    assert "a.csv does not say in which pixels it counts; the voxels" in caplog.text
    caplog.clear()
    get_format("csv").read(tmp_path / "a.csv", Known(voxel_size_angstrom=5.0))
    assert not caplog.text


DYNAMO = " ".join(["1", *"0" * 18, "1", *"0" * 3, "6.5", "11.5", "16.5", *"0" * 9, "-3"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "tomogram,x,y,z,voxel_size_angstrom\nTS_01,6,11,16,ten\n"),
        (
            "a.star",
            "data_optics\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 10\n"
            "data_particles\nloop_\n_rlnTomoName\n_rlnOpticsGroup\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n"
            "_rlnImagePixelSize\nTS_01 1 6 11 16 5\n",
        ),
        (
            "centred.star",
            "data_particles\nloop_\n_rlnTomoName\n_rlnCenteredCoordinateXAngst\n"
            "_rlnCenteredCoordinateYAngst\n_rlnCenteredCoordinateZAngst\n"
            "_rlnTomoTiltSeriesPixelSize\nTS_01 -120 -70 -20 0\n",
        ),
        ("TS_01.tbl", DYNAMO),
        ("TS_01_info.json", '{"boxes_3d": [[-48, -28, -8]], "apix_unbin": 0}'),
    ],
)
def test_a_pixel_that_was_given_settles_what_a_file_says(tmp_path, name, text):
    """What the sentence advises helps: here half a voxel."""
    if name.endswith(".tbl"):
        pytest.importorskip("dynamotable")
        (tmp_path / "TS_01.doc").write_text("1 TS_01\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError):
        read_picks(tmp_path / name, tomograms=KNOWN)
    read = read_picks(tmp_path / name, voxel_size_angstrom=2.5, tomograms=KNOWN)
    from_the_middle = name in ("centred.star", "TS_01_info.json")
    expected = [16, 11, 6] if from_the_middle else [8, 5.5, 3]
    assert read.center_zyx_px.tolist() == [expected]


def test_no_option_is_named_that_does_not_help(tmp_path):
    with pytest.raises(InputError, match=r"are expected; correct the file\.$"):
        listed_voxel_angstrom("tomograms.star", {TS: 0.0})


@pytest.mark.parametrize("given", [0, -1, float("nan"), 1e6])
def test_a_pixel_given_that_cannot_be(tmp_path, given):
    (tmp_path / "a.csv").write_text("tomogram,x,y,z\nTS_01,10,11,12\n")
    with pytest.raises(InputError, match="--file-pixel-angstrom must be a pixel size"):
        read_picks(tmp_path / "a.csv", voxel_size_angstrom=given, tomograms=KNOWN)


@pytest.mark.parametrize("format_", ["csv", "star"])
@pytest.mark.parametrize(("first", "second"), [(5, 10), (10, 5), (5, None), (None, 5)])
def test_files_of_one_tomogram_that_count_in_several_pixels(
    tmp_path, caplog, format_, first, second
):
    """Both particles lie at 100 Angstrom, or where nothing else is said at 20 voxels."""
    for name, size in (("a", first), ("b", second)):
        x = 100 / size if size else 20
        row, label = ("", "") if size is None else (str(size), "_rlnPixelSize\n")
        text = f"tomogram,x,y,z,voxel_size_angstrom\nT,{x},{x},{x},{row}\n"
        if format_ == "star":
            head = "data_\nloop_\n_rlnTomoName\n" + "".join(f"_rlnCoordinate{a}\n" for a in "XYZ")
            text = f"{head}{label}T {x} {x} {x} {row}\n"
        (tmp_path / f"{name}.{format_}").write_text(text)
    sources = [tmp_path / f"a.{format_}", tmp_path / f"b.{format_}"]
    if format_ == "star" and None in (first, second):
        with pytest.raises(InputError, match="does not say its pixel size"):
            read_particles(sources)
        return
    read = read_particles(sources)
    voxel = first or second
    assert read.tomograms["T"].voxel_size_angstrom == voxel
    assert read.center_zyx_px.tolist() == [[100 / voxel] * 3] * 2
    said = "a file does not say" if None in (first, second) else "the files count in pixels of"
    assert caplog.text.count(said) == 1
