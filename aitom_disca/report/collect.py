"""Gather what a run has written into the data of its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.io import (
    SubtomogramStore,
    Tomogram,
    open_store,
    open_tomogram,
    read_labels_csv,
    read_rows_csv,
)
from aitom_disca.io.disk.npz import read_npz
from aitom_disca.io.disk.reading import reading
from aitom_disca.report.cards import member_slices
from aitom_disca.report.cards_of_run import cards_of_run
from aitom_disca.report.cell_of_run import largest_diameter_angstrom
from aitom_disca.report.report_data import DecodedCluster, ReportData
from aitom_disca.report.run_checks import (
    checks_of_tomograms,
    nuisance_of_run,
    problems_of_run,
    remarks_of_run,
)
from aitom_disca.report.tables import NuisanceTable, table_of_rows
from aitom_disca.report.tomogram_view import views_of_run
from aitom_disca.runs.run_folder import RunFolder

_AGAIN = "sort the store again (mine, or run with --overwrite)"
_MOST_FINDINGS = 12


def collect(
    folder: RunFolder,
    store_path: str | Path,
    tomograms: Sequence[Tomogram] = (),
    notes: Sequence[str] = (),
) -> ReportData:
    """Read what a run has written, and look into its tomograms.

    Parameters
    ----------
    folder : RunFolder
        After its mining stage.
    store_path : path
    tomograms : sequence of Tomogram
        To look through.
    notes : sequence of str
        What else the reader should know.
    """
    labels, _ = read_labels_csv(folder.labels)
    saved, history = _sorted(folder.clusters, len(labels))
    kept = next(row for row in history if row["kept"])
    record = folder.record
    with open_store(store_path) as store:
        cards = cards_of_run(folder, store)
        members = {card.number: member_slices(store, card) for card in cards}
        decoded = _decoded(folder, store)
        particles = store.particles()
    names = {card.number: card.name for card in cards if card.name}
    views, undrawn = views_of_run(folder, tomograms, particles, labels, names)
    looked = checks_of_tomograms(tomograms, largest_diameter_angstrom(folder))
    audit = nuisance_of_run(folder)
    return ReportData(
        title=_title(record["inputs"]),
        cards=cards,
        members=members,
        n_in_none=int((labels < 0).sum()),
        curated=folder.curation.exists(),
        n_tomograms=len(np.unique(particles.tomogram_name)) if particles.has_positions else None,
        problems=[*notes, *undrawn, *problems_of_run(folder, history)],
        remarks=remarks_of_run(folder),
        tomograms=views,
        looked=[*looked, *([audit] if audit else [])],
        nuisance=_nuisance(folder),
        embedding=saved["embedding"][:, :2] if saved["embedding"].shape[1] > 1 else None,
        labels=labels,
        counts=_rows(folder.averages / "space" / "counts.csv"),
        neighbours=_neighbours(folder),
        neighbour_findings=_findings(folder),
        decoded=decoded,
        bic_by_k={int(k): value for k, value in kept["bic"].items()},
        criteria=kept.get("criteria", {}),
        chosen_k=kept["k"],
        by_alignment=saved["averages"].ndim == 4,
        history=_history(history),
        best_iteration=kept["iteration"],
        command_line=record.get("command_line", ""),
        settings=record["settings"],
        versions=record["versions"],
        timings_s={name: stage["seconds"] for name, stage in record["stages"].items()},
        files=_files(folder),
    )


def _sorted(path: Path, n: int) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """What the sorting of n subtomograms kept for its report, and its history.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of other subtomograms.
    """
    how = ("what a sorting kept", f"{_AGAIN} to have it again")
    saved = read_npz(path, *how)
    with reading(path, *how):
        history = json.loads(str(saved["history"]))
        if len(saved["embedding"]) != n or saved["averages"].ndim not in (1, 4):
            raise ValueError(f"{len(saved['embedding'])} rows of {n}")
        if not any(row["kept"] for row in history):
            raise ValueError("no iteration was kept")
    return saved, history


def _title(inputs: Sequence[str]) -> str:
    first = Path(inputs[0]).name
    return f"What is in {first}" + ("" if len(inputs) == 1 else f" and {len(inputs) - 1} more")


def _nuisance(folder: RunFolder) -> NuisanceTable | None:
    if not folder.nuisance.exists():
        return None
    notes = folder.record["stages"].get("audit", {}).get("notes", ())
    with reading(folder.nuisance, "a table of nuisances", "remove it to leave it out"):
        return table_of_rows(read_rows_csv(folder.nuisance), notes)


def _decoded(folder: RunFolder, store: SubtomogramStore) -> list[DecodedCluster]:
    """What `aitom-disca decode` wrote, if it was called."""
    stage = folder.record["stages"].get("decode")
    if stage is None:
        return []
    found = []
    for cluster, row in zip(stage["clusters"], stage["members"], strict=True):
        stem = folder.decoded / f"cluster_{cluster + 1:02d}"
        paths = [Path(f"{stem}_{name}.mrc") for name in ("member", "center")]
        if all(path.exists() for path in paths):
            member, center = (open_tomogram(path).read() for path in paths)
            volumes = (store.read(np.array([row]))[0], member, center)
            found.append(DecodedCluster(cluster, row, volumes))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    return read_rows_csv(path) if path.exists() else []


def _neighbours(folder: RunFolder) -> list[tuple[str, bytes]]:
    """Distances within and between clusters."""
    found = []
    for path in sorted((folder.averages / "space").glob("neighbours_*.png")):
        first, second = path.stem.split("_")[1:3]
        text = f"from each member of cluster {int(first)} to the nearest of cluster {int(second)}"
        found.append((text, path.read_bytes()))
    return found


def _findings(folder: RunFolder) -> list[str]:
    """Pairs of clusters that lie nearer or farther than by chance, the surest first."""
    rows = [
        (float(row["p_adjusted"]), row["finding"])
        for row in _rows(folder.averages / "space" / "neighbours.csv")
        if row["p_adjusted"] and " neither " not in row["finding"]
    ]
    return [finding for _, finding in sorted(rows)[:_MOST_FINDINGS]]


def _files(folder: RunFolder) -> list[tuple[str, str]]:
    described = (
        (folder.star, "all particles with cluster and posterior, for RELION"),
        (folder.star_folder, "one star file per cluster"),
        (folder.averages, "average, halves, mask, FSC and a star file with angles, by cluster"),
        (folder.embedded, "the averages put back into the tomograms; open the .cxc in ChimeraX"),
        (folder.curation, "what a person decided about the clusters"),
        (folder.decoded, "decoded centre of every cluster and its nearest member, MRC"),
        (folder.labels, "cluster and posterior of every subtomogram of the store"),
        (folder.nuisance, "what else than structure goes with each cluster, with its significance"),
        (folder.stability, "how often each cluster was found, run by run"),
        (folder.history, "K, BIC, DDBI and sizes of every iteration"),
        (folder.model, "the trained model, for aitom-disca predict"),
        (folder.record_file, "command line, settings, versions, seed and seconds per stage"),
    )
    return [
        (f"{path.name}/" if path.is_dir() else path.name, text)
        for path, text in described
        if path.exists()
    ]


def _history(rows: list[dict]) -> list[dict]:
    """Rows without the criteria of K, which are shown elsewhere, and without events if none.

    Sizes are the largest first, as the clusters are numbered: theirs are then the colours.
    """
    left_out = {"bic", "criteria"} | (set() if any(r.get("event") for r in rows) else {"event"})
    ordered = [row | {"sizes": sorted(row["sizes"], reverse=True)} for row in rows]
    return [{k: v for k, v in row.items() if k not in left_out} for row in ordered]
