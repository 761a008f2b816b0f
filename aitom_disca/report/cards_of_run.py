"""The cards of a run: what its files say of every cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from aitom_disca.curation import decided
from aitom_disca.curation.averages import AVERAGES_TABLE, averages_now, read_averages
from aitom_disca.io import SubtomogramStore, read_labels_csv, read_rows_csv
from aitom_disca.io.disk.npz import read_npz
from aitom_disca.report.cards import N_MEMBERS, ClusterCard, ranked
from aitom_disca.report.verdict_of_cluster import judge, noise_in_words, number_in
from aitom_disca.runs.run_folder import RunFolder

_PICTURES = ("surface", "slices", "fsc")  # PNG files in the folder of an average
_SUBJECT = re.compile(r"(?:The average of c|C)luster (\d+)\b")
_SEEN = {
    "none": "Its members are seen from all sides alike, as far as can be told.",
    "one-sided": "Its members are seen from one side more than from others.",
    "axial": "Its members are seen mostly along one axis, from either end.",
    "equatorial": "Its members are seen mostly from the sides that lie around one axis.",
}
_BATCH, _MOST_IN_MEAN = 256, 512


def cards_of_run(folder: RunFolder, store: SubtomogramStore) -> list[ClusterCard]:
    """The cards of a run that has clusters, the most to be trusted first.

    Numbers, names and sizes are those after what a person decided. The volumes of averages are
    not read yet, and of the store only the members of clusters that have neither an average nor a
    mean.

    Parameters
    ----------
    folder : RunFolder
    store : SubtomogramStore
        That was sorted.

    Raises
    ------
    InputError
        If labels, tables or decisions cannot be read.
    """
    labels, posterior = read_labels_csv(folder.labels)
    names, averages = decided(folder.labels)[0], averages_of_run(folder)
    seen, found = _orientations(folder), _found(folder)
    changed = averages_now(folder.averages).changed if averages else {}
    warnings = by_cluster(warnings_of_run(folder))
    means, picked = _means(folder, store, labels), store.diameter_angstrom
    cards = []
    for number in (np.unique(labels[labels >= 0]) + 1).tolist():
        members = np.flatnonzero(labels == number - 1)
        sure = None if posterior is None else posterior[members]
        average = averages.get(number)
        verdict, doubts = judge(
            average,
            len(members),
            warnings.get(number, ()),
            changed=changed.get(number, ""),
            any_averages=bool(averages),
        )
        card = ClusterCard(
            number,
            len(members),
            len(members) / len(labels),
            names.get(number, ""),
            None if sure is None else float(sure.mean()),
            found.get(number, ""),
            verdict,
            doubts,
            orientations="" if number in changed else seen.get(number, ""),
            diameter_angstrom=_diameter(store, None if picked is None else picked[members]),
            member_rows=_surest(members, sure),
            **_measured({} if number in changed else average or {}),
            **_volume(folder, number, store, means, members, number in changed),
        )
        cards.append(card)
    return ranked(cards)


def averages_of_run(folder: RunFolder) -> dict[int, dict[str, str]]:
    """Rows of averages.csv by the number of their cluster; empty where nothing was averaged."""
    table = folder.averages / AVERAGES_TABLE
    return {int(row["cluster"]): row for row in read_averages(table)} if table.exists() else {}


def sorting_of(stages: Mapping[str, Any]) -> dict[str, Any]:
    """What the stages that sort say of the clusters; the last one has the last word."""
    return {**stages["mine"], **stages.get("refine", {}), **stages.get("search", {})}


def warnings_of_run(folder: RunFolder) -> list[str]:
    """What audit, refinement and repeated runs warn of; averages have their verdicts."""
    stages = folder.record["stages"]
    found = [*stages.get("audit", {}).get("warnings", [])]
    found += [
        re.sub(r" \(z = [^)]*\)", "", text)  # a figure that only the table explains
        for text in stages.get("refine", {}).get("warnings", [])
    ]
    stability = _stability(stages)
    for k, n in enumerate(stability.get("found", ())):
        if 2 * n < stability["runs"]:
            found.append(f"Cluster {k + 1} was found in {n} of {stability['runs']} runs only.")
    return found


def by_cluster(warnings: Iterable[str]) -> dict[int, list[str]]:
    """Warnings by the number of the cluster that they are about; the others under 0."""
    found: dict[int, list[str]] = {}
    for text in warnings:
        subject = _SUBJECT.match(text)
        found.setdefault(int(subject[1]) if subject else 0, []).append(text)
    return found


def _stability(stages: Mapping[str, Any]) -> dict[str, Any]:
    """In how many runs clusters were found; nothing where others came of them since."""
    return {} if "refine" in stages else stages["mine"].get("stability", {})


def _found(folder: RunFolder) -> dict[int, str]:
    stability = _stability(folder.record["stages"])
    if folder.curation.exists():  # a person made other clusters of them
        return {}
    found = enumerate(stability.get("found", ()), 1)
    return {number: f"{n} of {stability['runs']} runs" for number, n in found}


def _orientations(folder: RunFolder) -> dict[int, str]:
    path = folder.averages / "space" / "orientations.csv"
    if not path.exists():
        return {}
    return {int(row["cluster"]): _SEEN[row["preference"]] for row in read_rows_csv(path)}


def _measured(average: Mapping[str, str]) -> dict[str, Any]:
    """Figures of an average, and in words."""
    better, p_value = (number_in(average, c) for c in ("fit_better_than_null", "p_value"))
    return {
        "resolution_angstrom": number_in(average, "resolution_0.143_angstrom"),
        "resolution": average.get("resolution", "").replace(" A", " Å"),
        "noise_p_value": p_value,
        "fit_better_than_noise": better,
        "against_noise": noise_in_words(better, p_value, average.get("null_test_of", "")),
    }


def _surest(members: np.ndarray, posterior: np.ndarray | None) -> tuple[int, ...]:
    order = np.arange(len(members)) if posterior is None else np.argsort(-posterior, kind="stable")
    return tuple(members[order[:N_MEMBERS]].tolist())


def _diameter(store: SubtomogramStore, picked: np.ndarray | None) -> float | None:
    sizes = np.zeros(0) if picked is None else picked[np.isfinite(picked)]
    return float(np.median(sizes)) if len(sizes) else store.particle_diameter_angstrom


def _means(
    folder: RunFolder, store: SubtomogramStore, labels: np.ndarray
) -> tuple[np.ndarray | None, float]:
    """Aligned means (K, z, y, x) of the clusters that sorting kept, and their voxel size."""
    saved = read_npz(folder.clusters, "what a sorting kept", "sort the store again")
    means = saved["averages"]
    fits = len(means) == int(labels.max(initial=-1)) + 1 or folder.curation.exists()
    if means.ndim != 4 or not fits:
        return None, store.voxel_size_angstrom
    share = float(saved["averages_box_share"]) if "averages_box_share" in saved else 1.0
    edge_angstrom = store.box_shape_zyx[0] * store.voxel_size_angstrom * share
    return means, edge_angstrom / means.shape[-1]  # they are Fourier-cropped


def _volume(
    folder: RunFolder,
    number: int,
    store: SubtomogramStore,
    means: tuple[np.ndarray | None, float],
    members: np.ndarray,
    changed: bool,
) -> dict[str, Any]:
    """The average and its pictures, if it is that of these members, or else a mean."""
    if changed:
        return _plain_mean(store, members)
    own = folder.averages / f"cluster_{number:02d}"
    directions = folder.averages / "space" / f"orientations_{number:02d}.png"
    paths = {name: own / f"{name}.png" for name in _PICTURES} | {"orientations": directions}
    found: dict[str, Any] = {"pictures": {k: path for k, path in paths.items() if path.exists()}}
    if (own / "filtered.mrc").is_file():
        return found | {
            "volume_file": own / "filtered.mrc",
            "voxel_size_angstrom": store.voxel_size_angstrom,
        }
    aligned, voxel = means
    if aligned is not None and number <= len(aligned):  # a person may have split others off
        return found | {"mean_zyx": aligned[number - 1], "voxel_size_angstrom": voxel}
    return found | _plain_mean(store, members)


def _plain_mean(store: SubtomogramStore, members: np.ndarray) -> dict[str, Any]:
    """Of members as they lie in the store."""
    return {
        "mean_zyx": mean_of(store, members[:_MOST_IN_MEAN]),
        "mean_is_aligned": False,
        "voxel_size_angstrom": store.voxel_size_angstrom,
    }


def mean_of(store: SubtomogramStore, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Mean (z, y, x) of subtomograms as they lie in the store, read in batches."""
    total = np.zeros(store.box_shape_zyx, np.float32)
    for start in range(0, len(rows), _BATCH):
        total += store.read(np.asarray(rows[start : start + _BATCH])).sum(axis=0)
    return total / max(len(rows), 1)
