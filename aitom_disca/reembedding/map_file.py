"""A map of the size of a tomogram, written block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.tomograms.mrc_header import read_header
from aitom_disca.particles import TomogramInfo

DENSITY_MODE = 2  # float32
LABEL_MODE = 1  # int16


class MapFile:
    """A map on disk that takes slabs; made by `new_map`."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = data
        self._low = self._high = self._sum = self._square_sum = 0.0
        self._n = 0

    def write(self, start: int, slab: np.ndarray) -> None:
        """Write whole sections from ``start`` on; sections never written are 0."""
        self._n += slab.size
        if not slab.any():
            return
        self._data[start : start + len(slab)] = slab
        self._low, self._high = min(self._low, slab.min()), max(self._high, slab.max())
        self._sum += float(slab.sum(dtype=float))
        self._square_sum += sum(float(np.square(s, dtype=float).sum()) for s in slab)

    def describe(self, header: Any) -> None:
        """Note extremes, mean and spread in the header."""
        mean = self._sum / max(self._n, 1)
        header.dmin, header.dmax, header.dmean = self._low, self._high, mean
        header.rms = np.sqrt(max(self._square_sum / max(self._n, 1) - mean**2, 0))


@contextmanager
def new_map(path: str | Path, mode: int, tomogram: TomogramInfo) -> Iterator[MapFile]:
    """Make an MRC file that lies on a tomogram: its size, voxel size and, if it is there, origin.

    The file appears under its name when the block ends without an error.

    Parameters
    ----------
    path : path
    mode : int
        ``DENSITY_MODE`` or ``LABEL_MODE``.
    tomogram : TomogramInfo
        Of known size.
    """
    with replacing(path) as temporary:
        with mrcfile.new_mmap(temporary, tomogram.shape_zyx, mrc_mode=mode, overwrite=True) as mrc:
            _reserve(temporary)
            mrc.set_volume()
            mrc.voxel_size = tomogram.voxel_size_angstrom
            _copy_place(tomogram.path, mrc.header)
            file = MapFile(mrc.data)
            yield file
            file.describe(mrc.header)


def _reserve(path: Path) -> None:
    """Take all room of a mapped file now: to write where there is none left kills the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _copy_place(path: Path | None, header: Any) -> None:
    """Take origin and start from the tomogram's own file, so that viewers overlay the two."""
    if path is None or not path.is_file():
        return
    try:
        source, _ = read_header(path)
    except InputError:  # no MRC file any more: only its place in the viewer is lost
        return
    for axis in "xyz":
        setattr(header.origin, axis, float(getattr(source.origin, axis)))
        setattr(header, f"n{axis}start", int(getattr(source, f"n{axis}start")))
