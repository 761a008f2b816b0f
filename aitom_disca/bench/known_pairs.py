"""Which clusters are said to be one structure, where the truth is known."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bench.case_data import TemplateSet, simulate_case
from aitom_disca.bench.cases import CASES
from aitom_disca.bench.known_truth import Row, kept
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.progress import say
from aitom_disca.simulation import SimulatedSubtomograms

_CASE = "ten"
_MASK_RADIUS_PX = 10.0  # 280 Angstrom across: the largest structures just fit


def measure_pairs(
    out: str | Path, templates: TemplateSet, *, seeds: Sequence[int] = (0,), fraction: float = 1.0
) -> list[Row]:
    """Ten structures with right labels, as `aitom-disca curate --suggest` asks about them.

    Once each is one cluster, and once every other structure is two clusters of a half each; seen
    whole, and through a mask.

    Parameters
    ----------
    out : path
        Folder for ``merges.json``.
    templates : TemplateSet
    seeds : sequence of int
        Of the subtomograms, of the halves, and of the question.
    fraction : float
        Part of the subtomograms of every structure, above 0 up to 1.

    Returns
    -------
    list of dict
        Four rows a seed: pairs of one and of two structures, how many of either are said to be
        one, and how far the nearest is from the limit, in standard errors.

    Raises
    ------
    InputError
        If the fraction leaves a structure one subtomogram.
    """
    rows, case = [], CASES[_CASE]
    for seed in seeds:
        made = simulate_case(case, templates, seed, fraction)
        for labels in (made.labels, in_halves(made.labels, seed)):
            for mask_radius_px in (np.inf, _MASK_RADIUS_PX):
                how = {"mask_radius_px": mask_radius_px, "seed": seed}
                rows.append(_asked(made, labels, case.tilt_range_deg, how))
                say(json.dumps(rows[-1]))
    return kept(out, "merges", rows)


def _asked(
    made: SimulatedSubtomograms, labels: np.ndarray, tilt_range_deg: TiltRanges, how: dict[str, Any]
) -> Row:
    """What is said of the pairs of some clusters, of which each holds one structure."""
    from aitom_disca.classification import AlignmentSorter

    truth = made.labels[np.unique(labels, return_index=True)[1]]  # of every cluster
    begin = time.perf_counter()
    pairs, _ = AlignmentSorter(made.volumes, tilt_range_deg, **how).judge_known(labels)
    beyond = np.array([pair.z - pair.limit for pair in pairs], float)
    same = np.array([truth[pair.first] == truth[pair.second] for pair in pairs], bool)
    return {
        "seed": how["seed"],
        "clusters": len(truth),
        "masked": bool(np.isfinite(how["mask_radius_px"])),
        "pairs_of_one": len(truth) - len(np.unique(truth)),
        "found": int((beyond[same] >= 0).sum()),
        "lowest_of_one": float(beyond[same].min()) if same.any() else None,
        "pairs_of_two": int((~same).sum()),
        "said_to_be_one": int((beyond[~same] >= 0).sum()),
        "highest_of_two": float(beyond[~same].max()) if (~same).any() else None,
        "seconds": time.perf_counter() - begin,
    }


def in_halves(labels: np.ndarray, seed: int) -> np.ndarray:
    """Labels in which half of the members of every other cluster, drawn, are a further one.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        From 0 without gaps.
    seed : int

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    InputError
        If a cluster has a single member.
    """
    if np.bincount(labels).min() < 2:
        raise InputError("clusters of one member have no halves; give a larger --fraction.")
    rng, parted, n = np.random.default_rng(seed), labels.copy(), int(labels.max()) + 1
    for i, cluster in enumerate(range(0, n, 2)):
        rows = rng.permutation(np.flatnonzero(labels == cluster))
        parted[rows[: len(rows) // 2]] = n + i
    return parted
