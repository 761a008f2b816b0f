"""Whether there is space on the disk for what will be written, said before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.progress import say


def need_space(folder: str | Path, n_bytes: float, what: str) -> None:
    """Say how much room is needed and is there; refuse what does not fit.

    Parameters
    ----------
    folder : path
        Into which is written; it need not be there yet.
    n_bytes : float
        What will be written.
    what : str
        With which the sentence begins: "subtomograms.h5", "the maps of 3 tomograms".

    Raises
    ------
    InputError
        If there is less room.
    """
    folder = Path(folder).absolute()
    free = free_bytes(folder)
    if free is None:
        return
    if n_bytes > free:
        raise InputError(
            f"{what} would take {in_words(n_bytes)}, but only {in_words(free)} are free in "
            f"{folder}; free some, or choose a folder elsewhere."
        )
    needed = f"{in_words(n_bytes)} to be written, " if n_bytes else ""
    say(f"{what}: {needed}{in_words(free)} are free in {folder}")


def free_bytes(folder: Path) -> int | None:
    """What a user may still write into a folder, or where it will be made; None if unknown."""
    there = next(
        (one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir()), None
    )
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None


def in_words(n_bytes: float) -> str:
    """A number of bytes as 640 kB, 12.5 MB or 3.1 GB."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}" if n_bytes < 1e12 else f"{n_bytes / 1e9:.0f} GB"
    return f"{n_bytes / 1e3:.3g} kB"
