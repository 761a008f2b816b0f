"""Heaps in which HDF5 keeps texts of any length, looked through before HDF5 reads them.

HDF5 walks over the objects of a heap by the sizes that they say; with one of 0, or one that leads
back, it never ends, and nothing but the end of the process stops it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py._objects import phil

from aitom_disca.errors import InputError

_MARK, _HEADER, _OBJECT = b"GCOL", 16, 16  # bytes of a heap's header, and of an object's
_BEGIN_BYTES = 1 << 20  # of a file, where attributes lie that were written first
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])


def check_heaps(file: h5py.File, path: str | Path) -> None:
    """Refuse a file in which a heap of the first attributes, or of a column of texts, is damaged.

    Raises
    ------
    InputError
    """
    with open(path, "rb") as raw:
        start = raw.read(_BEGIN_BYTES)
        places = set(_marks_in(start))
        for name in file:
            places |= _places_of(file[name])
        for place in sorted(places):
            raw.seek(place)
            header = raw.read(_HEADER)
            size = int.from_bytes(header[8:], "little")
            if header[:4] == _MARK and size <= _BEGIN_BYTES:  # HDF5 refuses other ones itself
                _walk(raw.read(size - _HEADER), Path(path))


def _marks_in(data: bytes) -> Iterator[int]:
    at = data.find(_MARK)
    while at >= 0:
        yield at
        at = data.find(_MARK, at + 1)


def _places_of(column: h5py.Group | h5py.Dataset) -> set[int]:
    """Where the heaps of a column of texts lie."""
    if not isinstance(column, h5py.Dataset) or column.chunks is None:
        return set()
    kind = h5py.check_string_dtype(column.dtype)
    if kind is None or kind.length is not None:
        return set()
    places: set[int] = set()
    for i in range(column.id.get_num_chunks()):
        offset = column.id.get_chunk_info(i).chunk_offset
        data = _chunk(column.id, offset)
        references = np.frombuffer(data, _REFERENCE, len(data) // _REFERENCE.itemsize)
        places |= {*np.unique(references["address"][references["length"] > 0]).tolist()}
    return places


def _chunk(column: Any, offset: tuple[int, ...]) -> bytes:
    """The bytes of a chunk of a dataset.

    HDF5 is not for several threads at once. All else in h5py waits for a lock, this call does
    not: beside another thread it reads nonsense, or the process ends.
    """
    with phil:
        data: bytes = column.read_direct_chunk(offset)[1]
    return data


def _walk(data: bytes, path: Path) -> None:
    at = 0
    while at + _OBJECT <= len(data):
        number, size = struct.unpack_from("<H6xQ", data, at)
        step = _OBJECT + (size + 7) // 8 * 8 if number else size
        if not 0 < step <= len(data) - at:
            raise InputError(f"{path.name} is damaged in a text that it holds; make it again.")
        at += step
