"""What is a number in a file, and what stands for one that is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitom_disca.errors import InputError
from aitom_disca.io.numbers_in_files import (
    check_angles,
    to_clusters,
    to_numbers,
    to_probabilities,
    to_whole_numbers,
)

NUMBERS = ["12", " -1.5", "+.5", "7.", "1e-3", "2E+2"]
NOT_THERE = ["", "  ", "nan", "NaN", "-nan", "<NA>", "NA", "n/a", "None", "null"]
NO_NUMBERS = [
    "1,5",
    "1_000",
    "0x10",
    "1 2",
    "one",
    "1d5",
    "٣",
    "1e",
    ".",
    "True",
    "--1",
    "inf",
    "1\0",
    "\0",
]


def test_numbers():
    found = to_numbers(NUMBERS, "a.csv", "x")
    assert found.tolist() == [12, -1.5, 0.5, 7, 1e-3, 200]
    assert to_numbers([[1, 2], [3, 4]], "a.csv", "x").shape == (2, 2)
    assert to_numbers(np.array([1, "2", 3.5], object), "a.csv", "x").tolist() == [1, 2, 3.5]
    assert to_numbers([], "a.csv", "x").shape == (0,)


@pytest.mark.parametrize("cell", [*NOT_THERE, None, np.nan])
def test_a_value_that_is_not_there(cell):
    values = np.array(["1", cell], object)
    np.testing.assert_array_equal(to_numbers(values, "a", "x", may_be_missing=True), [1, np.nan])
    with pytest.raises(InputError, match=r"^a.csv has no number as x in row 2 \(nothing is there"):
        to_numbers(values, "b/a.csv", "x")
    with pytest.raises(InputError, match="no number as class in row 2"):
        to_whole_numbers(values, "a.csv", "class")
    assert to_clusters(values, "a.csv", "class").tolist() == [0, -1]


@pytest.mark.parametrize("cell", [*NO_NUMBERS, True, 1j, np.inf, "1e999", [1]])
def test_what_is_no_number(cell):
    values = np.empty(3, object)
    values[:] = ["1", "2", cell]
    for may_be_missing in (True, False):
        with pytest.raises(InputError, match=r"^a\.csv has no number as x in row 3"):
            to_numbers(values, "a.csv", "x", may_be_missing=may_be_missing)


def test_numbers_of_other_kinds():
    assert to_whole_numbers(["3.0", "-2"], "a", "class").tolist() == [3, -2]
    assert to_clusters([0, -3, 1, 2], "a", "class").tolist() == [-1, -1, 0, 1]
    for wrong in (1.5, 1e300):
        with pytest.raises(InputError, match="no whole number as class in row 2"):
            to_clusters([1, wrong], "a", "class")
    assert to_probabilities([0, 1.0000001, 0.5], "a", "p").tolist() == [0, 1, 0.5]
    for wrong in (-0.1, 4):
        with pytest.raises(InputError, match="no probability from 0 to 1 as p in row 1"):
            to_probabilities([wrong], "a", "p")
    with pytest.raises(InputError, match=r"as a location in row 2 \(True\)"):
        to_numbers([[1, 2, 3], [1, True, 3]], "a", "a location")
    with pytest.raises(InputError, match=r"as a matrix .*different lengths"):
        to_numbers([[1, 2], [3]], "a", "a matrix")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=5))
def test_what_is_written_is_read(values):
    assert to_numbers([repr(value) for value in values], "a", "x").tolist() == values


def test_angles_that_no_program_means(caplog):
    check_angles("a.star", np.array([[720.0, -180, -720], [0, 180, 359]]))
    assert not caplog.text
    check_angles("a.star", np.array([[0.0, 0, 0], [3867.465, 671.269, 10742.958]]))
    assert "in 1 of 2 rows (row 2: 3867.47, 671.269, 10743 degrees)" in caplog.text
    assert "divide by 57.2958" in caplog.text
