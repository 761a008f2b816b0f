"""Write a file under a temporary name and rename it when it is whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aitom_disca.errors import InputError, is_of_disk


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    A process killed inside the block leaves the old file, if any, as it was.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    OSError
        With the path as its ``filename``, if the disk is full or fails.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        if is_of_disk(error):
            raise _naming(path, error) from error
        raise InputError(
            f"cannot write {path.name} into {path.parent} ({error.strerror}); "
            "choose a folder that you may write to."
        ) from error
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if is_of_disk(error) and error.filename in (None, str(temporary)):
            raise _naming(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _naming(path: Path, error: OSError) -> OSError:
    """The error with the name that the user knows."""
    assert error.errno is not None  # noqa: S101  that of a disk
    return OSError(error.errno, os.strerror(error.errno), str(path))


def _to_disk(path: Path) -> None:
    """Wait until a file lies on the disk, so that its new name never stands for an empty one."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_unfinished(path: str | Path) -> None:
    """Remove the temporary files that processes killed inside `replacing` left for ``path``.

    The name may hold wildcards.
    """
    path = Path(path)
    for temporary in path.parent.glob(f".{path.stem}.{'?' * 8}.part{path.suffix}"):
        temporary.unlink(missing_ok=True)
