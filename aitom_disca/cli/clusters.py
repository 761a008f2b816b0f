"""Commands that sort subtomograms, and write what was sorted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import KCriterion, Precision, Preset, Relion, RotatedBy
from aitom_disca.cli.given import mine_settings, part_given, workers_given
from aitom_disca.progress import say
from aitom_disca.words import counted


def mine(
    store: o.Store,
    out: o.Out,
    preset: o.MinePreset = Preset.fast,
    candidate_k: o.CandidateK = None,
    k_criterion: o.ChosenBy = KCriterion.bic,
    max_iterations: o.MaxIterations = None,
    width: o.Width = None,
    rotation: o.RotationName = RotatedBy.own,
    precision: o.ComputedIn = Precision.auto,
    device: o.Device = "auto",
    devices: o.Devices = 1,
    mask_diameter_angstrom: o.MaskDiameter = None,
    graded_wedge: o.GradedWedge = True,
    seed: o.Seed = 0,
    runs: o.Runs = 1,
    relion: o.RelionVersion = Relion.v31,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
) -> None:
    """Sort subtomograms into clusters; write labels, model, star files and a report.

    Example: aitom-disca mine subtomograms.h5 --out clusters --candidate-k 2-20
    """
    from aitom_disca.cli.tables import print_run
    from aitom_disca.pipeline import mine as mine_store

    settings = mine_settings(
        preset,
        candidate_k,
        max_iterations,
        width,
        seed,
        k_criterion,
        precision,
        devices,
        rotation,
        mask_diameter_angstrom,
        graded_wedge,
    )
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        folder = mine_store(
            store,
            out,
            settings,
            runs=runs,
            relion=relion.value,
            overwrite=overwrite,
            resume=resume,
            executor=executor,
        )
    print_run(folder)


def predict(
    store: o.Store,
    model: Annotated[Path, typer.Option(help="model.h5 of a finished run.")],
    out: o.Out,
    by: o.By = None,
    outlier_quantile: o.OutlierQuantile = None,
    device: o.Device = "auto",
    relion: o.RelionVersion = Relion.v31,
    overwrite: o.Overwrite = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
    part: o.Part = None,
) -> None:
    """Sort new subtomograms with a trained model: labels.csv and star files.

    Example: aitom-disca predict new.h5 --model results/model.h5 --out new_labels
    """
    from aitom_disca.pipeline import predict as predict_store
    from aitom_disca.pipeline.predict_labels import predict_part

    how: dict[str, Any] = {
        "by": None if by is None else by.value,
        "outlier_quantile": outlier_quantile,
        "relion": relion.value,
        "overwrite": overwrite,
    }
    own = part_given(part)
    if own is not None:
        n = predict_part(store, model, out, own, **how)
        done = f"part {own.number} of {own.of}: {counted(n, 'subtomogram')}"
        say(f"{done}; `merge {out}` makes the parts one")
        return
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        folder, labels = predict_store(store, model, out, **how, executor=executor)
    done = folder.record["stages"]["predict"]
    none = f", {done['in_no_cluster']} in none" if done["in_no_cluster"] else ""
    clusters = counted(done["n_clusters"], "cluster")
    say(f"{counted(len(labels), 'subtomogram')} sorted into {clusters}{none}")
    say(f"{done['subtomograms_per_second']:g} subtomograms a second; labels: {folder.labels}")


def export(
    store: o.Store,
    labels: o.Labels,
    out: o.Out,
    relion: o.RelionVersion = Relion.v31,
    images: o.Images = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Write the particles of a store with their clusters as RELION star files.

    Example: aitom-disca export subtomograms.h5 --labels labels.csv --out stars --relion 5
    """
    from aitom_disca.io.disk.outputs import refuse_existing
    from aitom_disca.pipeline import write_stars
    from aitom_disca.pipeline.star_files import star_files_there

    refuse_existing(star_files_there(out, images), overwrite)
    summary = write_stars(store, labels, out, relion=relion.value, images=images)
    say(f"{counted(summary['star_files'], 'star file')} written to {out}")


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
) -> None:
    """Write the report of a finished run again.

    Example: aitom-disca report results
    """
    from aitom_disca.pipeline import report_again

    say(f"report written to {report_again(folder)}")
