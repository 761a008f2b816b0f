"""What the commands print at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aitom_disca.io import Tomogram
from aitom_disca.number_text import counted
from aitom_disca.runs.run_folder import RunFolder


def print_run(folder: RunFolder) -> None:
    """Print what a run found, how long each stage took, and where the results lie."""
    rows = [*run_rows(folder), *timing_rows(folder), *file_rows(folder)]
    print_table("", rows)


def run_rows(folder: RunFolder) -> list[tuple[str, str]]:
    """Picks, subtomograms and clusters of a run."""
    stages = folder.record["stages"]
    rows = []
    if "pick" in stages:
        apart = stages["pick"].get("set_apart", {})
        note = ", ".join(f"{n} {kind}" for kind, n in apart.items())
        note = f" (set apart: {note})" if note else ""
        rows.append(("picks", f"{stages['pick']['n_picks']}{note}"))
    if "extract" in stages:
        dropped = stages["extract"]["n_dropped_border"]
        note = f" ({dropped} too near to the border)" if dropped else ""
        rows.append(("subtomograms", f"{stages['extract']['n_extracted']}{note}"))
    if "nothing" in stages:
        return [*rows, ("clusters", "none: no particle was found")]
    for row in stages.get("search", {}).get("rounds", ()):
        rows.append(
            (f"round {row['round']}", f"{counted(row['particles'], 'particle')} by the averages")
        )
    mined = {**stages["mine"], **stages.get("refine", {}), **stages.get("search", {})}
    sizes = ", ".join(map(str, mined["sizes"]))
    rows.append(("clusters", f"{mined['n_clusters']} (sizes {sizes})"))
    if mined.get("in_no_cluster"):
        rows.append(("in no cluster", str(mined["in_no_cluster"])))
    if "stability" in mined:
        from aitom_disca.analysis.stability import found_in_words

        stability = mined["stability"]
        rows.append(("stability", found_in_words(stability["found"], stability["runs"])))
    for average in stages.get("average", {}).get("rows", ()):
        rows.append((f"average {average['cluster']}", average_in_words(average)))
    return rows


def average_in_words(row: dict[str, Any]) -> str:
    """A row of averages.csv as a phrase."""
    if row.get("error"):
        return f"none: {row['error']}"
    text = f"{row['resolution']} from {counted(row['members'], 'subtomogram')}"
    if row.get("verdict"):
        text += f", {row['verdict']}"
    if row.get("p_value") is not None:
        text += f" (p = {row['p_value']:.2g}; beside a round density {row['p_round']:.2g})"
    return text


def timing_rows(folder: RunFolder) -> list[tuple[str, str]]:
    """Seconds of every stage, and their sum."""
    seconds = {name: stage["seconds"] for name, stage in folder.record["stages"].items()}
    parts = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    return [("seconds", f"{sum(seconds.values()):.0f} ({parts})")]


def file_rows(folder: RunFolder) -> list[tuple[str, str]]:
    """Where the star file, labels and report lie."""
    files = {
        "star file": folder.star,
        "set apart": folder.junk,
        "labels": folder.labels,
        "averages": folder.averages,
        "embedded": folder.embedded,
        "report": folder.report,
    }
    return [(name, str(path)) for name, path in files.items() if path.exists()]


def print_tomograms(tomograms: Sequence[Tomogram]) -> None:
    """Print size, voxel size, tilt range and defocus of tomograms."""
    table = Table()
    table.add_column("tomogram", overflow="fold")
    for name in (
        "size x, y, z (voxels)",
        "voxel size (A)",
        "tilt range (deg)",
        "defocus (A)",
        "type",
    ):
        table.add_column(name)
    for t in tomograms:
        low, high = t.tilt_range_deg
        size = ", ".join(map(str, t.shape_zyx[::-1]))
        voxel = f"{t.voxel_size_angstrom:g}"
        defocus = "" if t.defocus_angstrom is None else f"{t.defocus_angstrom:.0f}"
        tilts = f"{low:g} to {high:g}"
        table.add_row(escape(t.name), size, voxel, tilts, defocus, str(t.data.dtype))
    Console().print(table)


def print_table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print rows of a name and a value."""
    table = Table(title=title or None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, escape(value))
    Console().print(table)
