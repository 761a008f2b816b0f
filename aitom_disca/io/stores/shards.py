"""A store in shards: an HDF5 file of subtomograms for every tomogram, and an index over them.

The index is a store like any other, in which the volumes are a virtual dataset: HDF5 reads them
from the shards, which lie in a folder beside it and move together with it. Columns are copied.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import common_tilt_range
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.file_names import file_parts
from aitom_disca.io.stores.read_store import open_store
from aitom_disca.io.stores.store_layout import ROW
from aitom_disca.io.stores.write_store import existing_store, seal_store

_VOLUMES, _TILTS = "subtomograms", "tilt_range_deg"
_ATTRIBUTES = (
    "format_version", "voxel_size_angstrom", "tilt_range", "box_px", "axis_order", "tilt_axis",
    "beam_axis", "normalisation", "source", "tomograms", "particle_diameter_angstrom",
)  # fmt: skip
_SAME = ("voxel_size_angstrom", "normalisation", "particle_diameter_angstrom")


def shard_folder(path: str | Path) -> Path:
    """The folder of a store's shards: ``subtomograms_shards`` beside ``subtomograms.h5``."""
    path = Path(path)
    return path.with_name(f"{path.stem}_shards")


def shard_files(path: str | Path, names: Iterable[str]) -> dict[str, Path]:
    """The shards of a store by the names of their tomograms."""
    folder = shard_folder(path)
    return {name: folder / f"{part}.h5" for name, part in file_parts(names).items()}


def write_index(path: str | Path, shards: Sequence[Path], *, overwrite: bool = False) -> int:
    """Make shards one store; return how many subtomograms it has.

    Parameters
    ----------
    path : path
        The store to write.
    shards : sequence of Path
        In the order of their tomograms. Rows of the store follow the column ``row`` of all.
    overwrite : bool
        Whether an existing store may be replaced.

    Raises
    ------
    InputError
        If the store exists and may not be replaced, or a shard is no store or of other boxes.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise existing_store(path)
    parts = [_Shard(shard) for shard in shards]
    for shard, part in zip(shards, parts, strict=True):
        _check_alike(shard, part, shards[0], parts[0])
    own = {k: np.concatenate([part.columns[k] for part in parts]) for k in parts[0].columns}
    order = np.argsort(own.pop(ROW), kind="stable")
    counts = [len(part.columns[ROW]) for part in parts]
    with replacing(path) as temporary, h5py.File(temporary, "w") as index:
        index.attrs.update(_attributes(parts))
        layout = _layout(path, shards, counts, order, parts[0].box)
        index.create_virtual_dataset(_VOLUMES, layout, fillvalue=np.nan)
        tilts = np.array([part.attributes["tilt_range"] for part in parts], float)
        if len(np.unique(tilts, axis=0)) > 1:
            own[_TILTS] = np.repeat(tilts, counts, axis=0)
        for name, column in own.items():
            dtype = h5py.string_dtype() if column.dtype.kind == "O" else column.dtype
            index.create_dataset(name, data=column[order], dtype=dtype)
        seal_store(index)
    return len(order)


def remove_index(path: str | Path) -> None:
    """Remove an index whose shards are about to be replaced; a store in one file stays."""
    path = Path(path)
    if not path.is_file() or not h5py.is_hdf5(path):
        return
    with h5py.File(path) as file:
        is_index = _VOLUMES in file and file[_VOLUMES].is_virtual
    if is_index:
        path.unlink()


class _Shard:
    """What a shard holds beside its volumes."""

    def __init__(self, path: Path) -> None:
        with open_store(path):  # whether it is one
            pass
        with h5py.File(path) as file:
            self.box = file[_VOLUMES].shape[1:]
            self.attributes: dict[str, Any] = {
                name: file.attrs[name] for name in _ATTRIBUTES if name in file.attrs
            }
            self.columns = {name: file[name][:] for name in file if name != _VOLUMES}
        if ROW not in self.columns:
            raise InputError(f"{path.name} is a store, but no shard of one; give it alone.")


def _check_alike(path: Path, shard: _Shard, first_path: Path, first: _Shard) -> None:
    same = all(shard.attributes.get(k) == first.attributes.get(k) for k in _SAME)
    if not same or shard.box != first.box or {*shard.columns} != {*first.columns}:
        raise InputError(
            f"the shards {first_path.name} and {path.name} were cut with different settings; "
            "extract the subtomograms again, all with the same."
        )


def _attributes(parts: Sequence[_Shard]) -> dict[str, Any]:
    tilts = np.array([part.attributes["tilt_range"] for part in parts], float)
    tomograms = [one for part in parts for one in json.loads(part.attributes["tomograms"])]
    return parts[0].attributes | {
        "tilt_range": common_tilt_range(tilts),
        "tomograms": json.dumps(tomograms),
        "source": ", ".join(str(part.attributes["source"]) for part in parts),
    }


def _layout(
    path: Path,
    shards: Sequence[Path],
    counts: Sequence[int],
    order: np.ndarray,
    box: tuple[int, ...],
) -> h5py.VirtualLayout:
    """Where each row of the index is: stretches that follow one another in a shard are one."""
    layout = h5py.VirtualLayout((len(order), *box), np.float32)
    starts = np.concatenate([[0], np.cumsum(counts)])
    shard_of = np.searchsorted(starts, order, side="right") - 1
    breaks = np.flatnonzero((np.diff(order) != 1) | (np.diff(shard_of) != 0)) + 1
    edges = [0, *breaks.tolist(), len(order)]
    for first, stop in pairwise(edges):
        k = shard_of[first]
        name = os.path.relpath(shards[k], path.parent).replace("%", "%%")
        source = h5py.VirtualSource(name, _VOLUMES, (counts[k], *box), np.float32)
        begin = order[first] - starts[k]
        layout[first:stop] = source[begin : begin + stop - first]
    return layout
