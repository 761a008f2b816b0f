"""Which clusters are said to be one structure, where the truth is known."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aitom_disca.bench.case_data import TemplateSet, simulate_case
from aitom_disca.bench.cases import CASES
from aitom_disca.bench.known_truth import Row, kept
from aitom_disca.progress import say

_CASE = "ten"


def measure_pairs(
    out: str | Path, templates: TemplateSet, *, seeds: Sequence[int] = (0,), fraction: float = 1.0
) -> list[Row]:
    """Ten structures with right labels, as `aitom-disca curate --suggest` asks about them.

    Once each is one cluster, and once every other structure is two clusters of a half each.
    """
    from aitom_disca.classification import AlignmentSorter

    rows, case = [], CASES[_CASE]
    for seed in seeds:
        made = simulate_case(case, templates, seed, fraction)
        for halved in (False, True):
            labels = in_halves(made.labels, seed) if halved else made.labels
            first = np.unique(labels, return_index=True)[1]
            truth = made.labels[first]  # of every cluster
            begin = time.perf_counter()
            sorter = AlignmentSorter(made.volumes, case.tilt_range_deg, seed=seed)
            pairs, _ = sorter.judge_known(labels)
            beyond = np.array([pair.z - pair.limit for pair in pairs])
            same = np.array([truth[pair.first] == truth[pair.second] for pair in pairs])
            rows.append(
                {
                    "seed": seed,
                    "clusters": len(truth),
                    "pairs_of_one": len(truth) - len(np.unique(truth)),
                    "found": int((beyond[same] >= 0).sum()),
                    "lowest_of_one": float(beyond[same].min()) if same.any() else None,
                    "pairs_of_two": int((~same).sum()),
                    "said_to_be_one": int((beyond[~same] >= 0).sum()),
                    "highest_of_two": float(beyond[~same].max()) if (~same).any() else None,
                    "seconds": time.perf_counter() - begin,
                }
            )
            say(json.dumps(rows[-1]))
    return kept(out, "merges", rows)


def in_halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Labels in which half of the members of every other cluster, drawn, are a further one."""
    rng, parted, n = np.random.default_rng(seed), labels.copy(), int(labels.max()) + 1
    for i, cluster in enumerate(range(0, n, 2)):
        rows = rng.permutation(np.flatnonzero(labels == cluster))
        parted[rows[: len(rows) // 2]] = n + i
    return parted
