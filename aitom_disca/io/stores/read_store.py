"""Read a subtomogram store; `aitom_disca.io.stores.store_layout` says how it lies in its file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.io.disk.checksums import check_seal, checksums_of
from aitom_disca.io.disk.hdf5_heaps import check_heaps
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.numbers_in_files import to_probabilities
from aitom_disca.io.stores.store_layout import (
    CHECKSUMS,
    COLUMNS,
    DIAMETER,
    FURTHER,
    TILTS,
    TODO,
    WHAT,
    check_layout,
    check_shards,
)
from aitom_disca.io.tomograms.tilt_range import DEFAULT_TILT_RANGE_DEG
from aitom_disca.particles import ParticleSet, TomogramInfo

logger = logging.getLogger(__name__)

_LONGEST_READ = 64  # volumes in one request: bounds the memory of a read beyond its result


class SubtomogramStore:
    """A store opened for reading; volumes are read when asked for. Made by `open_store`.

    Pickled, it is its path and what its header says: another process opens the file when it first
    reads.
    """

    def __init__(self, path: Path, file: h5py.File):
        self.path = path
        self._file = file
        self._n, *box = file["subtomograms"].shape
        self.box_shape_zyx: tuple[int, int, int] = tuple(box)  # type: ignore[assignment]
        self.voxel_size_angstrom = float(file.attrs["voxel_size_angstrom"])
        diameter = file.attrs.get("particle_diameter_angstrom")
        self.particle_diameter_angstrom = None if diameter is None else float(diameter)
        self.common_tilt_range_deg = self._read_tilt_range()

    def __len__(self) -> int:
        return self._n

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in ("_file", "tilt_range_deg")}
        return state | {"path": self.path.absolute()}

    @cached_property
    def _file(self) -> h5py.File:
        file = _open_file(self.path)
        check_shards(file["subtomograms"], self.path)
        return file

    def __enter__(self) -> SubtomogramStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if "_file" in vars(self):
            self._file.close()

    def read(self, rows: np.ndarray | slice | list[int] | None = None) -> np.ndarray:
        """Read subtomograms.

        Parameters
        ----------
        rows : index array, boolean mask or slice, optional
            In any order, repeats allowed; all if left out.

        Returns
        -------
        ndarray of float32, shape (n, z, y, x)
            In the order of ``rows``.

        Raises
        ------
        InputError
            If a volume holds NaN or infinity, or is damaged.
        """
        index = np.arange(len(self))[slice(None) if rows is None else rows]
        order = np.argsort(index, kind="stable")
        volumes = np.empty((len(index), *self.box_shape_zyx), np.float32)
        stored = self._file["subtomograms"]
        for run in _runs(index[order]):
            first, last = index[order[run.start]], index[order[run.stop - 1]]
            with reading(self.path, WHAT, f"subtomograms {first} to {last}: {TODO}"):
                volumes[order[run]] = stored[first : last + 1]
        self._check_whole(volumes, index)
        self._check_finite(volumes, index)
        return volumes

    def iter_batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """Read all subtomograms in order, ``batch_size`` at a time."""
        for start in range(0, len(self), batch_size):
            yield self.read(slice(start, start + batch_size))

    def particles(self) -> ParticleSet:
        """Where the subtomograms come from, as far as the file knows."""
        n = len(self)
        columns = {attr: self._column(name) for name, attr in COLUMNS.items()}
        if columns["posterior"] is not None:
            columns["posterior"] = to_probabilities(columns["posterior"], self.path, "posterior")
        names = columns.pop("tomogram_name")
        names = np.full(n, self.path.stem) if names is None else names.astype(str)
        center = columns.pop("center_zyx_px")
        center = np.full((n, 3), np.nan) if center is None else center
        tomograms = self._tomograms(names)
        diameter = self._column(DIAMETER)
        more = {} if diameter is None else {DIAMETER: diameter}
        for name in filter(lambda name: name.startswith(FURTHER), self._file):
            column = self._column(name)
            assert column is not None  # noqa: S101  it is in the file
            more[name.removeprefix(FURTHER)] = (
                column.astype(str) if column.dtype.kind == "O" else column
            )
        return ParticleSet(names, center, **columns, tomograms=tomograms, more=more)  # type: ignore[arg-type]

    @cached_property
    def tilt_range_deg(self) -> TiltRanges:
        """Measured tilts: of all subtomograms, or (N, 2), of each, where they differ."""
        own = self._column(TILTS)
        if own is None:
            return self.common_tilt_range_deg
        if own.shape != (len(self), 2) or not ((-90 <= own) & (own <= 90)).all():
            raise InputError(
                f"{self.path.name} holds tilt ranges that cannot be (dataset {TILTS}); the file "
                "is damaged, extract the subtomograms again."
            )
        return own

    @property
    def labels(self) -> np.ndarray | None:
        """Ground truth (N,), int, of simulated data; None where the file has none."""
        labels = self._column("labels")
        return None if labels is None else labels.astype(int)

    @property
    def raw_mean(self) -> np.ndarray | None:
        """Means (N,) of the volumes before they were normalised; None where not known."""
        return self._column("raw_mean")

    @property
    def diameter_angstrom(self) -> np.ndarray | None:
        """Diameters (N,) of the particles, as they were picked; None where not known."""
        return self._column("diameter_angstrom")

    @property
    def raw_std(self) -> np.ndarray | None:
        """Standard deviations (N,) before normalisation; None where not known."""
        return self._column("raw_std")

    @property
    def image_name(self) -> np.ndarray | None:
        """Files (N,) that the volumes came from; None where they were cut from tomograms."""
        return self._column("image_name")

    def _column(self, name: str) -> np.ndarray | None:
        if name not in self._file:
            return None
        with reading(self.path, WHAT, TODO):
            dataset = self._file[name]
            if len(dataset) != len(self):
                raise InputError(
                    f"{self.path.name} holds {len(self)} subtomograms but {len(dataset)} rows of "
                    f"{name}; {TODO}."
                )
            check_seal(dataset, self.path)
            return (dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset)[:]

    def _tomograms(self, names: np.ndarray) -> dict[str, TomogramInfo]:
        with reading(self.path, WHAT, f"attribute tomograms: {TODO}"):
            stored = json.loads(self._file.attrs.get("tomograms", "[]"))
            if stored:
                return {t["name"]: _info_from_json(t) for t in stored}
        size, tilts = self.voxel_size_angstrom, self.common_tilt_range_deg
        return {str(n): TomogramInfo(str(n), size, None, tilts) for n in np.unique(names)}

    def _read_tilt_range(self) -> tuple[float, float]:
        if "tilt_range" in self._file.attrs:
            low, high = self._file.attrs["tilt_range"]
            if not -90 <= low < high <= 90:
                raise InputError(
                    f"{self.path.name} holds a tilt range that cannot be ({low:g} to {high:g} "
                    "degrees); correct the attribute tilt_range."
                )
            return float(low), float(high)
        logger.warning(
            "%s holds no tilt range; -60 to 60 degrees is taken (attribute tilt_range).",
            self.path.name,
        )
        return DEFAULT_TILT_RANGE_DEG

    @cached_property
    def _checksums(self) -> np.ndarray | None:
        return self._column(CHECKSUMS)

    def _check_whole(self, volumes: np.ndarray, index: np.ndarray) -> None:
        if self._checksums is None:  # of an earlier version, or of another program
            return
        bad = checksums_of(volumes) != self._checksums[index]
        if bad.any():
            raise InputError(
                f"{self.path.name} is damaged: {bad.sum()} subtomograms differ from their checksum "
                f"(the first is number {index[bad][0]}); extract the subtomograms again."
            )

    def _check_finite(self, volumes: np.ndarray, index: np.ndarray) -> None:
        bad = ~np.isfinite(volumes).all(axis=(1, 2, 3))
        if bad.any():
            raise InputError(
                f"{self.path.name} has {bad.sum()} subtomograms with voxels that are not finite "
                f"numbers (the first is number {index[bad][0]}); remove them, or extract again "
                "from a tomogram without NaN."
            )


def open_store(path: str | Path) -> SubtomogramStore:
    """Open a subtomogram store for reading.

    Raises
    ------
    InputError
        If the file is missing, damaged, or no store: not HDF5, no volumes, no voxel size.
    """
    path = Path(path)
    file = _open_file(path)
    try:
        with reading(path, WHAT, TODO):
            check_heaps(file, path)
            check_layout(file, path)
            return SubtomogramStore(path, file)
    except Exception:
        file.close()
        raise


def _open_file(path: Path) -> h5py.File:
    if not path.is_file():
        raise InputError(f"the subtomogram store {path} does not exist; check the path.")
    with reading(path, WHAT, "expected a readable HDF5 file, as the extract command writes it"):
        return h5py.File(path, "r")


def _runs(index: np.ndarray) -> Iterator[slice]:
    """Stretches of a sorted index that follow one another, each short enough to read at once."""
    breaks = np.flatnonzero(np.diff(index) != 1) + 1
    edges = [0, *breaks.tolist(), len(index)]
    for start, stop in pairwise(edges):
        for piece in range(start, stop, _LONGEST_READ):
            yield slice(piece, min(piece + _LONGEST_READ, stop))


def _info_from_json(stored: dict[str, Any]) -> TomogramInfo:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    values["path"] = Path(values["path"]) if values.get("path") else None
    return TomogramInfo(**values)
