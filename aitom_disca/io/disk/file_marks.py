"""Marks of files, by which a file that has changed is known again: size, time of change, a hash.

The hash is of a whole file or folder up to 16 MB. Of a larger file it is of its ends and of blocks
spread evenly between them, of a larger folder of the beginnings of files spread evenly over it, so
that a tomogram of many GB costs no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError

_WHOLE_BYTES = 1 << 24
_BLOCK_BYTES = 1 << 16
_N_BLOCKS = 64
_N_FILES = 256  # of a folder, whose contents are looked at


def mark_of(path: str | Path) -> dict[str, Any] | None:
    """Mark of a file, or of a folder such as a Zarr store; None where nothing is.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        ``bytes``, ``changed`` (time, UTC) and ``sha256``; of a folder those of all files below.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _of_folder(path)
        return _of_file(path) if path.exists() else None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def marks_of(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Mark of every path, by its absolute name."""
    absolute = dict.fromkeys(str(Path(path).resolve()) for path in paths)
    return {path: mark_of(path) for path in absolute}


def difference(was: dict[str, Any] | None, now: dict[str, Any] | None) -> str | None:
    """In what a file differs from its mark; None where its contents are the same.

    The time alone is no difference: a file that was copied or touched is the same.
    """
    if was is None or now is None:
        return None if was == now else ("it is there now" if was is None else "it is gone")
    if was["bytes"] != now["bytes"]:
        return f"{was['bytes']} bytes then, {now['bytes']} now"
    if was["sha256"] != now["sha256"]:
        return f"other contents, changed {now['changed']}, at that time {was['changed']}"
    return None


def _of_file(path: Path) -> dict[str, Any]:
    status = path.stat()
    digest = hashlib.sha256()
    _add_file(digest, path, status.st_size)
    return _mark(status.st_size, status.st_mtime, digest)


def _of_folder(path: Path) -> dict[str, Any]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    status = [file.stat() for file in files]
    digest = hashlib.sha256()
    for file, one in zip(files, status, strict=True):
        digest.update(f"{file.relative_to(path).as_posix()} {one.st_size}\n".encode())
    size = sum(one.st_size for one in status)
    if size <= _WHOLE_BYTES:
        for file in files:
            digest.update(file.read_bytes())
    else:  # the beginnings of some, spread evenly
        for i in np.linspace(0, len(files) - 1, min(_N_FILES, len(files))).astype(int):
            with files[i].open("rb") as start:
                digest.update(start.read(_BLOCK_BYTES))
    newest = max((one.st_mtime for one in status), default=path.stat().st_mtime)
    return _mark(size, newest, digest)


def _add_file(digest: Any, path: Path, size: int) -> None:
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            while block := file.read(1 << 20):
                digest.update(block)
            return
        for start in np.linspace(0, size - _BLOCK_BYTES, _N_BLOCKS).astype(int):
            file.seek(int(start))
            digest.update(file.read(_BLOCK_BYTES))


def _mark(size: int, changed: float, digest: Any) -> dict[str, Any]:
    time = datetime.fromtimestamp(changed, UTC).isoformat(timespec="milliseconds")
    return {"bytes": size, "changed": time, "sha256": digest.hexdigest()}
