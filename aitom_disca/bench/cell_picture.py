"""A picture of a scored run: the truth and what was found in one slice, averages and templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from aitom_disca.averaging.compare_maps import Comparison
from aitom_disca.bench.cell_scores import JUNK
from aitom_disca.bench.cell_truth import WANTED, known_cells
from aitom_disca.colours import cluster_colour
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, read_labels_csv
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.pipeline.report import tomograms_of
from aitom_disca.report.cell_figure import AverageView, draw_cell
from aitom_disca.report.cell_of_run import cropped, junk_of_run, kinds_in, largest_diameter_angstrom
from aitom_disca.report.cell_slice import Kind, slice_with_most
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.simulation.cell import CellTruth

_NO_KIND_COLOUR = "#83868c"  # of clusters that hold junk alone
_SHOWN_DIAMETERS = 1.5  # of a box
_DPI = 100


def write_cell_picture(
    run: str | Path,
    truth: CellTruth,
    clusters: Sequence[Mapping[str, Any]],
    compared: Mapping[int, Comparison],
) -> Path:
    """Write ``cell.png`` into the folder of a run: the slice of its first tomogram with most
    true particles, with these and with what was found, and averages beside their templates.

    Kinds have colours; a cluster has that of the kind that it holds most.

    Parameters
    ----------
    run : path
    truth : CellTruth
    clusters : sequence of dict
        Of `CellScore`.
    compared : mapping of int to Comparison
        As `compare_with_templates` gives them.

    Raises
    ------
    InputError
        If no tomogram of the run can be read.
    """
    folder = RunFolder.open(run)
    labels, _ = read_labels_csv(folder.labels)
    with open_store(folder.store) as store:
        particles, voxel = store.particles(), store.voxel_size_angstrom
    settings = folder.record["settings"]
    tomograms, notes = tomograms_of(folder.store, settings.get("dark_protein", False))
    if not tomograms:
        raise InputError(" ".join(notes) or "the run does not say where its tomograms lie.")
    first = tomograms[0]
    known = known_cells(truth, particles.tomograms, {}).truth
    names = sorted(np.unique(known.kind[np.isin(known.role, WANTED)]).tolist())
    colours = {name: cluster_colour(k) for k, name in enumerate(names)}
    true = _true_kinds(known, first.name, colours)
    diameter = largest_diameter_angstrom(folder)
    junk = junk_of_run(folder, particles.tomograms)
    size = first.voxel_size_angstrom
    found = kinds_in(first.name, size, particles, labels, junk, diameter)
    left = slice_with_most(first, true, diameter)
    right = left.with_kinds(_coloured(found, clusters, colours), "found")
    left = replace(left, title=f"truth: {left.title}")
    shown_px = round(_SHOWN_DIAMETERS * diameter / voxel)
    views = _views(folder, clusters, compared, colours, shown_px, voxel)
    path = folder.path / "cell.png"
    with replacing(path) as temporary:
        temporary.write_bytes(draw_cell([left, right], views, dpi=_DPI))
    return path


def _true_kinds(truth: CellTruth, tomogram: str, colours: Mapping[str, str]) -> list[Kind]:
    """Circles as large as the particles; gold and fillers with markers."""
    here = truth.tomogram == tomogram
    kinds = []
    for name, colour in colours.items():
        own = here & (truth.kind == name) & np.isin(truth.role, WANTED)
        kinds.append(Kind(name, truth.center_zyx_px[own], colour, 2 * truth.radius_px[own]))
    for role in ("gold", "filler"):
        kinds.append(Kind(role, truth.center_zyx_px[here & (truth.role == role)]))
    return kinds


def _coloured(
    found: Sequence[Kind], clusters: Sequence[Mapping[str, Any]], colours: Mapping[str, str]
) -> list[Kind]:
    """Clusters in the colour of the kind that they hold most, dashed where it has one already."""
    holds = {f"cluster {row['cluster']}": _most_held(row) for row in clusters}
    taken: set[str] = set()
    kinds = []
    for kind in found:
        if kind.colour is not None:
            held = holds.get(kind.name, JUNK)
            colour = colours.get(held, _NO_KIND_COLOUR)
            name = f"{kind.name.removeprefix('cluster ')}: {held}"
            kind = replace(kind, name=name, colour=colour, dashed=colour in taken)
            taken.add(colour)
        kinds.append(kind)
    return kinds


def _most_held(row: Mapping[str, Any]) -> str:
    """What a cluster holds most: a kind, gold, nothing, ..."""
    return max(row["holds"], key=row["holds"].get, default=JUNK)


def _views(
    folder: RunFolder,
    clusters: Sequence[Mapping[str, Any]],
    compared: Mapping[int, Comparison],
    colours: Mapping[str, str],
    shown_px: int,
    voxel_size_angstrom: float,
) -> list[AverageView]:
    """Averages that have a template, with their correlation."""
    views = []
    for row in clusters:
        number = row["cluster"]
        if number not in compared or _most_held(row) != row["kind"]:
            continue
        path = folder.averages / f"cluster_{number:02d}" / "filtered.mrc"
        if not path.is_file():
            path = path.with_name("average.mrc")
        one = compared[number]
        views.append(
            AverageView(
                f"{number}: {row['kind']}",
                colours[row["kind"]],
                cropped(mrcfile.read(path), shown_px),
                cropped(one.aligned, shown_px),
                f"{row['members']} particles, correlation {one.correlation:.2f}",
                voxel_size_angstrom,
            )
        )
    return views
