"""HDF5 files in which damage is noticed: checksums of ours, since the container has none.

HDF5's own (``fletcher32``) is of the bytes of a chunk: a chunk that is lost or stands for another,
a type or a text that changed pass it.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aitom_disca.errors import InputError

SEAL = "crc32"
_ALWAYS_BYTES = 1 << 26
_LARGEST_SHARE = 100  # of what is packed


def seal(entry: h5py.Group | h5py.Dataset, *, attributes_only: bool = False) -> None:
    """Keep a checksum of a dataset, or of all that a group or file holds, with its attributes.

    Parameters
    ----------
    entry : h5py.Group or h5py.Dataset
    attributes_only : bool
        Of what a group holds, only shapes and types.
    """
    entry.attrs[SEAL] = np.uint32(_checksum(entry, attributes_only))


def as_bytes(text: str) -> np.bytes_:
    """Text of a fixed length, as attribute or dataset.

    HDF5 keeps texts of any length in a heap, and reads some damaged heaps for ever.
    """
    return np.bytes_(text.encode())


def as_text(value: Any) -> str:
    """What `as_bytes` wrote, or an earlier version as text of any length."""
    return value.decode() if isinstance(value, bytes) else str(value)


def check_seal(
    entry: h5py.Group | h5py.Dataset, path: str | Path, *, attributes_only: bool = False
) -> None:
    """Refuse what differs from its checksum; files of others and of earlier versions have none.

    Raises
    ------
    InputError
    """
    _check_sizes(entry, Path(path))
    if SEAL not in entry.attrs or entry.attrs[SEAL] == _checksum(entry, attributes_only):
        return
    where = "" if entry.name == "/" else f" {entry.name}"
    raise InputError(
        f"{Path(path).name} is damaged: what it holds{where} differs from its checksum; make it "
        f"again (if you changed it yourself, remove the attribute {SEAL!r} there)."
    )


def check_chunks(volumes: h5py.Dataset, path: str | Path) -> None:
    """Refuse a dataset that lacks chunks, which would be read as zeros.

    Raises
    ------
    InputError
    """
    if volumes.chunks is None:
        return
    expected = int(
        np.prod([-(-n // c) for n, c in zip(volumes.shape, volumes.chunks, strict=True)])
    )
    found = volumes.id.get_num_chunks()
    if found != expected:
        raise InputError(
            f"{Path(path).name} is damaged or was not written to its end: of {expected} pieces of "
            f"{volumes.name} it holds {found}; make it again."
        )


def _check_sizes(entry: h5py.Group | h5py.Dataset, path: Path) -> None:
    """Refuse data of a size that cannot be in the file, before room is made for them."""
    if isinstance(entry, h5py.Group):
        for name in entry:
            if not entry[name].name.endswith("subtomograms"):  # which are read piece by piece
                _check_sizes(entry[name], path)
    elif entry.nbytes > _ALWAYS_BYTES and entry.nbytes > _LARGEST_SHARE * path.stat().st_size:
        raise InputError(
            f"{path.name} is damaged: it promises {entry.nbytes} bytes of {entry.name}, and has "
            f"{path.stat().st_size} in all; make it again."
        )


def _checksum(entry: h5py.Group | h5py.Dataset, attributes_only: bool) -> int:
    crc = 0
    for name in sorted(entry.attrs):
        if name != SEAL:
            crc = _add(crc, name, entry.attrs[name])
    if isinstance(entry, h5py.Dataset):
        return _add(crc, "", entry[()])
    for name in sorted(entry):
        inner = _layout(entry[name]) if attributes_only else _checksum(entry[name], False)
        crc = zlib.crc32(f"{name} {inner}".encode(), crc)
    return crc


def _layout(entry: h5py.Group | h5py.Dataset) -> str:
    return f"{entry.shape} {entry.dtype}" if isinstance(entry, h5py.Dataset) else "group"


def checksums_of(volumes: np.ndarray) -> np.ndarray:
    """Checksum of each of some volumes (n, z, y, x), as float32; int64, shape (n,)."""
    volumes = np.ascontiguousarray(volumes, "<f4")
    return np.array([zlib.crc32(volume.data.cast("B")) for volume in volumes], np.int64)


def _add(crc: int, name: str, value: Any) -> int:
    array = np.asarray(value)
    crc = zlib.crc32(f"{name} {array.shape} {array.dtype.kind}".encode(), crc)
    if array.dtype.kind in "OUS":
        texts = [t if isinstance(t, bytes) else str(t).encode() for t in array.ravel().tolist()]
        return zlib.crc32(b"\0".join(texts), crc)
    return zlib.crc32(np.ascontiguousarray(array).data.cast("B") if array.size else b"", crc)
