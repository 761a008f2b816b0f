"""The command that sorts other subtomograms by what was learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import Relion
from aitom_disca.cli.given_options import part_given, workers_given
from aitom_disca.number_text import counted
from aitom_disca.progress import say


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
