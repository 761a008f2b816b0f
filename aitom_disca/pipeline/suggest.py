"""What might be decided about the clusters of a run, each with its reason. Nothing is changed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.config import MineSettings
from aitom_disca.curation.averages import shown_averages
from aitom_disca.curation.curation_file import curated_of
from aitom_disca.curation.replay import Curated
from aitom_disca.curation.suggestions import (
    Suggestion,
    drops_by_averages,
    drops_by_nuisance,
    names_by_maps,
    splits,
)
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import tilt_ranges_of
from aitom_disca.io import open_store, read_rows_csv
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.pipeline.curate import settings_of, store_of_results
from aitom_disca.pipeline.labels_of_store import labels_of_store
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder

FEWEST_TO_TEST = 8  # members, of which two halves can be averaged
_TOLD_Z = 3.0


@dataclass(frozen=True)
class Suggestions:
    """What might be decided, and what could not be judged, in sentences."""

    found: list[Suggestion]
    not_judged: list[str]

    def record(self, results: str | Path) -> dict[str, Any]:
        """As plain values."""
        found = [one.record(results) for one in self.found]
        return {"suggestions": found, "not_judged": self.not_judged}

    def lines(self, results: str | Path) -> list[str]:
        """To be read: each reason, and the command that decides so."""
        said = []
        for one in self.found:
            said += [f"{one.action}: {one.reason}", f"    {one.command(results)}"]
        if not self.found:
            said.append("nothing to suggest")
        return said + [f"not judged: {text}" for text in self.not_judged]


def suggest(results: str | Path, *, store: str | Path | None = None, seed: int = 0) -> Suggestions:
    """Propose merges, drops, names and what to sort again, from what a folder holds.

    Two clusters should be merged if their members fit a joint average, made without them, as well
    as averages of their own: the test by which sorting merges (`Merger`). Clusters should be
    dropped that are not told from noise, or that something else than structure explains.

    Parameters
    ----------
    results : path
        Folder with ``labels.csv``.
    store : path, optional
        Of the subtomograms; by default the folder's own. Without one no merges are judged.
    seed : int

    Raises
    ------
    InputError
        If there are no labels, or a file cannot be read.
    """
    folder = RunFolder(results)
    if not folder.labels.is_file():
        raise InputError(
            f"expected the folder of a run with its labels, but {results} holds no labels.csv."
        )
    curated, not_judged = curated_of(folder.labels), []
    there = curated.clusters()
    source = store_of_results(results, store)
    rows, notes = shown_averages(folder.averages, source or "STORE")
    not_judged += notes
    if not rows:
        paths = [source or "STORE", "--labels", folder.labels, "--out", folder.averages]
        command = shlex.join(["aitom-disca", "average", *map(str, paths), "--overwrite"])
        not_judged.append(
            f"what is noise, and what to sort again, for want of averages; make them: {command}"
        )
    not_judged += _without_verdict(rows)
    drops = drops_by_averages(rows)
    drops += _by_nuisance(folder, curated, rows, drops, not_judged)
    merges, alike = _merges(source, folder, there, seed, not_judged)
    merged = {k for one in merges for k in one.clusters}  # averaged together, they are judged anew
    drops = [one for one in drops if not merged & {*one.clusters}]
    left_out = merged | {k for one in drops for k in one.clusters}
    if not rows:
        drops += [one for one in alike if not left_out & {*one.clusters}]
    again = [one for one in splits(rows) if not left_out & {*one.clusters}]
    shown = {int(row["cluster"]) for row in rows}
    names = _names(folder, curated, shown & {*there}, not_judged)
    names = [one for one in names if one.clusters[0] not in {d.clusters[0] for d in drops}]
    return Suggestions([*merges, *drops, *names, *again], not_judged)


def _without_verdict(rows: list[dict[str, str]]) -> list[str]:
    """Averages that no null test judged."""
    unknown = [r["cluster"] for r in rows if not r.get("error") and not _judged(r)]
    if not unknown:
        return []
    one = len(unknown) == 1
    return [
        f"whether cluster{'' if one else 's'} {', '.join(unknown)} {'is' if one else 'are'} noise: "
        "the null test was left out, or had too few members"
    ]


def _judged(row: dict[str, str]) -> bool:
    verdict = row.get("verdict", "")
    return bool(verdict) and not verdict.startswith("not judged")


def _by_nuisance(
    folder: RunFolder,
    curated: Curated,
    rows: list[dict[str, str]],
    drops: list[Suggestion],
    not_judged: list[str],
) -> list[Suggestion]:
    if not folder.nuisance.is_file():
        not_judged.append("what else than structure explains clusters: there is no nuisance.csv")
        return []
    trusted = [int(r["cluster"]) for r in rows if r.get("verdict", "").startswith("more than")]
    known = {number for one in drops for number in one.clusters}
    changed = {*curated.touched, *curated.gone}  # the audit is of the clusters as they were
    with reading(folder.nuisance, "a table of nuisances", "remove it to leave it out"):
        found = drops_by_nuisance(read_rows_csv(folder.nuisance), trusted)
    return [one for one in found if one.clusters[0] not in known | changed]


def _names(
    folder: RunFolder, curated: Curated, shown: set[int], not_judged: list[str]
) -> list[Suggestion]:
    table = folder.averages / "identified.csv"
    if not table.is_file():
        path = shlex.quote(str(folder.path))
        not_judged.append(f"names: run aitom-disca identify {path} --maps DIR first")
        return []
    with reading(table, "what averages are likest", "run identify again"):
        return names_by_maps(read_rows_csv(table), curated.names, shown)


def _merges(
    store: Path | None, folder: RunFolder, there: list[int], seed: int, not_judged: list[str]
) -> tuple[list[Suggestion], list[Suggestion]]:
    """Pairs that are one structure, and clusters that nothing tells from the others."""
    if store is None:
        not_judged.append("which clusters are one: no store is known (--store)")
        return [], []
    with open_store(store) as source:
        labels, _ = labels_of_store(source, folder.labels)
        sizes = {k: int((labels == k - 1).sum()) for k in there}
        large = [k for k in there if sizes[k] >= FEWEST_TO_TEST]
        small = [str(k) for k in there if k not in large]
        if small:
            not_judged.append(
                f"which clusters are one with {', '.join(small)}: fewer than {FEWEST_TO_TEST} "
                "members"
            )
        if len(large) < 2:
            return [], []
        say(f"comparing {len(large)} clusters by members that their averages are made without")
        pairs, held_out = _asked(source, labels, large, settings_of(folder.path), seed)
    merges: list[Suggestion] = []
    for one in sorted(pairs, key=lambda one: -(one.z - one.limit)):
        a, b = large[one.first], large[one.second]
        if not one.one or any({a, b} & {*m.clusters} for m in merges):
            continue
        how = "better than" if one.z > 0 else "as well as"
        reason = (
            f"the members of {a} and {b} ({sizes[a]} and {sizes[b]}) fit one average of both, made "
            f"without them, {how} averages of their own."
        )
        evidence = {"z": round(one.z, 2), "limit": round(one.limit, 2)}
        first, second = (a, b) if sizes[a] >= sizes[b] else (b, a)
        merges.append(Suggestion("merge", (first, second), reason, evidence=evidence))
    alike = [
        Suggestion(
            "drop",
            (k,),
            f"coefficients that had no part in the choice do not tell the {sizes[k]} members of "
            f"cluster {k} from those of others.",
            evidence={"held_out_z": round(one.z, 2)},
        )
        for k, one in zip(large, held_out, strict=True)
        if not one.z > _TOLD_Z
    ]
    return merges, alike


def _asked(
    source: SubtomogramStore,
    labels: np.ndarray,
    large: list[int],
    settings: MineSettings,
    seed: int,
) -> tuple[list[Any], list[Any]]:
    """Verdicts on pairs of clusters and on each, by as many members as are sorted at once."""
    from aitom_disca.mining.feature_extraction import mask_radius_px
    from aitom_disca.mining.sort_store import drawn_rows, sort_source
    from aitom_disca.subtomograms.dataset import SomeOf

    inside = np.flatnonzero(np.isin(labels, np.array(large) - 1))
    own = np.searchsorted(large, labels[inside] + 1)
    drawn = drawn_rows(len(inside), settings.alignment_most, np.random.default_rng(seed), own)
    rows, own = inside[drawn], own[drawn]
    found: list[tuple[list[Any], list[Any]]] = []

    def ask(sorter: Any) -> np.ndarray:
        found.append(sorter.judge_known(own))
        return own

    sort_source(
        SomeOf(source, rows),
        np.arange(len(rows)),
        ask,
        tilt_ranges_of(source.tilt_range_deg, rows),
        mask_radius_px=mask_radius_px(source, settings),
        graded_wedge=settings.graded_wedge,
        seed=seed,
        settings=settings.constants,
    )
    return found[0]
