"""The demo: simulate a tomogram, find and sort what is in it, and score the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path(
        "disca_demo"
    ),
    seed: o.Seed = 0,
    particles: Annotated[
        int, typer.Option(min=40, help="Particles in the tomogram, four structures in turn.")
    ] = 200,
    overwrite: o.Overwrite = False,
) -> None:
    """Try everything on a small simulated tomogram whose content is known.

    Example: aitom-disca demo --out disca_demo
    """
    from aitom_disca.cli.printed_tables import file_rows, print_table
    from aitom_disca.demo import run_demo

    result = run_demo(out, n_particles=particles, seed=seed, overwrite=overwrite)
    score = result.score
    stages = result.folder.record["stages"]
    seconds = {"simulate": result.simulate_seconds} | {
        name: stage["seconds"] for name, stage in stages.items()
    }
    rows = [
        ("picks", f"{score.n_found} found, {score.n_true} planted"),
        ("precision", f"{score.precision:.3f}"),
        ("recall", f"{score.recall:.3f}"),
        ("clusters K", f"{result.k_found} found, {result.k_true} true"),
        ("in no cluster", str(stages["mine"]["in_no_cluster"])),
        ("adjusted Rand index", f"{result.ari:.3f} (1 is perfect, 0 is chance)"),
        *((f"seconds: {name}", f"{value:.1f}") for name, value in seconds.items()),
        ("seconds: total", f"{sum(seconds.values()):.1f}"),
        ("tomogram", str(result.tomogram_file)),
        *file_rows(result.folder),
    ]
    print_table("aitom-disca demo", rows)
