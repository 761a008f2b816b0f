"""What tomograms are called: names stay distinct, and are compared as wholes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitom_disca.errors import InputError
from aitom_disca.io.file_names import (
    file_parts,
    name_endings,
    name_in,
    plain_part,
    versions_of,
)
from aitom_disca.io.tomogram_names import (
    check_names,
    known_among,
    series_name,
    short_names,
    tomogram_name,
    tomogram_names,
)
from aitom_disca.particles import TomogramInfo

WORDS = st.text("ab1_.# '/-é", min_size=1, max_size=6)


def infos(*names, folder=None):
    """Tomograms, with their files where a folder says so."""
    return {
        name: TomogramInfo(
            name, 10.0, path=None if folder is None else Path(folder) / f"{name}.mrc"
        )
        for name in names
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/TS_01.mrc", "TS_01"),
        ("TS_01.5A.rec.gz", "TS_01.5A"),
        ("a/TS_1.mrc.tomostar", "TS_1"),
        ("TS_01.em", "TS_01"),
        (r"C:\data\TS 01\rec.MRC", "rec"),
        (r"a\b", r"a\b"),
        ("run/x.ome.zarr", "x"),
        ("p/ExperimentRuns/TS_1/VoxelSpacing10.000/wbp.zarr", "TS_1"),
        ("TS_1.2", "TS_1.2"),
        (".mrc", ".mrc"),
    ],
)
def test_name_of_a_file(path, name):
    assert tomogram_name(path) == name


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("TS_1_10.00Apx", "TS_1"),
        ("TS_1.mrc_10.00Apx.mrc", "TS_1"),
        ("TS_1_full_rec", "TS_1"),
        ("TS_1__bin4", "TS_1"),
        ("TS_1_Vol.mrc", "TS_1"),
        ("rec_TS_1", "TS_1"),
        ("TS_1_bin4_flipx", "TS_1"),
        ("TS_1_13.5angpix_dctf", "TS_1"),
        ("TS_10a", "TS_10a"),
        ("grid_b2", "grid_b2"),
        ("TS_1_2", "TS_1_2"),
        ("lamella_a", "lamella_a"),
        ("rec", "rec"),
        ("_rec", "_rec"),
    ],
)
def test_series_of_a_tomogram(name, series):
    assert series_name(name) == series


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/data/TS_01.mrc", "/data/TS_02.mrc"], ["TS_01", "TS_02"]),
        (["/d/TS_03/rec.mrc", "/d/TS_04/rec.mrc"], ["TS_03/rec", "TS_04/rec"]),
        (["TS_03/a/t.mrc", "TS_04/a/t.mrc", "u.mrc"], ["TS_03/a/t", "TS_04/a/t", "u"]),
        (["/d/t.mrc", "/d/t.rec"], ["t.mrc", "t.rec"]),
        (["t", "d/t.mrc"], ["t", "d/t"]),
        (["t", "./t"], ["t", "./t"]),
    ],
)
def test_names_are_cut_only_as_far_as_they_stay_distinct(paths, names):
    assert list(short_names(paths).values()) == names


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=3))
def test_two_names_never_become_one(paths, known):
    named = short_names(paths, taken=known)
    assert len(set(named.values())) == len(set(paths))
    parts = file_parts(paths)
    assert len({part.casefold() for part in parts.values()}) == len(set(paths))
    assert not any(set(part) & set("/\\ ") or part in (".", "..") for part in parts.values())
    try:
        called = tomogram_names(paths, infos(*known), "a.star")
    except InputError as error:
        assert "could" in str(error)
    else:
        assert len(set(called.values())) == len(set(paths))
        assert all(called[name] == name for name in set(paths) & set(known))


@pytest.mark.parametrize(
    ("said", "known", "found"),
    [
        (["TS_1"], infos("TS_10"), {}),
        (["TS_10", "TS_1"], infos("TS_1"), {"TS_1": "TS_1"}),
        (["/old/TS_1.mrc"], infos("TS_1", folder="/new"), {"/old/TS_1.mrc": "TS_1"}),
        (["TS_3/rec.mrc", "TS_4/rec.mrc"], infos("rec", folder="/d/TS_4"), {"TS_4/rec.mrc": "rec"}),
        (["TS_1.tomostar"], infos("TS_1_10.00Apx"), {"TS_1.tomostar": "TS_1_10.00Apx"}),
        (["TS_1", "TS_1_rec"], infos("TS_1_rec"), {"TS_1_rec": "TS_1_rec"}),
        (["Zu\u0308rich"], infos("Z\u00fcrich"), {"Zu\u0308rich": "Z\u00fcrich"}),
        (["t.mrc"], infos("t.tomostar"), {"t.mrc": "t.tomostar"}),
        (["TS_1_bin8"], infos("TS_1_bin4"), {}),
        (["TS_1_10apx"], infos("TS_1_10angpix"), {"TS_1_10apx": "TS_1_10angpix"}),
        (["TS_1_10.00Apx"], infos("TS_1_5.00Apx", "TS_2"), {}),
        (["TS_1_bin4"], infos("TS_1_bin4_denoised"), {"TS_1_bin4": "TS_1_bin4_denoised"}),
    ],
)
def test_which_known_tomogram_a_name_is(said, known, found):
    assert known_among(said, known, "a.star") == found


@pytest.mark.parametrize(
    ("said", "known", "message"),
    [
        (["TS_3/rec.mrc", "TS_4/rec.mrc"], infos("rec"), r"a.star .* each be of the tomogram rec;"),
        (["TS_1"], infos("TS_1_bin4", "TS_1_rec"), "either of the tomograms TS_1_bin4, TS_1_rec;"),
    ],
)
def test_what_could_be_two_is_refused(said, known, message):
    with pytest.raises(InputError, match=message):
        known_among(said, known, "a.star")


def test_the_name_of_a_known_tomogram_is_not_given_to_another():
    known = infos("rec", folder="/d/TS_4")
    called = tomogram_names(["/d/TS_3/rec.mrc", "/d/TS_4/rec.mrc"], known, "a.doc")
    assert list(called.values()) == ["rec", "TS_3/rec"]  # the known one comes first


@pytest.mark.parametrize(
    "name", ["", " ", "nan", "<NA>", "None", "a\tb", "a  b", " a", "a\nb", "\u2028"]
)
def test_names_that_are_none(name):
    with pytest.raises(InputError, match=r"a.csv calls the tomogram of row 2 '"):
        check_names(["TS 1", name], "a.csv")


@pytest.mark.parametrize(
    ("path", "known", "name"),
    [
        ("TS_1_ribosome.ndjson", ["TS_1", "TS_2"], "TS_1"),
        ("TS_10_ribosome.ndjson", ["TS_1", "TS_2"], "TS_10"),
        ("TS_1_2_ribosome.ndjson", ["TS_1"], "TS_1_2"),
        ("TS_1_2_ribosome.ndjson", ["TS_1", "TS_1_2"], "TS_1_2"),
        ("TS_2_ribosome.ndjson", ["TS_1"], "TS_2"),
        ("TS_1.points.ndjson", ["TS_1"], "TS_1"),
        ("TS_1_ribosome.mod", ["TS_1_10.00Apx"], "TS_1_10.00Apx"),
        ("TS_1_ribosome.mod", ["TS_1_bin4", "TS_1_rec"], None),
        ("out_TS_1.ndjson", ["TS_1"], "TS_1"),
        ("grid2_TS_1.ndjson", ["TS_1"], None),
        ("grid2_TS_2.ndjson", ["TS_1"], "TS_2"),
        ("20240101_ts_10_80S.ndjson", ["TS_1"], "ts_10"),
        ("ts_1.ndjson", ["TS_1"], None),
        ("out_a-b.ndjson", ["a b", "c"], "a b"),
        ("TS_1/ribosome.ndjson", ["TS_1", "TS_2"], "TS_1"),
        ("TS_10/ribosome.ndjson", ["TS_1", "TS_2"], "TS_10"),
        ("data_2/points_1.0/ribosome.ndjson", ["TS_1"], None),
        ("ribosome_80S.ndjson", ["TS_1"], None),
        ("points.ndjson", ["20240101"], None),
        ("o'brien_01_x.mod", ["o'brien_01"], "o'brien_01"),
        ("müTS_1.mod", ["TS_1"], None),
    ],
)
def test_the_tomogram_that_a_files_name_tells(path, known, name):
    assert name_in(path, known) == name


def test_a_folder_of_the_tomogram_as_well_tells_nothing():
    assert name_in("/TS_2024/ribosome.ndjson", ["TS_1"], {"TS_2024"}) is None
    assert name_in("/TS_2024/ribosome.ndjson", ["TS_1"]) == "TS_2024"


def test_versions_of_a_tomogram():
    raw = ["TS_1", "TS_2", "TS_2_1", "a"]
    others = ["TS_10_den", "TS_1_2_den", "TS_2_den", "TS_2_1_den", "TS_2_10.00Apx", "a", "ab"]
    found = {name: versions_of(name, raw, others) for name in raw}
    assert found == {
        "TS_1": [],
        "TS_2": ["TS_2_den", "TS_2_10.00Apx"],
        "TS_2_1": ["TS_2_1_den"],
        "a": ["a"],
    }


def test_a_folder_tells_files_of_one_name_apart():
    known = infos("rec", folder="/new/TS_3")
    assert known_among(["/old/TS_4/rec.mrc"], known, "a.star") == {}
    assert known_among(["/old/TS_3/rec.mrc"], known, "a.star") == {"/old/TS_3/rec.mrc": "rec"}
    known = infos("TS_1", folder="/Tomograms/job012")
    assert known_among(["/Tomograms/job004/TS_1.mrc"], known, "a.star")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("small ribosome", "small-ribosome"),
        ("protéasome 26S", "proteasome-26S"),
        ("α/β tubulin", "alpha-beta-tubulin"),
        ("ＧｒｏＥＬ₁₄", "GroEL14"),
        ("рибосома 70S – wide", "70S-wide"),
        ("$x & (y); z!", "x-y-z"),
        ("Größe æon Łódź, ørn", "Grosse-aeon-Lodz-orn"),
        ("Bjǿrn ǽ Għ", "Bjorn-ae-Gh"),
        ("核糖体", ""),
    ],
)
def test_names_of_clusters_are_plain_in_file_names(name: str, part: str) -> None:
    assert plain_part(name) == part and part.isascii()


def test_a_name_of_which_nothing_is_left_is_told_by_its_number() -> None:
    assert name_endings({1: "核糖体", 2: "ядро", 5: "b ω"}) == {5: "_b-omega"}
