"""HDF5 files that are written whole or end with the error of the disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from aitom_disca.io.disk.atomic import replacing


class _Disk(io.FileIO):
    """A file that keeps its first error to itself, and from then on only pretends to write.

    HDF5 writes the rest of its buffers when it closes a file; where that fails the process ends in
    a segmentation fault.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left) and self.error is None:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.error = error
        return size or 0


class NewFile(h5py.File):
    """An HDF5 file that is being written; made by `new_file`."""

    def __init__(self, disk: _Disk) -> None:
        self._disk = disk
        super().__init__(disk, "w")

    def check(self) -> None:
        """Say now if something could not be written; to be called after each piece.

        Raises
        ------
        OSError
        """
        if self._disk.error is not None:
            raise self._disk.error


@contextmanager
def new_file(path: str | Path) -> Iterator[NewFile]:
    """Yield an HDF5 file that becomes ``path`` when the block ends without an error.

    Raises
    ------
    InputError, OSError
        As `replacing`.
    """
    with replacing(path) as temporary, _Disk(temporary, "w+") as disk:
        with NewFile(disk) as file:
            yield file
        if disk.error is not None:
            raise disk.error
