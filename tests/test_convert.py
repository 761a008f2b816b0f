"""Conversion between particle formats: what is read, written, lost and refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import starfile

from aitom_disca.cli.app import main
from aitom_disca.errors import InputError
from aitom_disca.io import (
    StoreWriter,
    open_store,
    read_picks,
    write_labels_csv,
    write_picks_csv,
    write_volume,
)
from aitom_disca.io.formats import NAMES, Known, get_format, recognise
from aitom_disca.io.formats.convert import convert
from aitom_disca.io.formats.format import Format
from aitom_disca.io.formats.lost_in_conversion import losses
from aitom_disca.io.formats.particles_of_store import labels_of
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.particles import ParticleSet, TomogramInfo

INFOS = {
    "TS_01": TomogramInfo("TS_01", 13.48, (41, 96, 60)),
    "TS_02": TomogramInfo("TS_02", 10.0, (49, 91, 64), (-51, 57)),
}
KNOWN = Known(tomograms=INFOS)


@pytest.fixture
def particles(rng):
    center = rng.uniform(5, 40, (5, 3)).round(4)
    return ParticleSet(
        np.array(["TS_01", "TS_02", "TS_01", "TS_02", "TS_01"]),
        center,
        score=rng.uniform(0, 1, 5),
        euler_zyz_deg=rng.uniform(1, 90, (5, 3)),
        cluster=np.array([0, 1, 1, -1, 0]),
        posterior=rng.uniform(0, 1, 5),
        box_center_zyx_px=np.floor(center + 0.5),
        tomograms=INFOS,
        more={"rlnGroupNumber": np.arange(5), "cc": np.arange(5.0)},
    )


@pytest.fixture
def star(tmp_path, particles):
    path = tmp_path / "in.star"
    get_format("relion31").write(path, particles, KNOWN)
    return path


def run(capsys, *arguments):
    code = main(["convert", *map(str, arguments)])
    said = capsys.readouterr()
    return code, " ".join(said.out.split()), said.err


def test_formats_are_unmistakable(tmp_path, particles):
    """What is written in a format is recognised as that format."""
    for name in NAMES:
        one = get_format(name)
        assert isinstance(one, Format) and one.name == name and one.suffixes
        if one.library:
            pytest.importorskip(one.library.split(", ")[0])
        if one.write is None or one.read is None:
            continue
        only = particles.select(particles.tomogram_name == "TS_01")
        only = only.select(only.cluster == 0)
        known = replace(KNOWN, binning=4, tomogram_name="TS_01", box_px=16)
        path = tmp_path / f"{name}{one.suffixes[0]}"
        paths = [p for p in one.write(path, only, known) if p.suffix in one.suffixes]
        assert [recognise(p).name for p in paths] == [name] * len(paths)


def test_to_a_table_and_back(tmp_path, star, particles):
    done = convert(star, tmp_path / "a.csv", "csv")
    assert done.paths == [tmp_path / "a.csv"] and done.n_particles == 5
    assert done.lost == ["the block optics"]
    table = pd.read_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(table[["z", "y", "x"]], particles.center_zyx_px, atol=1e-5)
    np.testing.assert_allclose(table[["box_z", "box_y", "box_x"]], particles.box_center_zyx_px)
    np.testing.assert_allclose(table[["rot", "tilt", "psi"]], particles.euler_zyz_deg)
    assert table["cluster"].tolist() == [1, 2, 2, 0, 1]
    np.testing.assert_allclose(table["voxel_size_angstrom"], [13.48, 10, 13.48, 10, 13.48])
    assert table["rlnGroupNumber"].tolist() == [0, 1, 2, 3, 4]
    convert(tmp_path / "a.csv", tmp_path / "b.star", "relion31")
    old, new = starfile.read(star)["particles"], starfile.read(tmp_path / "b.star")["particles"]
    for column in set(old) - {"rlnMicrographName", "rlnTomoName", "rlnOpticsGroup"}:
        np.testing.assert_allclose(new[column], old[column], atol=1e-5, err_msg=column)


def test_own_picks(tmp_path, particles):
    write_picks_csv(tmp_path / "picks.csv", particles)
    read = read_particles(tmp_path / "picks.csv", known=KNOWN)
    assert recognise(tmp_path / "picks.csv").name == "csv"
    np.testing.assert_array_equal(read.center_zyx_px, particles.center_zyx_px)
    np.testing.assert_allclose(read.score, particles.score, rtol=1e-8)
    assert read.euler_zyz_deg is None and read.cluster is None
    write_picks_csv(tmp_path / "bare.csv", replace(particles, tomograms={}))
    with pytest.raises(
        InputError, match=r"voxel size of tomogram TS_01 is unknown.*--voxel-size-a"
    ):
        convert(tmp_path / "bare.csv", tmp_path / "a.star", "relion31")
    known = Known(voxel_size_angstrom=20, file_pixel_angstrom=10)
    binned = read_particles(tmp_path / "picks.csv", known=known)
    np.testing.assert_allclose(binned.center_zyx_px, particles.center_zyx_px / 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "needs the columns x, y, z"),
        ("x,y,z\n", "holds no rows"),
        ("tomogram,x,y,z\na,1,2,three\n", "no number as z in row 1 .*three"),
        ("tomogram,x,y,z\nTS_01,1,2,\n", "no number as z in row 1 .*nothing"),
        ("x,y,z\n1,2,3\n", "--tomogram-name"),
        ("x,y,z\n1,2,3,4,5\n", "row 1 has 5 values, but there are 3 columns"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_particles(tmp_path / "a.csv", from_="csv")


def test_what_is_lost(particles):
    bare = Format("bare", "Bare", (".x",), lambda path: False)
    assert losses(particles, bare, KNOWN) == [
        "orientations of 5 particles",
        "scores of 5 particles",
        "clusters of 4 particles",
        "posterior of 5 particles",
        "where the boxes of 5 particles were cut",
        "names of tomograms",
        "further columns rlnGroupNumber, cc",
    ]
    nothing = ParticleSet(particles.tomogram_name, particles.center_zyx_px, tomograms=INFOS)
    assert losses(nothing, bare, KNOWN) == ["names of tomograms"]
    assert losses(particles, get_format("csv"), KNOWN) == []
    assert losses(particles, get_format("relion31"), KNOWN) == ["further columns cc"]


def test_strict_writes_nothing(tmp_path, star):
    with pytest.raises(InputError, match=r"cannot keep posterior of 5 particles.*--strict"):
        convert(star, tmp_path / "a.star", "stopgap", strict=True)
    assert not (tmp_path / "a.star").exists()
    convert(star, tmp_path / "a.star", "relion5", known=KNOWN, strict=True)


def test_files_that_are_there(tmp_path, star):
    convert(star, tmp_path / "a.csv", "csv")
    with pytest.raises(InputError, match=r"a.csv is there already.*--overwrite"):
        convert(star, tmp_path / "a.csv", "csv")
    convert(star, tmp_path / "a.csv", "csv", overwrite=True)
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(InputError, match=r"b.csv is a folder"):
        convert(star, tmp_path / "b.csv", "csv", overwrite=True)
    convert(star, tmp_path / "copick", "copick", known=KNOWN)  # many files in a folder
    with pytest.raises(InputError, match=r"\.json is there already"):
        convert(star, tmp_path / "copick", "copick", known=KNOWN)


def test_several_files(tmp_path, star, particles):
    """Optics groups get numbers of their own; columns that one file lacks are said."""
    other = replace(particles.select(particles.tomogram_name == "TS_02"), more={}, posterior=None)
    get_format("relion31").write(tmp_path / "other.star", other, KNOWN)
    done = convert([star, tmp_path / "other.star"], tmp_path / "all.star", "relion31")
    assert done.n_particles == 7
    assert done.lost == ["columns that only some files hold: rlnGroupNumber"]
    blocks = starfile.read(tmp_path / "all.star")
    optics, table = blocks["optics"], blocks["particles"]
    pixel = table["rlnOpticsGroup"].map(optics.set_index("rlnOpticsGroup")["rlnImagePixelSize"])
    assert pixel.tolist() == [13.48, 10, 13.48, 10, 13.48, 10, 10]
    assert optics["rlnOpticsGroup"].is_unique
    assert table["rlnMaxValueProbDistribution"].tolist()[5:] == [0, 0]
    convert(star, tmp_path / "a.csv", "csv")
    with pytest.raises(InputError, match="several formats"):
        convert([star, tmp_path / "a.csv"], tmp_path / "b.csv", "csv")


@pytest.mark.parametrize("name", ["relion31", "relion5", "relion4", "relion30", "warp", "stopgap"])
def test_star_files_without_rows(tmp_path, star, name):
    known = replace(KNOWN, binning=4.0)
    none = ParticleSet(np.zeros(0, str), np.zeros((0, 3)), tomograms=INFOS)
    path = tmp_path / "none.star"
    get_format(name).write(path, none, known)
    assert len(read_picks(path)) == len(read_picks(path, tomograms=INFOS)) == 0
    for to in ("csv", "relion31", "relion4", "stopgap"):
        out = tmp_path / f"as_{to}.star"
        assert convert(path, out, to, known=known).n_particles == 0 and out.exists()


def test_a_file_without_rows_among_others(tmp_path, star):
    none = ParticleSet(np.zeros(0, str), np.zeros((0, 3)), tomograms=INFOS)
    get_format("relion31").write(tmp_path / "none.star", none, KNOWN)
    together = read_particles([tmp_path / "none.star", star])
    np.testing.assert_array_equal(together.center_zyx_px, read_particles(star).center_zyx_px)
    assert len(read_particles([tmp_path / "none.star"] * 2)) == 0


def test_a_file_per_tomogram(tmp_path, star, particles):
    pytest.importorskip("imodmodel")
    (tmp_path / "models").mkdir()
    done = convert(star, tmp_path / "models" / "p.mod", "imod")
    assert {path.name for path in done.paths} == {"p_TS_01.mod", "p_TS_02.mod"}
    with pytest.raises(InputError, match="is there already"):
        convert(star, tmp_path / "models" / "p.mod", "imod")
    back = convert(tmp_path / "models", tmp_path / "b.csv", "csv", known=KNOWN)
    assert back.n_particles == 5
    table = pd.read_csv(tmp_path / "b.csv")
    found = table[["z", "y", "x"]].to_numpy()
    for name, center in zip(particles.tomogram_name, particles.center_zyx_px, strict=True):
        rows = found[table["tomogram"] == name]
        assert np.abs(rows - center).max(1).min() < 1e-4
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no particle file"):
        convert(tmp_path / "empty", tmp_path / "c.csv", "csv")


def test_labels(tmp_path, star):
    write_labels_csv(tmp_path / "labels.csv", np.array([3, 3, -1, 0, 0]), np.full(5, 0.5))
    convert(star, tmp_path / "a.star", "relion31", labels=tmp_path / "labels.csv")
    table = starfile.read(tmp_path / "a.star")["particles"]
    assert table["rlnClassNumber"].tolist() == [4, 4, 0, 1, 1]
    assert set(table["rlnMaxValueProbDistribution"]) == {0.5}
    write_labels_csv(tmp_path / "few.csv", np.array([0, 1]))
    with pytest.raises(InputError, match=r"few.csv holds 2 labels, but there are 5 particles"):
        convert(star, tmp_path / "b.star", "relion31", labels=tmp_path / "few.csv")


def test_labels_of_another_file_are_told_by_places(tmp_path, star):
    own = read_particles(star)
    cluster, order = np.array([0, 1, 2, 0, 1]), np.array([3, 0, 4, 2, 1])
    shuffled = own.with_clusters(cluster, None).select(order)
    get_format("csv").write(tmp_path / "l.csv", shuffled, Known())
    convert(star, tmp_path / "a.star", "relion31", labels=tmp_path / "l.csv")
    np.testing.assert_array_equal(read_particles(tmp_path / "a.star").cluster, cluster)
    moved = replace(shuffled, center_zyx_px=own.center_zyx_px + 5.0, box_center_zyx_px=None)
    get_format("csv").write(tmp_path / "l.csv", moved, Known())
    with pytest.raises(InputError, match=r"of l.csv are not the 5 that are to be labelled"):
        convert(star, tmp_path / "b.star", "relion31", labels=tmp_path / "l.csv")


def test_command(tmp_path, capsys, star):
    code, out, err = run(capsys, star, tmp_path / "a.csv", "--to", "csv")
    assert (code, err) == (0, "")
    assert "5 particles written to" in out and out.endswith("place for it: the block optics")
    code, out, _ = run(capsys, "--list")
    assert code == 0 and all(name in out for name in NAMES)


def test_sizes_from_a_tomogram(tmp_path, capsys, rng):
    write_volume(tmp_path / "TS_07.mrc", rng.normal(size=(21, 30, 17)).astype("f4"), 12.0)
    (tmp_path / "p.csv").write_text("tomogram,x,y,z\nTS_07,8.5,15,10.5\n")
    code, _, err = run(
        capsys,
        tmp_path / "p.csv",
        tmp_path / "a.star",
        "--to=relion5",
        f"--tomogram={tmp_path / 'TS_07.mrc'}",
    )
    assert code == 0, err
    table = starfile.read(tmp_path / "a.star")
    centered = table[[f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]]
    np.testing.assert_allclose(np.array(centered, float).ravel(), 0, atol=1e-6)


@pytest.mark.parametrize(("x", "warned"), [(16, False), (17, True), (-1, True)])
def test_particles_outside_of_their_tomogram(tmp_path, capsys, rng, x, warned):
    write_volume(tmp_path / "TS_07.mrc", rng.normal(size=(21, 30, 17)).astype("f4"), 12.0)
    (tmp_path / "p.csv").write_text(f"tomogram,x,y,z\nTS_07,8,15,10\nTS_07,{x},15,10\n")
    tomogram = f"--tomogram={tmp_path / 'TS_07.mrc'}"
    code, out, _ = run(capsys, tmp_path / "p.csv", tmp_path / "a.star", "--to=relion31", tomogram)
    assert code == 0
    assert ("1 of 2 particles lie outside" in out) == warned


def test_images_of_a_store(tmp_path, capsys, rng):
    center = np.array([[10.0, 11, 12], [20, 21, 22]])
    names = np.array(["TS_01", "TS_01"])
    with StoreWriter.create(tmp_path / "s.h5", (8, 8, 8), 20.0, (-50, 60), INFOS) as writer:
        volumes = rng.normal(size=(2, 8, 8, 8)).astype(np.float32)
        writer.append(volumes, ParticleSet(names, center, tomograms=INFOS))
    code, _, err = run(
        capsys, tmp_path / "s.h5", tmp_path / "out.star", "--to=relion31", "--images"
    )
    assert code == 0, err
    table = starfile.read(tmp_path / "out.star")["particles"]
    assert (tmp_path / "out" / "TS_01" / "000002.mrc").exists()
    assert table["rlnImageName"][1].endswith("out/TS_01/000002.mrc")
    # in voxels of the tomogram, 13.48 A, whatever the pixels of the images are
    assert table["rlnCoordinateX"].tolist() == center[:, 2].tolist()
    given = ["--to=relion31", "--images", "--tilt-range", "-48", "51"]
    code, _, err = run(capsys, tmp_path / "s.h5", tmp_path / "given.star", *given)
    assert code == 0, err
    wedges = set(starfile.read(tmp_path / "given.star")["particles"]["rlnCtfImage"])
    assert [name.split("/")[-1] for name in wedges] == ["wedge_-48_51.mrc"]
    code, _, err = run(capsys, tmp_path / "s.h5", tmp_path / "a.csv", "--to=csv", "--images")
    assert code == 2 and "--images goes with" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.star"], "needs a file to read, a file to write and --to"),
        (["in.star", "a.x"], "needs a file to read, a file to write and --to"),
        (["in.star", "a.x", "--to=word"], "'word' is no particle format; choose from relion5"),
        (["no.star", "a.csv", "--to=csv"], "does not exist"),
        (["junk.star", "a.csv", "--to=csv"], "is of no particle format that is known here"),
        (["in.star", "a.csv", "--to=csv", "--binning=0"], "--binning must be more than 0"),
        (["in.star", "a.csv", "--to=csv", "--file-pixel-angstrom=1e9"], "must be a pixel size of"),
        (["in.star", "a.csv", "--to=csv", "--centre-offset-px=nan"], "must be a number; got nan"),
        (["in.star", "a.star", "--to=relion4"], "--binning"),
        (["in.star", "a.star", "--to=relion5"], r"the size of tomogram TS_01 .*--size-zyx"),
        (["in.star", "a.star", "--to=relion31", "--images"], "--images writes the subtomograms"),
        (["in.star", "a.csv", "--to=csv", "--labels=no.csv"], "does not exist"),
    ],
)
def test_refused(tmp_path, capsys, monkeypatch, star, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.star").write_text("nothing of the kind\n")
    before = sorted(tmp_path.iterdir())
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1 and err.startswith("error: ")
    assert re.search(message, err)
    assert sorted(tmp_path.iterdir()) == before


def test_one_file_opens_particles_and_tomograms(tmp_path, monkeypatch, particles):
    """The optimisation set that is written beside brings everything that reading needs."""
    monkeypatch.chdir(tmp_path)
    get_format("relion31").write(tmp_path / "in.star", particles, KNOWN)
    known = Known(tomograms=INFOS, binning=4.0)
    done = convert("in.star", "out.star", "relion5", known=known, optimisation_set=True)
    names = ["out.star", "out_tomograms.star", "out_optimisation_set.star"]
    assert [path.name for path in done.paths] == names
    again = read_particles("out_optimisation_set.star")
    np.testing.assert_allclose(again.center_zyx_px, particles.center_zyx_px, atol=1e-4)
    assert again.tomograms["TS_02"].voxel_size_angstrom == pytest.approx(10.0)
    with pytest.raises(InputError, match=r"out_tomograms\.star is there already"):
        (tmp_path / "out.star").unlink()
        convert("in.star", "out.star", "relion5", known=known, optimisation_set=True)


def test_an_optimisation_set_needs_relion_and_the_binning(tmp_path, capsys, star):
    code, _, said = run(capsys, star, tmp_path / "o.tbl", "--to", "dynamo", "--optimisation-set")
    assert code == 2 and "goes with --to relion4 or relion5; got dynamo" in said
    options = ["--size-zyx", "50", "60", "70", "--optimisation-set"]
    code, _, said = run(capsys, star, tmp_path / "o.star", "--to", "relion5", *options)
    assert code == 2 and "--binning" in said
    assert not list(tmp_path.glob("o*"))


def test_names_alike_as_files_stay_two(tmp_path, capsys, monkeypatch, rng):
    """Images and coordinate files of `a b` and `a-b`: no file is of two tomograms."""
    monkeypatch.chdir(tmp_path)
    names = np.array(["a b", "a-b", "a b"])
    infos = {name: TomogramInfo(name, 10.0) for name in ("a b", "a-b")}
    place = np.array([[10.0, 11, 12], [10, 11, 12], [20, 21, 22]])
    with StoreWriter.create("s.h5", (8, 8, 8), 10.0, (-60, 60), infos, "none") as writer:
        volumes = rng.normal(size=(3, 8, 8, 8)).astype(np.float32)
        writer.append(volumes, ParticleSet(names, place, tomograms=infos))
    assert run(capsys, "s.h5", "i.star", "--to=relion31", "--images")[0] == 0
    table = read_particles("i.star").more["rlnImageName"]
    assert len(set(table.tolist())) == 3 and all((tmp_path / name).is_file() for name in table)
    one = ParticleSet(names, place, cluster=np.array([0, 1, 2]), tomograms=infos)
    labelled = one.select(np.array([2, 1, 0]))
    labelled = replace(labelled, more={"rlnImageName": table[[2, 1, 0]]})
    get_format("relion31").write("l.star", labelled, Known())
    with open_store("s.h5") as store:
        assert labels_of(store, "l.star")[0].tolist() == [0, 1, 2]
    paths = get_format("relion_coordinates").write(tmp_path / "p.star", one, Known())
    assert len(set(paths)) == 2
    both = replace(one, more={"rlnMicrographName": np.array(["m/1.mrc", "m/1.rec", "m/1.mrc"])})
    with pytest.raises(InputError, match="would be that of another"):
        get_format("relion_coordinates").write(tmp_path / "p.star", both, Known())
