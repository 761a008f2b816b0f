"""What might be decided about clusters, and why, from the tables that a run has written."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aitom_disca.curation.decisions import Action, check_name
from aitom_disca.errors import InputError

FEWEST_TO_SORT = 48  # members, of which two structures can be made
_COARSER = 1.25  # times the resolution of an average of fewer members
_OF_STRUCTURE = ("mean intensity", "standard deviation")  # which heavier structures have as well
_ROUND = "no more than a round density"
_OPTIONS: Mapping[str, str] = {"merge": "+", "drop": ",", "split": ","}


@dataclass(frozen=True)
class Suggestion:
    """One decision that might be made.

    Parameters
    ----------
    action : {"merge", "drop", "name", "split"}
    clusters : tuple of int
        From 1.
    reason : str
        In a sentence.
    name : str
        Of the cluster, for ``name``.
    evidence : mapping
        The figures behind it, by name.
    """

    action: Action
    clusters: tuple[int, ...]
    reason: str
    name: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def command(self, results: str | Path) -> str:
        """The command that decides so."""
        numbers = _OPTIONS.get(self.action, ",").join(map(str, self.clusters))
        value = f"{numbers}={self.name}" if self.action == "name" else numbers
        return shlex.join(["aitom-disca", "curate", str(results), f"--{self.action}", value])

    def record(self, results: str | Path) -> dict[str, Any]:
        """As plain values."""
        own = {"action": self.action, "clusters": list(self.clusters), "reason": self.reason}
        named = {"name": self.name} if self.name else {}
        return {**own, **named, "evidence": {**self.evidence}, "command": self.command(results)}


def drops_by_averages(rows: Sequence[Mapping[str, str]]) -> list[Suggestion]:
    """Clusters whose averages are not told from noise, from rows of ``averages.csv``."""
    found = []
    for row in rows:
        number, members = int(row["cluster"]), row.get("members", "")
        who = f"the average of cluster {number} ({members} members)"
        verdict = row.get("verdict", "")
        if row.get("error"):
            reason = f"cluster {number} could not be averaged: {row['error'].rstrip('.')}."
        elif verdict.startswith("doubtful"):
            p = row.get("p_value", "")
            likely = f" (noise fits as well with a probability of {p})" if p else ""
            reason = f"{who} is {verdict.removeprefix('doubtful: ')}{likely}."
            if "halves" in verdict:
                reason = f"the halves of {who} share nothing."
        else:
            continue
        evidence = {"verdict": verdict, "p_value": _number(row.get("p_value", ""))}
        found.append(Suggestion("drop", (number,), reason, evidence=evidence))
    return found


def drops_by_nuisance(
    rows: Sequence[Mapping[str, str]], trusted: Sequence[int]
) -> list[Suggestion]:
    """Clusters that something else than structure tells apart, from rows of ``nuisance.csv``.

    Parameters
    ----------
    rows : sequence of mapping
    trusted : sequence of int
        Clusters, from 1, whose averages are more than noise: what goes with these may be where
        such particles are.
    """
    found: dict[int, Suggestion] = {}
    for row in rows:
        plain = row["cluster"] == "all" or row["property"] in _OF_STRUCTURE
        if plain or row.get("large") != "1" or int(row["cluster"]) in trusted:
            continue
        number, tells = int(row["cluster"]), _number(row["tells_apart"]) or 0.0
        if number in found and (found[number].evidence["tells_apart"] or 0) >= tells:
            continue
        reason = (
            f"the {row['property']} alone tells the members of cluster {number} from all others "
            f"with {100 * tells:.0f} %, and no average says that they are one structure."
        )
        evidence = {"property": row["property"], "tells_apart": tells}
        found[number] = Suggestion("drop", (number,), reason, evidence=evidence)
    return list(found.values())


def names_by_maps(
    rows: Sequence[Mapping[str, str]], names: Mapping[int, str], there: Collection[int]
) -> list[Suggestion]:
    """Names of clusters that have none, from rows of ``identified.csv``.

    Of two clusters that are likest to one map, that of the better score is named.
    """
    found: dict[str, Suggestion] = {}
    for row in sorted(rows, key=lambda row: -float(row["score"])):
        number, name = int(row["cluster"]), row["proposed"]
        if not name or number in names or number not in there or name in names.values():
            continue
        try:
            check_name(name)
        except InputError:  # a file's name need not be one that a cluster can have
            continue
        second = f", {row['over_second']} more than {row['second']}" if row["second"] else ""
        reason = (
            f"the average of cluster {number} is likest to {name}: their correlation is "
            f"{row['score']}{second} and {row['over_noise']} more than noise reaches."
        )
        keys = ("score", "over_second", "over_noise")
        evidence = {key: _number(row[key]) for key in keys}
        found.setdefault(name, Suggestion("name", (number,), reason, name, evidence))
    return sorted(found.values(), key=lambda one: one.clusters)


def splits(rows: Sequence[Mapping[str, str]]) -> list[Suggestion]:
    """Clusters that may hold several structures, from rows of ``averages.csv``.

    Their averages show less than those of fewer members do, or nothing but a round density.
    """
    sharp = [
        (size, resolution)
        for row in rows
        if (size := _number(row.get("members", "")))
        and (resolution := _number(row.get("resolution_0.143_angstrom", "")))
        and not row.get("verdict", "").startswith("doubtful")
    ]
    found = []
    for row in rows:
        number, size = int(row["cluster"]), _number(row.get("members", "")) or 0
        own = _number(row.get("resolution_0.143_angstrom", ""))
        if size < FEWEST_TO_SORT or own is None or row.get("verdict", "").startswith("doubtful"):
            continue
        best = min((r for n, r in sharp if n < size), default=math.inf)
        who = f"cluster {number} ({size:.0f} members)"
        if _ROUND in row.get("verdict", ""):
            reason = f"the average of {who} is {_ROUND}: they may be of several structures."
        elif own > _COARSER * best:
            reason = (
                f"the average of {who} shows {own:.0f} A, where one of fewer members shows "
                f"{best:.0f} A: they may be of several structures."
            )
        else:
            continue
        evidence = {"members": int(size), "resolution_angstrom": own}
        found.append(Suggestion("split", (number,), reason, evidence=evidence))
    return found


def _number(text: str) -> float | None:
    """A number in a table; None where there is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
