"""The command that finds the particles of known averages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import Relion
from aitom_disca.cli.given_options import chosen_diameter_angstrom, open_given, workers_given
from aitom_disca.progress import say


def search(
    tomograms: o.Tomograms,
    averages: Annotated[
        list[Path],
        typer.Option(
            help="Folder of a run, whose averages are used, or MRC maps of your own, protein "
            "bright (repeatable)."
        ),
    ],
    out: o.Out,
    particle_diameter_angstrom: o.Diameter = None,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    fdr: Annotated[
        float, typer.Option(help="So many of the particles may be none: a rate from 0 to 1.")
    ] = 0.1,
    rescale: Annotated[
        bool, typer.Option("--rescale", help="Averages may have other voxels than the tomograms.")
    ] = False,
    relion: o.RelionVersion = Relion.v31,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
) -> None:
    """Find the particles of known averages: all rotations, places and candidates are judged.

    Example: aitom-disca search tomogram.mrc --averages results --out found -d 250
    """
    from aitom_disca.doctor import ask_polarity
    from aitom_disca.pipeline.search import search_tomograms

    opened = open_given(
        tomograms, voxel_size_angstrom, tilt_range, tilt_file, zarr_level, dark_protein
    )
    diameter = chosen_diameter_angstrom(particle_diameter_angstrom, opened)
    ask_polarity(opened, diameter, dark_protein)
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        folder = search_tomograms(
            opened,
            averages,
            out,
            diameter,
            fdr=fdr,
            rescale=rescale,
            relion=relion.value,
            overwrite=overwrite,
            executor=executor,
        )
    for name, size in folder.record["stages"]["search"]["sizes"].items():
        say(f"{name}: {size}")
    say(f"particles: {folder.star}")
