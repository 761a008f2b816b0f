"""Sort the subtomograms of a store into clusters, and ask what else could explain these."""

from __future__ import annotations

import json
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.computing.parallel import sharing
from aitom_disca.config import MineSettings
from aitom_disca.io import (
    open_store,
    read_labels_csv,
    write_labels_csv,
    write_rows_csv,
)
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from aitom_disca.mining import DISCA
    from aitom_disca.network.training import RotateVolumes
from aitom_disca.config import RelionVersion
from aitom_disca.pipeline.report import make_report
from aitom_disca.pipeline.star_files import write_stars


def mine_clusters(
    folder: RunFolder,
    store: str | Path,
    settings: MineSettings,
    runs: int,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Sort a store; write labels, history, model and what the report is drawn from.

    Where there are several runs, they are tasks of the executor; pieces of a single one are.
    """
    from aitom_disca.analysis import fit_repeatedly
    from aitom_disca.mining import DISCA

    rotate = rotation_of(settings)
    more: dict[str, np.ndarray] = {}
    summary: dict[str, Any] = {}
    with open_store(store) as source:
        if runs == 1:
            disca = DISCA.from_settings(settings, rotate=rotate)
            with sharing(executor, folder.coefficients) as workers:
                disca.fit(source, checkpoint=folder.checkpoint, workers=workers)
        else:
            disca, stability = fit_repeatedly(
                settings,
                source,
                runs,
                checkpoint=folder.checkpoint.absolute(),
                rotate=rotate,
                executor=executor,
            )
            write_rows_csv(folder.stability, stability.rows())
            more, summary = {"agreement": stability.agreement}, {"stability": stability.summary()}
    return write_mined(folder, disca, more) | summary


def write_mined(
    folder: RunFolder, disca: DISCA, more: dict[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Write labels, with further columns, history, model and what the report is drawn from."""
    write_labels_csv(folder.labels, disca.labels_, disca.posterior_, more=more)
    write_rows_csv(folder.history, [_history_row(row) for row in disca.history_])
    disca.save(folder.model)
    with replacing(folder.clusters) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            embedding=disca.embedding_.astype(np.float32),
            history=json.dumps(disca.history_),
            averages=np.zeros(0) if disca.averages_ is None else disca.averages_,
            averages_box_share=disca.averages_box_share_,
        )
    return {
        "n_clusters": disca.n_clusters_,
        "ddbi": None if np.isnan(disca.ddbi_) else disca.ddbi_,  # not defined for one cluster
        "iterations": len(disca.history_),
        "converged": disca.converged_,
        "sizes": sizes_of(disca.labels_, disca.n_clusters_),
        "in_no_cluster": int((disca.labels_ < 0).sum()),
        "temperature": round(disca.temperature_, 3),
    }


def rotation_of(settings: MineSettings) -> RotateVolumes | None:
    """What rotates training copies; None for the network itself."""
    if settings.rotation == "own":
        return None
    from aitom_disca.bridge import aitom_rotation

    return aitom_rotation()


def sizes_of(labels: np.ndarray, n_clusters: int) -> list[int]:
    """Members of every cluster; those in none are not counted."""
    return np.bincount(labels[labels >= 0], minlength=n_clusters).tolist()


def audit_clusters(folder: RunFolder, store: str | Path) -> dict[str, Any]:
    """Ask what else than structure explains the clusters; write ``nuisance.csv``; warn."""
    from aitom_disca.analysis import audit

    labels, _ = read_labels_csv(folder.labels)
    with open_store(store) as source:
        found = audit(source, labels)
    if found.findings:
        write_rows_csv(folder.nuisance, [finding.row() for finding in found.findings])
    for warning in found.warnings:
        say(f"note: {warning}")
    return {"warnings": list(found.warnings), "notes": list(found.notes)}


def _history_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of history.csv: one column a candidate K, sizes joined by spaces."""
    left_out = ("bic", "criteria", "sizes", "seconds")
    plain = {key: value for key, value in row.items() if key not in left_out}
    plain["sizes"] = " ".join(map(str, row["sizes"]))
    return plain | {f"bic_{k}": value for k, value in row["bic"].items()}


def mine(
    store: str | Path,
    out: str | Path,
    settings: MineSettings | None = None,
    *,
    runs: int = 1,
    relion: RelionVersion = "3.1",
    overwrite: bool = False,
    resume: bool = False,
    executor: Executor | None = None,
) -> RunFolder:
    """Sort the subtomograms of a store; write labels, model, star files and a report.

    Parameters and errors as in `run`; ``runs`` repeats the sorting with other seeds, writes the
    consensus, and says how often each cluster was found; these are the tasks of the executor. Of
    a single sorting pieces of the subtomograms are.
    """
    settings = settings or MineSettings()
    folder = RunFolder(out)
    with open_store(store):  # a store that cannot be used ends here, before anything is written
        pass
    recorded = {"mine": settings.model_dump(), "relion": relion, "runs": runs}
    folder.start("mine", recorded, [str(Path(store).resolve())], overwrite=overwrite, resume=resume)
    folder.stage("mine", lambda: mine_clusters(folder, store, settings, runs, executor))
    folder.stage("audit", lambda: audit_clusters(folder, store))
    folder.stage("write", lambda: write_stars(store, folder.labels, out, relion=relion))
    folder.stage("report", lambda: make_report(folder, store))
    return folder
