"""The command that looks inputs over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.given import chosen_diameter_angstrom, open_given
from aitom_disca.errors import InputError

if TYPE_CHECKING:
    from aitom_disca.doctor import Check

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    tomograms: Annotated[
        list[Path] | None, typer.Argument(help="Tomograms, as for `run`; none for the machine.")
    ] = None,
    picks: Annotated[
        Path | None, typer.Option(help="Particle file of any format of `convert`.")
    ] = None,
    file_pixel_angstrom: o.FilePixel = None,
    tomogram_name: o.TomogramName = None,
    store: Annotated[Path | None, typer.Option(help="HDF5 store of subtomograms.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the run is to write.")] = Path(),
    particle_diameter_angstrom: o.Diameter = None,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the findings to this file as well.")
    ] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Look inputs and machine over before a run; say what is wrong and what to do.

    Example: aitom-disca doctor tomogram.mrc -d 250 --dark-protein
    """
    from aitom_disca.doctor import examine
    from aitom_disca.io import write_text
    from aitom_disca.io.outputs import refuse_existing

    refuse_existing([json_file] if json_file else [], overwrite)
    opened = []
    if tomograms:
        opened = open_given(
            tomograms, voxel_size_angstrom, tilt_range, tilt_file, zarr_level, dark_protein
        )
    elif picks is not None:
        raise InputError("picks are looked at beside their tomograms; give these too.")
    diameter = particle_diameter_angstrom or 0.0
    if opened:
        diameter = chosen_diameter_angstrom(particle_diameter_angstrom, opened)
    rows = examine(
        opened,
        diameter,
        picks=picks,
        file_pixel_angstrom=file_pixel_angstrom,
        tomogram_name=tomogram_name,
        store=store,
        out=out,
        is_guess=particle_diameter_angstrom is None,
    )
    if json_file is not None:
        write_text(json_file, json.dumps([{"of": of, **vars(c)} for of, c in rows], indent=1))
    _print(rows)
    if any(check.state == "error" for _, check in rows):
        raise typer.Exit(2)


def _print(rows: list[tuple[str, Check]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("of", "check", "", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    last = None
    for of, check in rows:
        colour = _COLOURS[check.state]
        state = f"[{colour}]{check.state}[/{colour}]"
        cells = ["" if of == last else of, check.name, check.found, check.remedy]
        name, what, found, remedy = map(escape, cells)
        table.add_row(name, what, state, found, remedy)
        last = of
    console = Console()
    console.width = max(console.width, 120)
    console.print(table)
