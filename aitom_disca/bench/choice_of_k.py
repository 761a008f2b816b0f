"""Choice of K at size: seconds, memory, and the BIC beside scikit-learn's."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bench.accuracy import machine
from aitom_disca.bench.child_process import child_main, peak_mb, run_child
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say

_DIMENSIONS = 16
_TRUE_K = 12
_LARGEST_K = 30
_STARTS = 5


def measure_selection(out: str | Path, *, n: int = 200_000, seed: int = 0) -> dict[str, Any]:
    """Choose K from 2 to 30 for n samples of 16 dimensions, and compare.

    scikit-learn fits the K that was chosen, five restarts, on the same samples.

    Returns
    -------
    dict
        ``seconds``, ``k``, ``bic``, ``peak_mb``, ``imports_mb``, ``samples_mb``, ``sklearn_bic``,
        ``sklearn_seconds``, ``bic_difference`` (relative). Also written to ``selection.json``.
    """
    from sklearn.mixture import GaussianMixture

    result: dict[str, Any] = {"n": n, "largest_k": _LARGEST_K, "k_true": _TRUE_K}
    result |= run_child("aitom_disca.bench.choice_of_k", n=n, largest_k=_LARGEST_K, seed=seed)
    say(f"K = {result['k']} in {result['seconds']:.1f} s; now scikit-learn, that K alone")
    samples = make_samples(n, seed)
    start = time.perf_counter()
    other = GaussianMixture(result["k"], n_init=_STARTS, random_state=seed).fit(samples)
    result["sklearn_seconds"] = time.perf_counter() - start
    result["sklearn_bic"] = float(other.bic(samples))
    result["bic_difference"] = (result["bic"] - result["sklearn_bic"]) / abs(result["sklearn_bic"])
    result["machine"] = machine()
    write_text(Path(out) / "selection.json", json.dumps(result, indent=1) + "\n")
    return result


def make_samples(n: int, seed: int) -> np.ndarray:
    """Samples (n, 16) of twelve Gaussians of unlike size, shape and direction, which overlap."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(_TRUE_K, 3.0))
    counts = np.maximum(rng.multinomial(n, weights), 2)
    parts = []
    for count in counts:
        mean = rng.normal(0, 2.0, _DIMENSIONS)
        turn, _ = np.linalg.qr(rng.normal(size=(_DIMENSIONS, _DIMENSIONS)))
        scales = rng.uniform(0.4, 1.6, _DIMENSIONS)
        parts.append(mean + (rng.normal(size=(count, _DIMENSIONS)) * scales) @ turn.T)
    return rng.permutation(np.concatenate(parts))[:n]


def measure_one(n: int, largest_k: int, seed: int) -> dict[str, Any]:
    """Choose K in this process."""
    from aitom_disca.clustering import choose_mixture

    imports_mb = peak_mb()
    samples = make_samples(n, seed)
    start = time.perf_counter()
    choice = choose_mixture(samples, tuple(range(2, largest_k + 1)), seed=seed)
    return {
        "seconds": time.perf_counter() - start,
        "k": choice.mixture.n_components,
        "bic": float(choice.mixture.bic(samples)),
        "peak_mb": peak_mb(),
        "imports_mb": imports_mb,
        "samples_mb": samples.nbytes / 1e6,
    }


def selection_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of text for a table."""
    return [
        ("samples", f"{result['n']} of {_DIMENSIONS} dimensions, {result['samples_mb']:.0f} MB"),
        ("K", f"{result['k']} of 2 to {result['largest_k']}; {result['k_true']} true"),
        ("seconds", f"{result['seconds']:.1f}"),
        ("peak memory", f"{result['peak_mb']:.0f} MB, {result['imports_mb']:.0f} of it imports"),
        ("BIC", f"{result['bic']:.6g}"),
        ("scikit-learn's, five restarts", f"{result['sklearn_bic']:.6g}"),
        ("difference", f"{100 * result['bic_difference']:+.3f} %"),
        ("its seconds, that K alone", f"{result['sklearn_seconds']:.1f}"),
    ]


if __name__ == "__main__":
    child_main(measure_one)
