"""Pickles of a few hundred bytes that stand for more than a machine holds, or never end."""

from __future__ import annotations

import pickle
import struct


def _shared(rounds: int, begin: bytes, end: bytes) -> bytes:
    """Something that holds, twice, something that holds, twice, ..."""
    out = b"\x80\x02]q\x00"
    for k in range(rounds):
        get, put = b"j" + struct.pack("<I", k), b"r" + struct.pack("<I", k + 1)
        out += begin + get * 2 + end + put
    return out


def _dicts() -> bytes:
    held: object = {"val": 1.0, "x": [1, 2, 3]}
    for _ in range(40):
        held = {"a": held, "b": held}
    return pickle.dumps([{"val": 1.0, "x": [1, 2, 3], "more": held}], 2)


def _of_numpy(name: bytes) -> bytes:
    return b"cnumpy.core." + name + b"\n"


_DTYPE = (
    b"cnumpy\ndtype\nX\x02\x00\x00\x00f8I0\nI1\n\x87R(I3\nX\x01\x00\x00\x00<NNNI-1\nI-1\nI0\ntb"
)
_MEBIBYTE = b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20)
_ARRAY = (
    _of_numpy(b"multiarray\n_reconstruct")
    + b"cnumpy\nndarray\nI0\n\x85C\x01b\x87R(I1\nI131072\n\x85h\x01I00\nh\x02tb"
)
_CALLS = {
    "encode": b"c_codecs\nencode\n",
    "bytearray": b"cbuiltins\nbytearray\n",
    "frozenset": b"cbuiltins\nfrozenset\n",
}
_COLLIDING = b"".join(  # whole numbers of one hash: each is compared with all before it
    b"\x8a\x0a" + (k * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for k in range(20, 4000)
)

HOSTILE = {
    "lists": _shared(40, b"(", b"l") + b".",
    "tuples": _shared(40, b"", b"\x86") + b".",
    "tuples as a key": b"\x80\x02)q\x00" + _shared(40, b"", b"\x86")[5:] + b"}" + b"j\x28\0\0\0Ns.",
    "tuples copied": b"\x80\x02)" + b"2\x86" * 60 + b"}q\x002Ns.",
    "deep tuples": b"\x80\x02)" + b"\x85" * 200_000 + b"}2Ns.",
    "deep tuple as a key": b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "dictionaries": _dicts(),
    "holds itself": b"\x80\x02]q\x00h\x00a.",
    "number of bytes": b"\x80\x02cbuiltins\nbytearray\n(L16000000000L\ntR.",
    "number of bytes of a buffer": b"\x80\x02"
    + _of_numpy(b"numeric\n_frombuffer")
    + b"(L16000000000L\nNNX\x01\x00\x00\x00CtR.",
    "places": b"\x80\x02]r" + struct.pack("<I", 1_500_000_000) + b".",
    "places in text": b"]p1500000000\n.",
    "length": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
    "length of bytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
    "long number": b"I" + b"9" * 4000 + b"\n.",
    "numbers of one hash": b"\x80\x02}(" + _COLLIDING + b"u.",
    "arrays of the same bytes": b"\x80\x03"
    + _DTYPE + b"q\x010" + _MEBIBYTE + b"q\x020" + b"](" + _ARRAY * 300 + b"e.",
    "text encoded again": b"\x80\x02X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x000]("
    + (_CALLS["encode"] + b"h\x00X\x06\0\0\0latin1\x86R") * 300 + b"e.",
    "bytes copied again": b"\x80\x03" + _MEBIBYTE + b"q\x000]("
    + (_CALLS["bytearray"] + b"h\x00\x85R") * 300 + b"e.",
    "sets made again": b"\x80\x02](" + b"".join(b"J" + struct.pack("<i", k) for k in range(30000))
    + b"eq\x000](" + (_CALLS["frozenset"] + b"h\x00\x85R") * 300 + b"e.",
}  # fmt: skip
