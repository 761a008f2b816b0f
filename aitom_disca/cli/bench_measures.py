"""What each ``aitom-disca bench --what`` measures and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aitom_disca.cli.bench_options import What
from aitom_disca.errors import InputError

if TYPE_CHECKING:
    from aitom_disca.bench import BenchOptions

_TABLE_WIDTH = 150
_COPIES = 200  # of one structure, for alignment and averages


def measure_whole_cells(
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


def print_score_of_cells(
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


def print_accuracy(out: Path) -> None:
    """Print the table of all results that are there."""
    from rich.console import Console

    from aitom_disca import bench as b

    results = b.read_results(out)
    if not results:
        raise InputError(f"there are no results in {out}; measure first, without --show.")
    rows = b.summarise(results)
    b.write_tables(out, results, rows)
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(b.rich_table(rows))
    for line in b.comparisons(results):
        console.print(line)
    console.print(f"table: {out / 'bench.md'}, single runs: {out / 'bench.csv'}")


def measure_speed(out: Path, templates: Path | None, options: BenchOptions, seed: int) -> None:
    """Seconds from store to labels, of both presets."""
    from aitom_disca.bench import load_templates
    from aitom_disca.bench.speed_of_presets import measure_speed, speed_rows
    from aitom_disca.cli.printed_tables import print_table

    result = measure_speed(
        out,
        load_templates(templates),
        fraction=options.fraction,
        paper_width=options.paper_width,
        seed=seed,
        changes=options.changes,
    )
    print_table("speed", speed_rows(result))


def measure_size(
    out: Path, sizes: list[int], rare: list[int], options: BenchOptions, again: bool
) -> None:
    """Memory and time as the number of subtomograms grows."""
    from rich.console import Console

    from aitom_disca.bench.memory_and_time import measure_sizes, size_rows
    from aitom_disca.bench.table import rows_table
    from aitom_disca.config import MineSettings

    settings = MineSettings.from_preset("fast", **options.changes)
    results = measure_sizes(out, sizes, settings, rare=rare, again=again)
    Console().print(rows_table("size", size_rows(results)))


def measure_device(
    out: Path, minutes: float, templates: Path | None, width: float, seed: int, again: bool
) -> None:
    """What Keras' backend computes a second."""
    from aitom_disca.bench.device import device_rows, measure_device
    from aitom_disca.cli.printed_tables import print_table

    result = measure_device(
        out, minutes=minutes, templates=templates, width=width, seed=seed, again=again
    )
    print_table("device", device_rows(result))
    print(f"all figures: {out / 'device.json'}")


def measure_selection(out: Path, samples: int, seed: int) -> None:
    """Choice of K at size."""
    from aitom_disca.bench.choice_of_k import measure_selection, selection_rows
    from aitom_disca.cli.printed_tables import print_table

    print_table("choice of K", selection_rows(measure_selection(out, n=samples, seed=seed)))


def measure_structures(
    what: What, out: Path, templates: Path | None, seeds: list[int], fraction: float
) -> None:
    """Poses, averages and clusters beside the truth."""
    from rich.console import Console

    from aitom_disca.bench import few_particles, known_pairs, known_truth, load_templates
    from aitom_disca.bench.table import rows_table

    maps, n = load_templates(templates), max(8, round(_COPIES * fraction))
    if what is What.few:
        copies = [max(8, round(n * fraction)) for n in few_particles.COPIES]
        rows = few_particles.measure_few(out, maps, copies=copies, seeds=seeds)
    elif what is What.refinement:
        rows = known_truth.measure_refinement(out, maps, seeds=seeds)
    elif what is What.merges:
        rows = known_pairs.measure_pairs(out, maps, seeds=seeds, fraction=fraction)
    elif what is What.averages:
        rows = known_truth.measure_averages(out, maps, n=n, seed=seeds[0])
    else:
        rows = known_truth.measure_alignment(out, maps, n=n, seed=seeds[0])
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(rows_table(what.value, known_truth.structure_rows(rows)))


def print_names() -> None:
    """Name cases and methods."""
    from aitom_disca.bench import CASES, METHODS
    from aitom_disca.cli.printed_tables import print_table

    print_table("cases", [(case.name, case.title) for case in CASES.values()])
    print_table("methods", [(method.name, method.title) for method in METHODS.values()])
