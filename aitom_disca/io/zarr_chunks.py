"""Chunks that a Zarr array should have and does not.

By the specification a chunk that is not there holds the fill value, so that a copy that broke off
reads as zeros. But writers leave out chunks that are empty, too. Here a chunk is taken for empty
only where the voxels next to it are.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError

Place = tuple[int, ...]


def check_chunks(array: Any, folder: Path, name: str) -> None:
    """Refuse an array that lacks chunks beside which there are data.

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
