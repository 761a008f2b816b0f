"""Pickles: what may be in them is read from every Python and NumPy, and nothing is run."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aitom_disca.bridge.pickles import read_pickle, write_pickle
from aitom_disca.errors import InputError

HELD = {
    "v_siz": np.array([4, 4, 4]),
    "vs": {"a-b": {"center": [np.int64(3), 4, 5], "v": np.arange(8.0).reshape(2, 2, 2), "n": None}},
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big": np.arange(3, dtype=">i2"),
    "text": np.array(["ab", "c"]),
    "flags": np.array([True, False]),
    "plain": (1, 2.5, "x", b"y", {1, 2}, frozenset([3]), 1j, None, True),
    "ordered": collections.OrderedDict(a=1),
    "mixed": np.array([{"k": np.ones(2)}, None], object),
}


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, np.ndarray) and expected.dtype != object:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        assert found.flags.writeable
    elif isinstance(expected, list | tuple | np.ndarray):
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path, protocol):
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(HELD, protocol=protocol))
    assert_same(read_pickle(tmp_path / "a.pickle"), HELD)


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_pickles_of_python_2_and_of_any_numpy(tmp_path, module):
    """As Python 2 wrote it: text is bytes, protocol 0 or 2, old or new names of NumPy's modules."""
    name = f"c{module}.multiarray\n".encode()
    raw = np.array([1.5, -2.0]).tobytes()
    array = (
        name + b"_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01bt"
        b"R(I1\n(I2\ntcnumpy\ndtype\n(U\x02f8I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntb"
        b"I00\nU" + bytes([len(raw)]) + raw + b"tb"
    )
    content = b"\x80\x02}U\x03key" + array + b"sU\x04text}U\x01\xe9K\x05ss."
    pickletools.dis(content, out=open(os.devnull, "w"))
    (tmp_path / "a.pickle").write_bytes(content)
    found = read_pickle(tmp_path / "a.pickle")
    assert found["key"].tolist() == [1.5, -2.0] and found["key"].dtype == "<f8"
    assert found["text"] == {"é": 5}


@given(hnp.arrays(st.sampled_from(["f4", "f8", ">i4", "u1", "c8", "?"]), hnp.array_shapes()))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("p") / "a.pickle"
    write_pickle(path, {"a": [array], "b": array.T})
    found = read_pickle(path)
    for one, expected in ((found["a"][0], array), (found["b"], array.T)):
        np.testing.assert_array_equal(one, expected)
        assert one.dtype == expected.dtype
    with open(path, "rb") as file:  # and by Python itself
        np.testing.assert_array_equal(pickle.load(file)["a"][0], array)


def test_what_is_written_names_no_module_of_new_numpy(tmp_path):
    tricky = np.frombuffer(b"cnumpy._core.multiarray\nscalar\n    ", np.uint8)
    write_pickle(tmp_path / "a.pickle", {"a": tricky, "n": np.int64(3)})
    names = [
        argument
        for code, argument, _ in pickletools.genops((tmp_path / "a.pickle").read_bytes())
        if code.name == "GLOBAL"
    ]
    assert "numpy.core.multiarray scalar" in names
    assert not any("_core." in name for name in names)
    found = read_pickle(tmp_path / "a.pickle")
    assert found["a"].tobytes() == tricky.tobytes() and found["n"] == 3


# -- what is refused ---------------------------------------------------------------------------


class Evil:
    def __init__(self, call, *arguments):
        self._reduced = call, arguments

    def __reduce__(self):
        return self._reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path, protocol):
    mark = tmp_path / "ran"
    evil = {"vs": {"a": Evil(os.system, f"touch {mark}")}}
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(evil, protocol=protocol))
    with pytest.raises(InputError, match=r"a\.pickle holds (posix|nt)\.system, which was not run"):
        read_pickle(tmp_path / "a.pickle")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("call", "arguments", "name"),
    [
        (eval, ("1",), "eval"),
        (getattr, ("a", "b"), "getattr"),
        (subprocess.Popen, (["true"],), "Popen"),
        (np.load, ("x",), "load"),
        (__import__, ("os",), "__import__"),
    ],
)
def test_other_callables_are_named(tmp_path, call, arguments, name):
    (tmp_path / "a.pickle").write_bytes(pickle.dumps([Evil(call, *arguments)]))
    with pytest.raises(InputError, match=name):
        read_pickle(tmp_path / "a.pickle")


def test_names_hidden_behind_a_known_one(tmp_path):
    """Protocol 4 looks up dotted names: set.__init__ is not set."""
    content = b"\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93)R."
    (tmp_path / "a.pickle").write_bytes(content)
    with pytest.raises(InputError, match=r"set\.__init__"):
        read_pickle(tmp_path / "a.pickle")


def test_forged_types_are_refused(tmp_path):
    """A type whose state makes raw bytes pass for objects would be memory of an attacker's."""
    pointers = (
        b"\x80\x02cnumpy\nndarray\n)R(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R"
        b"\x89C\x08AAAAAAAAtb."
    )
    (tmp_path / "a.pickle").write_bytes(pointers)
    with pytest.raises(InputError, match="objects"):
        read_pickle(tmp_path / "a.pickle")
    records = pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "O")]))
    (tmp_path / "b.pickle").write_bytes(records)
    with pytest.raises(InputError, match="records"):
        read_pickle(tmp_path / "b.pickle")


def test_odd_codecs_are_refused(tmp_path):
    content = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    (tmp_path / "a.pickle").write_bytes(content)
    with pytest.raises(InputError, match="rot13"):
        read_pickle(tmp_path / "a.pickle")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}", b"\x80\x02]q\x00h\x00a."])
def test_what_is_no_pickle(tmp_path, content):
    (tmp_path / "a.pickle").write_bytes(content)
    with pytest.raises(InputError, match="no pickle that can be read"):
        read_pickle(tmp_path / "a.pickle")


def test_a_list_in_itself(tmp_path):
    inner: list = []
    inner.append(inner)
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(inner))
    with pytest.raises(InputError, match="no pickle that can be read"):
        read_pickle(tmp_path / "a.pickle")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_pickle(tmp_path / "a.pickle")
