"""The subtomograms as the network sees them: prepared once, then read in any order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.io.stores.row_file import RowFile
from aitom_disca.progress import track
from aitom_disca.subtomograms.preprocess import crop, in_spheres, low_pass, normalise

# Prepared volumes above this size live in a temporary file.
_LARGEST_IN_MEMORY_BYTES = 64 * 2**20
_BATCH_VOXELS = 2**22  # prepared at once
_SHUFFLED_TOGETHER = 64  # chunks


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


class SomeOf:
    """Some subtomograms of a source, with its interface.

    Parameters
    ----------
    source : Source
    rows : ndarray of int
        Those of the source that are taken, in order.
    """

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self._source, self._rows = source, np.asarray(rows)
        self.box_shape_zyx = source.box_shape_zyx

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Volumes (n, z, y, x), float32, by their number among those that are taken."""
        return self._source.read(self._rows[rows])


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
    mask_radius_px : float
        Of a soft sphere about the box centre, in voxels of the source, outside of which nothing is
        left; infinite for none.
    crop_px : int, optional
        Edge of the middle of every subtomogram that is taken, in voxels of the source; by default
        all of it.
    """

    def __init__(
        self,
        source: Source,
        *,
        box_px: int | None = None,
        low_pass_sigma_px: float = 0.0,
        rows: np.ndarray | None = None,
        mask_radius_px: float = np.inf,
        crop_px: int | None = None,
    ) -> None:
        box = source.box_shape_zyx[0]
        self.box_px = min(box_px or box, crop_px or box, box)
        self._sigma_px = low_pass_sigma_px
        self._mask_radius_px = mask_radius_px
        self._crop_px = min(crop_px or box, box)
        rows = np.arange(len(source)) if rows is None else rows
        self._volumes = _hold(len(rows), self.box_px)
        self.crc32 = 0  # of all volumes as prepared
        size = max(1, _BATCH_VOXELS // box**3)
        for batch in track(self._batches(len(rows), size), "preparing subtomograms"):
            volumes = np.ascontiguousarray(self._prepare(source.read(rows[batch])), np.float32)
            self.crc32 = zlib.crc32(volumes.data.cast("B"), self.crc32)
            self._volumes.append(volumes)

    def __len__(self) -> int:
        return len(self._volumes)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Prepared volumes (n, z, y, x), float32, by row number in any order."""
        return self._volumes.read(np.asarray(rows))

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """All volumes in order, ``batch_size`` at a time."""
        for rows in self._batches(len(self), batch_size):
            yield self.read(rows)

    @staticmethod
    def _batches(n: int, size: int) -> list[np.ndarray]:
        return [np.arange(i, min(i + size, n)) for i in range(0, n, size)]

    def _prepare(self, volumes: np.ndarray) -> np.ndarray:
        volumes = in_spheres(normalise(volumes), self._mask_radius_px)
        volumes = fourier_crop(crop(volumes, self._crop_px), self.box_px)
        if self._sigma_px:
            volumes = low_pass(volumes, self._sigma_px)
        return normalise(volumes)


class _InMemory:
    """Volumes that are appended in order and read in any."""

    def __init__(self, n: int, box_px: int) -> None:
        self._volumes = np.empty((n, *(box_px,) * 3), np.float32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, volumes: np.ndarray) -> None:
        self._volumes[self._n : self._n + len(volumes)] = volumes
        self._n += len(volumes)

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self._volumes[rows]


def _hold(n: int, box_px: int) -> _InMemory | RowFile:
    fits = 4.0 * n * box_px**3 <= _LARGEST_IN_MEMORY_BYTES
    if fits:
        return _InMemory(n, box_px)
    return RowFile((box_px,) * 3, np.float32, "prepared subtomograms")


def shuffled_rows(n: int, rng: np.random.Generator, chunk: int = 64) -> np.ndarray:
    """All rows in random order, such that neighbours on the disk are read within a short time.

    Chunks of consecutive rows are put in random order, and the rows of 64 chunks at a time are
    shuffled together; up to 4096 rows it is a plain permutation.

    Parameters
    ----------
    n : int
        Number of rows.
    rng : numpy Generator
    chunk : int
        Consecutive rows that stay together.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    starts = rng.permutation(np.arange(0, n, chunk))
    groups = [
        np.concatenate(
            [np.arange(s, min(s + chunk, n)) for s in starts[i : i + _SHUFFLED_TOGETHER]]
        )
        for i in range(0, len(starts), _SHUFFLED_TOGETHER)
    ]
    return np.concatenate([rng.permutation(group) for group in groups]) if groups else starts
