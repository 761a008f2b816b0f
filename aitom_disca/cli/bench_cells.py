"""What ``aitom-disca bench --what cells`` does and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aitom_disca.errors import InputError


def measure(
    out: Path,
    templates: Path | None,
    level: str,
    seeds: Sequence[int],
    options: Mapping[str, Any],
    *,
    again: bool,
) -> None:
    """Simulate, run and score cells of every seed; print a table of each."""
    from aitom_disca.bench import load_templates
    from aitom_disca.bench.whole_cells import measure_cells

    maps = load_templates(templates)
    for seed in seeds:
        (done,) = measure_cells(out, maps, level=level, seeds=[seed], options=options, again=again)
        _print(f"cells, {level}, seed {seed}", done)


def score(
    run: Path, truth: Sequence[Path], templates: Path | None, defocus_angstrom: float | None
) -> None:
    """Score a run that is there.

    Raises
    ------
    InputError
        If there is no truth to score it against.
    """
    from aitom_disca.bench import load_templates
    from aitom_disca.bench.whole_cells import score_with_averages
    from aitom_disca.simulation.cell import Imaging

    if not truth:
        raise InputError("--score needs the true particles; give their table with --truth.")
    maps = load_templates(templates).by_name if templates else {}
    lens = [] if defocus_angstrom is None else [Imaging(defocus_angstrom=defocus_angstrom)]
    _print(str(run), asdict(score_with_averages(run, truth, maps, lens)))


def _print(title: str, done: Mapping[str, Any]) -> None:
    from rich.console import Console

    from aitom_disca.bench.table import rows_table
    from aitom_disca.bench.whole_cells import kind_rows, summary_rows
    from aitom_disca.cli.printed_tables import print_table

    Console().print(rows_table(title, kind_rows(done)))
    print_table("", summary_rows(done))
