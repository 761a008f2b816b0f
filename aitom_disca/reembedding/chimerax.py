"""A command script that shows a tomogram and what was put back into it in ChimeraX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aitom_disca.curation.cluster_names_in_files import called
from aitom_disca.io.formats.chimerax_script import Script, one_line, quoted, show_tomogram_in
from aitom_disca.particles import TomogramInfo
from aitom_disca.reembedding.embed import SURFACE

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
    script = Script(Path(folder))
    script.add(
        f"# {one_line(tomogram.name)}: averages where their members lie.",
        "# Open it with File > Open, or: chimerax thisfile.cxc. Models are counted from #1, so",
        "# begin with an empty session.",
        "set bgColor white",
    )
    show_tomogram_in(script, tomogram)
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


def _show_labels(script: Script, labels: str | Path, numbers: Sequence[int]) -> None:
    if not numbers:
        return
    model = script.open(labels, "labels")
    script.add(f"volume #{model} hide", "# One surface for each cluster, by its number.")
    for number in numbers:
        script.add(
            f"segmentation surfaces #{model} where {number} color {_colour(number)} smooth true"
        )


def _colour(number: int) -> str:
    from aitom_disca.colours import cluster_colour

    return cluster_colour(number - 1)
