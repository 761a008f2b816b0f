"""The command that shows what the clusters look like to the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.progress import say


def decode(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes of the decoder over the subtomograms, at most.")
    ] = 20,
    threads: o.Threads = None,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
) -> None:
    """Decode the centre of every cluster and its nearest member; MRC files and the report.

    Example: aitom-disca decode results
    """
    from aitom_disca.pipeline import decode as decode_run

    run = decode_run(folder, epochs=epochs, overwrite=overwrite)
    say(f"decoded centres and members written to {run.decoded}, and shown in {run.report}")
