"""The benchmark: how right and how fast, on data whose truth is known."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aitom_disca.errors import InputError

if TYPE_CHECKING:
    from aitom_disca.bench import BenchOptions

_TABLE_WIDTH = 150
_COPIES = 200  # of one structure, for alignment and averages


class What(StrEnum):
    """What can be measured."""

    accuracy = "accuracy"
    speed = "speed"
    size = "size"
    selection = "selection"
    alignment = "alignment"
    averages = "averages"
    refinement = "refinement"
    few = "few"
    cells = "cells"
    device = "device"


class Level(StrEnum):
    """How many electrons a simulated cell was seen with."""

    good = "good"
    mid = "mid"
    raw = "raw"


_Cases = Annotated[
    list[str] | None,
    typer.Option("--cases", help="Only this case (repeatable); --list names them."),
]
_Methods = Annotated[
    list[str] | None,
    typer.Option("--methods", help="Only this method (repeatable); --list names them."),
]


def bench(
    templates: Annotated[
        Path | None,
        typer.Option(
            "--templates",
            help="Folder of density maps NAME.mrc or NAME.mrc.gz; built-in phantoms if left out.",
        ),
    ] = None,
    cases: _Cases = None,
    methods: _Methods = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, such as 0-4 or 0,3.")] = "0-4",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; what is there is kept.")
    ] = Path("bench_results"),
    what: Annotated[
        What, typer.Option("--what", help="What to measure: one of the above.", metavar="WHAT")
    ] = What.accuracy,
    fraction: Annotated[
        float,
        typer.Option(
            help="Part of the subtomograms of every case, for a quick look.", min=0, max=1
        ),
    ] = 1.0,
    paper_width: Annotated[
        float | None,
        typer.Option(
            "--paper-width",
            help="Width of the network of the preset paper; by default 0.25, for speed 1.",
        ),
    ] = None,
    paper_iterations: Annotated[
        int, typer.Option("--paper-iterations", help="Its most iterations.", min=1)
    ] = 8,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE changes a setting of ours (repeatable)."),
    ] = None,
    sizes: Annotated[
        str, typer.Option("--sizes", help="For --what size: numbers of subtomograms.")
    ] = "500,1000,2000,8000,20000",
    rare: Annotated[
        str | None,
        typer.Option(
            "--rare",
            help="For --what size: copies of structures beside the common ones, such as 60,20.",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", help="For --what selection: samples to cluster.", min=100)
    ] = 200_000,
    level: Annotated[
        Level, typer.Option("--level", help="For --what cells: from clear to raw.")
    ] = Level.good,
    score: Annotated[
        Path | None,
        typer.Option("--score", help="For --what cells: score the run in this folder alone."),
    ] = None,
    truth: Annotated[
        list[Path] | None,
        typer.Option("--truth", help="With --score: table of the true particles (repeatable)."),
    ] = None,
    defocus_angstrom: Annotated[
        float | None,
        typer.Option(
            "--defocus-angstrom",
            help="With --score and --templates: to compare averages with templates.",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", help="For --what device: about so long.", min=0.5)
    ] = 8.0,
    again: Annotated[bool, typer.Option("--again", help="Measure even what is there.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Measure nothing; print the table of what is there.")
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Name cases and methods.")] = False,
) -> None:
    """Measure on simulated data whose truth is known, beside other methods.

    accuracy: ARI, K and time of every case, method and seed; speed: preset fast beside preset
    paper; size: memory and time as the number of subtomograms grows; selection: choice of K at
    size; alignment, averages, refinement: poses, averages and clusters beside the truth; few:
    averages of 24 to 400 particles as noisy as ribosomes in cells; cells: whole runs on simulated
    cells, or with --score one that is there; device: on whatever Keras' backend computes on, the
    expectation step, the network, the published method and many subtomograms. Stopped, accuracy,
    size, cells and device go on where they were when started again.

    Example: aitom-disca bench --templates maps --cases snr-0.1 --methods ours --seeds 0
    """
    from aitom_disca import bench as b

    if list_all:
        _print_names()
        return
    if what is What.cells:
        from aitom_disca.cli import bench_cells

        if score is not None:
            bench_cells.score(score, truth or [], templates, defocus_angstrom)
        else:
            named, changed = parse_seeds(seeds), parse_changes(changes or [])
            bench_cells.measure(out, templates, level.value, named, changed, again=again)
        return
    if what is What.device:
        _device(out, minutes, templates, paper_width or 1.0, parse_seeds(seeds)[0], again)
        return
    width = paper_width or (1.0 if what is What.speed else 0.25)
    options = b.BenchOptions(fraction, width, paper_iterations, parse_changes(changes or []))
    if what is What.speed:
        _speed(out, templates, options, parse_seeds(seeds)[0])
    elif what is What.size:
        few = parse_sizes(rare, "--rare") if rare else []
        _size(out, parse_sizes(sizes), few, options, again)
    elif what is What.selection:
        _selection(out, samples, parse_seeds(seeds)[0])
    elif what in (What.alignment, What.averages, What.refinement, What.few):
        _structures(what, out, templates, parse_seeds(seeds), fraction)
    else:
        if not show:
            chosen = b.choose_cases(_split(cases), with_maps=templates is not None)
            maps = b.load_templates(templates)
            asked = b.choose_methods(_split(methods))
            b.run_bench(out, chosen, asked, parse_seeds(seeds), maps, options, again=again)
        _accuracy_table(out)


def _accuracy_table(out: Path) -> None:
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


def _speed(out: Path, templates: Path | None, options: BenchOptions, seed: int) -> None:
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


def _size(out: Path, sizes: list[int], rare: list[int], options: BenchOptions, again: bool) -> None:
    from rich.console import Console

    from aitom_disca.bench.memory_and_time import measure_sizes, size_rows
    from aitom_disca.bench.table import rows_table
    from aitom_disca.config import MineSettings

    settings = MineSettings.from_preset("fast", **options.changes)
    results = measure_sizes(out, sizes, settings, rare=rare, again=again)
    Console().print(rows_table("size", size_rows(results)))


def _device(
    out: Path, minutes: float, templates: Path | None, width: float, seed: int, again: bool
) -> None:
    from aitom_disca.bench.device import device_rows, measure_device
    from aitom_disca.cli.printed_tables import print_table

    result = measure_device(
        out, minutes=minutes, templates=templates, width=width, seed=seed, again=again
    )
    print_table("device", device_rows(result))
    print(f"all figures: {out / 'device.json'}")


def _selection(out: Path, samples: int, seed: int) -> None:
    from aitom_disca.bench.choice_of_k import measure_selection, selection_rows
    from aitom_disca.cli.printed_tables import print_table

    print_table("choice of K", selection_rows(measure_selection(out, n=samples, seed=seed)))


def _structures(
    what: What, out: Path, templates: Path | None, seeds: list[int], fraction: float
) -> None:
    from rich.console import Console

    from aitom_disca.bench import few_particles, known_truth, load_templates
    from aitom_disca.bench.table import rows_table

    maps, n = load_templates(templates), max(8, round(_COPIES * fraction))
    if what is What.few:
        copies = [max(8, round(n * fraction)) for n in few_particles.COPIES]
        rows = few_particles.measure_few(out, maps, copies=copies, seeds=seeds)
    elif what is What.refinement:
        rows = known_truth.measure_refinement(out, maps, seeds=seeds)
    elif what is What.averages:
        rows = known_truth.measure_averages(out, maps, n=n, seed=seeds[0])
    else:
        rows = known_truth.measure_alignment(out, maps, n=n, seed=seeds[0])
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(rows_table(what.value, known_truth.structure_rows(rows)))


def _split(names: list[str] | None) -> list[str]:
    """Names given one by one or joined by commas."""
    return [part for name in names or [] for part in name.split(",") if part]


def parse_seeds(text: str) -> list[int]:
    """Seeds from ``0-4``, ``0,3`` or a mixture of both.

    Raises
    ------
    InputError
        If the text is neither.
    """
    try:
        pairs = [part.strip().partition("-") for part in text.split(",")]
        found = [s for low, dash, high in pairs for s in range(int(low), int(high or low) + 1)]
    except ValueError as error:
        raise InputError(f"--seeds takes numbers such as 0-4 or 0,3; got {text!r}.") from error
    if not found:
        raise InputError(f"--seeds takes numbers such as 0-4, smallest first; got {text!r}.")
    return sorted(set(found))


def parse_sizes(text: str, option: str = "--sizes") -> list[int]:
    """Numbers of subtomograms from ``500,2000``, as an option was given.

    Raises
    ------
    InputError
        If the text is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"{option} takes numbers such as 500,2000,8000; got {text!r}.")
    return [int(part) for part in parts]


def parse_changes(texts: list[str]) -> dict[str, Any]:
    """Settings from ``NAME=VALUE``, the value as in JSON, or a word.

    Raises
    ------
    InputError
        If there is no name or no value.
    """
    changes = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise InputError(f"--set takes NAME=VALUE, such as width=0.25; got {text!r}.")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def _print_names() -> None:
    from aitom_disca.bench import CASES, METHODS
    from aitom_disca.cli.printed_tables import print_table

    print_table("cases", [(case.name, case.title) for case in CASES.values()])
    print_table("methods", [(method.name, method.title) for method in METHODS.values()])
