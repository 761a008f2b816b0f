"""Whether clusters come again: several runs compared, and what they agree on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from aitom_disca.computing.parallel import in_tasks
from aitom_disca.config import MineSettings
from aitom_disca.progress import say
from aitom_disca.subtomograms.dataset import Source

if TYPE_CHECKING:
    from aitom_disca.mining import DISCA
    from aitom_disca.network.training import RotateVolumes

FOUND = 0.5
"""Jaccard index from which a cluster counts as found again. Above one half no two clusters of a
run can both be it, since clusters of one run do not overlap."""


@dataclass(frozen=True)
class Stability:
    """What several runs agree on.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Consensus: clusters from 0, the largest first; -1 for none.
    agreement : ndarray of shape (n,)
        Share of the runs that put a subtomogram where the consensus does, 0 to 1.
    jaccard : ndarray of shape (K, R)
        Overlap of each cluster with the cluster of each run that is most like it.
    closest : int
        The run that is most like the consensus.
    names : ndarray of int, shape (K,)
        What each cluster is called in that run.
    n_clusters : tuple of int
        Clusters of each run.
    rand : float
        Mean adjusted Rand index of two runs.
    """

    labels: np.ndarray
    agreement: np.ndarray
    jaccard: np.ndarray
    closest: int
    names: np.ndarray
    n_clusters: tuple[int, ...]
    rand: float

    @property
    def n_runs(self) -> int:
        """The number of runs, R."""
        return self.jaccard.shape[1]

    @property
    def found(self) -> np.ndarray:
        """In how many runs each cluster was found, shape (K,)."""
        return (self.jaccard >= FOUND).sum(axis=1)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of stability.csv: one a cluster, from 1."""
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=len(self.jaccard))
        return [
            {
                "cluster": k + 1,
                "size": int(sizes[k]),
                "found": int(self.found[k]),
                "runs": self.n_runs,
                "mean_jaccard": f"{overlap.mean():.4f}",
                "mean_agreement": f"{self.agreement[self.labels == k].mean():.4f}",
                **{f"jaccard_{r + 1}": f"{value:.4f}" for r, value in enumerate(overlap)},
            }
            for k, overlap in enumerate(self.jaccard)
        ]

    def summary(self) -> dict[str, Any]:
        """Plain values for run.json."""
        return {
            "runs": self.n_runs,
            "kept_run": self.closest + 1,
            "n_clusters": list(self.n_clusters),
            "found": self.found.tolist(),
            "mean_jaccard": self.jaccard.mean(axis=1).round(4).tolist(),
            "mean_agreement": round(float(self.agreement.mean()), 4),
            "rand_of_two_runs": round(self.rand, 4),
        }


def fit_repeatedly(
    settings: MineSettings,
    source: Source,
    runs: int,
    *,
    checkpoint: Path | None = None,
    rotate: RotateVolumes | None = None,
    executor: Executor | None = None,
) -> tuple[DISCA, Stability]:
    """Sort subtomograms several times, with the seeds seed, seed + 1, ..., and take the consensus.

    Parameters
    ----------
    settings : MineSettings
    source : Source
    runs : int
    checkpoint : Path, optional
        As in `DISCA.fit`; of the second run and so on with ``_2``, ... added to the name.
    rotate : callable, optional
        As in `DISCA.from_settings`.
    executor : Executor, optional
        Computes runs as its tasks.

    Returns
    -------
    disca : DISCA
        The fit that is most like the consensus, with its model, and with the consensus as labels.
    stability : Stability
    """
    fit = partial(
        _fit, settings=settings, source=source, runs=runs, checkpoint=checkpoint, rotate=rotate
    )
    fits = list(in_tasks(fit, range(runs), executor, "sorting"))
    stability = compare_runs([disca.labels_ for disca in fits])
    kept = fits[stability.closest]
    kept.take_consensus(stability.labels, stability.names)
    say(found_in_words(stability.found.tolist(), runs))
    return kept, stability


def _fit(
    r: int,
    settings: MineSettings,
    source: Source,
    runs: int,
    checkpoint: Path | None,
    rotate: RotateVolumes | None,
) -> DISCA:
    """One of several runs."""
    from aitom_disca.mining import DISCA

    seed = settings.seed + r
    say(f"run {r + 1} of {runs}, seed {seed}")
    if checkpoint is not None and r > 0:
        checkpoint = checkpoint.with_name(f"{checkpoint.stem}_{r + 1}{checkpoint.suffix}")
    disca = DISCA.from_settings(settings.model_copy(update={"seed": seed}), rotate=rotate)
    return disca.fit(source, checkpoint=checkpoint)


def found_in_words(found: Sequence[int], runs: int) -> str:
    """In how many runs each cluster was found, as one line."""
    if found and min(found) == runs:
        return f"every cluster was found in all {runs} runs"
    each = ", ".join(f"cluster {k + 1} in {n}" for k, n in enumerate(found))
    return f"of {runs} runs: {each or 'no cluster in any'}"


def compare_runs(runs: Sequence[np.ndarray]) -> Stability:
    """Find what several clusterings of the same subtomograms agree on.

    The clusters of every run are matched one to one with those of a reference run, so that the
    sum of their Jaccard indices is largest, and every run votes with the names so given. A cluster
    that has no partner does not vote; none of the above (-1) is a vote of its own. The majority
    wins, and the reference where votes are equal. The reference is the run most like all others;
    where the outcome is more like another run, that one is the reference and votes are cast anew.

    Parameters
    ----------
    runs : sequence of ndarray of int, shape (n,)
        Clusters from 0, -1 for none. Numbers of clusters may differ.

    Raises
    ------
    ValueError
        If there are no runs, or they differ in length.
    """
    if len({len(labels) for labels in runs}) != 1:
        raise ValueError("runs must be labels of the same subtomograms")
    overlaps = {
        (a, b): jaccard(runs[a], runs[b]) for a in range(len(runs)) for b in range(len(runs))
    }
    likeness = [
        sum(_matched(overlaps[a, b]) for b in range(len(runs)) if b != a) for a in range(len(runs))
    ]
    tried: list[int] = []
    closest = int(np.argmax(likeness))
    while closest not in tried:  # ends, as every round takes a run that was not tried
        tried.append(closest)
        voted, agreement = _vote(runs, closest, overlaps)
        closest = int(np.argmax([_like(voted, labels) for labels in runs]))
    if closest != tried[-1]:  # back at a run that was tried: its own outcome
        voted, agreement = _vote(runs, closest, overlaps)
    return _summed_up(runs, voted, agreement, closest)


def jaccard(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Members in common by members in either, of every pair of clusters: shape (K, L)."""
    shape = (first.max(initial=-1) + 1, second.max(initial=-1) + 1)
    common = np.zeros(shape)
    both = (first >= 0) & (second >= 0)
    np.add.at(common, (first[both], second[both]), 1)
    sizes = [
        np.bincount(a[a >= 0], minlength=k) for a, k in zip((first, second), shape, strict=True)
    ]
    return common / np.maximum(np.add.outer(*sizes) - common, 1)


def _matched(overlap: np.ndarray) -> float:
    """Mean Jaccard index of matched clusters; those without a partner count 0."""
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return float(overlap[rows, columns].sum()) / max(*overlap.shape, 1)


def _like(first: np.ndarray, second: np.ndarray) -> float:
    return float(adjusted_rand_score(first, second))


def _vote(
    runs: Sequence[np.ndarray], reference: int, overlaps: dict[tuple[int, int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels in the names of the reference, by majority, and the share of runs that agree."""
    n, k = len(runs[reference]), runs[reference].max(initial=-1) + 1
    votes = np.zeros((n, k + 1))  # the last column: none of the above
    votes[np.arange(n), runs[reference]] += 0.5  # decides where votes are equal
    for r, labels in enumerate(runs):
        overlap = overlaps[reference, r]
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        partners = overlap[rows, columns] > 0
        names = np.full(overlap.shape[1] + 1, k + 1)  # k + 1: does not vote
        names[columns[partners]] = rows[partners]
        names[-1] = k
        cast = names[labels]
        voting = np.flatnonzero(cast <= k)
        votes[voting, cast[voting]] += 1
    won = votes.argmax(axis=1)
    agreement = np.floor(votes[np.arange(n), won]) / len(runs)
    return np.where(won == k, -1, won), agreement


def _summed_up(
    runs: Sequence[np.ndarray], voted: np.ndarray, agreement: np.ndarray, closest: int
) -> Stability:
    """Consensus clusters numbered by size, and where each is in the runs."""
    names, sizes = np.unique(voted[voted >= 0], return_counts=True)
    names = names[np.argsort(-sizes, kind="stable")]
    new = np.full(max(names.max(initial=-1) + 1, 1) + 1, -1)
    new[names] = np.arange(len(names))
    labels = np.where(voted < 0, -1, new[voted])
    overlap = np.array([jaccard(labels, run).max(axis=1, initial=0) for run in runs]).T
    pairs = [_like(a, b) for i, a in enumerate(runs) for b in runs[:i]]
    return Stability(
        labels=labels,
        agreement=agreement,
        jaccard=overlap.reshape(len(names), len(runs)),
        closest=closest,
        names=names,
        n_clusters=tuple(len(np.unique(run[run >= 0])) for run in runs),
        rand=float(np.mean(pairs)) if pairs else 1.0,
    )
