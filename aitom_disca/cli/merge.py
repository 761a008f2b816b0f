"""The command that makes parts one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.errors import InputError
from aitom_disca.io.disk.outputs import refuse_existing
from aitom_disca.number_text import counted
from aitom_disca.progress import say


def merge(
    out: Annotated[
        Path,
        typer.Argument(
            help="The --out of the parts: picks (.csv), a store (.h5), or a folder of predictions."
        ),
    ],
    overwrite: o.Overwrite = False,
) -> None:
    """Make the parts that jobs with --part wrote what one job would have written.

    Example: aitom-disca merge subtomograms.h5
    """
    from aitom_disca.pipeline.array_job_parts import merge_picks, merge_shards
    from aitom_disca.pipeline.predict_labels import merge_predicted

    if out.suffix == ".csv":
        refuse_existing([out], overwrite)
        say(f"{counted(merge_picks(out), 'pick')} written to {out}")
    elif out.is_dir():
        folder = merge_predicted(out, overwrite=overwrite)
        n = sum(folder.record["stages"]["predict"]["sizes"])
        say(f"labels of {counted(n, 'subtomogram')} in clusters written to {folder.labels}")
    elif out.suffix:
        n = merge_shards(out.absolute(), overwrite=overwrite)
        say(f"{out} is made up of {counted(n, 'subtomogram')}")
    else:
        raise InputError(f"expected picks (.csv), a store or a folder of parts, but got {out}.")
