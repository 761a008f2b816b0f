"""The table of a benchmark: printed, as CSV and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from aitom_disca.bench.cases import CASES, Case
from aitom_disca.bench.methods import METHODS
from aitom_disca.config import MineSettings
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.result_tables import write_rows_csv

_SCORES = {"ari": "ARI", "rare": "recall", "noise": "precision", "single": "K right"}
_MORE = {
    "rare": ("purity",),
    "noise": ("recall", "precision_of_structures", "recall_of_structures"),
}
Result = Mapping[str, Any]
_PRINTED = (  # on the terminal; the files hold more
    *("case", "method", "seeds", "score", "target", "reached"),
    *("homogeneity", "completeness", "K found", "seconds"),
)


def summarise(results: Sequence[Result], cases: Mapping[str, Case] = CASES) -> list[dict[str, str]]:
    """One row of text a case and method, over all seeds.

    The score is the ARI unless the case says otherwise. A target counts as reached if median,
    worst, K of every seed and median time reach it, rounded as printed.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["case"], result["method"]), []).append(result)
    return [
        _row(cases[case], method, runs, groups.get((case, "start"), []))
        for (case, method), runs in groups.items()
        if case in cases
    ]


def _row(
    case: Case, method: str, runs: Sequence[Result], starts: Sequence[Result]
) -> dict[str, str]:
    def values(name: str) -> np.ndarray:
        return np.array([run["scores"][name] for run in runs])

    given = " (given)" if any(run["k_given"] for run in runs) else ""
    others = [f"{n.replace('_', ' ')} {np.median(values(n)):.2f}" for n in _MORE.get(case.kind, ())]
    return {
        "case": case.title + _marks(runs),
        "method": _method_title(method, runs),
        "seeds": str(len(runs)),
        "score": f"{_SCORES[case.kind]} {np.median(values('score')):.2f} / "
        f"{values('score').min():.2f}",
        "target": _target(case),
        "reached": _reached(case, runs, starts),
        "ARI": f"{np.median(values('ari')):.2f} / {values('ari').min():.2f}",
        "homogeneity": f"{np.median(values('homogeneity')):.2f}",
        "completeness": f"{np.median(values('completeness')):.2f}",
        "K found": " ".join(str(run["k_found"]) for run in runs) + given,
        "K true": str(case.k_true),
        "seconds": f"{np.median([run['seconds'] for run in runs]):.0f}",
        "also": ", ".join(others),
    }


def _method_title(method: str, runs: Sequence[Result]) -> str:
    """The method, with what its settings add to or change about its name."""
    title = METHODS[method].title if method in METHODS else method
    settings = runs[0]["settings"]
    if settings.get("preset") == "paper":
        most = settings["max_iterations"]
        return f"{title}, width {settings['width']:g}, at most {most} iterations"
    if method != "ours":
        return title
    usual = json.loads(MineSettings().model_dump_json())
    own = {"seed", "candidate_k"}  # of the case and the run
    changed = {k: v for k, v in settings.items() if k not in own and usual.get(k, v) != v}
    return ", ".join([title, *(f"{name} = {value}" for name, value in changed.items())])


def comparisons(results: Sequence[Result]) -> list[str]:
    """In how many cases the median score of ours is above that of each other method.

    Only seeds that both have measured count.
    """
    scores: dict[str, dict[tuple[str, int], float]] = {}
    for r in results:
        scores.setdefault(r["method"], {})[r["case"], r["seed"]] = r["scores"]["score"]
    ours = scores.pop("ours", {})
    lines = []
    for method, theirs in scores.items():
        both = set(ours) & set(theirs)
        cases = {case for case, _ in both}

        def median(of: dict[tuple[str, int], float], case: str, both: set = both) -> float:
            return float(np.median([of[key] for key in both if key[0] == case]))

        above = sum(median(ours, case) > median(theirs, case) for case in cases)
        title = METHODS[method].title if method in METHODS else method
        lines += [f"ours is above {title} in {above} of {len(cases)} cases"] if cases else []
    return lines


def _marks(runs: Sequence[Result]) -> str:
    """What makes these runs other than the case itself."""
    marks = ["phantoms"] if any(run["templates"] == "phantoms" for run in runs) else []
    parts = {run["fraction"] for run in runs} - {1.0}
    marks += [f"{100 * part:g} % of it" for part in sorted(parts)]
    return f" ({', '.join(marks)})" if marks else ""


def _target(case: Case) -> str:
    parts = []
    if case.target_median is not None:
        worst = "" if case.target_worst is None else f" / {case.target_worst:.2f}"
        parts.append(f"{case.target_median:.2f}{worst}")
    if case.k_tolerance is not None and case.kind != "single":
        within = f" ± {case.k_tolerance}" if case.k_tolerance else ""
        parts.append(f"K = {case.k_true}{within}")
    if case.seconds_most is not None:
        parts.append(f"{case.seconds_most:g} s")
    if case.above_start:
        parts.append("not below its start")
    return ", ".join(parts)


def _reached(case: Case, runs: Sequence[Result], starts: Sequence[Result]) -> str:
    """Which parts of the target are not reached; "yes" if all are."""
    scores = np.round([run["scores"]["score"] for run in runs], 2)
    lacking = []
    if case.target_median is not None and np.median(scores) < case.target_median:
        lacking.append("median")
    if case.target_worst is not None and scores.min() < case.target_worst:
        lacking.append("worst")
    if case.k_tolerance is not None and case.kind != "single":
        wrong = [abs(run["k_found"] - case.k_true) > case.k_tolerance for run in runs]
        lacking += ["K"] if any(wrong) else []
    if case.seconds_most and np.median([run["seconds"] for run in runs]) > case.seconds_most:
        lacking.append("time")
    if case.above_start and runs[0]["method"] == "ours":
        start = {run["seed"]: run["scores"]["ari"] for run in starts}
        if any(run["scores"]["ari"] < start.get(run["seed"], -1.0) for run in runs):
            lacking.append("below start")
    return f"no: {', '.join(lacking)}" if lacking else "yes"


def rich_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """The rows as a table for the terminal."""
    title = "aitom-disca bench (median / worst over the seeds)"
    return rows_table(title, [{name: row[name] for name in _PRINTED} for row in rows])


def rows_table(title: str, rows: Sequence[Mapping[str, str]]) -> Table:
    """Rows that have the same columns as a table for the terminal."""
    table = Table(title=title)
    for name in rows[0] if rows else ():
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    return table


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows as a table in Markdown."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_tables(
    out: str | Path, results: Sequence[Result], rows: Sequence[Mapping[str, str]]
) -> None:
    """Write ``bench.csv``, a row a run, and ``bench.md``, the table."""
    flat = [
        {
            **{name: result[name] for name in ("case", "method", "seed", "templates", "fraction")},
            **{name: result[name] for name in ("n_subtomograms", "k_found", "k_given")},
            **result["scores"],
            "seconds": round(result["seconds"], 2),
            "version": result["version"],
        }
        for result in results
    ]
    write_rows_csv(Path(out) / "bench.csv", flat)
    where = {f"{r['machine']['processor']}, {r['machine']['cores']} cores" for r in results}
    heading = (
        "Median / worst over the seeds; K chosen by each method unless given.\n"
        f"Measured on {'; '.join(sorted(where))}, "
        f"aitom-disca {', '.join(sorted({r['version'] for r in results}))}.\n\n"
    )
    compared = "".join(f"\n{line}." for line in comparisons(results))
    write_text(Path(out) / "bench.md", f"{heading}{markdown(rows)}{compared}\n")
