"""Averages and the decisions that were made since: what they are called, and what is outdated."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.curation.curation_file import curated_of
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.file_text import load_json
from aitom_disca.io.formats.particles_of_store import is_labels_table
from aitom_disca.io.result_tables import read_labels_csv, read_rows_csv, write_rows_csv
from aitom_disca.runs.run_folder import RunFolder

AVERAGES_TABLE = "averages.csv"
MADE_OF = "made_of.json"
_WRITTEN = (".mrc", ".csv", ".png", ".star")


@dataclass(frozen=True)
class AveragesNow:
    """What a folder of averages is worth after the decisions about its clusters.

    Parameters
    ----------
    names : dict of int to str
        Of clusters, by their number from 1.
    gone : dict of int to str
        Averages whose clusters are no more, and what became of these.
    changed : dict of int to str
        Averages whose clusters have other members now, and why.
    labels : path, optional
        ``labels.csv`` that the averages follow, where that is known.
    """

    names: dict[int, str] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    changed: dict[int, str] = field(default_factory=dict)
    labels: Path | None = None

    @property
    def outdated(self) -> dict[int, str]:
        """Averages that show no cluster that there is, each with the reason."""
        return self.gone | self.changed


def write_made_of(
    folder: Path,
    labels: str | Path | None,
    cluster: np.ndarray,
    numbers: Sequence[int],
    kept: Sequence[int] = (),
) -> None:
    """Write down of which subtomograms the averages in a folder were made.

    Parameters
    ----------
    folder : path
    labels : path, optional
        File that the clusters come from.
    cluster : ndarray of int, shape (N,)
        From 0, -1 for none.
    numbers : sequence of int
        Clusters, from 1, that were averaged.
    kept : sequence of int
        Those whose averages stay as they were.
    """
    was = _made_of(folder)[1] if kept else {}
    members = {k: was[k] for k in kept if k in was} | _digests(cluster, numbers)
    where = None if labels is None else Path(os.path.relpath(labels, folder)).as_posix()
    record = {"labels": where, "members_sha256": {str(k): members[k] for k in sorted(members)}}
    write_text(folder / MADE_OF, json.dumps(record, indent=1) + "\n")


def averages_now(folder: str | Path) -> AveragesNow:
    """Say which averages are still those of their clusters, and what these are called.

    Averages that hold no record of their members (of an earlier version) are taken to be those of
    the clusters as they were sorted.

    Parameters
    ----------
    folder : path
        Of averages.

    Raises
    ------
    InputError
        If labels or decisions cannot be read.
    """
    folder = Path(folder)
    labels, members = _made_of(folder)
    if labels is None or not labels.is_file() or not is_labels_table(labels):
        return AveragesNow()
    curated = curated_of(labels)
    now = curated.labels
    gone, changed = {}, {}
    for number, was in members.items():
        rows = np.flatnonzero(now == number - 1)
        if not len(rows):
            gone[number] = curated.gone.get(number, "no subtomogram is in it now")
        elif _digest(rows) != was:
            changed[number] = curated.touched.get(number, "it has other members now")
    return AveragesNow(curated.names, gone, changed, labels)


def refuse_outdated(now: AveragesNow, numbers: Sequence[int], store: Path, folder: Path) -> None:
    """Refuse averages that are none of their clusters any more.

    Raises
    ------
    InputError
    """
    wrong = [number for number in numbers if number in now.outdated]
    if wrong:
        raise InputError(
            f"the average of cluster {wrong[0]} is that of other subtomograms "
            f"({now.outdated[wrong[0]]}); make it again: {command_to_average(now, store, folder)}"
        )


def command_to_average(now: AveragesNow, store: str | Path, folder: Path) -> str:
    """The command line that makes the averages of changed clusters again."""
    where = ["--labels", str(now.labels), "--out", str(folder)]
    which = [word for number in sorted(now.changed) for word in ("--cluster", str(number))]
    return shlex.join(["aitom-disca", "average", str(store), *where, *which, "--overwrite"])


def shown_averages(
    folder: str | Path, store: str | Path = "STORE"
) -> tuple[list[dict[str, str]], list[str]]:
    """Rows of ``averages.csv`` whose averages are still those of their clusters.

    Parameters
    ----------
    folder : path
        Of averages.
    store : path
        That they are made from, for the command in the note.

    Returns
    -------
    rows : list of dict
    notes : list of str
        Those that are left out and why, with the command that makes them again.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    table = Path(folder) / AVERAGES_TABLE
    if not table.is_file():
        return [], []
    now = averages_now(folder)
    rows = [row for row in read_averages(table) if int(row["cluster"]) not in now.outdated]
    if not now.changed:
        return rows, []
    which = ", ".join(f"cluster {number} ({why})" for number, why in sorted(now.changed.items()))
    one = len(now.changed) == 1
    note = (
        f"the average{'' if one else 's'} of {which}, made of other subtomograms than are in "
        f"{'it' if one else 'them'} now; make {'it' if one else 'them'} again: "
    )
    return rows, [note + command_to_average(now, store, Path(folder))]


def mark_averages(folder: str | Path) -> AveragesNow:
    """Write names, and what is outdated, into ``averages.csv``; say what is outdated.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    table = Path(folder) / AVERAGES_TABLE
    if not table.is_file():
        return AveragesNow()
    now = averages_now(folder)
    rows = read_averages(table)
    marked = with_names(rows, now.names)
    for row in marked:
        row["outdated"] = now.outdated.get(int(row["cluster"]), "")
    if not now.outdated:
        marked = [{k: v for k, v in row.items() if k != "outdated"} for row in marked]
    if marked != rows:
        write_rows_csv(table, marked)
    return now


def read_averages(table: Path) -> list[dict[str, str]]:
    """Rows of ``averages.csv``, whose numbers of clusters are such.

    Raises
    ------
    InputError
        If it is none.
    """
    with reading(table, "a table of averages", "average the clusters again"):
        rows = read_rows_csv(table)
        for row in rows:
            int(row["cluster"])
        return rows


def with_names(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Rows about clusters with a column of names behind the number, if there are any."""
    if not names and not any("name" in row for row in rows):
        return [{**row} for row in rows]
    named = []
    for row in rows:
        rest = {key: value for key, value in row.items() if key not in ("cluster", "name")}
        own = {"name": names.get(int(row["cluster"]), "")} if names else {}
        named.append({"cluster": row["cluster"], **own, **rest})
    return named


def remove_others(folder: Path, numbers: Sequence[int]) -> None:
    """Remove the averages of all clusters but these.

    Files of other kinds than averaging writes stay, and so does their folder.
    """
    kept = {f"cluster_{number:02d}" for number in numbers}
    for own in folder.glob("cluster_[0-9]*"):
        if own.name in kept or not own.name.removeprefix("cluster_").isdigit():
            continue
        for file in own.iterdir():
            if file.suffix in _WRITTEN:
                file.unlink()
        if not any(own.iterdir()):
            own.rmdir()


def _made_of(folder: Path) -> tuple[Path | None, dict[int, str]]:
    """The labels that averages follow, and a digest of the members of each."""
    if not (folder / MADE_OF).is_file():
        return _as_sorted(RunFolder(folder.parent))
    with reading(folder / MADE_OF, "what averages were made of", "average the clusters again"):
        record = load_json((folder / MADE_OF).read_text(encoding="utf-8"))
        members = {int(k): str(digest) for k, digest in record["members_sha256"].items()}
        where = record["labels"]
        return None if where is None else Path(os.path.normpath(folder / str(where))), members


def _as_sorted(run: RunFolder) -> tuple[Path | None, dict[int, str]]:
    """The labels of a run, and a digest of the members of every cluster that was sorted."""
    labels = run.sorted_labels if run.sorted_labels.is_file() else run.labels
    if not labels.is_file():
        return None, {}
    then, _ = read_labels_csv(labels)
    return run.labels, _digests(then, (np.unique(then[then >= 0]) + 1).tolist())


def _digests(cluster: np.ndarray, numbers: Sequence[int]) -> dict[int, str]:
    return {number: _digest(np.flatnonzero(cluster == number - 1)) for number in numbers}


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]
