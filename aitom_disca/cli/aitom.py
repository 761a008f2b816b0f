"""The commands that bring AITom's files here, and ours there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.errors import InputError
from aitom_disca.number_text import counted
from aitom_disca.progress import say

_STORES = (".h5", ".hdf5")


class Kind(StrEnum):
    """AITom's files of particles."""

    peaks = "peaks"
    subvolumes = "subvolumes"
    points = "3dmod"
    table = "table"


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]


def aitom_import(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON or pickle of AITom: peaks, subvolumes, points for 3dmod, or an alignment "
            "table. Pickles are read without running anything in them."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Store to write (.h5), of subvolumes; or table (.csv)."),
    ],
    voxel_size_angstrom: Annotated[
        float | None, typer.Option(help="Voxel size, which no file of AITom says.", min=0)
    ] = None,
    tilt_range: Annotated[
        tuple[float, float],
        typer.Option(
            help="Smallest and largest measured tilt in degrees.",
            metavar="MIN MAX",
            show_default="-60 60",
        ),
    ] = (-60.0, 60.0),
    tomogram_name: Annotated[
        str | None, typer.Option(help="Of the tomogram; by default the file's name.")
    ] = None,
    dark_protein: o.DarkProtein = None,
    poses: Annotated[
        Path | None, typer.Option(help="Alignment table of these subvolumes, for a store.")
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="Subvolumes or peaks that an alignment table belongs to, for positions."),
    ] = None,
    box_px: Annotated[
        int | None, typer.Option(help="Edge of the boxes, where they are peaks.", min=1)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Bring AITom's subvolumes into a store, or its particles into a table.

    Example: aitom-disca aitom-import subvolumes.pickle --out store.h5 --voxel-size-angstrom 13.6
    """
    from aitom_disca import bridge
    from aitom_disca.io.disk.outputs import refuse_existing
    from aitom_disca.io.formats import Known, get_format
    from aitom_disca.io.tomograms.tilt_range import check_given_range

    tilt_range = check_given_range(tilt_range)
    refuse_existing([out], overwrite)
    if out.suffix.lower() in _STORES:
        if not voxel_size_angstrom:
            raise InputError("a store needs the voxel size; give it with --voxel-size-angstrom.")
        n = bridge.import_store(
            file,
            out,
            voxel_size_angstrom=voxel_size_angstrom,
            tilt_range_deg=tilt_range,
            tomogram_name=tomogram_name,
            dark_protein=bool(dark_protein),
            table=poses,
            overwrite=overwrite,
        )
        say(f"{counted(n, 'subtomogram')} written to {out}")
        return
    if out.suffix.lower() != ".csv":
        raise InputError(f"AITom's files become .h5 or .csv; got --out {out}.")
    particles = bridge.read_particles(
        file,
        tomogram_name=tomogram_name,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range,
        boxes=boxes,
        box_px=box_px,
    )
    if not particles.has_positions:
        raise InputError(
            f"{file.name} holds poses without positions; give the subvolumes or peaks that they "
            "belong to with --boxes."
        )
    get_format("csv").write(out, particles, Known())  # type: ignore[misc]
    say(f"{counted(len(particles), 'particle')} written to {out}")


def aitom_export(
    source: Annotated[
        Path, typer.Argument(help="Store (.h5), or a particle file in any format that is read.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write: .json, or another for a pickle.")
    ],
    to: Annotated[Kind, typer.Option("--to", help="What to write.")],
    voxel_size_angstrom: Annotated[
        float | None, typer.Option(help="Voxel that positions are counted in.", min=0)
    ] = None,
    box_px: Annotated[
        int | None, typer.Option(help="For a table: edge of the boxes of its poses.", min=1)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write particles, or the subtomograms of a store, as AITom's files.

    Example: aitom-disca aitom-export subtomograms.h5 --out subvolumes.pickle --to subvolumes
    """
    from aitom_disca import bridge
    from aitom_disca.io import open_store
    from aitom_disca.io.disk.outputs import refuse_existing
    from aitom_disca.io.formats import Known
    from aitom_disca.io.formats.read_particles import read_particles

    refuse_existing([out], overwrite)
    stored = source.suffix.lower() in _STORES
    if to is Kind.subvolumes:
        if not stored:
            raise InputError("subvolumes are written from a store; give one (.h5).")
        n = bridge.export_subvolumes(source, out)
        say(f"{counted(n, 'subvolume')} written to {out}")
        return
    if stored:
        with open_store(source) as store:
            particles, box_px = store.particles(), box_px or store.box_shape_zyx[0]
    else:
        known = Known(voxel_size_angstrom=voxel_size_angstrom)
        particles = read_particles(source, known=known)
    bridge.write_particles(out, particles, kind=to.value, box_px=box_px)
    say(f"{counted(len(particles), 'particle')} written to {out}")
