"""What mining finds: the clusters of one iteration, and the record of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.classes import Classes
from aitom_disca.clustering import GaussianMixtureModel, Projection
from aitom_disca.progress import say

Arrays = dict[str, np.ndarray | list[np.ndarray]]


@dataclass(frozen=True)
class Solution:
    """The clusters of one iteration and everything that they came from.

    Parameters
    ----------
    iteration : int
        From 1.
    labels : ndarray of int, shape (n_subtomograms,)
        Clusters from 0; -1 where a subtomogram belongs to none.
    mixture : GaussianMixtureModel
        In the first ``mixture.means.shape[1]`` components of the embedding.
    projection : Projection
    embedding : ndarray of shape (n_subtomograms, n_components)
    weights : list of ndarray
        Of the extractor that gave the features.
    bic : dict of int to float
    ddbi : float
    criteria : dict of str to dict of int to float
        All criteria of K by K, as in `aitom_disca.clustering.MixtureChoice`.
    posterior : ndarray of shape (n_subtomograms, K), optional
        Probability of every cluster, where an alignment says it better than the mixture does.
    averages : ndarray of shape (K, z, y, x), optional
        Aligned average of every cluster, where there was an alignment.
    learnt : LearntAverages, optional
        The same as others can be sorted by.
    event : str
        What was out of the ordinary, for the history; mostly nothing.
    """

    iteration: int
    labels: np.ndarray
    mixture: GaussianMixtureModel
    projection: Projection
    embedding: np.ndarray
    weights: list[np.ndarray]
    bic: dict[int, float]
    ddbi: float
    criteria: dict[str, dict[int, float]] = field(default_factory=dict)
    posterior: np.ndarray | None = None
    averages: np.ndarray | None = None
    learnt: LearntAverages | None = None
    event: str = ""

    @property
    def k(self) -> int:
        """The number of clusters."""
        return self.mixture.n_components

    @property
    def sizes(self) -> np.ndarray:
        """Members of every cluster, shape (K,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.k)

    def renamed(self, names: np.ndarray) -> Solution:
        """The same clusters, cluster k called ``names[k]``."""
        order = np.argsort(names)
        posterior = None if self.posterior is None else self.posterior[:, order]
        averages = None if self.averages is None else self.averages[order]
        learnt = None if self.learnt is None else self.learnt.chosen(order)
        mixture = self.mixture.renamed(names)
        labels = np.where(self.labels < 0, self.labels, names[self.labels])
        return replace(
            self,
            labels=labels,
            posterior=posterior,
            mixture=mixture,
            averages=averages,
            learnt=learnt,
        )


@dataclass
class LoopResult:
    """The kept solution, the record of all iterations, and whether the clusters stayed."""

    best: Solution
    history: list[dict[str, Any]] = field(default_factory=list)
    converged: bool = False


def label_change(previous: Solution | None, current: Solution) -> float:
    """Share of the labels that changed; 1 where K changed or there was nothing before."""
    if previous is None or previous.k != current.k:
        return 1.0
    return float((previous.labels != current.labels).mean())


def join_events(*events: str) -> str:
    """Events as one text; those that are empty are left out."""
    return "; ".join(event for event in events if event)


def record(
    result: LoopResult | None, solution: Solution, change: float, seconds: float
) -> LoopResult:
    """Add an iteration to the history, and keep its solution if its DDBI is the lowest."""
    sizes = solution.sizes.tolist()
    row = {
        "iteration": solution.iteration,
        "k": solution.k,
        "n_dimensions": solution.mixture.means.shape[1],
        "ddbi": solution.ddbi,
        "label_change": change,
        "sizes": sizes,
        "bic": solution.bic,
        "criteria": solution.criteria,
        "loss": None,
        "seconds": seconds,
        "event": solution.event,
    }
    index = "not defined" if np.isnan(solution.ddbi) else f"{solution.ddbi:.3f}"
    say(
        f"iteration {solution.iteration}: K = {solution.k}, DDBI {index}, "
        f"labels changed: {100 * change:.1f} %, sizes {sizes}"
    )
    if result is None:
        return LoopResult(solution, [row])
    result.history.append(row)
    if solution.ddbi < result.best.ddbi:  # a NaN (K = 1) replaces nothing
        result.best = solution
    return result


# -- as arrays and plain values, for a checkpoint --------------------------------------------

_NESTED = {
    "mixture": GaussianMixtureModel,
    "projection": Projection,
    "learnt": LearntAverages,
    "classes": Classes,
}


def pack(thing: Any, prefix: str = "") -> tuple[Arrays, dict[str, Any]]:
    """Take a solution apart: its arrays, and its plain values, by name of the field."""
    arrays: Arrays = {}
    meta: dict[str, Any] = {}
    for name, value in ((prefix + f.name, getattr(thing, f.name)) for f in fields(thing)):
        if is_dataclass(value):
            inner_arrays, inner_meta = pack(value, f"{name}.")
            arrays, meta = arrays | inner_arrays, meta | inner_meta
        elif isinstance(value, (np.ndarray, list)):
            arrays[name] = value
        else:
            meta[name] = value
    return arrays, meta


def unpack_solution(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> Solution:
    """Put a solution together from what `pack` made of it."""
    values = with_parts({**meta, **arrays}, "mixture", "projection", "learnt")
    return Solution(**_with_numbers(values))


def with_parts(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Values of which these parts are put together, where they are not None."""
    for name in names:
        if name not in values:
            values[name] = unpack_part(values, name)
    return values


def unpack_part(values: dict[str, Any], name: str) -> Any:
    """Take a part of a solution out of values: what `pack` wrote with this prefix."""
    kind = _NESTED[name]
    return kind(**{f.name: values.pop(f"{name}.{f.name}") for f in fields(kind)})


def with_int_keys(bic: Mapping[Any, float]) -> dict[int, float]:
    """A BIC by K; JSON knows names that are texts only."""
    return {int(k): value for k, value in bic.items()}


def history_from_json(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a history as they were before JSON."""
    return [_with_numbers(row) for row in rows]


def _with_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    tables = {name: with_int_keys(table) for name, table in row.get("criteria", {}).items()}
    return {**row, "bic": with_int_keys(row["bic"]), "criteria": tables}


@dataclass(frozen=True)
class Known:
    """Clusters that are known.

    Parameters
    ----------
    labels : ndarray of int, shape (n_subtomograms,)
        From 0 without gaps, -1 for none.
    posterior : ndarray of shape (n_subtomograms, K), optional
        Probability of every cluster.
    averages : ndarray of shape (K, z, y, x), optional
    learnt : LearntAverages, optional
        What others can be sorted by.
    stable : bool
        Whether the labels had ceased to change.
    """

    labels: np.ndarray
    posterior: np.ndarray | None = None
    averages: np.ndarray | None = None
    learnt: LearntAverages | None = None
    stable: bool = True
