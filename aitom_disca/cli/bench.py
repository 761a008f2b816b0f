"""The benchmark: how right and how fast, on data whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli.bench_options import (
    Cases,
    Level,
    Methods,
    What,
    parse_changes,
    parse_seeds,
    parse_sizes,
    split_names,
)


def bench(
    templates: Annotated[
        Path | None,
        typer.Option(
            "--templates",
            help="Folder of density maps NAME.mrc or NAME.mrc.gz; built-in phantoms if left out.",
        ),
    ] = None,
    cases: Cases = None,
    methods: Methods = None,
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
    size; alignment, averages, refinement: poses, averages and clusters beside the truth; merges:
    which clusters are said to be one; few: averages of 24 to 400 particles as noisy as ribosomes in
    cells; cells: whole runs on simulated cells, or with --score one that is there; device: on
    whatever Keras' backend computes on, the expectation step, the network, the published method and
    many subtomograms. Stopped, accuracy, size, cells and device go on where they were when started
    again.

    Example: aitom-disca bench --templates maps --cases snr-0.1 --methods ours --seeds 0
    """
    from aitom_disca import bench as b
    from aitom_disca.cli import bench_measures as m

    if list_all:
        m.print_names()
        return
    if what is What.cells:
        if score is not None:
            m.print_score_of_cells(score, truth or [], templates, defocus_angstrom)
        else:
            named, changed = parse_seeds(seeds), parse_changes(changes or [])
            m.measure_whole_cells(out, templates, level.value, named, changed, again=again)
        return
    if what is What.device:
        m.measure_device(out, minutes, templates, paper_width or 1.0, parse_seeds(seeds)[0], again)
        return
    width = paper_width or (1.0 if what is What.speed else 0.25)
    options = b.BenchOptions(fraction, width, paper_iterations, parse_changes(changes or []))
    if what is What.speed:
        m.measure_speed(out, templates, options, parse_seeds(seeds)[0])
    elif what is What.size:
        few = parse_sizes(rare, "--rare") if rare else []
        m.measure_size(out, parse_sizes(sizes), few, options, again)
    elif what is What.selection:
        m.measure_selection(out, samples, parse_seeds(seeds)[0])
    elif what in (What.alignment, What.averages, What.refinement, What.merges, What.few):
        m.measure_structures(what, out, templates, parse_seeds(seeds), fraction)
    else:
        if not show:
            chosen = b.choose_cases(split_names(cases), with_maps=templates is not None)
            maps = b.load_templates(templates)
            asked = b.choose_methods(split_names(methods))
            b.run_bench(out, chosen, asked, parse_seeds(seeds), maps, options, again=again)
        m.print_accuracy(out)
