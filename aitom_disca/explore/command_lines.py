"""The command line that does what was clicked."""

from __future__ import annotations

import shlex
from pathlib import Path

from aitom_disca.curation.decisions import Decision

_LONGEST = 100_000  # characters of one argument; Linux takes 131,072


def command_of(results: str | Path, decision: Decision) -> str:
    """The command that makes the same decision.

    Where it would be longer than a command line may be (thousands of particles moved), it is the
    one that makes all decisions of these results in a copy of them.
    """
    words = _OPTIONS[decision.action](decision)
    if decision.why:
        words += ["--why", decision.why]
    if max(map(len, words)) > _LONGEST:
        return replay_command(results)
    return shlex.join(["aitom-disca", "curate", str(results), *words])


def suggest_command(results: str | Path) -> str:
    """The command that asks what might be decided."""
    return shlex.join(["aitom-disca", "curate", str(results), "--suggest"])


def replay_command(results: str | Path) -> str:
    """The command that makes all decisions again, on another run of the same seed."""
    record = Path(results) / "curation.json"
    return f"aitom-disca curate OTHER_RESULTS --replay {shlex.quote(str(record))}"


def export_command(store: str | Path, results: str | Path, relion: str) -> str:
    """The command that writes the star files of the results as they are."""
    words = ["aitom-disca", "export", str(store), "--labels", str(Path(results) / "labels.csv")]
    words += ["--out", str(results), "--overwrite"]
    return shlex.join(words + ([] if relion == "3.1" else ["--relion", relion]))


def _listed(numbers: tuple[int, ...], separator: str = ",") -> str:
    return separator.join(map(str, numbers))


def _junk(one: Decision) -> list[str]:
    return ["--junk", _listed(one.clusters) + (f"={one.name}" if one.name else "")]


def _move(one: Decision) -> list[str]:
    return ["--move", f"{_listed(one.particles)}={_listed(one.clusters) or 0}"]


def _split(one: Decision) -> list[str]:
    return ["--split", str(one.clusters[0]), *(["--seed", str(one.seed)] if one.seed else [])]


_OPTIONS = {
    "merge": lambda one: ["--merge", _listed(one.clusters, "+")],
    "drop": lambda one: ["--drop", _listed(one.clusters)],
    "junk": _junk,
    "keep": lambda one: ["--keep-only", _listed(one.clusters)],
    "name": lambda one: ["--name", f"{_listed(one.clusters)}={one.name}"],
    "move": _move,
    "split": _split,
    "undo": lambda one: ["--undo"],
}
