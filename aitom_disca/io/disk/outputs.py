"""What is there already stays: all files are looked for before the first of them is written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aitom_disca.errors import InputError


def refuse_existing(paths: Iterable[str | Path], overwrite: bool) -> None:
    """Stop before anything is written, if something is there that would be replaced or removed.

    Parameters
    ----------
    paths : iterable of path
        All that a command writes or removes.
    overwrite : bool
        Whether the user said that they may go.

    Raises
    ------
    InputError
        With the first of them that is there.
    """
    there = next((path for path in paths if os.path.lexists(path)), None)
    if there is not None and not overwrite:
        raise InputError(f"{there} is there already; choose another name, or add --overwrite.")


@contextmanager
def none_if_failed(paths: Iterable[str | Path]) -> Iterator[None]:
    """Remove what a block has written of these, and the folders made for it, where it fails.

    What was there before it stays.
    """
    new = [Path(path) for path in paths if not os.path.lexists(path)]
    above = {folder for path in new for folder in path.parents if not folder.exists()}
    try:
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):  # of the failure itself there is more to say
                path.unlink(missing_ok=True)
        for folder in sorted(above, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise


@contextmanager
def replacing_files(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder, whose files take their places in ``folder`` when the block ends.

    Where it fails nothing in ``folder`` has changed. Each file must be on the disk by then, as
    those of `atomic.replacing` are.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            place = folder / path.relative_to(temporary)
            if path.is_dir():
                place.mkdir(exist_ok=True)
            else:
                os.replace(path, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
