"""Command scripts of ChimeraX: the files that they open, and what may stand in them."""

from __future__ import annotations

import os
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.particles import TomogramInfo

_PACKED = (".gz", ".bz2")


def one_line(text: object) -> str:
    """Text for a comment: what ends a line would make a command of the rest."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def quoted(path: str) -> str:
    """A path between quotes.

    Raises
    ------
    InputError
        If there is a quote, a backslash or what ends a line in it, of which a script makes
        something else.
    """
    if not can_be_quoted(path):
        raise InputError(
            f"a script cannot open {one_line(path)}, which has a quote, a backslash or a line end "
            "in its name; choose another name."
        )
    return f'"{path}"'


def can_be_quoted(path: str | Path) -> bool:
    """Whether `quoted` takes a path."""
    return str(path).isprintable() and not set(str(path)) & {'"', "\\"}


class Script:
    """Lines of a script, and the number of models that it opens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._models = 0
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        """Lines as they stand."""
        self.lines += lines

    def open(self, path: str | Path, name: str) -> int:
        """Open a file; the number of its model."""
        relative = os.path.relpath(Path(path).resolve(), self._folder)
        self.add(f"open {quoted(Path(relative).as_posix())} name {quoted(name)}")
        self._models += 1
        return self._models


def show_tomogram_in(script: Script, tomogram: TomogramInfo) -> None:
    """Its middle section; a comment where its file is not there, or cannot be opened."""
    if tomogram.path is None or not tomogram.path.is_file() or tomogram.shape_zyx is None:
        script.add("# The tomogram's own file was not found; open it here to see both.")
        return
    name = one_line(tomogram.path.name)
    if tomogram.path.suffix in _PACKED:  # an error would end the script
        script.add(f"# ChimeraX opens no packed maps; unpack {name} to see both.")
        return
    if not can_be_quoted(tomogram.path):
        script.add(f"# No script can open {name}, for the signs in its name; open it here.")
        return
    nz, ny, nx = tomogram.shape_zyx
    model = script.open(tomogram.path, "tomogram")
    script.add(
        "# Its middle section; to move through it, use the slider of the Volume Viewer.",
        f"volume #{model} style image step 1 region 0,0,{nz // 2},{nx - 1},{ny - 1},{nz // 2}",
    )
