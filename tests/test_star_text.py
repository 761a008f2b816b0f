"""Star files as RELION reads them: words, rows, blocks; what is written is read again as it was."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aitom_disca.errors import InputError
from aitom_disca.io.formats.relion.star_blocks import find_table, read_blocks, write_blocks_text
from aitom_disca.io.formats.relion.star_text import parse_star, quoted, words_of

TABLE = "data_particles\n\nloop_\n_rlnCoordinateX #1\n_rlnTomoName #2\n1 TS_01\n2 TS_02\n"
RELION = shutil.which("relion_star_handler")
# A word, the words that RELION 3.1.3 takes it for (as relion_star_handler writes them again).
AS_RELION_READS = {
    "o'brien": ["o'brien"],
    "grid#3": ["grid#3"],
    "a #b": ["a"],
    "#a b": [],
    "'a b' c": ["a b", "c"],
    '"o\'b c"': ["o'b c"],
    '"a"b c"': ['a"b c'],
    '"a"b"': ['a"b'],
    "'\"q'": ['"q'],
    '"\a"q"': ['"q'],
    '"the "new\a" one"': ['the "new" one'],
    '""': [""],
    '"#x"': ["#x"],
    'a"b': ['a"b'],
    "a\\b;c": ["a\\b;c"],
    "a\u00a0b ü": ["a\u00a0b", "ü"],
}


@pytest.mark.parametrize(("line", "words"), AS_RELION_READS.items())
def test_words(line, words):
    assert words_of(line) == words


@example("'\t\" ")
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\a"), max_size=8)
    | st.text("a'\"# _\t;", max_size=8)
)
def test_what_is_written_is_read_again(value):
    try:
        word = quoted(value)
    except InputError:
        assert re.search(r'"\s', value) and re.search(r"'\s", value)  # no quotes are left for it
        return
    table = parse_star(f"data_\nloop_\n_a\n_b\n{word} {word}\nx {word}\n", "a.star")[""]
    assert table.rows == [[value, value], ["x", value]]


@given(
    st.lists(st.integers(0, 4), max_size=5),
    st.integers(1, 4),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_rows_hold_as_many_values_as_there_are_labels(lengths, n_labels, end):
    lines = ["data_x", "loop_", *(f"_l{i}" for i in range(n_labels))]
    lines += [" ".join(["v"] * n) for n in lengths]
    text = end.join(lines)
    filled = [n for n in lengths if n]
    wrong = [n for n in filled if n != n_labels]
    if wrong:
        row = filled.index(wrong[0]) + 1
        with pytest.raises(InputError, match=rf"row {row} of .* and has {wrong[0]} value"):
            parse_star(text, "a.star")
    else:
        assert len(parse_star(text, "a.star")["x"].rows) == len(filled)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE + TABLE, r"the block data_particles twice \(lines 1 and 8\).*one by one"),
        (TABLE + "loop_\n_rlnB\n1\n", "second table in the block data_particles"),
        (TABLE[:-1] + TABLE, "second table in the block"),  # no line end between two files
        (TABLE + "3", r"a.star .*: line 8 is row 3 .* 1 value, but there are 2 columns"),
        (TABLE + "3 'TS 4", "a quote does not end"),
        (TABLE.replace("TomoName", "CoordinateX"), "rlnCoordinateX of .* a second time"),
        (TABLE.replace("#2", "2"), "values behind the label rlnTomoName"),
        ("data_x\n_rlnA 1\n_rlnB\n", "gives 0 values to rlnB"),
        ("data_x\n_rlnA 1 2\n", "gives 2 values to rlnA"),
        ("data_x\n1 2\n", "values without labels"),
        ("data_x\nloop_\n1 2\n", "values without labels"),
        ("x\n" + TABLE, "line 1 comes before"),
        ("# only a comment\n", "has no line 'data_...'"),
    ],
)
def test_what_is_no_whole_star_file(text, message):
    with pytest.raises(InputError, match=message):
        parse_star(text, "a.star")


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        TABLE.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.encode("utf-16"),
        TABLE.replace(" #", "#").encode(),
        TABLE.replace("1 TS_01\n", "1 TS_01  # seen\n\n# and\n").encode(),
    ],
    ids=["plain", "crlf", "bom", "utf16", "numbers", "comments"],
)
def test_line_ends_marks_and_comments(tmp_path, content):
    (tmp_path / "a.star").write_bytes(content)
    table = read_blocks(tmp_path / "a.star")["particles"]
    assert table["rlnTomoName"].tolist() == ["TS_01", "TS_02"]
    assert table["rlnCoordinateX"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.replace("TS_02", "Zürich").encode("latin-1"), r"not .* in UTF-8 \(line 7\)"),
        (TABLE.encode() + bytes(64), "not written to its end"),
    ],
)
def test_other_encodings_and_zero_bytes(tmp_path, content, message):
    (tmp_path / "a.star").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_blocks(tmp_path / "a.star")


def test_columns_are_numbers_or_text(tmp_path):
    (tmp_path / "a.star").write_text(
        "data_p\nloop_\n_rlnA\n_rlnB\n_rlnC\n_rlnTomoName\n_wrpD\n"
        "1 1.5 <NA> 007 None\n2 nan x 008 None\n\ndata_g\n_rlnA 3\n_rlnB 'a b'\n_rlnTomoName 3\n"
    )
    blocks = read_blocks(tmp_path / "a.star")
    table = blocks["p"]
    assert table["rlnA"].dtype.kind == "i" and table["rlnB"].dtype.kind == "f"
    np.testing.assert_array_equal(table["rlnB"], [1.5, np.nan])
    assert table["rlnC"].tolist() == ["<NA>", "x"] and table["wrpD"].tolist() == ["None"] * 2
    assert table["rlnTomoName"].tolist() == ["007", "008"]
    assert blocks["g"] == {"rlnA": 3, "rlnB": "a b", "rlnTomoName": "3"}


def test_two_tables_of_particles(tmp_path):
    text = TABLE.replace("particles", "TS_01") + "\n" + TABLE.replace("particles", "TS_02")
    (tmp_path / "a.star").write_text(text)
    with pytest.raises(InputError, match=r"2 tables .*\(data_TS_01, data_TS_02\).*a file each"):
        find_table("a.star", read_blocks(tmp_path / "a.star"), "particles", ["rlnCoordinateX"])


NAMES = ["o'brien_01", "grid#3_01", "a b", "#1", "_x", "data_x", ";x", "Zür"]
NAMES += ['"q', 'the "new" one']


def _with_names(folder, names):
    optics = {"rlnOpticsGroup": 1, "rlnOpticsGroupName": "o", "rlnVoltage": 300.0}
    optics |= {"rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1, "rlnImagePixelSize": 2.0}
    optics |= {"rlnImageSize": 32, "rlnImageDimensionality": 3}
    rows = {"rlnMicrographName": names, "rlnCoordinateX": np.arange(float(len(names)))}
    rows |= {"rlnOpticsGroup": np.ones(len(names), int)}
    blocks = {"optics": pd.DataFrame([optics]), "particles": pd.DataFrame(rows)}
    (folder / "a.star").write_text(write_blocks_text(blocks, 30001))


def test_names_come_back(tmp_path):
    _with_names(tmp_path, NAMES)
    assert read_blocks(tmp_path / "a.star")["particles"]["rlnMicrographName"].tolist() == NAMES


@pytest.mark.relion
@pytest.mark.skipif(RELION is None, reason="RELION is not installed (relion_star_handler)")
def test_names_come_back_from_relion(tmp_path):
    """RELION reads every name, and what it writes is read here; but it never quotes # itself."""
    names = [name for name in NAMES if name != "#1"]
    _with_names(tmp_path, names)
    operation = ["--operate", "rlnCoordinateX", "--add_to", "0"]
    subprocess.run(
        [RELION, "--i", "a.star", "--o", "b.star", *operation],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert read_blocks(tmp_path / "b.star")["particles"]["rlnMicrographName"].tolist() == names
