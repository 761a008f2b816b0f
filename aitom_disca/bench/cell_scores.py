"""Score a run on cells against the truth: picks, clusters, what was called junk, averages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

from aitom_disca.bench.cell_truth import KnownCells, known_cells
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, read_picks_csv
from aitom_disca.io.formats.relion.read_star import read_particles_star
from aitom_disca.io.result_tables import read_labels_csv
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo, concatenate
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.simulation.cell import CellTruth

_LISTED_PX = 0.5  # places in files of junk are those of the subtomograms
_SAME_PX = 4.0  # a particle of the star file is a subtomogram moved by less than this
JUNK = "junk"

Row = dict[str, Any]


@dataclass(frozen=True)
class CellScore:
    """How well a run found, sorted and named what is in cells.

    Parameters
    ----------
    picker : dict
        Recall and precision of ``picks.csv`` on the wanted kinds, and what the other picks hit.
    sorting : dict
        K, ARI and the like of the particles in clusters.
    kinds, clusters, junk : list of dict
        A row for every wanted kind, every cluster, and every file of junk.
    seconds : dict
        Of every stage.
    """

    picker: Row
    sorting: Row
    kinds: list[Row]
    clusters: list[Row]
    junk: list[Row]
    seconds: dict[str, float]


def score_cells(
    truth: CellTruth, run: str | Path, surroundings: Mapping[str, np.ndarray] | None = None
) -> CellScore:
    """Score the folder of a run.

    A particle is found by a pick within its radius, or 8 voxels if that is less; one to one, as
    many as possible, wanted kinds first. Recall asks for particles at least 20 voxels from every
    face. Clusters are those of ``particles.star`` (of ``labels.csv`` where there is none), without
    what ``junk/*.star`` lists; subtomograms in none of them count as one class.

    Parameters
    ----------
    truth : CellTruth
        Its tomograms are found in the run by name, or by a name that goes on after ``_``.
    run : path
    surroundings : mapping of str to ndarray of shape (z, y, x), optional
        As in `aitom_disca.simulation.cell.Cell`, by the tomogram's name in the truth.

    Raises
    ------
    InputError
        If the folder holds no run with labels, or a tomogram of it is not in the truth.
    """
    folder = RunFolder(run)
    if not (folder.store.is_file() and folder.labels.is_file()):
        raise InputError(
            f"expected a run with {folder.store.name} and {folder.labels.name}, but {run} does not "
            "hold both; give the folder of a finished `aitom-disca run`."
        )
    with open_store(folder.store) as source:
        rows = source.particles()
    known = known_cells(truth, rows.tomograms, surroundings or {})
    junk = _junk(folder, known, rows.tomograms)
    found = _sorted_particles(folder, rows, [places for _, places in junk])
    hit = known.hit_by(found)
    kinds, cluster = known.kinds_of(found, hit), _clusters_of(found)
    picker = _picker(known, read_picks_csv(folder.picks, tomograms=rows.tomograms))
    return CellScore(
        picker=picker,
        sorting=_sorting(known.wanted[hit] & (hit >= 0), kinds, cluster),
        kinds=_by_kind(known, hit, found, picker),
        clusters=_by_cluster(known.wanted[hit] & (hit >= 0), kinds, cluster),
        junk=[_junk_row(known, name, places, found, kinds) for name, places in junk],
        seconds=_seconds(folder),
    )


def _sorted_particles(
    folder: RunFolder, rows: ParticleSet, junk: Sequence[ParticleSet]
) -> ParticleSet:
    """Every particle in a cluster, then every subtomogram that is none of them, in no cluster."""
    labels, _ = read_labels_csv(folder.labels)
    if folder.star.is_file():
        final = read_particles_star(folder.star, tomograms=rows.tomograms)
    else:
        final = rows.with_clusters(labels, None)
    cluster = _clusters_of(final)
    for places in junk:
        cluster[_near(final, places, _LISTED_PX)] = UNASSIGNED
    final = final.select(np.flatnonzero(cluster >= 0))
    others = rows.select(np.flatnonzero(~_near(rows, final, _SAME_PX)))
    nowhere = np.full(len(others), UNASSIGNED)
    parts = [final.with_clusters(cluster[cluster >= 0], None), others.with_clusters(nowhere, None)]
    return concatenate([_plain(part) for part in parts])


def _plain(found: ParticleSet) -> ParticleSet:
    """Places and clusters alone."""
    return ParticleSet(found.tomogram_name, found.center_zyx_px, cluster=found.cluster)


def _clusters_of(found: ParticleSet) -> np.ndarray:
    return np.full(len(found), UNASSIGNED) if found.cluster is None else found.cluster.copy()


def _near(found: ParticleSet, others: ParticleSet, distance_px: float) -> np.ndarray:
    """Which lie so near to one of the others."""
    near = np.zeros(len(found), bool)
    for name in np.unique(others.tomogram_name):
        own = np.flatnonzero(found.tomogram_name == name)
        tree = cKDTree(others.center_zyx_px[others.tomogram_name == name])
        near[own] = tree.query(found.center_zyx_px[own])[0] <= distance_px
    return near


def _junk(
    folder: RunFolder, known: KnownCells, tomograms: Mapping[str, TomogramInfo]
) -> list[tuple[str, ParticleSet]]:
    """What was called junk, by the names of its files."""
    found = []
    for path in sorted((folder.path / "junk").glob("*.star")):
        try:
            places = _plain(read_particles_star(path, tomograms=tomograms))
        except InputError:  # all of them in other tomograms
            continue
        if len(places):
            found.append((path.stem, places))
    return found


def _picker(known: KnownCells, picks: ParticleSet) -> Row:
    hit = known.hit_by(picks)
    right = (hit >= 0) & known.wanted[hit]
    asked = ~right | known.reachable[hit]  # at the faces a pick is neither right nor wrong
    wrong = Counter(known.kinds_of(picks, hit)[~right].tolist())
    n_asked = int((known.wanted & known.reachable).sum())
    n_right = int((right & asked).sum())
    by_kind = {}
    for kind in _wanted_kinds(known):
        own = (known.truth.kind == kind) & known.reachable & known.wanted
        by_kind[kind] = {"true": int(own.sum()), "picked": int(own[hit[hit >= 0]].sum())}
    return {
        "picks": len(picks),
        "recall": n_right / max(n_asked, 1),
        "precision": n_right / max(int(asked.sum()), 1),
        "wrong": dict(wrong.most_common()),
        "by_kind": by_kind,
    }


def _wanted_kinds(known: KnownCells) -> list[str]:
    return np.unique(known.truth.kind[known.wanted]).tolist()


def _sorting(right: np.ndarray, kinds: np.ndarray, cluster: np.ndarray) -> Row:
    """Figures of the whole sorting; what is in no cluster is a class of its own."""
    inside = cluster >= 0
    true = np.where(right, kinds, JUNK)
    most = [Counter(true[right & (cluster == k)]) for k in np.unique(cluster[inside])]
    best = [Counter(cluster[right & inside & (kinds == kind)]) for kind in np.unique(kinds[right])]
    return {
        "K": len(most),
        "ari": adjusted_rand_score(kinds[right], cluster[right]) if right.any() else np.nan,
        "ari_with_junk": adjusted_rand_score(true, cluster),
        "purity": sum(max(c.values(), default=0) for c in most) / max(int(inside.sum()), 1),
        "completeness": sum(max(c.values(), default=0) for c in best) / max(int(right.sum()), 1),
        "junk_in_clusters": int((inside & ~right).sum()) / max(int(inside.sum()), 1),
        "junk_out_of_clusters": int((~inside & ~right).sum()) / max(int((~right).sum()), 1),
    }


def _by_kind(known: KnownCells, hit: np.ndarray, found: ParticleSet, picker: Row) -> list[Row]:
    """For every wanted kind the cluster that holds it best, by the F1 score."""
    cluster = _clusters_of(found)
    rows = []
    for kind, counts in picker["by_kind"].items():
        own = (hit >= 0) & (known.truth.kind[hit] == kind) & known.wanted[hit]
        best: Row = {"cluster": 0, "recall": 0.0, "purity": 0.0, "f1": 0.0}
        for k in np.unique(cluster[own & (cluster >= 0)]):
            members = own & (cluster == k)
            recall = int((members & known.reachable[hit]).sum()) / max(counts["true"], 1)
            purity = int(members.sum()) / int((cluster == k).sum())
            f1 = 2 * recall * purity / max(recall + purity, 1e-9)
            if f1 > best["f1"]:
                best = {"cluster": int(k) + 1, "recall": recall, "purity": purity, "f1": f1}
        off = np.linalg.norm(found.center_zyx_px[own] - known.truth.center_zyx_px[hit[own]], axis=1)
        rows.append(
            {"kind": kind, **counts, "pick_recall": counts["picked"] / max(counts["true"], 1)}
            | {"off_centre_px": float(np.median(off)) if len(off) else None}
            | best
        )
    return rows


def _by_cluster(right: np.ndarray, kinds: np.ndarray, cluster: np.ndarray) -> list[Row]:
    """What every cluster holds."""
    rows = []
    for k in np.unique(cluster[cluster >= 0]):
        members = cluster == k
        wanted = Counter(kinds[members & right].tolist()).most_common(1)
        kind, count = wanted[0] if wanted else (JUNK, int(members.sum()))
        holds = dict(Counter(kinds[members].tolist()).most_common())
        share = count / int(members.sum())
        rows.append(
            {"cluster": int(k) + 1, "members": int(members.sum()), "kind": kind}
            | {"purity": share, "holds": holds}
        )
    return rows


def _junk_row(
    known: KnownCells, name: str, places: ParticleSet, found: ParticleSet, kinds: np.ndarray
) -> Row:
    """What a file of junk truly holds, and how much of its kind: of all beads, or of all found."""
    hit = known.hit_by(places)
    holds = known.kinds_of(places, hit)
    row: Row = {"name": name, "places": len(places)}
    row["holds"] = dict(Counter(holds.tolist()).most_common())
    beads = (known.truth.role == name) & known.reachable
    missed = int((~_near(found, places, _LISTED_PX) & (kinds == name)).sum())
    if beads.any():
        row["recall"] = int(beads[hit[hit >= 0]].sum()) / int(beads.sum())
    elif name in holds:
        row["recall"] = int((holds == name).sum()) / (int((holds == name).sum()) + missed)
    return row


def _seconds(folder: RunFolder) -> dict[str, float]:
    if not folder.record_file.is_file():
        return {}
    stages = json.loads(folder.record_file.read_text()).get("stages", {})
    return {name: stage["seconds"] for name, stage in stages.items()}
