"""Write a store of subtomograms, batch after batch; `store_layout` says how it lies in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import common_tilt_range
from aitom_disca.io.disk.checksums import checksums_of, seal
from aitom_disca.io.disk.hdf5 import new_file
from aitom_disca.io.stores.store_layout import (
    CHECKSUMS,
    COLUMNS,
    DIAMETER,
    FORMAT_VERSION,
    FURTHER,
    ROW,
    TEXT,
    TILTS,
    WHOLE,
)
from aitom_disca.particles import ParticleSet, TomogramInfo


def existing_store(path: str | Path) -> InputError:
    """The error that a store is there already."""
    return InputError(
        f"the store {path} is there already; choose another name, remove it, or ask to overwrite "
        "it."
    )


class StoreWriter:
    """Write a store piece by piece; made by `create`, used as a context manager.

    The file appears under its name when the block ends, not before, and not if it fails.
    """

    def __init__(
        self,
        path: Path,
        box_shape_zyx: tuple[int, int, int],
        attributes: dict[str, Any],
        tilt_ranges_deg: Mapping[str, tuple[float, float]],
    ) -> None:
        self.path = path
        self.box_shape_zyx = box_shape_zyx
        self._attributes = attributes
        self._tilt_ranges_deg = tilt_ranges_deg  # by tomogram; empty where all have one
        self._stack = ExitStack()
        self._n = 0

    @classmethod
    def create(
        cls,
        path: str | Path,
        box_shape_zyx: tuple[int, int, int],
        voxel_size_angstrom: float,
        tilt_range_deg: tuple[float, float] | Mapping[str, tuple[float, float]],
        tomograms: Mapping[str, TomogramInfo] | None = None,
        normalisation: str = "",
        source: str = "",
        overwrite: bool = False,
        particle_diameter_angstrom: float | None = None,
    ) -> StoreWriter:
        """Prepare to write a store.

        Parameters
        ----------
        path : path
        box_shape_zyx : tuple of 3 int
        voxel_size_angstrom : float
            Of the subtomograms.
        tilt_range_deg : tuple of 2 floats, or mapping of str to them
            Measured tilts of all tomograms, or of each by its name; tilt axis y, beam z.
        tomograms : mapping of str to TomogramInfo, optional
        normalisation, source : str
            What was done to the volumes, and where they come from, in a few words.
        overwrite : bool
            Whether an existing file may be replaced.
        particle_diameter_angstrom : float, optional
            Of the largest particles that the boxes were cut for.

        Raises
        ------
        InputError
            If the file exists and may not be replaced.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise existing_store(path)
        own: dict[str, tuple[float, float]] = {}
        if isinstance(tilt_range_deg, Mapping):
            own = {str(name): (float(a), float(b)) for name, (a, b) in tilt_range_deg.items()}
            tilt_range_deg = common_tilt_range(np.array(list(own.values())))
        box = tuple(int(n) for n in box_shape_zyx)
        attributes = {
            "format_version": FORMAT_VERSION,
            "voxel_size_angstrom": float(voxel_size_angstrom),
            "tilt_range": tuple(float(t) for t in tilt_range_deg),
            "box_px": box[0] if len(set(box)) == 1 else box,
            "axis_order": "zyx",
            "tilt_axis": "y",
            "beam_axis": "z",
            "normalisation": normalisation,
            "source": source,
            "tomograms": json.dumps([asdict(t) for t in (tomograms or {}).values()], default=str),
        }
        if particle_diameter_angstrom is not None:
            attributes["particle_diameter_angstrom"] = float(particle_diameter_angstrom)
        differ = len(set(own.values())) > 1
        return cls(path, box, attributes, own if differ else {})  # type: ignore[arg-type]

    def __enter__(self) -> StoreWriter:
        self._file = self._stack.enter_context(new_file(self.path))
        self._file.attrs.update(self._attributes)
        self._file.create_dataset(
            "subtomograms",
            shape=(0, *self.box_shape_zyx),
            maxshape=(None, *self.box_shape_zyx),
            chunks=(1, *self.box_shape_zyx),
            dtype=np.float32,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._n == 0:
            error = InputError(f"no subtomogram was written to {self.path.name}: nothing to store.")
            self._stack.__exit__(InputError, error, None)
            raise error
        if kind is None:
            seal_store(self._file)
        self._stack.__exit__(kind, error, trace)

    def append(
        self,
        volumes: np.ndarray,
        particles: ParticleSet,
        *,
        labels: np.ndarray | None = None,
        raw_mean: np.ndarray | None = None,
        raw_std: np.ndarray | None = None,
        image_name: np.ndarray | None = None,
        row: np.ndarray | None = None,
    ) -> None:
        """Add subtomograms.

        Parameters
        ----------
        volumes : ndarray of shape (n, z, y, x)
        particles : ParticleSet of n particles
            Every call brings the same columns.
        labels : ndarray of int, shape (n,), optional
            Ground truth of simulated data.
        raw_mean, raw_std : ndarray of shape (n,), optional
            Mean and standard deviation of the volumes before they were normalised.
        image_name : ndarray of str, shape (n,), optional
            Files that the volumes came from.
        row : ndarray of int, shape (n,), optional
            Of a shard: the order among the subtomograms of all shards.

        Raises
        ------
        InputError
            If a value is not finite.
        ValueError
            If shapes, numbers or columns do not agree.
        """
        if volumes.shape[1:] != self.box_shape_zyx or len(volumes) != len(particles):
            raise ValueError(
                f"expected {len(particles)} volumes of {self.box_shape_zyx}, got {volumes.shape}"
            )
        _check_values(volumes, particles, raw_mean, raw_std)
        columns = {name: getattr(particles, attr) for name, attr in COLUMNS.items()}
        columns[DIAMETER] = particles.more.get(DIAMETER)
        columns |= {
            f"{FURTHER}{name}": column
            for name, column in particles.more.items()
            if name != DIAMETER and "/" not in name
        }
        columns |= {"labels": labels, "raw_mean": raw_mean, "raw_std": raw_std}
        columns |= {"image_name": image_name, ROW: row, CHECKSUMS: checksums_of(volumes)}
        if self._tilt_ranges_deg:
            names = particles.tomogram_name.tolist()
            columns[TILTS] = np.array([self._tilt_ranges_deg[name] for name in names])
        columns = {name: c for name, c in columns.items() if c is not None}
        if list(self._file) == ["subtomograms"]:
            self._make_columns(columns)
        if set(columns) != set(self._file) - {"subtomograms"}:
            raise ValueError(f"columns changed: {sorted(columns)} after {sorted(self._file)}")
        stop = self._n + len(volumes)
        for name, column in {"subtomograms": volumes, **columns}.items():
            dataset = self._file[name]
            dataset.resize(stop, axis=0)
            dataset[self._n : stop] = _as_text(column) if _is_text(name, column) else column
        self._file.check()
        self._n = stop

    def _make_columns(self, columns: dict[str, np.ndarray]) -> None:
        for name, column in columns.items():
            width = np.shape(column)[1:]
            kind = np.asarray(column).dtype.kind
            whole = name in WHOLE or (name.startswith(FURTHER) and kind in "iub")
            dtype: Any = np.int64 if whole else np.float64
            if _is_text(name, column):
                dtype = h5py.string_dtype()
            self._file.create_dataset(name, (0, *width), dtype, maxshape=(None, *width))


def _check_values(volumes: np.ndarray, particles: ParticleSet, *columns: np.ndarray | None) -> None:
    """Let no NaN and no infinity into a store, and name the particle."""
    good = np.isfinite(np.asarray(volumes, np.float32)).all(axis=(1, 2, 3))
    for column in columns:
        if column is not None:
            good &= np.isfinite(column)
    if good.all():
        return
    row = int(np.argmin(good))
    xyz = particles.center_zyx_px[row, ::-1]
    at = f" at {', '.join(f'{v:g}' for v in xyz)} (x, y, z)" if np.isfinite(xyz).all() else ""
    raise InputError(
        f"{(~good).sum()} subtomograms hold values that are not finite numbers (NaN, infinite or "
        f"too large), the first one{at} in {particles.tomogram_name[row]}; leave them out, or "
        "correct the volume."
    )


def seal_store(file: h5py.File) -> None:
    """Keep checksums of what a store holds beside its volumes, which have a column of them."""
    seal(file, attributes_only=True)
    for name in file:
        if name != "subtomograms":
            seal(file[name])


def _is_text(name: str, column: np.ndarray) -> bool:
    return name in TEXT or (
        name.startswith(FURTHER) and np.asarray(column).dtype.kind not in "fiub"
    )


def _as_text(column: np.ndarray) -> np.ndarray:
    return np.array([str(value) for value in np.asarray(column).tolist()], object)
