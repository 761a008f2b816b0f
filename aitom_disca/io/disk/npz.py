"""Arrays in NumPy's ``.npz``, read with bounded memory and without pickles."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from aitom_disca.io.disk.reading import reading

_FOLDED = 100.0  # times that arrays of numbers may shrink when they are packed
_SMALL_BYTES = 1 << 20


def read_npz(path: str | Path, what: str, todo: str) -> dict[str, np.ndarray]:
    """All arrays of a file by their names.

    Parameters
    ----------
    path : path
    what, todo : str
        As in `aitom_disca.io.disk.reading.reading`.

    Raises
    ------
    InputError
        If the file is missing, damaged, holds objects, or unfolds to far more than it holds.
    """
    with reading(path, what, todo):
        with zipfile.ZipFile(path) as packed:
            for one in packed.infolist():
                if one.file_size > max(_SMALL_BYTES, _FOLDED * one.compress_size):
                    raise ValueError(f"{one.filename} unfolds from {one.compress_size} bytes to "
                                     f"{one.file_size}")  # fmt: skip
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
