"""The command that shows the results of a run in a browser."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.errors import InputError


def explore(
    results: Annotated[Path, typer.Argument(help="Folder of a run, with labels.csv.")],
    port: Annotated[int, typer.Option(help="Where the page is served.", min=1, max=65535)] = 8050,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at; by default only this machine can connect, or an ssh tunnel."
        ),
    ] = "127.0.0.1",
) -> None:
    """Look at the results of a run in a browser, and merge, drop, name its clusters there.

    Every click shows the aitom-disca command that does the same without a screen.

    Example: aitom-disca explore results
    """
    missing = [name for name in ("dash", "plotly") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"explore needs the package {missing[0]}; install it with pip install "
            "'aitom-disca[explore]'."
        )
    from aitom_disca.explore.server import explore as serve

    serve(results.absolute(), port=port, host=host)  # commands that are shown hold anywhere
