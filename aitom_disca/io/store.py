"""The subtomogram store: one HDF5 file, one chunk per volume, streamed both ways.

Datasets, one row per subtomogram:

========================== ================= ==================================================
``subtomograms``           (N, z, y, x)      float32, protein bright
``tomogram_name``          (N,)              text
``center_zyx_px``          (N, 3)            voxels of the tomogram, from 0; NaN where unknown
``score``                  (N,)              picking score
``diameter_angstrom``      (N,)              size at which the particle was found, if known
``euler_zyz_deg``          (N, 3)            RELION's rot, tilt, psi, if known
``coordinates_xyz_angstrom`` (N, 3)          from the tomogram's centre, if only that is known
``box_center_zyx_px``      (N, 3)            where boxes were cut, if not at the nearest voxel
``cluster``, ``posterior`` (N,)              clusters from 0, -1 for none, if the source had any
``column:NAME``            (N,)              further columns of the file they came from
``labels``                 (N,)              ground truth of simulated data
``diameter_angstrom``      (N,)              of the particle, as it was picked
``raw_mean``, ``raw_std``  (N,)              what normalisation took away: raw = std volume + mean
``image_name``             (N,)              text: the volume's file, where it came from one
``tilt_range_deg``         (N, 2)            smallest and largest measured tilt, where they differ
``row``                    (N,)              of a shard: order among the subtomograms of all shards
``crc32``                  (N,)              checksums of the volumes
========================== ================= ==================================================

Only ``subtomograms`` and the attribute ``voxel_size_angstrom`` are needed to read a file. The
attribute ``tilt_range`` is what all subtomograms measured; ``tomograms`` holds, as JSON, what is
known of every tomogram: its tilt range, all its tilts where they are known, defocus and so on.
A large store may be an index of shards, see `aitom_disca.io.shards`.
Columns and attributes have their checksums in attributes ``crc32``, see `io.checksums`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges, common_tilt_range
from aitom_disca.io.checksums import check_chunks, check_seal, checksums_of, seal
from aitom_disca.io.hdf5 import new_file
from aitom_disca.io.hdf5_heaps import check_heaps
from aitom_disca.io.numbers_in_files import to_probabilities
from aitom_disca.io.reading import reading
from aitom_disca.io.tilt_range import DEFAULT_TILT_RANGE_DEG
from aitom_disca.particles import ParticleSet, TomogramInfo

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
_LONGEST_READ = 64  # volumes in one request: bounds the memory of a read beyond its result
_FILES_OPEN_ELSE = 256  # at most, beside the shards of a store
_TEXT = ("tomogram_name", "image_name")
_WHAT = "a store of subtomograms"
_TODO = "the file is damaged, extract the subtomograms again"
_COLUMNS = {  # dataset: ParticleSet's name
    "tomogram_name": "tomogram_name",
    "center_zyx_px": "center_zyx_px",
    "score": "score",
    "euler_zyz_deg": "euler_zyz_deg",
    "coordinates_xyz_angstrom": "centered_xyz_angstrom",
    "box_center_zyx_px": "box_center_zyx_px",
    "cluster": "cluster",
    "posterior": "posterior",
}
ROW = "row"
_CHECKSUMS = "crc32"
_WHOLE = ("labels", "cluster", ROW, _CHECKSUMS)
_FURTHER = "column:"

_DIAMETER = "diameter_angstrom"  # a further column of the particles
_TILTS = "tilt_range_deg"


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
        columns = {name: getattr(particles, attr) for name, attr in _COLUMNS.items()}
        columns[_DIAMETER] = particles.more.get(_DIAMETER)
        columns |= {
            f"{_FURTHER}{name}": column
            for name, column in particles.more.items()
            if name != _DIAMETER and "/" not in name
        }
        columns |= {"labels": labels, "raw_mean": raw_mean, "raw_std": raw_std}
        columns |= {"image_name": image_name, ROW: row, _CHECKSUMS: checksums_of(volumes)}
        if self._tilt_ranges_deg:
            names = particles.tomogram_name.tolist()
            columns[_TILTS] = np.array([self._tilt_ranges_deg[name] for name in names])
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
            whole = name in _WHOLE or (name.startswith(_FURTHER) and kind in "iub")
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
    return name in _TEXT or (
        name.startswith(_FURTHER) and np.asarray(column).dtype.kind not in "fiub"
    )


def _as_text(column: np.ndarray) -> np.ndarray:
    return np.array([str(value) for value in np.asarray(column).tolist()], object)


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
        _check_shards(file["subtomograms"], self.path)
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
            with reading(self.path, _WHAT, f"subtomograms {first} to {last}: {_TODO}"):
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
        columns = {attr: self._column(name) for name, attr in _COLUMNS.items()}
        if columns["posterior"] is not None:
            columns["posterior"] = to_probabilities(columns["posterior"], self.path, "posterior")
        names = columns.pop("tomogram_name")
        names = np.full(n, self.path.stem) if names is None else names.astype(str)
        center = columns.pop("center_zyx_px")
        center = np.full((n, 3), np.nan) if center is None else center
        tomograms = self._tomograms(names)
        diameter = self._column(_DIAMETER)
        more = {} if diameter is None else {_DIAMETER: diameter}
        for name in filter(lambda name: name.startswith(_FURTHER), self._file):
            column = self._column(name)
            assert column is not None  # noqa: S101  it is in the file
            more[name.removeprefix(_FURTHER)] = (
                column.astype(str) if column.dtype.kind == "O" else column
            )
        return ParticleSet(names, center, **columns, tomograms=tomograms, more=more)  # type: ignore[arg-type]

    @cached_property
    def tilt_range_deg(self) -> TiltRanges:
        """Measured tilts: of all subtomograms, or (N, 2), of each, where they differ."""
        own = self._column(_TILTS)
        if own is None:
            return self.common_tilt_range_deg
        if own.shape != (len(self), 2) or not ((-90 <= own) & (own <= 90)).all():
            raise InputError(
                f"{self.path.name} holds tilt ranges that cannot be (dataset {_TILTS}); the file "
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
        with reading(self.path, _WHAT, _TODO):
            dataset = self._file[name]
            if len(dataset) != len(self):
                raise InputError(
                    f"{self.path.name} holds {len(self)} subtomograms but {len(dataset)} rows of "
                    f"{name}; {_TODO}."
                )
            check_seal(dataset, self.path)
            return (dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset)[:]

    def _tomograms(self, names: np.ndarray) -> dict[str, TomogramInfo]:
        with reading(self.path, _WHAT, f"attribute tomograms: {_TODO}"):
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
        return self._column(_CHECKSUMS)

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
        with reading(path, _WHAT, _TODO):
            check_heaps(file, path)
            _check_layout(file, path)
            return SubtomogramStore(path, file)
    except Exception:
        file.close()
        raise


def _open_file(path: Path) -> h5py.File:
    if not path.is_file():
        raise InputError(f"the subtomogram store {path} does not exist; check the path.")
    with reading(path, _WHAT, "expected a readable HDF5 file, as the extract command writes it"):
        return h5py.File(path, "r")


def _check_layout(file: h5py.File, path: Path) -> None:
    volumes = file["subtomograms"] if "subtomograms" in file else None  # get() hides damage
    if not isinstance(volumes, h5py.Dataset):
        found = ", ".join(file) or "nothing"
        raise InputError(
            f"{path.name} holds no dataset 'subtomograms' (found: {found}); rename the dataset of "
            "the volumes, or extract the subtomograms again."
        )
    if volumes.ndim != 4:
        raise InputError(
            f"'subtomograms' in {path.name} has shape {volumes.shape}; expected four axes "
            "(number, z, y, x): reshape it."
        )
    if 0 in volumes.shape:
        raise InputError(f"{path.name} holds no subtomograms; pick with a lower threshold.")
    _check_shards(volumes, path)
    check_chunks(volumes, path)
    check_seal(file, path, attributes_only=True)
    size = float(file.attrs.get("voxel_size_angstrom", 0))
    if not (np.isfinite(size) and size > 0):
        raise InputError(
            f"{path.name} holds no voxel size; set the file attribute 'voxel_size_angstrom' "
            "(in Angstrom)."
        )


def _check_shards(volumes: h5py.Dataset, path: Path) -> None:
    """Refuse an index of which shards cannot be read: HDF5 takes them for empty."""
    shards = {s.file_name for s in volumes.virtual_sources()} if volumes.is_virtual else ()
    for shard in sorted(shards):
        if not (path.parent / shard.replace("%%", "%")).is_file():
            raise InputError(
                f"{path.name} is an index of shards, of which {shard} is missing; move the folder "
                "of shards together with it, or extract the subtomograms again."
            )
    _allow_open_files(len(shards), path)


def _allow_open_files(n: int, path: Path) -> None:
    """Let this process hold so many files open, and some more."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + _FILES_OPEN_ELSE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InputError(
            f"{path.name} has {n} shards, but only {hard} files may be open at once; raise that "
            f"limit (ulimit -n {wanted}), or extract fewer tomograms into one store."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
