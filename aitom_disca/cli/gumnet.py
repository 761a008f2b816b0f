"""The command that trains Gum-Net."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.errors import InputError
from aitom_disca.number_text import counted
from aitom_disca.progress import say


class GumnetLoss(StrEnum):
    """What Gum-Net learns from."""

    motion = "motion"
    pairwise = "pairwise"
    published = "published"


def train_gumnet(
    store: o.Store,
    out: Annotated[Path, typer.Option("--out", "-o", help="Network to write (.keras).")],
    labels: Annotated[
        Path | None, typer.Option(help="labels.csv of this store; without it all are one cluster.")
    ] = None,
    cluster: Annotated[
        int | None, typer.Option(help="Number of the cluster; by default the largest.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Network to begin with: .keras, or .h5 of AITom's Gum-Net.")
    ] = None,
    width: Annotated[float, typer.Option(help="Factor on all channels; 1 as published.")] = 0.05,
    epochs: Annotated[int, typer.Option(help="Passes over the members.", min=0)] = 60,
    batch_size: Annotated[int, typer.Option(help="Pairs at once.", min=1)] = 16,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of Adam; by default what suits the loss.")
    ] = None,
    loss: Annotated[
        GumnetLoss,
        typer.Option(
            help="motion: copies of a member, turned by known motions; pairwise: how well two "
            "members correlate once one is moved; published: the same over a batch, squared."
        ),
    ] = GumnetLoss.motion,
    seed: o.Seed = 0,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
) -> None:
    """Train Gum-Net, which finds the motion between two subtomograms, on a cluster.

    Example: aitom-disca train-gumnet subtomograms.h5 --labels results/labels.csv --out gum.keras
    """
    from aitom_disca.io.disk.outputs import refuse_existing
    from aitom_disca.pipeline.gumnet import train_gumnet_on_store

    if out.suffix != ".keras":
        raise InputError(f"a network is written as .keras; got --out {out}.")
    refuse_existing([out], overwrite)
    n = train_gumnet_on_store(
        store,
        out,
        labels=labels,
        cluster=cluster,
        weights=weights,
        width=width,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        loss=loss.value,
        seed=seed,
    )
    say(f"trained on {counted(n, 'subtomogram')}; written to {out}")
