"""Seconds from store to labels: the preset ``fast`` beside ``paper`` on the same volumes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bench.accuracy import machine
from aitom_disca.bench.case_data import TemplateSet, simulate_case, write_case_store
from aitom_disca.bench.cases import CASES
from aitom_disca.config import MineSettings
from aitom_disca.io import SubtomogramStore, open_store
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say

_CASE = "snr-0.1"


def measure_speed(
    out: str | Path,
    templates: TemplateSet,
    *,
    fraction: float = 1.0,
    training_batches: int = 3,
    paper_width: float = 1.0,
    seed: int = 0,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Time ``fast``, with ``changes`` to its settings, and the parts of an iteration of ``paper``.

    An iteration of ``paper`` is features of all subtomograms and their clustering, both timed
    wholly, and a pass of training, timed on ``training_batches`` batches after one to warm up and
    multiplied. Its own stopping rule ends it after ``stop_iterations + 1`` iterations at the
    earliest and ``max_iterations`` at the latest; the last one does not train.

    Returns
    -------
    dict
        Seconds by name, and ``ratio_earliest``, ``ratio_latest``: of ``paper`` to ``fast``. Also
        written to ``speed.json``.
    """
    import aitom_disca.network  # noqa: F401  imports are not counted

    case = CASES[_CASE]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        write_case_store(path, case, simulate_case(case, templates, seed, fraction))
        given = {"candidate_k": case.candidate_k, "seed": seed, **(changes or {})}
        fast = MineSettings.from_preset("fast", **given)
        paper = MineSettings.from_preset("paper", width=paper_width, seed=seed)
        with open_store(path) as store:
            fast_s = time_fit(store, fast)
            say(f"fast: {fast_s:.1f} s from store to labels")
            parts = time_iteration(store, paper, training_batches)
            n = len(store)
    earliest = extrapolate(parts, paper.stop_iterations + 1)
    latest = extrapolate(parts, paper.max_iterations)
    result = {
        "case": case.title,
        "templates": templates.source,
        "n_subtomograms": n,
        "fast_s": fast_s,
        "paper_width": paper_width,
        **{f"paper_{name}_s": value for name, value in parts.items()},
        "training_timed_on": rows_of_batches(training_batches, paper, n),
        "paper_earliest_s": earliest,
        "paper_latest_s": latest,
        "ratio_earliest": earliest / fast_s,
        "ratio_latest": latest / fast_s,
        "machine": machine(),
    }
    write_text(Path(out) / "speed.json", json.dumps(result, indent=1) + "\n")
    return result


def time_fit(store: SubtomogramStore, settings: MineSettings) -> float:
    """Seconds of a whole fit."""
    from aitom_disca.mining import DISCA

    return _timed(lambda: DISCA.from_settings(settings).fit(store))[1]


def time_iteration(
    store: SubtomogramStore, settings: MineSettings, training_batches: int
) -> dict[str, float]:
    """Seconds of the parts of an iteration: prepare, features, clustering, head, training."""
    from aitom_disca.mining.feature_extraction import (
        build_extractor,
        compute_features,
        prepare_volumes,
    )
    from aitom_disca.mining.published_loop import cluster_features
    from aitom_disca.network import Classifier

    volumes, prepare_s = _timed(lambda: prepare_volumes(store, settings))
    extractor = build_extractor(volumes.box_px, settings)
    extractor.predict_on_batch(volumes.read(np.arange(2))[..., None])  # builds the graph
    features, features_s = _timed(lambda: compute_features(extractor, volumes, settings))
    solution, cluster_s = _timed(lambda: cluster_features(features, None, settings, 1))
    labels = solution.labels
    k = int(labels.max()) + 1
    classifier = Classifier(extractor, batch_size=settings.batch_size, seed=settings.seed)
    _, head_s = _timed(
        lambda: classifier.new_head(features, labels, k, epochs=settings.head_epochs)
    )

    def train(n_batches: int) -> int:
        """Train on so many whole batches of originals and copies; returns the volumes."""
        n_rows = rows_of_batches(n_batches, settings, len(labels))
        classifier.train_epoch(
            volumes.read,
            labels[:n_rows],
            smoothing=settings.label_smoothing,
            learning_rate=settings.learning_rate,
            rotated_copies=settings.rotated_copies,
        )
        return n_rows

    train(1)  # builds the graph
    n_trained, train_s = _timed(lambda: train(training_batches))
    return {
        "prepare": prepare_s,
        "features": features_s,
        "clustering": cluster_s,
        "head": head_s,
        "training": train_s * len(labels) / n_trained,
    }


def rows_of_batches(n_batches: int, settings: MineSettings, n: int) -> int:
    """How many of n subtomograms fill so many batches together with their rotated copies."""
    return min(n_batches * settings.batch_size // (1 + settings.rotated_copies), n)


def extrapolate(parts: dict[str, float], iterations: int) -> float:
    """Seconds of a run of so many iterations, of which the last does not train."""
    each = parts["features"] + parts["clustering"]
    once = parts["prepare"] + parts["head"]
    return once + iterations * each + (iterations - 1) * parts["training"]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def speed_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of text for a table."""
    n, trained = result["n_subtomograms"], result["training_timed_on"]
    return [
        ("data", f"{result['case']}, {n} subtomograms ({result['templates']})"),
        ("fast, store to labels", f"{result['fast_s']:.1f} s"),
        ("paper, width", f"{result['paper_width']:g}"),
        ("  features of all", f"{result['paper_features_s']:.1f} s"),
        ("  clustering", f"{result['paper_clustering_s']:.1f} s"),
        ("  training, one pass", f"{result['paper_training_s']:.1f} s (from {trained} of them)"),
        ("paper, stopped at the earliest", f"{result['paper_earliest_s']:.0f} s (extrapolated)"),
        ("paper, all its iterations", f"{result['paper_latest_s']:.0f} s (extrapolated)"),
        ("times faster", f"{result['ratio_earliest']:.0f} to {result['ratio_latest']:.0f}"),
    ]
