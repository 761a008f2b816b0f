"""The command that takes subtomograms which another program cut."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.config import OpticsSettings
from aitom_disca.number_text import counted
from aitom_disca.progress import say


def import_subtomograms(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of MRC files, or a RELION star file that names 3D volumes."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Store to write (.h5).")],
    voxel_size_angstrom: Annotated[
        float | None, typer.Option(help="Of the volumes; by default their headers'.")
    ] = None,
    file_pixel_angstrom: Annotated[
        float | None, typer.Option(help="Pixel in which the star file counts, if it is silent.")
    ] = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    dark_protein: o.DarkProtein = None,
    defocus: o.Defocus = None,
    voltage_kv: o.Voltage = None,
    spherical_aberration_mm: o.SphericalAberration = None,
    amplitude_contrast: o.AmplitudeContrast = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store.")] = False,
) -> None:
    """Take subtomograms that are files already into a store.

    Example: aitom-disca import-subtomograms particles.star --out subtomograms.h5
    """
    from aitom_disca.io.tomograms.tilt_angles import read_tilts
    from aitom_disca.subtomograms.from_files import import_subtomograms as import_files

    if tilt_range is None and tilt_file is not None:
        tilts = read_tilts(tilt_file)
        tilt_range = tilts[0], tilts[-1]
    n = import_files(
        source,
        out,
        voxel_size_angstrom=voxel_size_angstrom,
        file_pixel_angstrom=file_pixel_angstrom,
        tilt_range_deg=tilt_range,
        dark_protein=bool(dark_protein),
        optics=OpticsSettings.checked(
            defocus=defocus,
            voltage_kv=voltage_kv,
            spherical_aberration_mm=spherical_aberration_mm,
            amplitude_contrast=amplitude_contrast,
        ),
        overwrite=overwrite,
    )
    say(f"{counted(n, 'subtomogram')} written to {out}")
