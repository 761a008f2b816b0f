"""Decisions applied to labels: the same list on the same labels gives the same result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from aitom_disca.curation.decisions import Decision
from aitom_disca.errors import InputError
from aitom_disca.particles import UNASSIGNED


@dataclass
class Curated:
    """Labels after decisions. Clusters keep their numbers, so that gaps remain.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        From 0, -1 for none.
    names : dict of int to str
        Of clusters, by their number from 1.
    junk : dict of str to ndarray of int
        Rows that were called junk, by kind.
    gone : dict of int to str
        What became of clusters that are no more, by their number from 1.
    touched : dict of int to str
        What gave clusters other members, by their number from 1.
    known : set of int
        Clusters that can be decided about, from 1: also those that happen to have no members.
    """

    labels: np.ndarray
    names: dict[int, str] = field(default_factory=dict)
    junk: dict[str, np.ndarray] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    touched: dict[int, str] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.known |= {*self.clusters()}

    def clusters(self) -> list[int]:
        """Numbers, from 1, of the clusters that have members."""
        return (np.unique(self.labels[self.labels >= 0]) + 1).tolist()


def in_force(decisions: Sequence[Decision]) -> list[tuple[int, Decision]]:
    """Decisions that count, each with its number from 1: those not undone.

    Raises
    ------
    InputError
        If there is nothing to undo.
    """
    found: list[tuple[int, Decision]] = []
    for number, decision in enumerate(decisions, 1):
        if decision.action != "undo":
            found.append((number, decision))
        elif found:
            found.pop()
        else:
            raise InputError(f"decision {number}: there is nothing to undo.")
    return found


def apply_decisions(
    labels: np.ndarray, decisions: Sequence[Decision], *, n_clusters: int = 0
) -> Curated:
    """Apply decisions in their order.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        As they were sorted, from 0, -1 for none.
    decisions : sequence of Decision
    n_clusters : int
        Of which these are the labels; a cluster may have no members.

    Raises
    ------
    InputError
        If one does not fit: its number and the reason are said.
    """
    found = Curated(np.array(labels, int), known={*range(1, n_clusters + 1)})
    for number, decision in in_force(decisions):
        try:
            apply_one(found, number, decision)
        except InputError as error:
            raise InputError(f"decision {number} ({decision}) does not fit: {error}") from error
    return found


def of_clusters(decisions: Sequence[Decision]) -> list[Decision]:
    """What was decided about clusters, for particles of another store.

    Moves of single particles are left out, and splits: what sorted all particles does not tell the
    parts of a cluster apart. Decisions about such parts are left out, too.
    """
    found: list[Decision] = []
    whole: dict[int, int] = {}  # of the parts of a cluster, which it was
    for _, one in in_force(decisions):
        if one.action == "split":
            origin = whole.get(one.clusters[0], one.clusters[0])
            whole |= dict.fromkeys(one.clusters, origin)
        elif one.action == "keep":
            kept = dict.fromkeys(whole.get(k, k) for k in one.clusters)
            found.append(replace(one, clusters=tuple(kept)))
        elif one.action != "move" and not whole.keys() & {*one.clusters}:
            found.append(one)
    return found


def apply_one(found: Curated, number: int, decision: Decision) -> None:
    """Apply one decision, of any kind but ``undo``, in place.

    Parameters
    ----------
    found : Curated
        After all decisions before it.
    number : int
        Of the decision, from 1; said where it explains what is there later.
    decision : Decision

    Raises
    ------
    InputError
        If it does not fit.
    """
    if decision.action == "move":
        return _move(found, number, decision)
    if decision.action == "split":
        return _split(found, number, decision)
    for cluster in decision.clusters:
        _check_known(found, cluster)
    inside = np.isin(found.labels, np.array(decision.clusters) - 1)
    if decision.action == "name":
        return _name(found, decision)
    if decision.action == "merge":
        first, *others = decision.clusters
        found.labels[inside] = first - 1
        for cluster in others:
            name = found.names.pop(cluster, None)
            if name is not None:
                found.names.setdefault(first, name)
            found.gone[cluster] = f"decision {number} merged it into {first}"
            found.known.remove(cluster)
        found.touched[first] = f"decision {number} merged {_listed(others)} into it"
        return
    left, gone = inside, {*decision.clusters}
    if decision.action == "keep":
        left, gone = ~inside & (found.labels >= 0), found.known - gone
    if decision.action == "junk":
        kind = decision.name or "other"
        rows = np.flatnonzero(left)
        found.junk[kind] = np.union1d(found.junk.get(kind, np.zeros(0, int)), rows)
    found.known -= gone
    for cluster in gone:
        found.names.pop(cluster, None)
        found.gone[cluster] = f"decision {number} left it out"
    found.labels[left] = UNASSIGNED


def _name(found: Curated, decision: Decision) -> None:
    if len(decision.clusters) != 1:
        raise InputError("a name is that of one cluster.")
    cluster = decision.clusters[0]
    other = [k for k, name in found.names.items() if name == decision.name and k != cluster]
    if other:
        raise InputError(f"cluster {other[0]} is called {decision.name!r} already; merge the two.")
    found.names[cluster] = decision.name


def _move(found: Curated, number: int, decision: Decision) -> None:
    rows = np.array(decision.particles)
    if rows.min() < 0 or rows.max() >= len(found.labels):
        raise InputError(
            f"there is no particle {rows[(rows < 0) | (rows >= len(found.labels))][0]}; they are "
            f"counted from 0 to {len(found.labels) - 1}."
        )
    to = UNASSIGNED
    if decision.clusters:
        to = decision.clusters[0] - 1
        if to + 1 not in found.known:
            raise InputError(f"there is no cluster {to + 1} to move them to.")
    for cluster in {*found.labels[rows].tolist(), to} - {UNASSIGNED}:
        found.touched[cluster + 1] = f"decision {number} moved particles"
    found.labels[rows] = to
    found.junk = {kind: np.setdiff1d(held, rows) for kind, held in found.junk.items()}


def _split(found: Curated, number: int, decision: Decision) -> None:
    cluster, *new = decision.clusters
    _check_known(found, cluster)
    taken = (found.known | {*found.gone}) & {*new}
    if taken:
        raise InputError(f"its parts cannot be called {_listed(sorted(taken))}: clusters were.")
    every = [*decision.particles, *(row for part in decision.parts for row in part)]
    if sorted(every) != np.flatnonzero(found.labels == cluster - 1).tolist():
        raise InputError(
            f"cluster {cluster} has other members than when it was split; split it again with "
            f"--split {cluster} --seed {decision.seed}."
        )
    found.labels[[*decision.particles]] = UNASSIGNED
    for part, called in zip(decision.parts, decision.clusters, strict=True):
        found.labels[[*part]] = called - 1
        found.touched[called] = f"decision {number} split {cluster}"
    found.known |= {*new}


def _check_known(found: Curated, cluster: int) -> None:
    if cluster not in found.known:
        why = found.gone.get(cluster, f"the clusters are {_listed(sorted(found.known))}")
        raise InputError(f"there is no cluster {cluster} ({why}).")


def _listed(clusters: Sequence[int]) -> str:
    return ", ".join(map(str, clusters))
