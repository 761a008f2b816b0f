"""The command that compares averages with known structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.progress import say


def identify(
    results: Annotated[
        Path, typer.Argument(help="Folder of a run with averages, or that of the averages.")
    ],
    maps: Annotated[
        Path,
        typer.Option(
            "--maps",
            help="Folder of known structures: density maps (.mrc, .map; protein bright) and atomic "
            "models (.pdb, .cif; needs the extra pdb). Their file names are the names.",
        ),
    ],
    seed: o.Seed = 0,
) -> None:
    """Say which known structure each average is likest, and propose names for the clusters.

    The score is the mean Fourier shell correlation up to the average's resolution. A name is
    proposed where its map leads both the next one and what random phases reach; all figures are
    in averages/identified.csv.

    Example: aitom-disca identify results --maps known_structures
    """
    from aitom_disca.pipeline.identify import identify as identify_averages
    from aitom_disca.pipeline.identify import propose

    for line in propose(identify_averages(results, maps, seed=seed), results):
        say(line)
