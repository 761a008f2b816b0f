"""The command that puts averages back into their tomograms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.given_options import workers_given
from aitom_disca.number_text import counted
from aitom_disca.progress import say


def embed(
    store: o.Store,
    averages: Annotated[Path, typer.Option(help="Folder that the average command wrote.")],
    out: o.Out,
    cluster: o.OnlyClusters = None,
    smooth_angstrom: Annotated[
        float, typer.Option(help="Sigma of a Gaussian that smooths what is drawn.")
    ] = 0.0,
    threshold: Annotated[
        float | None,
        typer.Option(help="Surface of a particle, as a share of its average's maximum."),
    ] = None,
    per_cluster: Annotated[
        bool, typer.Option("--per-cluster", help="Also write the density of each cluster alone.")
    ] = False,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    jobs_of: o.JobsOnly = None,
    cluster_config: o.ClusterConfig = None,
) -> None:
    """Put the averages of clusters back where their members lie in the tomograms.

    Example: aitom-disca embed subtomograms.h5 --averages averages --out embedded
    """
    from aitom_disca.reembedding import embed_averages

    with workers_given(workers, scheduler, jobs_of, cluster_config) as executor:
        embedded = embed_averages(
            store,
            averages,
            out,
            clusters=cluster or (),
            smooth_angstrom=smooth_angstrom,
            threshold=threshold,
            per_cluster=per_cluster,
            overwrite=overwrite,
            executor=executor,
        )
    n_particles = sum(one.n_particles for one in embedded)
    tomograms = counted(len(embedded), "tomogram")
    say(f"{counted(n_particles, 'particle')} put into {tomograms}; maps are in {out}")
