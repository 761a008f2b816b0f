"""The command that makes the particle files of one program into those of another."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli.help_text import OFTEN
from aitom_disca.errors import InputError
from aitom_disca.number_text import counted
from aitom_disca.progress import say

_FILES, _KNOWN = OFTEN, "What the files do not say"


def _files(*names: str, text: str) -> typer.models.OptionInfo:
    return typer.Option(*names, help=text, rich_help_panel=_FILES)  # type: ignore[no-any-return]


def _known(*names: str, text: str, metavar: str | None = None) -> typer.models.OptionInfo:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=_KNOWN)  # type: ignore[no-any-return]


def convert(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IN... [OUT]",
            help="Files to read, or a folder of them, or a subtomogram store; then the file to "
            "write, unless --out names it.",
        ),
    ] = None,
    out: Annotated[
        Path | None, _files("--out", "-o", text="File to write, in place of the last of IN... OUT.")
    ] = None,
    to: Annotated[str | None, _files("--to", text="Format to write; --list names them.")] = None,
    from_: Annotated[
        str | None, _files("--from", text="Format to read; by default told by the content.")
    ] = None,
    listed: Annotated[bool, _files("--list", text="Show the formats and end.")] = False,
    labels: Annotated[
        Path | None,
        _files("--labels", text="Clusters: labels.csv, or a particle file with classes."),
    ] = None,
    poses: Annotated[
        Path | None,
        _files(
            "--poses",
            text="From a store: the particles of this file, as average writes them, with their "
            "angles and places, in place of what the store knows.",
        ),
    ] = None,
    micrographs: Annotated[
        Path | None,
        _files(
            "--micrographs",
            text="To RELION: micrographs.star; micrographs and optics groups are called as in it.",
        ),
    ] = None,
    images: Annotated[
        bool,
        _files(
            "--images",
            text="From a store to RELION: write subtomograms and missing wedges as well, into the "
            "folder OUT without its suffix.",
        ),
    ] = False,
    optimisation_set: Annotated[
        bool,
        _files(
            "--optimisation-set",
            text="To relion4 or relion5: also OUT_optimisation_set.star, which names the particles "
            "and the tomograms.star of --tomogram; without one, a list of tomograms is written.",
        ),
    ] = False,
    strict: Annotated[
        bool, _files("--strict", text="Refuse to lose anything, and write nothing then.")
    ] = False,
    overwrite: Annotated[bool, _files("--overwrite", text="Replace files that are there.")] = False,
    tomogram: Annotated[
        list[Path] | None,
        _known(
            "--tomogram",
            text="MRC file or RELION tomograms.star (repeatable): names, sizes, tilts.",
        ),
    ] = None,
    voxel_size_angstrom: Annotated[
        float | None,
        _known(
            "--voxel-size-angstrom",
            text="Voxel of the tomogram that positions are counted in, here and in what is "
            "written.",
        ),
    ] = None,
    file_pixel_angstrom: Annotated[
        float | None,
        _known("--file-pixel-angstrom", text="Pixel that the input counts in; overrides it."),
    ] = None,
    size_zyx: Annotated[
        tuple[int, int, int] | None,
        _known(
            "--size-zyx",
            text="Size of the tomogram in voxels, such as --size-zyx 300 928 960.",
            metavar="Z Y X",
        ),
    ] = None,
    binning: Annotated[
        float | None,
        _known("--binning", text="Voxel of the tomogram over pixel of the tilt series."),
    ] = None,
    unbinned_size_zyx: Annotated[
        tuple[float, float, float] | None,
        _known("--unbinned-size-zyx", text="Size in pixels of the tilt series.", metavar="Z Y X"),
    ] = None,
    tilt_range: Annotated[
        tuple[float, float] | None,
        _known(
            "--tilt-range",
            text="Smallest and largest measured tilt, such as --tilt-range -54 60.",
            metavar="MIN MAX",
        ),
    ] = None,
    tomogram_name: Annotated[
        str | None, _known("--tomogram-name", text="For files that do not name their tomogram.")
    ] = None,
    box_px: Annotated[int | None, _known("--box-px", text="Edge of a box in voxels.")] = None,
    centre_offset_px: Annotated[
        float,
        _known(
            "--centre-offset-px",
            text="Unbinned pixels by which centred coordinates count from before half the size: "
            "0 as RELION's programs in C++, 1 as its Python programs and some others.",
        ),
    ] = 0.0,
    object_name: Annotated[
        str, _known("--object-name", text="What the particles are, where a format asks.")
    ] = "particle",
    transposed: Annotated[
        bool,
        _known("--transposed", text="Matrices of a portal file take tomogram to particle."),
    ] = False,
) -> None:
    """Make particle files of one program into those of another, and say what gets lost.

    Example: aitom-disca convert particles.star particles.tbl --to dynamo
    """
    from aitom_disca.io.formats import Known
    from aitom_disca.io.formats.convert import convert as convert_files
    from aitom_disca.io.formats.tomogram_infos import tomogram_infos
    from aitom_disca.io.pixel_sizes import check_given_pixel
    from aitom_disca.io.tomograms.tilt_range import check_given_range

    if listed:
        _print_formats()
        return
    sources = list(paths or ())
    if out is None and len(sources) > 1:
        out = sources.pop()
    if to is None or out is None or not sources:
        raise InputError(
            "convert needs a file to read, a file to write and --to; such as: aitom-disca convert "
            "in.star out.tbl --to dynamo (--list shows the formats)."
        )
    _check_positive(
        {
            "--voxel-size-angstrom": voxel_size_angstrom,
            "--binning": binning,
            "--box-px": box_px,
            "--size-zyx": min(size_zyx) if size_zyx else None,
            "--unbinned-size-zyx": min(unbinned_size_zyx) if unbinned_size_zyx else None,
        }
    )
    if file_pixel_angstrom is not None:
        check_given_pixel(file_pixel_angstrom)
    if not isfinite(centre_offset_px):
        raise InputError(f"--centre-offset-px must be a number; got {centre_offset_px:g}.")
    if tilt_range is not None:
        tilt_range = check_given_range(tilt_range)
    tomograms = tomogram_infos(
        tomogram or (),
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range,
        binning=binning,
    )
    known = Known(
        tomograms=tomograms,
        voxel_size_angstrom=voxel_size_angstrom,
        file_pixel_angstrom=file_pixel_angstrom,
        shape_zyx=size_zyx,
        binning=binning,
        unbinned_shape_zyx=unbinned_size_zyx,
        tilt_range_deg=tilt_range,
        tomogram_name=tomogram_name,
        box_px=box_px,
        centre_offset_px=centre_offset_px,
        object_name=object_name,
        transposed=transposed,
    )
    done = convert_files(
        sources,
        out,
        to,
        from_=from_,
        known=known,
        strict=strict,
        overwrite=overwrite,
        labels=labels,
        poses=poses,
        micrographs=micrographs,
        images=images,
        optimisation_set=optimisation_set,
        tomograms_star=next((p for p in tomogram or () if p.suffix == ".star"), None),
    )
    say(f"{counted(done.n_particles, 'particle')} written to {', '.join(map(str, done.paths))}")
    if done.legend:
        say(f"classes: {', '.join(f'{k} {name}' for k, name in done.legend.items())}")
    if done.lost:
        say(f"lost, since the format has no place for it: {'; '.join(done.lost)}")
    if done.n_outside:
        say(
            f"warning: {done.n_outside} of {done.n_particles} particles lie outside of their "
            "tomograms: the file may count in other voxels (--binning, --file-pixel-angstrom)"
        )


def _check_positive(given: dict[str, float | None]) -> None:
    for option, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{option} must be more than 0; got {value:g}.")


def _print_formats() -> None:
    from rich.console import Console
    from rich.table import Table

    from aitom_disca.io.formats import NAMES, get_format

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "format", "read", "write", "keeps, beside positions", "library"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for one in map(get_format, NAMES):
        yes = ["yes" if way else "" for way in (one.read, one.write)]
        table.add_row(one.name, one.title, *yes, ", ".join(sorted(one.keeps)), one.library)
    Console().print(table)
