"""The published method at its own size, or as much of it as the time allows."""

from __future__ import annotations

import time
from typing import Any

from aitom_disca.bench.case_data import load_templates, simulate_case
from aitom_disca.bench.cases import CASES
from aitom_disca.bench.scores import score_labels
from aitom_disca.config import MineSettings

_PER_CLASS = 1000
_FEWEST_PER_CLASS = 20
_ITERATIONS = 20
_FEWEST_ITERATIONS = 2
_RESERVE = 0.8  # of the time is planned for: clustering and set-up are not in the estimate
_COPIES = 2  # every subtomogram and its rotated copy are trained on


def plan(seconds: float, features_per_s: float, trained_per_s: float) -> tuple[int, int]:
    """Subtomograms of each of five structures, and iterations, that fit into the time.

    Subtomograms give way first, then iterations.
    """
    each = _seconds_of_one(features_per_s, trained_per_s)
    n = int(seconds / (5 * _ITERATIONS * each))
    if n >= _FEWEST_PER_CLASS:
        return min(n, _PER_CLASS), _ITERATIONS
    iterations = int(seconds / (5 * _FEWEST_PER_CLASS * each))
    return _FEWEST_PER_CLASS, max(iterations, _FEWEST_ITERATIONS)


def least_and_all_seconds(features_per_s: float, trained_per_s: float) -> tuple[float, float]:
    """What the smallest part of the method takes, and what all of it does, in seconds."""
    each = _seconds_of_one(features_per_s, trained_per_s)
    least = 5 * _FEWEST_PER_CLASS * _FEWEST_ITERATIONS * each
    return least, 5 * _PER_CLASS * _ITERATIONS * each


def _seconds_of_one(features_per_s: float, trained_per_s: float) -> float:
    """Of one subtomogram in one iteration."""
    return (1 / features_per_s + _COPIES / trained_per_s) / _RESERVE


def measure_published(
    seconds: float,
    *,
    case: str,
    features_per_s: float,
    trained_per_s: float,
    templates: str | None = None,
    width: float = 1.0,
    precision: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Sort a case of the benchmark by the preset ``paper``, at full width.

    Parameters
    ----------
    seconds : float
        About so long at most.
    case : str
        Name of a case, such as ``snr-0.1``.
    features_per_s, trained_per_s : float
        As `measure_network` found them; they decide how much of the case is done.
    templates : path, optional
        Folder of density maps; built-in phantoms, unless given.
    width, precision, seed

    Returns
    -------
    dict
        ``n``, ``iterations_planned``, ``iterations``, ``ari``, ``homogeneity``, ``completeness``,
        ``k_by_iteration``, ``seconds``.
    """
    from aitom_disca.mining import DISCA

    per_class, iterations = plan(seconds, features_per_s, trained_per_s)
    chosen = CASES[case]
    data = simulate_case(chosen, load_templates(templates), seed, per_class / chosen.per_class)  # type: ignore[operator]
    settings = MineSettings.from_preset(
        "paper",
        candidate_k=tuple(k for k in chosen.candidate_k if k > 1),
        width=width,
        precision=precision,
        max_iterations=iterations,
        seed=seed,
    )
    start = time.perf_counter()
    disca = DISCA.from_settings(settings).fit(
        data.volumes,
        voxel_size_angstrom=chosen.voxel_size_angstrom,
        tilt_range_deg=chosen.tilt_range_deg,
    )
    scores = score_labels(data.labels, disca.labels_, chosen.kind)
    return {
        "case": chosen.title,
        "n": len(data.labels),
        "n_published": 5 * _PER_CLASS,
        "width": width,
        "iterations_planned": iterations,
        "iterations": len(disca.history_),
        **{name: scores[name] for name in ("ari", "homogeneity", "completeness")},
        "k_by_iteration": [row["k"] for row in disca.history_],
        "seconds": time.perf_counter() - start,
    }
