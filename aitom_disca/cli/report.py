"""The command that makes the report of a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.progress import say


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
) -> None:
    """Write the report of a finished run again.

    Example: aitom-disca report results
    """
    from aitom_disca.pipeline import report_again

    say(f"report written to {report_again(folder)}")
