"""Clusters sorted again by what their averages look like."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.computing.parallel import Workers, sharing
from aitom_disca.config import MineSettings, RelionVersion
from aitom_disca.io import open_store, replacing, write_labels_csv, write_rows_csv
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.number_text import counted
from aitom_disca.pipeline.labels_of_store import labels_of_store
from aitom_disca.pipeline.mine_clusters import rotation_of, sizes_of
from aitom_disca.pipeline.star_files import write_stars
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from aitom_disca.mining.sort_store import Sorted

_DOUBTFUL_Z = 3.0


def refine(
    store: str | Path,
    labels: str | Path,
    out: str | Path,
    settings: MineSettings | None = None,
    *,
    teach: bool = False,
    relion: RelionVersion = "3.1",
    images: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
) -> RunFolder:
    """Sort a store again, from the clusters that it has, by aligning all to all averages.

    Clusters may merge, split and empty, and members that are noise alone leave. Writes
    ``labels.csv``, star files, and ``refinement.csv``: for every cluster where its members came
    from, and whether coefficients that took no part in the sorting tell it from the others.

    Parameters
    ----------
    store, labels, out : path
    settings : MineSettings, optional
        ``candidate_k`` bounds the number of clusters; ``alignment_most``, ``alignment_splits``
        and ``seed`` are as in mining.
    teach : bool
        Train the network on the outcome, and write ``model.h5`` for `predict`.
    relion, overwrite
        As in `run`.
    images : bool
        Whether star files name the subtomograms, as `write_stars` writes them.
    executor : Executor, optional
        Compares all subtomograms with the averages as its tasks.

    Raises
    ------
    InputError
        If the labels are not of this store, or the folder holds another run.
    """
    settings = settings or MineSettings()
    folder = RunFolder(out)
    with open_store(store) as source:
        before, _ = labels_of_store(source, labels)
        inputs = [str(Path(p).resolve()) for p in (store, labels)]
        recorded = {"mine": settings.model_dump(), "relion": relion, "teach": teach}
        folder.start("refine", recorded, inputs, overwrite=overwrite)
        folder.stage(
            "refine",
            lambda: refine_clusters(folder, source, before, settings, teach, executor=executor),
        )
    folder.stage(
        "write", lambda: write_stars(store, folder.labels, out, relion=relion, images=images)
    )
    return folder


def refine_mined(
    folder: RunFolder,
    store: str | Path,
    settings: MineSettings,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Refine the clusters of a run; those that mining gave stay in ``labels_mined.csv``."""
    if not folder.mined_labels.exists():
        with replacing(folder.mined_labels) as temporary:
            temporary.write_bytes(folder.labels.read_bytes())
    with open_store(store) as source:
        before, _ = labels_of_store(source, folder.mined_labels)
        return refine_clusters(folder, source, before, settings, executor=executor)


def refine_clusters(
    folder: RunFolder,
    source: SubtomogramStore,
    before: np.ndarray,
    settings: MineSettings,
    teach: bool = False,
    *,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Sort again; write labels, where they came from, and the model if it is wanted."""
    from aitom_disca.mining import DISCA
    from aitom_disca.mining.predicting import of_labels

    with sharing(executor, folder.coefficients) as workers:
        found = sort_again(source, before, settings, workers)
        held_out = [vars(verdict) for verdict in found.sorter.held_out()]
    n_clusters = int(found.labels.max()) + 1
    sizes = np.bincount(found.labels[found.labels >= 0], minlength=n_clusters)
    order = np.argsort(-sizes, kind="stable")
    names = np.empty(n_clusters, int)
    names[order] = np.arange(n_clusters)
    labels = np.where(found.labels < 0, -1, names[found.labels])
    rows_of_table = _table(before, labels, [held_out[k] for k in order])
    write_rows_csv(folder.refinement, rows_of_table)
    write_labels_csv(folder.labels, labels, of_labels(found.posterior, found.labels))
    if teach:
        disca = DISCA.from_settings(settings, rotate=rotation_of(settings)).teach(
            source,
            labels,
            averages=np.array(found.sorter.averages())[order],
            learnt=found.sorter.learnt().chosen(order),
            posterior=found.posterior[:, order],
        )
        disca.save(folder.model)
    moved = float(np.mean(labels != _best_match(before, labels)))
    clusters = counted(len(rows_of_table), "cluster")
    say(f"{clusters}; {100 * moved:.1f} % of the subtomograms changed theirs")
    return {
        "n_clusters": n_clusters,
        "sizes": sizes_of(labels, n_clusters),
        "in_no_cluster": int((labels < 0).sum()),
        "moved": round(moved, 4),
        "warnings": _warnings(rows_of_table),
    }


def sort_again(
    source: SubtomogramStore,
    before: np.ndarray,
    settings: MineSettings,
    workers: Workers | None = None,
) -> Sorted:
    """Sort a store by alignment from the clusters that it has."""
    from aitom_disca.mining.feature_extraction import mask_radius_px
    from aitom_disca.mining.sort_store import drawn_rows, sort_source

    rng = np.random.default_rng(settings.seed)
    rows = drawn_rows(len(source), settings.alignment_most, rng, before)
    fewest, most = settings.bounds(len(source))
    return sort_source(
        source,
        rows,
        lambda sorter: sorter.refine(
            before[rows], fewest=fewest, most=most, splits=settings.alignment_splits
        ),
        source.tilt_range_deg,
        mask_radius_px=mask_radius_px(source, settings),
        graded_wedge=settings.graded_wedge,
        most=most,
        looks=2 * settings.alignment_splits,
        seed=settings.seed,
        settings=settings.constants,
        workers=workers,
    )


def _table(
    before: np.ndarray, labels: np.ndarray, held_out: list[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    rows = []
    for k, verdict in enumerate(held_out):
        here = before[labels == k]
        names, counts = np.unique(here, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        came_from = ", ".join(f"{names[i] + 1} ({counts[i]})" for i in order)
        rows.append(
            {
                "cluster": k + 1,
                "members": len(here),
                "came_from": came_from,
                "held_out_gain": round(verdict["gain"], 3),
                "held_out_z": round(verdict["z"], 2),
            }
        )
    return rows


def _best_match(before: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The earlier clusters under the names of those that now hold most of their members."""
    from aitom_disca.clustering import match_labels

    if before.max() < 0:
        return before
    return np.where(before < 0, -1, match_labels(labels, before)[before])


def _warnings(rows: list[dict[str, Any]]) -> list[str]:
    """Clusters that held-out coefficients do not tell from the next best one."""
    return [
        f"Cluster {row['cluster']}: coefficients that took no part in the sorting do not tell it "
        f"from the others (its average fits better by {row['held_out_z']:.1f} standard errors; "
        f"{_DOUBTFUL_Z:g} would be clear); it may follow noise."
        for row in rows
        if not row["held_out_z"] > _DOUBTFUL_Z
    ]
