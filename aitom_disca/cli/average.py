"""The command that averages clusters."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import Relion
from aitom_disca.cli.given_options import workers_given
from aitom_disca.cli.help_text import rarely
from aitom_disca.config import AverageSettings
from aitom_disca.errors import InputError
from aitom_disca.number_text import counted
from aitom_disca.progress import say

_RARELY = rarely("averaging")


class Aligner(StrEnum):
    """What finds the first poses."""

    fft = "fft"
    gumnet = "gumnet"
    both = "gumnet+fft"


class Null(StrEnum):
    """What the null test averages."""

    none = "none"
    noise = "noise"
    others = "others"


def average(
    store: o.Store,
    out: o.Out,
    labels: o.LabelsIfAny = None,
    cluster: o.OnlyClusters = None,
    mask: Annotated[
        str,
        typer.Option(help="Measure the resolution in a sphere, round the density, or in a map."),
    ] = "sphere",
    symmetry: Annotated[
        str, typer.Option(help="Point group on RELION's axes, such as C4 or D7.")
    ] = "C1",
    aligner: Annotated[
        Aligner,
        typer.Option(
            help="Search all rotations, ask a network, or take the better.", rich_help_panel=_RARELY
        ),
    ] = Aligner.fft,
    gumnet: Annotated[
        Path | None,
        typer.Option(
            "--gumnet",
            "--gumnet-weights",
            help="The network, as train-gumnet writes it (.keras), or the trained weights of "
            "AITom's Gum-Net (.h5).",
            rich_help_panel=_RARELY,
        ),
    ] = None,
    null_test: Annotated[
        Null,
        typer.Option(
            help="Whether members fit the average of the half that they are not in better than "
            "noise does, or than members of other clusters do.",
            rich_help_panel=_RARELY,
        ),
    ] = Null.noise,
    mask_diameter_angstrom: Annotated[
        float | None,
        typer.Option(
            help="Of a soft sphere in which members are aligned to averages, so that neighbours "
            "are not; by default the particle's and 15 %, or box / 1.6 * 1.15 if not known.",
            min=0,
            rich_help_panel=_RARELY,
        ),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Density map to compare every average with (repeatable)."),
    ] = None,
    rescale: Annotated[
        bool, typer.Option("--rescale", help="Resample maps of another voxel size.")
    ] = False,
    b_factor: Annotated[
        str | None,
        typer.Option(help="Sharpen filtered.mrc: auto, or a number in A^2 (negative sharpens)."),
    ] = None,
    min_distance_angstrom: Annotated[
        float | None,
        typer.Option(
            help="Members that come to lie nearer to one another are one particle, picked twice; "
            "by default a quarter of the box; 0 keeps all.",
            min=0,
            rich_help_panel=_RARELY,
        ),
    ] = None,
    graded_wedge: o.GradedWedge = True,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    relion: o.RelionVersion = Relion.v31,
    images: o.Images = False,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    jobs_of: o.JobsOnly = None,
    cluster_config: o.ClusterConfig = None,
) -> None:
    """Align and average the members of every cluster, in halves that never see each other.

    Example: aitom-disca average subtomograms.h5 --labels results/labels.csv --out averages
    """
    from aitom_disca.cli.printed_tables import average_in_words
    from aitom_disca.io.disk.outputs import refuse_existing
    from aitom_disca.pipeline import average_store
    from aitom_disca.pipeline.average_files import averages_there

    refuse_existing(averages_there(out), overwrite)
    settings = AverageSettings.checked(
        mask=mask,
        mask_diameter_angstrom=mask_diameter_angstrom,
        symmetry=symmetry,
        aligner=aligner.value,
        gumnet=None if gumnet is None else str(gumnet),
        null_test=null_test.value,
        b_factor_angstrom2=_b_factor(b_factor),
        min_distance_angstrom=min_distance_angstrom,
        graded_wedge=graded_wedge,
        seed=seed,
    )
    with workers_given(workers, scheduler, jobs_of, cluster_config) as executor:
        averaged = average_store(
            store,
            out,
            settings,
            labels=labels,
            clusters=cluster or (),
            compare=compare or (),
            rescale=rescale,
            relion=relion.value,
            images=images,
            executor=executor,
        )
    for one in averaged:
        say(f"cluster {one.cluster + 1}: {average_in_words(one.row())}")
        for warning in one.warnings:
            say(f"note: {warning}")
    say(f"{counted(len(averaged), 'average')} written to {out}")


def _b_factor(text: str | None) -> float | str | None:
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"expected auto or a number as --b-factor, but got {text}.") from error
