"""The subtomograms as the network sees them: prepared once, then read in any order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.progress import track
from aitom_disca.subtomograms.preprocess import low_pass, normalise

# Prepared volumes above this size live in a file that is mapped, not in memory.
_LARGEST_IN_MEMORY_BYTES = 512 * 2**20
_BATCH = 256


class Source(Protocol):
    """Anything that holds cubic subtomograms: a store, or an array in an `ArraySource`."""

    @property
    def box_shape_zyx(self) -> tuple[int, int, int]:
        """Edges of a subtomogram."""
        ...

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Volumes (n, z, y, x), float32, by row number in any order."""
        ...


class ArraySource:
    """An array of subtomograms (n, z, y, x) with the interface of a store."""

    def __init__(self, volumes: np.ndarray) -> None:
        self._volumes = volumes

    @property
    def box_shape_zyx(self) -> tuple[int, int, int]:
        """Edges of a subtomogram."""
        return self._volumes.shape[1:]  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self._volumes)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Volumes by row number, float32.

        Raises
        ------
        InputError
            If one of them holds NaN or infinity.
        """
        volumes = np.asarray(self._volumes[rows], np.float32)
        bad = ~np.isfinite(volumes).all(axis=(1, 2, 3))
        if bad.any():
            raise InputError(
                f"subtomogram {rows[bad][0]} holds values that are not finite numbers (NaN or "
                "infinite); leave it out or replace them."
            )
        return volumes


class PreparedVolumes:
    """Subtomograms low-passed, Fourier-cropped and normalised, ready for the network.

    Parameters
    ----------
    source : Source
    box_px : int, optional
        Edge after Fourier cropping; by default, or if the source is smaller, the source's own.
    low_pass_sigma_px : float
        Standard deviation of a Gaussian low-pass, in voxels of the cropped box; 0 for none.
    rows : ndarray of int, optional
        Those of the source that are taken; by default all.
    """

    def __init__(
        self,
        source: Source,
        *,
        box_px: int | None = None,
        low_pass_sigma_px: float = 0.0,
        rows: np.ndarray | None = None,
    ) -> None:
        box = source.box_shape_zyx[0]
        self.box_px = min(box_px or box, box)
        self._sigma_px = low_pass_sigma_px
        self._folder: tempfile.TemporaryDirectory | None = None
        rows = np.arange(len(source)) if rows is None else rows
        self._volumes = self._allocate(len(rows))
        for batch in track(self._batches(len(rows), _BATCH), "preparing subtomograms"):
            self._volumes[batch] = self._prepare(source.read(rows[batch]))

    def __len__(self) -> int:
        return len(self._volumes)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Prepared volumes (n, z, y, x), float32, by row number in any order."""
        return np.asarray(self._volumes[rows])

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """All volumes in order, ``batch_size`` at a time."""
        for rows in self._batches(len(self), batch_size):
            yield self.read(rows)

    @staticmethod
    def _batches(n: int, size: int) -> list[np.ndarray]:
        return [np.arange(i, min(i + size, n)) for i in range(0, n, size)]

    def _allocate(self, n: int) -> np.ndarray:
        shape = (n, *(self.box_px,) * 3)
        if 4 * np.prod(shape, dtype=float) <= _LARGEST_IN_MEMORY_BYTES:
            return np.empty(shape, np.float32)
        self._folder = tempfile.TemporaryDirectory(prefix="aitom_disca_")
        path = Path(self._folder.name) / "prepared.npy"
        return np.lib.format.open_memmap(path, "w+", np.float32, shape)

    def _prepare(self, volumes: np.ndarray) -> np.ndarray:
        volumes = fourier_crop(normalise(volumes), self.box_px)
        if self._sigma_px:
            volumes = low_pass(volumes, self._sigma_px)
        return normalise(volumes)
