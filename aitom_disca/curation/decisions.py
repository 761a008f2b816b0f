"""One decision about clusters, as it stands in ``curation.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from aitom_disca.errors import InputError
from aitom_disca.number_text import counted

Action = Literal["merge", "drop", "junk", "keep", "name", "move", "split", "undo"]
_ACTIONS = get_args(Action)
_LONGEST_NAME = 60
_FEWEST = {"merge": 2, "drop": 1, "junk": 1, "keep": 1, "name": 1, "move": 0, "split": 1, "undo": 0}


@dataclass(frozen=True)
class Decision:
    """What was decided, by whom and why. Clusters are counted from 1, as in every file.

    Parameters
    ----------
    action : {"merge", "drop", "junk", "keep", "name", "move", "split", "undo"}
        ``merge``: all clusters become the first of them. ``drop``: their members are in no cluster
        from then on. ``junk``: the same, and they are listed as junk of the kind ``name``.
        ``keep``: all other clusters are dropped. ``name``: the cluster is called so. ``move``:
        single particles go to another cluster, or none. ``split``: the members of a cluster were
        sorted again. ``undo``: the last decision in force does not count.
    clusters : tuple of int
        From 1; for ``move`` the one that the particles go to, nothing for none; for ``split`` the
        cluster, which the first part remains, and the numbers of the other parts.
    particles : tuple of int
        Rows of the store from 0, for ``move``; those that are in no part, for ``split``.
    parts : tuple of tuple of int
        Rows of the store from 0, for ``split``.
    seed : int
        With which a cluster was split.
    name : str
    why, who : str
        Empty if not said.
    date : str
        ISO 8601, in UTC.

    Raises
    ------
    InputError
        If it makes no sense.
    """

    action: Action
    clusters: tuple[int, ...] = ()
    particles: tuple[int, ...] = ()
    parts: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    name: str = ""
    why: str = ""
    who: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        if self.action not in _ACTIONS:
            raise InputError(
                f"expected a decision to {', '.join(_ACTIONS[:-1])} or {_ACTIONS[-1]}, but got "
                f"{self.action!r}."
            )
        if len(self.clusters) < _FEWEST[self.action] or min(self.clusters, default=1) < 1:
            raise InputError(
                f"expected {'two clusters or more' if self.action == 'merge' else 'a cluster'} to "
                f"{self.action}, counted from 1; got {'+'.join(map(str, self.clusters)) or 'none'}."
            )
        if len(set(self.clusters)) < len(self.clusters):
            raise InputError(f"cluster {_twice(self.clusters)} is named twice; name it once.")
        if self.action == "move" and not self.particles:
            raise InputError("expected particles to move: their index in labels.csv, from 0.")
        if self.parts and (len(self.parts) < 2 or len(self.parts) != len(self.clusters)):
            raise InputError(
                f"expected a number for each of two parts or more, but got {len(self.parts)} parts "
                f"and {len(self.clusters)} numbers."
            )
        if self.action == "name":
            check_name(self.name)

    def now(self) -> Decision:
        """The same, of this moment."""
        return Decision(**{**asdict(self), "date": _now()})

    def record(self) -> dict[str, Any]:
        """As plain values; what is empty is left out."""
        given = {key: value for key, value in asdict(self).items() if value}
        if self.action == "split":
            given |= {"seed": self.seed, "parts": [list(part) for part in self.parts]}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in given.items()}

    @classmethod
    def from_record(cls, values: Any) -> Decision:
        """From what `record` gave.

        Raises
        ------
        InputError
            If it is something else.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"expected a decision with an action, but got {values!r}.")
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown or "action" not in values:
            raise InputError(
                f"expected a decision with {', '.join(cls.__dataclass_fields__)}, but got "
                f"{', '.join(map(str, values))}."
            )
        given = {**values}
        for key in ("clusters", "particles"):
            numbers = given.get(key, [])
            if not _is_numbers(numbers):
                raise InputError(f"expected whole numbers as {key}, but got {numbers!r}.")
            given[key] = tuple(numbers)
        parts = given.get("parts", [])
        if not isinstance(parts, list) or not all(_is_numbers(part) for part in parts):
            raise InputError(f"expected lists of whole numbers as parts, but got {parts!r}.")
        given["parts"] = tuple(map(tuple, parts))
        if type(given.get("seed", 0)) is not int:
            raise InputError(f"expected a whole number as seed, but got {given['seed']!r}.")
        for key in set(given) - {"clusters", "particles", "parts", "seed"}:
            if not isinstance(given[key], str):
                raise InputError(f"expected text as {key}, but got {given[key]!r}.")
        return cls(**given)

    def __str__(self) -> str:
        said = {
            "merge": f"merge {'+'.join(map(str, self.clusters))}",
            "drop": f"drop {_listed(self.clusters)}",
            "junk": f"call {_listed(self.clusters)} junk ({self.name or 'other'})",
            "keep": f"keep only {_listed(self.clusters)}",
            "name": f"name {_listed(self.clusters)} {self.name!r}",
            "move": f"move {counted(len(self.particles), 'particle')} to "
            + (f"cluster {self.clusters[0]}" if self.clusters else "no cluster"),
            "split": f"split {_listed(self.clusters[:1])} (seed {self.seed})",
            "undo": "undo",
        }
        return said[self.action]


def check_name(name: str) -> None:
    """Refuse names of clusters that files cannot hold.

    Raises
    ------
    InputError
    """
    if not name.strip() or name != name.strip() or len(name) > _LONGEST_NAME:
        raise InputError(
            f"expected a name of 1 to {_LONGEST_NAME} characters for a cluster, without spaces at "
            f"its ends; got {name!r}."
        )
    if re.search(r"[\x00-\x1f\x7f\"'`/\\]", name):
        raise InputError(
            f"a cluster cannot be called {name!r}; leave out quotes, slashes and control "
            "characters."
        )


def _is_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)


def _listed(clusters: tuple[int, ...]) -> str:
    return ", ".join(map(str, clusters))


def _twice(clusters: tuple[int, ...]) -> int:
    return next(k for k in clusters if clusters.count(k) > 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
