"""Rows of one shape in a temporary file: appended in order, read in any."""

from __future__ import annotations

import tempfile
import threading
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from aitom_disca.errors import InputError


class RowFile:
    """Rows in a temporary file without a name, which is gone with the process.

    It is read, not mapped: mapped pages count as memory of the process, and grow with the number
    of rows.

    Parameters
    ----------
    shape : tuple of int
        Of a row.
    dtype : dtype
    what : str
        What the rows are, for a message.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, what: str) -> None:
        self._shape, self._dtype, self._what = shape, np.dtype(dtype), what
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="aitom_disca_")
        self._lock = threading.Lock()  # the file has one place at a time
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, rows: np.ndarray) -> None:
        """Add rows (n, ...) at the end.

        Raises
        ------
        InputError
            If there is no room for them.
        """
        try:
            self._file.write(np.ascontiguousarray(rows, self._dtype).data)
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"the {self._what} do not fit into {tempfile.gettempdir()} ({error.strerror}); "
                "make room there, or set TMPDIR to another folder."
            ) from error
        self._n += len(rows)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Add rows at the end, which is where they are to start.

        Raises
        ------
        IndexError
            If it is not.
        InputError
            As `append` does.
        """
        if start != self._n:
            raise IndexError(f"row {start} after {self._n}")
        self.append(rows)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, ...) by number, in any order."""
        wanted, place = np.unique(rows, return_inverse=True)
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < self._n:
            raise IndexError(f"rows {wanted[0]} to {wanted[-1]} of {self._n}")
        found = np.empty((len(wanted), *self._shape), self._dtype)
        edges = np.flatnonzero(np.diff(wanted) != 1) + 1
        for run in np.split(np.arange(len(wanted)), edges) if len(wanted) else []:
            with self._lock:
                self._file.seek(int(wanted[run[0]]) * found[0].nbytes)
                here = found[run[0] : run[-1] + 1]
                n_read = self._file.readinto(here.data)  # type: ignore[attr-defined]
            if n_read != here.nbytes:
                raise OSError(f"{n_read} of {here.nbytes} bytes of a temporary file")
        in_order = len(place) == len(wanted) and bool((np.diff(place) == 1).all())
        return found if in_order else found[place]
