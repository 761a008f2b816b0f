"""Measure every case with every method and seed; each result is kept in a file of its own."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from aitom_disca.bench.case_data import TemplateSet, simulate_case
from aitom_disca.bench.cases import CASES, Case
from aitom_disca.bench.methods import BenchOptions, Method
from aitom_disca.bench.scores import score_labels
from aitom_disca.computing.cores import n_cores
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say
from aitom_disca.version import __version__

RESULTS = "results"  # folder of the single results inside a benchmark's folder


def run_bench(
    out: str | Path,
    cases: Sequence[Case],
    methods: Sequence[Method],
    seeds: Sequence[int],
    templates: TemplateSet,
    options: BenchOptions | None = None,
    *,
    again: bool = False,
) -> list[dict[str, Any]]:
    """Measure what is not there yet, one seed after the other.

    A result that is in ``out`` with the same data and settings is not measured again, so that a
    benchmark that was stopped goes on, and one can be put together in several goes.

    Parameters
    ----------
    out : path
        The benchmark's folder; results lie in ``results/CASE_METHOD_SEED.json``.
    cases, methods, seeds : sequences
    templates : TemplateSet
    options : BenchOptions, optional
    again : bool
        Measure even what is there.

    Returns
    -------
    list of dict
        The results asked for, in order of case, method and seed.

    Raises
    ------
    InputError
        If a template is missing, or a result cannot be read or written.
    """
    options = options or BenchOptions()
    for case in cases:  # a missing template ends here, before hours of work
        for seed in seeds:
            templates.take(case.structures(seed))
    folder = Path(out) / RESULTS
    results: dict[tuple[Case, Method, int], dict[str, Any]] = {}
    for seed, case in product(seeds, cases):
        plans = {m: _plan(case, m, seed, templates, options) for m in methods}
        wanted = {m: plan for m, plan in plans.items() if again or not _is_there(folder, plan)}
        results |= {(case, m, seed): read_result(_path(folder, plan)) for m, plan in plans.items()
                    if m not in wanted}  # fmt: skip
        if not wanted:
            continue
        say(f"{case.title}, seed {seed}: {', '.join(m.title for m in wanted)}")
        data = simulate_case(case, templates, seed, options.fraction)
        for method, plan in wanted.items():
            answer = method.run(data.volumes, case, plan["settings"])
            scores = score_labels(data.labels, answer.labels, case.kind)
            result = plan | {
                "scores": scores,
                "k_found": answer.k,
                "k_given": answer.k_given,
                "n_subtomograms": len(data.labels),
                "seconds": answer.seconds,
                "version": __version__,
                "machine": machine(),
            }
            write_text(_path(folder, plan), json.dumps(result, indent=1) + "\n")
            results[case, method, seed] = result
            say(
                f"{method.title}: score {scores['score']:.3f}, ARI {scores['ari']:.3f}, "
                f"K = {answer.k}, {answer.seconds:.1f} s"
            )
    return [results[case, method, seed] for case in cases for method in methods for seed in seeds]


def _plan(
    case: Case, method: Method, seed: int, templates: TemplateSet, options: BenchOptions
) -> dict[str, Any]:
    """Everything that decides a result, as JSON gives it back."""
    plan = {
        "case": case.name,
        "method": method.name,
        "seed": seed,
        "templates": templates.source,
        "fraction": options.fraction,
        "data": case.record(),
        "settings": method.settings(case, seed, options),
    }
    return json.loads(json.dumps(plan))  # type: ignore[no-any-return]


def _path(folder: Path, plan: dict[str, Any]) -> Path:
    return folder / f"{plan['case']}_{plan['method']}_{plan['seed']}.json"


def _is_there(folder: Path, plan: dict[str, Any]) -> bool:
    """Whether a result of this very plan lies in the folder."""
    path = _path(folder, plan)
    if not path.is_file():
        return False
    result = read_result(path)
    return all(result.get(key) == value for key, value in plan.items())


def read_result(path: Path) -> dict[str, Any]:
    """Read one result.

    Raises
    ------
    InputError
        If the file is no result of a benchmark.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        result["scores"]["ari"], result["case"], result["method"], result["seconds"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a result of the benchmark ({type(error).__name__}); remove it, and it "
            "is measured again."
        ) from error
    return result  # type: ignore[no-any-return]


def read_results(out: str | Path) -> list[dict[str, Any]]:
    """All results in a benchmark's folder, in order of case, method and seed."""
    results = [read_result(path) for path in sorted((Path(out) / RESULTS).glob("*.json"))]
    order = list(CASES)
    return sorted(
        results,
        key=lambda r: (
            order.index(r["case"]) if r["case"] in order else -1,
            r["method"],
            r["seed"],
        ),
    )


def machine() -> dict[str, Any]:
    """The processor and how many of its cores this process may use."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"processor": model, "cores": n_cores(), "python": platform.python_version()}
