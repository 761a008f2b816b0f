"""Rows of one shape in a folder of files that many processes write and read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.io.disk.atomic import replacing


@dataclass(frozen=True)
class RowShards:
    """Rows in files of as many each; what is sent to other processes is where they lie.

    Parameters
    ----------
    folder : Path
    shape : tuple of int
        Of a row.
    dtype : str
    rows_each : int
        Rows in a file; the last one may hold fewer.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: str
    rows_each: int

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write the rows (n, ...) of a file, of which ``start`` is the first; again, if need be.

        Raises
        ------
        ValueError
            If no file starts there, or it would hold too many.
        """
        number, into = divmod(start, self.rows_each)
        if into or len(rows) > self.rows_each:
            raise ValueError(f"{len(rows)} rows from {start} are no file of {self.rows_each}")
        with replacing(self._path(number)) as temporary:
            temporary.write_bytes(np.ascontiguousarray(rows, self.dtype).data)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, ...) by number, in any order."""
        found = np.empty((len(rows), *self.shape), self.dtype)
        number = np.asarray(rows) // self.rows_each
        for one in np.unique(number):
            here = np.flatnonzero(number == one)
            found[here] = self._mapped(int(one))[rows[here] - one * self.rows_each]
        return found

    def _mapped(self, number: int) -> np.ndarray:
        shape = (-1, *self.shape)
        return np.memmap(self._path(number), self.dtype, "r").reshape(shape)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.rows"
