"""The command that averages clusters."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.errors import InputError
from aitom_disca.progress import say


class Mask(str, Enum):
    """In what the Fourier shell correlation is measured."""

    sphere = "sphere"
    density = "density"


def average(
    store: o.Store,
    out: o.Out,
    labels: Annotated[
        Path | None, typer.Option(help="labels.csv of this store; without it all are one cluster.")
    ] = None,
    cluster: Annotated[
        list[int] | None, typer.Option(help="Number of a cluster (repeatable); by default all.")
    ] = None,
    mask: Annotated[
        Mask, typer.Option(help="Measure the resolution in a sphere or round the density.")
    ] = Mask.sphere,
    seed: o.Seed = 0,
    relion: o.RelionVersion = o.Relion.v31,
    overwrite: o.Overwrite = False,
) -> None:
    """Align and average the members of every cluster, in halves that never see each other.

    Example: aitom-disca average subtomograms.h5 --labels results/labels.csv --out averages
    """
    from aitom_disca.pipeline import average_store

    if (out / "averages.csv").exists() and not overwrite:
        raise InputError(f"{out} holds averages; choose another --out, or add --overwrite.")
    averaged = average_store(
        store,
        out,
        labels=labels,
        clusters=cluster or (),
        mask=mask.value,
        relion=relion.value,
        seed=seed,
    )
    say(f"{len(averaged)} averages written to {out}")
