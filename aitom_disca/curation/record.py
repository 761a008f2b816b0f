"""``curation.json`` beside the labels: decisions are added to it, and the labels follow."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.curation.apply import Curated, apply_decisions, in_force
from aitom_disca.curation.decisions import Decision
from aitom_disca.errors import InputError
from aitom_disca.io.atomic import write_text
from aitom_disca.io.tables import read_labels_csv, read_rows_csv

FILE = "curation.json"
SORTED = "labels_sorted.csv"  # as they were sorted, before any decision
_VERSION = 1


class Curation:
    """The decisions about the labels in a folder.

    ``labels.csv`` always holds the labels after all decisions, so that whatever reads it goes by
    them; ``labels_sorted.csv`` keeps those that were sorted.

    Parameters
    ----------
    folder : path
        With ``labels.csv``, such as that of a run.

    Raises
    ------
    InputError
        If there are no labels, or ``curation.json`` cannot be read or belongs to other labels.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.file = self.folder / FILE
        self.labels_file = self.folder / "labels.csv"
        self.sorted_file = self.folder / SORTED
        self.decisions: list[Decision] = []
        if not self.labels_file.is_file():
            raise InputError(
                f"expected the folder of a run with its labels, but {folder} holds no labels.csv."
            )
        if not self.file.exists():
            self.sorted, _ = read_labels_csv(self.labels_file)
            return
        record = read_record(self.file)
        self.decisions = record["decisions"]
        there = _digest(self.labels_file.read_text(encoding="utf-8"))
        if there not in (record["labels_sha256"], record["labels_before_sha256"]):
            raise InputError(
                f"{self.labels_file} was made anew since {FILE} was written; move {FILE} away, and "
                "apply it to the new labels with --replay."
            )
        self.sorted, _ = read_labels_csv(self.sorted_file)
        if there != record["labels_sha256"]:  # it was stopped between the two files
            write_text(self.labels_file, self._labels_text(self.curated(), self.decisions))

    def curated(self) -> Curated:
        """The labels after all decisions."""
        return apply_decisions(self.sorted, self.decisions)

    def add(self, decisions: Sequence[Decision]) -> Curated:
        """Add decisions, of this moment where they have no date; write the labels that follow.

        Nothing is written if one of them does not fit.

        Raises
        ------
        InputError
            If one does not fit.
        """
        every = [*self.decisions, *(one if one.date else one.now() for one in decisions)]
        curated = apply_decisions(self.sorted, every)
        before = self.labels_file.read_text(encoding="utf-8")
        if not self.file.exists():
            write_text(self.sorted_file, before)
        text = self._labels_text(curated, every)
        record = {
            "aitom_disca_curation": _VERSION,
            "labels_sha256": _digest(text),
            "labels_before_sha256": _digest(before),
            "names": {str(cluster): name for cluster, name in sorted(curated.names.items())},
            "junk": {kind: rows.tolist() for kind, rows in curated.junk.items() if len(rows)},
            "decisions": [one.record() for one in every],
        }
        write_text(self.file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
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
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def cluster_names(labels: str | Path) -> dict[int, str]:
    """Names that clusters were given, by their number from 1; those of the labels in a file.

    Parameters
    ----------
    labels : path
        ``labels.csv``, beside which ``curation.json`` may lie.
    """
    record = _record_of(labels)
    return {} if record is None else record["names"]


def junk_rows(labels: str | Path) -> dict[str, np.ndarray]:
    """Rows of the store that were called junk, by kind; parameters as in `cluster_names`."""
    record = _record_of(labels)
    return {} if record is None else record["junk"]


def read_record(path: str | Path) -> dict[str, Any]:
    """What `Curation` wrote, with its decisions.

    Raises
    ------
    InputError
        If the file is none of curation.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        version, rows = record["aitom_disca_curation"], record["decisions"]
        record["names"] = {int(cluster): str(name) for cluster, name in record["names"].items()}
        record["junk"] = {str(kind): np.array(r, int) for kind, r in record["junk"].items()}
        digests = ("labels_sha256", "labels_before_sha256")
        record |= {name: str(record[name]) for name in digests}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as decisions about clusters ({error}).") from error
    if version != _VERSION or not isinstance(rows, list):
        raise InputError(f"{path} is of version {version}, which this version cannot read.")
    decisions = []
    for number, row in enumerate(rows, 1):
        try:
            decisions.append(Decision.from_record(row))
        except InputError as error:
            raise InputError(f"{path}, decision {number}: {error}") from error
    return record | {"decisions": decisions}


def _record_of(labels: str | Path) -> dict[str, Any] | None:
    """Of the curation beside these labels, if it wrote them."""
    file = Path(labels).parent / FILE
    if Path(labels).name != "labels.csv" or not file.is_file():
        return None
    record = read_record(file)
    there = _digest(Path(labels).read_text(encoding="utf-8"))
    return record if record["labels_sha256"] == there else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
