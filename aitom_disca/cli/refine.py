"""The command that sorts clusters again by their averages."""

from __future__ import annotations

from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import Preset, Relion
from aitom_disca.cli.given_options import mine_settings, workers_given
from aitom_disca.number_text import counted
from aitom_disca.progress import say


def refine(
    store: o.Store,
    labels: o.Labels,
    out: o.Out,
    candidate_k: o.CandidateK = None,
    teach: Annotated[
        bool, typer.Option("--teach", help="Train the network on the outcome: writes model.h5.")
    ] = False,
    mask_diameter_angstrom: o.MaskDiameter = None,
    graded_wedge: o.GradedWedge = True,
    expert: o.Expert = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    relion: o.RelionVersion = Relion.v31,
    images: o.Images = False,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
) -> None:
    """Sort again from the clusters that there are, by aligning everything to their averages.

    Example: aitom-disca refine subtomograms.h5 --labels results/labels.csv --out refined
    """
    from aitom_disca.pipeline import refine as refine_store

    settings = mine_settings(
        Preset.fast,
        candidate_k,
        None,
        None,
        seed,
        mask_diameter_angstrom=mask_diameter_angstrom,
        graded_wedge=graded_wedge,
        expert=expert,
    )
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        folder = refine_store(
            store,
            labels,
            out,
            settings,
            teach=teach,
            relion=relion.value,
            images=images,
            overwrite=overwrite,
            executor=executor,
        )
    done = folder.record["stages"]["refine"]
    for warning in done["warnings"]:
        say(f"note: {warning}")
    none = f", {done['in_no_cluster']} in none" if done["in_no_cluster"] else ""
    clusters = counted(done["n_clusters"], "cluster")
    say(f"{clusters} of {done['sizes']}{none}; labels: {folder.labels}")
