"""The command that finds particles in tomograms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import PickedBy, Relion, ThresholdRule
from aitom_disca.cli.given_options import (
    chosen_diameters_angstrom,
    kinds_to_keep,
    open_given,
    part_given,
    workers_given,
)
from aitom_disca.config import JUNK_KINDS, PickSettings
from aitom_disca.errors import InputError
from aitom_disca.number_text import counted
from aitom_disca.progress import say


def pick(
    tomograms: o.Tomograms,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picks to write: .csv or .star.")],
    particle_diameter_angstrom: o.Diameters = None,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    picker: o.PickerName = PickedBy.dog,
    sigma_px: o.Sigma = None,
    threshold_rule: o.Rule = ThresholdRule.auto,
    threshold: o.Threshold = None,
    min_distance_px: o.MinDistance = None,
    border_px: o.Border = None,
    max_picks: o.MaxPicks = None,
    keep: o.Keep = None,
    membranes: o.Membranes = None,
    mask: Annotated[
        Path | None, typer.Option(help="MRC of the tomogram's size; picks lie where it is not 0.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="HTML file to write: score against rank with the threshold, what was kept and "
            "why, slices with picks coloured by kind."
        ),
    ] = None,
    relion: o.RelionVersion = Relion.v31,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
    part: o.Part = None,
) -> None:
    """Pick particles: Difference of Gaussians, best first.

    Example: aitom-disca pick tomogram.mrc --out picks.csv -d 250
    """
    from aitom_disca.doctor import ask_polarity
    from aitom_disca.io import write_particles_star, write_picks_csv
    from aitom_disca.io.disk.outputs import none_if_failed, refuse_existing
    from aitom_disca.pipeline.pick import find_in_tomograms
    from aitom_disca.pipeline.star_files import write_junk

    if out.suffix not in ((".csv", ".star") if part is None else (".csv",)):
        kinds = ".csv or .star" if part is None else ".csv where they are parts"
        raise InputError(f"picks are written as {kinds}; got --out {out}.")
    own = part_given(part)
    if own is not None:
        out = own.path(out)
    junk = out.with_name(f"{out.stem}_junk")
    of_junk = [junk / f"{kind}.star" for kind in JUNK_KINDS]
    written = [out, *of_junk, *([report] if report else [])]
    refuse_existing(written, overwrite)
    opened = open_given(
        tomograms, voxel_size_angstrom, tilt_range, tilt_file, zarr_level, dark_protein
    )
    diameter = chosen_diameters_angstrom(particle_diameter_angstrom, opened)
    if own is not None:
        opened = own.share(opened, "tomograms")
    ask_polarity(opened, float(np.max(diameter)), dark_protein)
    settings = PickSettings.checked(
        particle_diameter_angstrom=diameter,
        picker=picker.value,
        sigma_px=sigma_px,
        threshold_rule=threshold_rule.value,
        threshold=threshold,
        min_distance_px=min_distance_px,
        border_px=border_px,
        max_picks=max_picks,
        keep=kinds_to_keep(keep),
        membranes=tuple(map(str, membranes or ())),
    )
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        within = None if mask is None else mask.absolute()
        found = find_in_tomograms(opened, settings, mask=within, executor=executor)
    picks = found.particles
    with none_if_failed(written):
        if report is not None:
            from aitom_disca.report.picking_report import write_pick_report

            write_pick_report(report, opened, found, settings)
            say(f"report written to {report}")
        write_junk(junk, found, relion=relion.value)
        if out.suffix == ".csv":
            write_picks_csv(out, picks)
        else:
            write_particles_star(out, picks, relion=relion.value)
    apart = f"; what was set apart lies in {junk}" if found.junk else ""
    say(f"{counted(len(picks), 'pick')} written to {out}{apart}")
