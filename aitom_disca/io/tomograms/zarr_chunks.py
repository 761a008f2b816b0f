"""Chunks that a Zarr array should have and does not, or not whole.

By the specification a chunk that is not there holds the fill value, so that a copy that broke off
reads as zeros. But writers leave out chunks that are empty, too. Here a chunk is taken for empty
only where the voxels next to it are.

Blosc, the usual compressor, unpacks chunks that were cut without an error; its header says how long
they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError

Place = tuple[int, ...]
_BLOSC_HEADER = 16  # bytes, of which the last four are the length of the whole


def check_chunks(array: Any, folder: Path, name: str) -> None:
    """Refuse an array that lacks chunks beside which there are data, or whose chunks were cut.

    Parameters
    ----------
    array : zarr.Array
    folder : Path
        Where it lies.
    name : str
        Of the tomogram, for the error.

    Raises
    ------
    InputError
    """
    shape = array.shards or array.chunks
    grid = [-(-n // c) for n, c in zip(array.shape, shape, strict=True)]
    key = array.metadata.encode_chunk_key
    there = {place: (folder / key(place)).is_file() for place in product(*map(range, grid))}
    missing = [place for place, found in there.items() if not found]
    lost = [place for place in missing if _borders_on_data(array, shape, there, place)]
    if lost or len(missing) == len(there):
        raise InputError(
            f"{name} lacks {len(missing)} of its {len(there)} chunks (the first is "
            f"{key((lost or missing)[0])}), which would be read as {array.fill_value}; copy it "
            "again, or write it with empty chunks if they are meant to be empty."
        )
    if _is_blosc(array):
        _check_lengths((folder / key(place) for place, found in there.items() if found), name)


def _is_blosc(array: Any) -> bool:
    packed = array.compressors and not array.shards
    return bool(packed) and type(array.compressors[-1]).__name__ in ("Blosc", "BloscCodec")


def _check_lengths(files: Iterable[Path], name: str) -> None:
    for file in files:
        with file.open("rb") as chunk:
            header = chunk.read(_BLOSC_HEADER)
            length = chunk.seek(0, 2)
        promised = int.from_bytes(header[-4:], "little")
        if len(header) < _BLOSC_HEADER or length < promised:
            raise InputError(
                f"{name} is damaged: its chunk {file.name} has {length} bytes of {promised}; copy "
                "it again."
            )


def _borders_on_data(array: Any, shape: Place, there: dict[Place, bool], missing: Place) -> bool:
    """Whether a voxel that touches a missing chunk has another value than those in it."""
    for axis, step in product(range(array.ndim), (-1, 1)):
        neighbour = (*missing[:axis], missing[axis] + step, *missing[axis + 1 :])
        if not there.get(neighbour, False):
            continue
        start = [place * n for place, n in zip(missing, shape, strict=True)]
        region = [slice(s, s + n) for s, n in zip(start, shape, strict=True)]
        at = start[axis] - 1 if step < 0 else start[axis] + shape[axis]
        region[axis] = slice(at, at + 1)
        if (np.asarray(array[tuple(region)]) != (array.fill_value or 0)).any():
            return True
    return False
