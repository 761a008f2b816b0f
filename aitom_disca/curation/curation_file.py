"""``curation.json`` beside the labels: decisions are added to it, and the labels follow."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.curation.decisions import Decision
from aitom_disca.curation.replay import Curated, apply_decisions, in_force
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.file_text import load_json
from aitom_disca.io.result_tables import read_labels_csv, read_rows_csv, rows_as_csv
from aitom_disca.runs.run_folder import RunFolder

_VERSION = 1


class Curation:
    """The decisions about the labels in a folder.

    ``labels.csv`` always holds the labels after all decisions, so that whatever reads it goes by
    them; ``labels_sorted.csv`` keeps those that were sorted.

    Parameters
    ----------
    folder : path
        With ``labels.csv``, such as that of a run.
    n_clusters : int
        Of which these are the labels, where the last ones may have no members; by default the
        highest number in the labels.

    Raises
    ------
    InputError
        If there are no labels, or ``curation.json`` cannot be read or belongs to other labels.
    """

    def __init__(self, folder: str | Path, *, n_clusters: int = 0) -> None:
        files = RunFolder(folder)
        self.file, self.labels_file = files.curation, files.labels
        self.sorted_file = files.sorted_labels
        self.decisions: list[Decision] = []
        self.particles_sha256 = ""
        if not self.labels_file.is_file():
            raise InputError(
                f"expected the folder of a run with its labels, but {folder} holds no labels.csv."
            )
        if not self.file.exists():
            self.sorted, _ = read_labels_csv(self.labels_file)
            self.n_clusters = n_clusters or _highest(self.sorted)
            return
        record = read_record(self.file)
        self.decisions, self.particles_sha256 = record["decisions"], record["particles_sha256"]
        there = _digest(self.labels_file.read_text(encoding="utf-8"))
        if there not in (record["labels_sha256"], record["labels_before_sha256"]):
            raise InputError(
                f"{self.labels_file} was made anew since {self.file.name} was written; move "
                f"{self.file.name} away, and apply it to the new labels with --replay."
            )
        self.sorted, _ = read_labels_csv(self.sorted_file)
        self.n_clusters = record["n_clusters"] or _highest(self.sorted)  # older files say 0
        if there != record["labels_sha256"]:  # it was stopped between the two files
            write_text(self.labels_file, self._labels_text(self.curated(), self.decisions))

    def curated(self) -> Curated:
        """The labels after all decisions."""
        return apply_decisions(self.sorted, self.decisions, n_clusters=self.n_clusters)

    def add(self, decisions: Sequence[Decision], *, particles_sha256: str = "") -> Curated:
        """Add decisions, of this moment where they have no date; write the labels that follow.

        Nothing is written if one of them does not fit. ``particles_sha256`` tells of which
        particles the labels are, where that is known.

        Raises
        ------
        InputError
            If one does not fit, or others were added since the file was read.
        """
        if self.file.exists() and read_record(self.file)["decisions"] != self.decisions:
            raise InputError(
                f"decisions were added to {self.file} while this one was made, in a browser or "
                "another terminal; look at them and decide again."
            )
        every = [*self.decisions, *(one if one.date else one.now() for one in decisions)]
        curated = apply_decisions(self.sorted, every, n_clusters=self.n_clusters)
        before = self.labels_file.read_text(encoding="utf-8")
        if not self.file.exists():
            write_text(self.sorted_file, before)
        text = self._labels_text(curated, every)
        record = {
            "aitom_disca_curation": _VERSION,
            "labels_sha256": _digest(text),
            "labels_before_sha256": _digest(before),
            "particles_sha256": particles_sha256 or self.particles_sha256,
            "n_clusters": self.n_clusters,
            "names": {str(cluster): name for cluster, name in sorted(curated.names.items())},
            "junk": {kind: rows.tolist() for kind, rows in curated.junk.items() if len(rows)},
            "decisions": [one.record() for one in every],
        }
        write_text(self.file, _as_text(record))
        write_text(self.labels_file, text)
        self.decisions = every
        return curated

    def _labels_text(self, curated: Curated, decisions: Sequence[Decision]) -> str:
        """The sorted table with other clusters; whoever moved a particle is taken to be sure."""
        by_hand = {
            row
            for _, one in in_force(decisions)
            for row in one.particles
            if one.action == "move" and one.clusters
        }
        rows = read_rows_csv(self.sorted_file)
        for row in rows:
            index = int(row["index"])
            label = int(curated.labels[index])
            row["cluster"] = str(label + 1)
            if row.get("posterior") and (label < 0 or index in by_hand):
                row["posterior"] = "0" if label < 0 else "1"
        return rows_as_csv(rows)


def curated_of(labels: str | Path) -> Curated:
    """Labels with the decisions that they follow, if any; they are taken as they are else.

    Parameters
    ----------
    labels : path
        ``labels.csv``, beside which ``curation.json`` may lie.

    Raises
    ------
    InputError
        If a file cannot be read, or `Curation` was stopped while it wrote.
    """
    record = _record_of(labels)
    if record is None:
        return Curated(read_labels_csv(labels)[0])
    was, _ = read_labels_csv(RunFolder(Path(labels).parent).sorted_labels)
    return apply_decisions(was, record["decisions"], n_clusters=record["n_clusters"])


def decided(labels: str | Path) -> tuple[dict[int, str], dict[str, np.ndarray]]:
    """What a person decided about labels, as far as they do not say it themselves.

    Parameters
    ----------
    labels : path
        ``labels.csv``, beside which the ``curation.json`` that it follows may lie.

    Returns
    -------
    names : dict of int to str
        Of clusters, by their number from 1.
    junk : dict of str to ndarray of int
        Rows of the store that were called junk, by kind.

    Raises
    ------
    InputError
        If ``curation.json`` cannot be read, or `Curation` was stopped while it wrote.
    """
    record = _record_of(labels)
    return ({}, {}) if record is None else (record["names"], record["junk"])


def _record_of(labels: str | Path) -> dict[str, Any] | None:
    """The decisions that labels follow; None where there are none, or others."""
    files = RunFolder(Path(labels).parent)
    if Path(labels).name != files.labels.name or not files.curation.is_file():
        return None
    record = read_record(files.curation)
    now = _digest(files.labels.read_text(encoding="utf-8"))
    if now == record["labels_sha256"]:
        return record
    if now == record["labels_before_sha256"]:
        folder = shlex.quote(str(files.path))
        raise InputError(
            f"the last decisions in {files.curation} are not in {files.labels.name} yet, since "
            f"they were stopped while they were written; run aitom-disca curate {folder} first."
        )
    return None


def read_record(path: str | Path) -> dict[str, Any]:
    """What `Curation` wrote, with its decisions.

    Raises
    ------
    InputError
        If the file is none of curation.
    """
    with reading(path, "decisions about clusters"):
        record = load_json(Path(path).read_text(encoding="utf-8"))
        version, rows = record["aitom_disca_curation"], record["decisions"]
        record["names"] = {int(cluster): str(name) for cluster, name in record["names"].items()}
        record["junk"] = {str(kind): np.array(r, int) for kind, r in record["junk"].items()}
        digests = ("labels_sha256", "labels_before_sha256")
        record |= {name: str(record[name]) for name in digests}
        record["particles_sha256"] = str(record.get("particles_sha256", ""))
        record["n_clusters"] = int(record.get("n_clusters", 0))
    if version != _VERSION or not isinstance(rows, list):
        raise InputError(f"{path} is of version {version}, which this version cannot read.")
    decisions = []
    for number, row in enumerate(rows, 1):
        try:
            decisions.append(Decision.from_record(row))
        except InputError as error:
            raise InputError(f"{path}, decision {number}: {error}") from error
    return record | {"decisions": decisions}


def _as_text(record: dict[str, Any]) -> str:
    """As JSON, with lists of numbers on one line each."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    numbers = re.compile(r"\[\n\s*(-?\d+(?:,\n\s*-?\d+)*)\n\s*\]")
    return numbers.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n"


def _highest(labels: np.ndarray) -> int:
    """The highest number of a cluster, from 1; 0 where there is none."""
    return int(labels.max(initial=-1)) + 1


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
