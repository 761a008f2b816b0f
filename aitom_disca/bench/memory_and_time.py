"""Peak memory and time per subtomogram, as their number grows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bench.accuracy import machine
from aitom_disca.bench.case_data import N_COMMON, write_synthetic_store
from aitom_disca.bench.child_process import child_main, peak_mb, run_child
from aitom_disca.config import MineSettings
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say

SIZES = (500, 1000, 2000, 8000, 20000)


def measure_sizes(
    out: str | Path,
    sizes: Sequence[int] = SIZES,
    settings: MineSettings | None = None,
    *,
    box_px: int = 32,
    rare: Sequence[int] = (),
    again: bool = False,
) -> list[dict[str, Any]]:
    """Sort stores of several sizes, each in a process of its own.

    Parameters
    ----------
    out : path
        Results are kept in ``size_N.json``, and not measured again with the same settings.
    sizes : sequence of int
        Numbers of subtomograms.
    settings : MineSettings, optional
    box_px : int
    rare : sequence of int
        Copies of further structures, beside the five that the stores are made of.
    again : bool
        Measure even what is there.

    Returns
    -------
    list of dict
        ``n``, ``seconds``, ``cpu_seconds`` of all cores, which other work on the machine hardly
        changes, ``peak_mb``, ``imports_mb`` (peak after the imports alone), ``k``, ``ari``, and
        ``rare_recall``: of each rare structure the share that is in a cluster mostly its own.
    """
    settings = settings or MineSettings()
    return [_measure_size(Path(out), n, settings, box_px, list(rare), again) for n in sizes]


def _measure_size(
    out: Path, n: int, settings: MineSettings, box_px: int, rare: list[int], again: bool
) -> dict[str, Any]:
    plan = {"n": n, "box_px": box_px, "settings": json.loads(settings.model_dump_json())}
    plan |= {"rare": rare}
    result_file = out / f"size_{n}.json"
    if result_file.is_file() and not again:
        result: dict[str, Any] = json.loads(result_file.read_text())
        if all(result.get(key) == value for key, value in plan.items()):
            return result
    store = out / f"size_{n}.h5"
    say(f"{n} subtomograms of {box_px} voxels")
    try:
        write_synthetic_store(store, n, box_px=box_px, rare=rare)
        measured = run_child(
            "aitom_disca.bench.memory_and_time", store=store, settings=plan["settings"]
        )
    finally:
        store.unlink(missing_ok=True)
    result = plan | measured | {"machine": machine()}
    write_text(result_file, json.dumps(result, indent=1) + "\n")
    say(f"{n}: {result['seconds']:.1f} s, peak {result['peak_mb']:.0f} MB")
    return result


def measure_one(store: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Sort one store; seconds without imports, peak memory of the whole process."""
    from sklearn.metrics import adjusted_rand_score

    import aitom_disca.network  # noqa: F401
    from aitom_disca.bench.scores import rare_class
    from aitom_disca.io import open_store
    from aitom_disca.mining import DISCA

    imports_mb, start, cpu_start = peak_mb(), time.perf_counter(), time.process_time()
    with open_store(store) as source:
        disca = DISCA.from_settings(MineSettings(**settings)).fit(source)
        true = np.asarray(source.labels)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    found = [rare_class(true, disca.labels_, kind) for kind in range(N_COMMON, int(true.max()) + 1)]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mb": peak_mb(),
        "imports_mb": imports_mb,
        "k": disca.n_clusters_,
        "ari": float(adjusted_rand_score(true, disca.labels_)),
        "rare_recall": [recall if purity > 0.5 else 0.0 for recall, purity in found],
    }


def size_rows(results: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows of text for a table; what a further subtomogram takes is beside the row before."""
    return [
        {
            "subtomograms": str(r["n"]),
            "box": str(r["box_px"]),
            "seconds": f"{r['seconds']:.1f}",
            "ms per subtomogram": f"{1000 * r['seconds'] / r['n']:.1f}",
            "CPU ms per further one": _further(before, r),
            "CPU ms per subtomogram": f"{1000 * r['cpu_seconds'] / r['n']:.1f}",
            "peak MB": f"{r['peak_mb']:.0f}",
            "of it imports": f"{r['imports_mb']:.0f}",
            "K": str(r["k"]),
            "ARI": f"{r['ari']:.3f}",
            "recall of rare": ", ".join(f"{recall:.2f}" for recall in r["rare_recall"]) or "-",
        }
        for before, r in zip([None, *results], results, strict=False)
    ]


def _further(before: dict[str, Any] | None, result: dict[str, Any]) -> str:
    if before is None or before["n"] >= result["n"]:
        return "-"
    more = result["cpu_seconds"] - before["cpu_seconds"]
    return f"{1000 * more / (result['n'] - before['n']):.1f}"


if __name__ == "__main__":
    child_main(measure_one)
