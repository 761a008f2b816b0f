"""Pixel sizes, missing values and row lengths of every format, as hypothesis thinks them up."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_readings import Refused, coordinate_pixel
from test_fuzz import check

from aitom_disca.errors import InputError
from aitom_disca.io.formats import Known, get_format, recognise
from aitom_disca.io.formats.relion.star_pixels import coordinate_pixel_angstrom
from aitom_disca.particles import ParticleSet, TomogramInfo

SAY_IT = ["csv", "dynamo", "imod", "copick", "relion30", "relion31", "relion4", "relion5", "warp"]
DO_NOT = ["stopgap", "pytom", "portal"]
TABLES = ["csv", "dynamo", "stopgap", "relion30", "relion31", "warp"]
UNBINNED_ANGSTROM, UNBINNED_ZYX = 0.5, (1600.0, 1800.0, 2000.0)
PIXELS = st.floats(0.6, 60).map(lambda size: round(size, 3))
CELLS = st.sampled_from(["", "nan", "<NA>", "None", "abc", "1;5", "inf", "-3", "0", "0.25", "1e9"])
QUICK = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tomogram(voxel):
    """One tomogram, in voxels of this size."""
    z, y, x = (round(n * UNBINNED_ANGSTROM / voxel) for n in UNBINNED_ZYX)
    pixel = UNBINNED_ANGSTROM
    return TomogramInfo("TS_01", voxel, (z, y, x), (-60, 60), None, pixel, UNBINNED_ZYX)


def particles(voxel, n=3):
    center = np.random.default_rng(n).uniform(100, 700, (n, 3)) / voxel
    score, cluster = np.linspace(0.25, 1, n), np.arange(n) % 2
    info = {"TS_01": tomogram(voxel)}
    return ParticleSet(np.full(n, "TS_01"), center, score, cluster=cluster, tomograms=info)


def written(folder, name, members):
    own = get_format(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of imodmodel, about pydantic
        if name == "copick":
            members = replace(members, cluster=None)
        return own.write(folder / f"TS_01{own.suffixes[0]}", members, Known())[0]


@pytest.mark.parametrize("name", SAY_IT)
@QUICK
@given(pixel=PIXELS, voxel=PIXELS)
def test_places_stay_where_they_are(name, pixel, voxel):
    """Written in one pixel and read onto a tomogram of other voxels: the same place in Angstrom."""
    before = particles(pixel)
    with TemporaryDirectory() as folder:
        path = written(Path(folder), name, before)
        after = recognise(path).read(path, Known({"TS_01": tomogram(voxel)}))
        alone = recognise(path).read(path, Known(tomogram_name="TS_01"))
    is_rounded = abs(pixel / voxel - 1) <= 0.01 and name not in ("copick", "relion5")
    expected = before.center_zyx_px * (1.0 if is_rounded else pixel / voxel)
    assert_same_places(after.center_zyx_px, expected)
    if name == "relion5":  # from the middle of a tomogram of unknown size
        return
    size = alone.tomograms["TS_01"].voxel_size_angstrom
    assert_same_places(alone.center_zyx_px * size, before.center_zyx_px * pixel)


def assert_same_places(found, expected):
    """In any order: a model of IMOD goes object by object."""
    found, expected = (places[np.argsort(places[:, 0])] for places in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", DO_NOT)
def test_places_whose_pixel_nothing_says(tmp_path, caplog, name):
    before = particles(10.0)
    path = written(tmp_path, name, before)
    after = recognise(path).read(path, Known({"TS_01": tomogram(5.0)}))
    np.testing.assert_allclose(after.center_zyx_px, before.center_zyx_px, rtol=1e-6)
    assert caplog.text.count("does not say in which pixels it counts; the voxels of the tomo") == 1
    known = Known({"TS_01": tomogram(5.0)}, file_pixel_angstrom=10.0)
    after = recognise(path).read(path, known)
    np.testing.assert_allclose(after.center_zyx_px, before.center_zyx_px * 2, rtol=1e-6)
    assert "counts in pixels of 10 Angstrom, the tomogram has 5" in caplog.text


LABELS = ["TomoTiltSeriesPixelSize", "MicrographPixelSize", "MicrographOriginalPixelSize"]
LABELS += ["ImagePixelSize", "DetectorPixelSize", "Magnification", "PixelSize"]
SAID = st.sampled_from(["2.5", "5", "5.02", "10", "10000", "5000", "0", "-1", "nan", "<NA>", "x"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(LABELS), SAID, max_size=4))
def test_the_pixel_of_a_star_file(said):
    """The rule of the package and a plain reading of it agree, also on what is refused."""
    row = {f"rln{label}": value for label, value in said.items()}
    try:
        expected = coordinate_pixel(row)
    except Refused:
        with pytest.raises(InputError):
            coordinate_pixel_angstrom("a.star", {k: np.array([v], object) for k, v in row.items()})
        return
    columns = {k: np.array([v], object) for k, v in row.items()}
    found, _ = coordinate_pixel_angstrom("a.star", columns)
    assert (None if found is None else found.tolist()) == (expected and [pytest.approx(expected)])


def table_of(path, name, n):
    """Lines before the rows, the n rows as words, and what is between words."""
    lines = path.read_text().rstrip("\n").split("\n")
    separator = "," if name == "csv" else None
    return lines[:-n], [line.split(separator) for line in lines[-n:]], separator or " "


@pytest.mark.parametrize("name", TABLES)
@QUICK
@given(data=st.data())
def test_rows_that_are_cut_or_too_long(name, data):
    with TemporaryDirectory() as folder:
        n = data.draw(st.integers(2, 4))
        path = written(Path(folder), name, particles(10.0, n))
        before, rows, separator = table_of(path, name, n)
        row = data.draw(st.integers(0, len(rows) - 1))
        at = data.draw(st.integers(0, len(rows[row]) - 1))
        if data.draw(st.booleans()):
            del rows[row][at]
        else:
            rows[row].insert(at, "7")
        path.write_text("\n".join([*before, *map(separator.join, rows)]) + "\n")
        with pytest.raises(InputError, match=r"row \d+|columns|values") as error:
            recognise(path).read(path, Known(tomogram_name="TS_01"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", TABLES)
@QUICK
@given(data=st.data(), cell=CELLS)
def test_cells_that_are_missing_or_no_numbers(name, data, cell):
    """Any value of a table replaced: one sentence, or what a plain and strict reading says."""
    cell = cell if name == "csv" else cell or "nan"
    with TemporaryDirectory() as folder:
        path = written(Path(folder), name, particles(10.0))
        before, rows, separator = table_of(path, name, 3)
        row = data.draw(st.integers(0, len(rows) - 1))
        rows[row][data.draw(st.integers(0, len(rows[row]) - 1))] = cell
        path.write_text("\n".join([*before, *map(separator.join, rows)]) + "\n")
        check(path, name)


@pytest.mark.parametrize("cell", ["", "nan", "<NA>", "None", "NaN", "N/A"])
def test_what_may_be_missing_in_a_table(tmp_path, cell):
    path = tmp_path / "a.csv"
    head = "tomogram,x,y,z,score,cluster,posterior\n"
    path.write_text(f"{head}TS_01,1,2,3,{cell},{cell},{cell}\nTS_01,1,2,3,0.5,2,0.25\n")
    read = get_format("csv").read(path, Known())
    np.testing.assert_array_equal(read.score, [np.nan, 0.5])
    np.testing.assert_array_equal(read.posterior, [np.nan, 0.25])
    assert read.cluster.tolist() == [-1, 1]
    path.write_text(f"{head}TS_01,1,{cell},3,0.5,1,0.25\n")
    with pytest.raises(InputError, match=r"no number as y in row 1 \(nothing is there\)"):
        get_format("csv").read(path, Known())
