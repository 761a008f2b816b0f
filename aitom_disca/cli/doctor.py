"""The command that looks inputs over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.given_options import chosen_diameter_angstrom, open_given

if TYPE_CHECKING:
    from aitom_disca.doctor import Check

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Tomograms as for `run`, particle files of any format of `convert`, and stores "
            "(.h5), in any order; none for the machine alone."
        ),
    ] = None,
    picks: Annotated[
        list[Path] | None,
        typer.Option(help="A particle file, whatever its name and content say (repeatable)."),
    ] = None,
    file_pixel_angstrom: o.FilePixel = None,
    tomogram_name: o.TomogramName = None,
    store: Annotated[
        list[Path] | None, typer.Option(help="A store, whatever its name says (repeatable).")
    ] = None,
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

    Example: aitom-disca doctor tomogram.mrc picks.star -d 250 --dark-protein
    """
    from aitom_disca.doctor import examine
    from aitom_disca.doctor.inputs import Inputs
    from aitom_disca.io import write_text
    from aitom_disca.io.disk.outputs import refuse_existing

    refuse_existing([json_file] if json_file else [], overwrite)
    given = Inputs.of(inputs or [])
    opened = []
    if given.tomograms:
        opened = open_given(
            given.tomograms, voxel_size_angstrom, tilt_range, tilt_file, zarr_level, dark_protein
        )
    diameter = particle_diameter_angstrom or 0.0
    if opened:
        diameter = chosen_diameter_angstrom(particle_diameter_angstrom, opened)
    rows = examine(
        opened,
        diameter,
        picks=[*given.picks, *(picks or [])],
        file_pixel_angstrom=file_pixel_angstrom,
        tomogram_name=tomogram_name,
        stores=[*given.stores, *(store or [])],
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
    if not console.is_terminal:  # whose width is known
        console.width = max(console.width, 120)
    console.print(table)
