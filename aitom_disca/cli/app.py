"""The application: its commands, and how errors are said."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from aitom_disca.cli import (
    aitom,
    average,
    bench,
    convert,
    curate,
    decode,
    demo,
    doctor,
    embed,
    explore,
    export,
    extract,
    gumnet,
    identify,
    import_subtomograms,
    info,
    merge,
    mine,
    pick,
    predict,
    refine,
    report,
    run,
    search,
)
from aitom_disca.cli.help_text import Command, Commands
from aitom_disca.errors import InputError, disk_fault
from aitom_disca.progress import shown
from aitom_disca.version import __version__

app = typer.Typer(
    name="aitom-disca",
    help="Sort the particles of cryo-electron tomograms without templates or labels.",
    cls=Commands,
    rich_markup_mode=None,  # the help is ours
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "To begin with": (demo.demo, doctor.doctor, run.run),
    "To look and decide": (report.report, explore.explore, curate.curate, identify.identify),
    "One stage at a time": (
        info.info,
        pick.pick,
        extract.extract,
        import_subtomograms.import_subtomograms,
        mine.mine,
        refine.refine,
        search.search,
        average.average,
        embed.embed,
        predict.predict,
        merge.merge,
    ),
    "For other programs": (
        export.export,
        convert.convert,
        aitom.aitom_import,
        aitom.aitom_export,
    ),
    "Rarely": (decode.decode, gumnet.train_gumnet, bench.bench),
}
_INTERRUPTED = 130  # what Typer makes of Ctrl-C

for group, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=group)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"aitom-disca {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (works anywhere).")
    ] = False,
) -> None:
    """Sort the particles of cryo-electron tomograms without templates or labels."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; by default those of the command line. None at all ask for the
        help.

    Returns
    -------
    int
        0 for success; 2 for input that cannot be used, a disk that is full or fails, and too little
        memory; 1 for a failure of the program itself.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]

    _show_warnings()
    try:
        with shown(Console(soft_wrap=True)):
            code = app(arguments or ["--help"], prog_name="aitom-disca", standalone_mode=False) or 0
        return _stopped() if code == _INTERRUPTED else code
    except typer.Exit as stop:
        return stop.exit_code
    except InputError as error:
        return _fail(str(error), 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        text = f"there is not enough memory{why}; close other programs, or give less at once."
        return _fail(text, 2, debug)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the command line itself
            return _fail(error.format_message(), 2, debug)
        fault = disk_fault(error) if isinstance(error, OSError) else None
        if fault is not None:
            return _fail(fault, 2, debug)
        text = f"unexpected {type(error).__name__}: {error} (--debug shows where)."
        return _fail(text, 1, debug)


def _stopped() -> int:
    return _fail("stopped; what was finished is kept, --resume goes on.", _INTERRUPTED, False)


def _fail(text: str, code: int, debug: bool) -> int:
    if debug:
        logging.getLogger("aitom_disca").exception("where it came from")
    print(f"error: {text}", file=sys.stderr)
    return code


def _show_warnings() -> None:
    """Let the library's warnings reach the user, one line each."""
    logger = logging.getLogger("aitom_disca")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
        logging.addLevelName(logging.WARNING, "warning")
