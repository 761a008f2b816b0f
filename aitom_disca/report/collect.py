"""Gather what a run has written into the data of its report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.curation import decided
from aitom_disca.io import (
    SubtomogramStore,
    Tomogram,
    open_store,
    open_tomogram,
    read_labels_csv,
    read_rows_csv,
)
from aitom_disca.io.npz import read_npz
from aitom_disca.io.reading import reading
from aitom_disca.report.cell_of_run import averages_of_run, cells_of_run, views_of_means
from aitom_disca.report.html import AveragedCluster, DecodedCluster, ReportData
from aitom_disca.report.nuisance_table import NuisanceTable, table_of_rows
from aitom_disca.run_folder import RunFolder

_BATCH = 256
_AGAIN = "sort the store again (mine, or run with --overwrite)"
# Pictures of an averaged cluster, and what they show.
_AVERAGE_PICTURES = (
    ("slices", "three central slices"),
    ("surface", "surface, from two sides"),
    ("fsc", "Fourier shell correlation of the halves"),
)
_CURATED = (
    "A person decided about the clusters since they were sorted (curation.json): numbers, names "
    "and slices are those after it; averages, their table and the audit are of the clusters as "
    "they were when those were made."
)
_FEWEST_MEMBERS = 20  # of a cluster that can be judged


def collect(
    folder: RunFolder,
    store_path: str | Path,
    tomograms: Sequence[Tomogram] = (),
    notes: Sequence[str] = (),
) -> ReportData:
    """Read labels, history and store of a run, and average every cluster.

    Parameters
    ----------
    folder : RunFolder
        After its mining stage.
    store_path : path
    tomograms : sequence of Tomogram
        For pictures of the cells.
    notes : sequence of str
        What else the reader should know.
    """
    labels, posterior = read_labels_csv(folder.labels)
    curated = folder.curation.exists()
    if curated:
        notes = [*notes, _CURATED]
    saved, history = _sorted(folder.clusters, len(labels))
    kept = next(row for row in history if row["kept"])
    stages = folder.record["stages"]
    with open_store(store_path) as store:
        rows = _cluster_rows(labels, posterior)
        shown = [k for k, _, _ in rows]
        means, voxel_size = saved["averages"], store.voxel_size_angstrom
        aligned = len(means) > max(shown, default=0) and (curated or len(means) == len(rows))
        if aligned:  # they are Fourier-cropped
            share = float(saved["averages_box_share"]) if "averages_box_share" in saved else 1.0
            voxel_size *= share * store.box_shape_zyx[0] / means.shape[-1]
        else:
            means = cluster_means(store, labels, labels.max() + 1)
        decoded = _decoded(folder, store)
        particles, store_voxel = store.particles(), store.voxel_size_angstrom
    sizes = np.bincount(labels[labels >= 0], minlength=len(means))
    views = averages_of_run(folder, sizes.tolist(), store_voxel)
    if aligned and not views:
        views = views_of_means(folder, means, voxel_size)
    cells, undrawn = cells_of_run(folder, tomograms, particles, labels, views)
    return ReportData(
        title=f"What is in {_names(folder.record['inputs'])}",
        summary=_summary(folder, labels),
        cluster_rows=rows,
        cluster_means=means[shown],
        cluster_names=decided(folder.labels)[0],
        curated=curated,
        n_in_none=int((labels < 0).sum()),
        cluster_found=[] if curated else _found(stages),
        nuisance=_nuisance(folder),
        voxel_size_angstrom=voxel_size,
        means_are_aligned=aligned,
        decoded=decoded,
        averaged=_averaged(folder),
        neighbours=_neighbours(folder) if "average" in stages else (),
        embedding=saved["embedding"][:, :2] if saved["embedding"].shape[1] > 1 else None,
        labels=labels,
        bic_by_k={int(k): value for k, value in kept["bic"].items()},
        criteria=kept.get("criteria", {}),
        chosen_k=kept["k"],
        history=_history(history),
        best_iteration=kept["iteration"],
        cells=cells,
        settings=folder.record["settings"],
        versions=folder.record["versions"],
        timings_s={name: stage["seconds"] for name, stage in stages.items()},
        files=_files(folder),
        warnings=[*notes, *undrawn, *_warnings(stages, history)],
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


def cluster_means(store: SubtomogramStore, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """Unaligned mean (K, z, y, x) of every cluster's members, read in batches."""
    means = np.zeros((n_clusters, *store.box_shape_zyx), np.float32)
    for k in range(n_clusters):
        members = np.flatnonzero(labels == k)
        for start in range(0, len(members), _BATCH):
            means[k] += store.read(members[start : start + _BATCH]).sum(axis=0)
        means[k] /= max(len(members), 1)
    return means


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
            member, center = (open_tomogram(path) for path in paths)
            volumes = (store.read(np.array([row]))[0], member.read(), center.read())
            decoded_size = member.voxel_size_angstrom
            sizes = (store.voxel_size_angstrom, decoded_size, decoded_size)
            found.append(DecodedCluster(cluster, row, volumes, sizes))
    return found


def _averaged(folder: RunFolder) -> list[AveragedCluster]:
    """What averaging wrote, if it was done."""
    found = []
    preference = _preferences(folder)
    for row in folder.record["stages"].get("average", {}).get("rows", ()):
        cluster = row["cluster"]
        pictures = []
        for name, text in _AVERAGE_PICTURES:
            path = folder.averages / f"cluster_{cluster:02d}" / f"{name}.png"
            if path.exists():
                pictures.append((text, path.read_bytes()))
        directions = folder.averages / "space" / f"orientations_{cluster:02d}.png"
        if directions.exists():
            pictures.append(("from which sides members are seen", directions.read_bytes()))
        facts = _average_facts(row)
        if str(cluster) in preference:
            facts.append(("preferred view", preference[str(cluster)]))
        found.append(AveragedCluster(cluster - 1, facts, pictures))
    return found


def _preferences(folder: RunFolder) -> dict[str, str]:
    """Whether each cluster is seen from some sides more than from others."""
    path = folder.averages / "space" / "orientations.csv"
    if not path.exists():
        return {}
    return {row["cluster"]: row["preference"] for row in read_rows_csv(path)}


def _neighbours(folder: RunFolder) -> list[tuple[str, bytes]]:
    """Distances within and between clusters."""
    found = []
    for path in sorted((folder.averages / "space").glob("neighbours_*.png")):
        first, second = path.stem.split("_")[1:3]
        text = f"from each member of cluster {int(first)} to the nearest of cluster {int(second)}"
        found.append((text, path.read_bytes()))
    return found


def _cluster_rows(
    labels: np.ndarray, posterior: np.ndarray | None
) -> list[tuple[int, int, float | None]]:
    rows = []
    for k in range(labels.max() + 1):
        members = labels == k
        if not members.any():  # a person left it out
            continue
        sure = None if posterior is None else float(posterior[members].mean())
        rows.append((k, int(members.sum()), sure))
    return rows


def _names(inputs: list[str]) -> str:
    first = Path(inputs[0]).name
    return first if len(inputs) == 1 else f"{first} and {len(inputs) - 1} more"


def _summary(folder: RunFolder, labels: np.ndarray) -> list[tuple[str, str]]:
    stages = folder.record["stages"]
    rows = []
    if "pick" in stages:
        rows.append(("tomograms", str(len(folder.record["inputs"]))))
        rows.append(("picks", f"{stages['pick']['n_picks']:,}"))
    for row in stages.get("search", {}).get("rounds", ()):
        rows.append((f"particles in round {row['round']}", f"{row['particles']:,}"))
    rows.append(("subtomograms", f"{len(labels):,}"))
    rows.append(("clusters found", str(len(np.unique(labels[labels >= 0])))))
    if (labels < 0).any():
        rows.append(("in no cluster", f"{int((labels < 0).sum()):,}"))
    if "stability" in stages["mine"]:
        rows.append(("runs", str(stages["mine"]["stability"]["runs"])))
    index = _sorting(stages)["ddbi"]
    rows.append(("DDBI (lower is better)", "–" if index is None else f"{index:.3f}"))
    return rows


def _sorting(stages: dict) -> dict:
    """What the stages that sort say of the clusters; the last one has the last word."""
    return {**stages["mine"], **stages.get("refine", {}), **stages.get("search", {})}


def _found(stages: dict) -> list[str]:
    """In how many runs each cluster was found, where there were several."""
    stability = stages["mine"].get("stability")
    if stability is None or "refine" in stages:
        return []
    return [f"{n} of {stability['runs']} runs" for n in stability["found"]]


def _nuisance(folder: RunFolder) -> NuisanceTable | None:
    if not folder.nuisance.exists():
        return None
    notes = folder.record["stages"].get("audit", {}).get("notes", ())
    with reading(folder.nuisance, "a table of nuisances", "remove it to leave it out"):
        return table_of_rows(read_rows_csv(folder.nuisance), notes)


def _files(folder: RunFolder) -> list[tuple[str, str]]:
    described = (
        (folder.star, "all particles with cluster and posterior, for RELION"),
        (folder.star_folder, "one star file per cluster"),
        (folder.averages, "average, halves, mask, FSC and a star file with angles, by cluster"),
        (folder.embedded, "the averages put back into the tomograms; open the .cxc in ChimeraX"),
        (folder.decoded, "decoded centre of every cluster and its nearest member, MRC"),
        (folder.labels, "cluster and posterior of every subtomogram of the store"),
        (folder.nuisance, "what else than structure goes with each cluster, with its significance"),
        (folder.stability, "how often each cluster was found, run by run"),
        (folder.history, "K, BIC, DDBI and sizes of every iteration"),
        (folder.model, "the trained model, for aitom-disca predict"),
        (folder.record_file, "settings, versions, seed and seconds per stage"),
    )
    return [(path.name, text) for path, text in described if path.exists()]


def _history(rows: list[dict]) -> list[dict]:
    """Rows without the criteria of K, which are shown elsewhere, and without events if none.

    Sizes are the largest first, as the clusters are numbered: theirs are then the colours.
    """
    left_out = {"bic", "criteria"} | (set() if any(r.get("event") for r in rows) else {"event"})
    ordered = [row | {"sizes": sorted(row["sizes"], reverse=True)} for row in rows]
    return [{k: v for k, v in row.items() if k not in left_out} for row in ordered]


def _warnings(stages: dict, history: list[dict]) -> list[str]:
    found = [f"Iteration {r['iteration']}: {r['event']}." for r in history if r.get("event")]
    dropped = stages.get("extract", {}).get("n_dropped_border", 0)
    if dropped:
        found.append(f"{dropped} picks were too near to a face of the tomogram for a whole box.")
    if not _sorting(stages)["converged"]:
        found.append(
            "The clusters still changed when the sorting ended: it came to its largest number of "
            "rounds, not to rest."
        )
    found += stages.get("audit", {}).get("warnings", [])
    stability = stages["mine"].get("stability", {"found": [], "runs": 1})
    if "refine" in stages:  # the runs knew other clusters
        stability = {"found": [], "runs": 1}
    for k, n in enumerate(stability["found"]):
        if 2 * n < stability["runs"]:
            found.append(f"Cluster {k + 1} was found in {n} of {stability['runs']} runs only.")
    found += stages.get("refine", {}).get("warnings", [])
    found += stages.get("average", {}).get("warnings", [])
    smallest = min(_sorting(stages)["sizes"], default=_FEWEST_MEMBERS)
    if smallest < _FEWEST_MEMBERS:
        found.append(f"The smallest cluster has {smallest} members: too few to judge it.")
    return found


def _average_facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is said of an average, from its row of averages.csv."""
    if row.get("error"):
        return [("not averaged", row["error"])]
    facts = [("resolution", row["resolution"].replace(" A", " Å"))]
    if row["resolution_0.5_angstrom"] is not None:
        facts.append(("at FSC 0.5", f"{row['resolution_0.5_angstrom']:.0f} Å"))
    along, across = row["resolution_along_angstrom"], row["resolution_across_angstrom"]
    if along and across:
        facts.append(("along the beam, across", f"{along:.0f} Å, {across:.0f} Å"))
    if row.get("verdict"):
        facts.append(("verdict", row["verdict"]))
    if row.get("p_value") is not None:
        better = f"{100 * row['fit_better_than_null']:.0f} %"
        facts.append(("p of the null test", f"{row['p_value']:.2g}"))
        facts.append((f"members fit better than {row['null_test_of']}", better))
    facts.append(("p of even tilt angles", f"{row['tilt_uniform_p']:.2g}"))
    return facts
