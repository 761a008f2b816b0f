"""The command that cuts subtomograms out of tomograms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.given_options import (
    chosen_diameters_angstrom,
    open_given,
    part_given,
    workers_given,
)
from aitom_disca.config import ExtractSettings, OpticsSettings
from aitom_disca.number_text import counted
from aitom_disca.progress import say


def extract(
    tomograms: o.Tomograms,
    picks: o.Picks,
    out: Annotated[Path, typer.Option("--out", "-o", help="Store to write (.h5).")],
    file_pixel_angstrom: o.FilePixel = None,
    tomogram_name: o.TomogramName = None,
    particle_diameter_angstrom: o.Diameters = None,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    defocus: o.Defocus = None,
    voltage_kv: o.Voltage = None,
    spherical_aberration_mm: o.SphericalAberration = None,
    amplitude_contrast: o.AmplitudeContrast = None,
    box_px: o.Box = None,
    working_voxel_size_angstrom: o.WorkingVoxelSize = None,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
    part: o.Part = None,
) -> None:
    """Cut subtomograms at picks into an HDF5 store.

    Example: aitom-disca extract tomogram.mrc --picks picks.csv --out subtomograms.h5
    """
    from aitom_disca.pipeline.array_job_parts import extract_part
    from aitom_disca.pipeline.picks_of_run import read_all_picks
    from aitom_disca.subtomograms import extract_subtomograms

    optics = OpticsSettings.checked(
        defocus=defocus,
        voltage_kv=voltage_kv,
        spherical_aberration_mm=spherical_aberration_mm,
        amplitude_contrast=amplitude_contrast,
    )
    opened = open_given(
        tomograms, voxel_size_angstrom, tilt_range, tilt_file, zarr_level, dark_protein, optics
    )
    diameter = chosen_diameters_angstrom(particle_diameter_angstrom, opened)
    settings = ExtractSettings.checked(
        particle_diameter_angstrom=float(np.max(diameter)),
        box_px=box_px,
        working_voxel_size_angstrom=working_voxel_size_angstrom,
    )
    particles = read_all_picks(
        picks,
        opened,
        float(np.min(diameter)) / 2,
        file_pixel_angstrom=file_pixel_angstrom,
        tomogram_name=tomogram_name,
    )
    own = part_given(part)
    if own is not None:
        n = extract_part(opened, particles, out.absolute(), settings, own, overwrite=overwrite)
        done = f"part {own.number} of {own.of}: {counted(n, 'subtomogram')}"
        say(f"{done}; `merge {out}` makes the parts one")
        return
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        summary = extract_subtomograms(
            opened, particles, out.absolute(), settings, overwrite=overwrite, executor=executor
        )
    say(
        f"{counted(summary.n_extracted, 'subtomogram')} of {summary.box_px} voxels at "
        f"{summary.voxel_size_angstrom:g} A written to {out}; "
        f"{summary.n_dropped_border} too near to the border left out"
    )
