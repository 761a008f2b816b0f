"""A command script that shows a tomogram and what was put back into it in ChimeraX."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from aitom_disca.curation.names_in_files import called
from aitom_disca.errors import InputError
from aitom_disca.particles import TomogramInfo
from aitom_disca.reembedding.embed import SURFACE

_PACKED = (".gz", ".bz2")
_HIGHEST, _LINE = 0.95, 0.035  # of the window: first line of the legend, and way to the next


def chimerax_script(
    folder: str | Path,
    tomogram: TomogramInfo,
    numbers: Sequence[int],
    labels: str | Path,
    densities: Mapping[int, str | Path],
    *,
    names: Mapping[int, str] | None = None,
) -> str:
    """Text of a command script (.cxc) to be kept in ``folder``; its paths start there.

    The tomogram is opened as its middle section, if its file is there. A cluster is shown in the
    colour that it has in the report: as the surface of its own density, where it has one, else as
    the surface of its label.

    Parameters
    ----------
    folder : path
    tomogram : TomogramInfo
    numbers : sequence of int
        Clusters to show, from 1.
    labels : path
        Volume of the numbers of clusters.
    densities : mapping of int to path
        Density volume of a cluster.
    names : mapping of int to str, optional
        What clusters are called, by their number: then a legend stands in the picture.
    """
    names = names or {}
    script = _Script(Path(folder))
    script.add(
        f"# {one_line(tomogram.name)}: averages where their members lie.",
        "# Open it with File > Open, or: chimerax thisfile.cxc. Models are counted from #1, so",
        "# begin with an empty session.",
        "set bgColor white",
    )
    _show_tomogram(script, tomogram)
    for number in numbers:
        if number in densities:
            model = script.open(densities[number], called(number, names))
            script.add(
                f"volume #{model} style surface step 1 level {SURFACE:g} color {_colour(number)}"
            )
    _show_labels(script, labels, [number for number in numbers if number not in densities])
    for place, number in enumerate(numbers if names else ()):
        height = max(_HIGHEST - _LINE * place, 0.0)
        script.add(
            f"2dlabels text {quoted(called(number, names))} color {_colour(number)} "
            f"xpos 0.02 ypos {height:.3f} size 18"
        )
    script.add("lighting soft", "view")
    return "\n".join(script.lines) + "\n"


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


class _Script:
    """Lines of a script, and the number of models that it opens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._models = 0
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        self.lines += lines

    def open(self, path: str | Path, name: str) -> int:
        """Open a file; the number of its model."""
        relative = os.path.relpath(Path(path).resolve(), self._folder)
        self.add(f"open {quoted(Path(relative).as_posix())} name {quoted(name)}")
        self._models += 1
        return self._models


def _show_tomogram(script: _Script, tomogram: TomogramInfo) -> None:
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


def _show_labels(script: _Script, labels: str | Path, numbers: Sequence[int]) -> None:
    if not numbers:
        return
    model = script.open(labels, "labels")
    script.add(f"volume #{model} hide", "# One surface for each cluster, by its number.")
    for number in numbers:
        script.add(
            f"segmentation surfaces #{model} where {number} color {_colour(number)} smooth true"
        )


def _colour(number: int) -> str:
    from aitom_disca.report.cards import cluster_colour

    return cluster_colour(number - 1)
