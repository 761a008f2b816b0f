"""Particle sets in the files of many programs, read and written."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.io.formats.format import Format, Known

# Each is a module here, or in `relion`, that holds FORMAT. Asked in this order whose a file is.
NAMES: tuple[str, ...] = (
    "relion5",
    "relion4",
    "warp",
    "relion31",
    "relion30",
    "relion_coordinates",
    "csv",
    "stopgap",
    "dynamo",
    "imod",
    "eman2",
    "pytom",
    "copick",
    "portal",
    "chimerax",
    "artiax",
    "napari",
)

__all__ = ["NAMES", "Format", "Known", "format_of", "get_format", "recognise"]


def get_format(name: str) -> Format:
    """The format of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in NAMES:
        raise InputError(f"{name!r} is no particle format; choose from {', '.join(NAMES)}.")
    folder = f"{__name__}.relion" if name.startswith("relion") else __name__
    return import_module(f"{folder}.{name}").FORMAT  # type: ignore[no-any-return]


def format_of(path: Path) -> Format | None:
    """The format of a file; None where it is of none that can be read."""
    readable = (one for one in map(get_format, NAMES) if one.read is not None)
    return next((one for one in readable if one.recognises(path)), None)


def recognise(path: str | Path, *, for_convert: bool = True) -> Format:
    """The format of a file, from its name and its content.

    Parameters
    ----------
    path : path
    for_convert : bool
        Whether the command has ``--from``, to be named in the error.

    Raises
    ------
    InputError
        If it does not exist, or is of no format that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    found = format_of(path)
    if found is not None:
        return found
    if path.suffix.lower() == ".star":
        from aitom_disca.io.formats.relion.star_blocks import (  # it needs what is in this folder
            read_blocks,
        )

        try:
            read_blocks(path)
        except InputError as error:  # what is wrong with its text
            raise InputError(
                f"{path.name} is of no particle format that is known here: {error}"
            ) from error
    if path.suffix.lower() == ".csv" and path.is_file():
        get_format("csv").read(path, Known())  # type: ignore[misc]  # which columns it lacks
    names = ", ".join(name for name in NAMES if get_format(name).read)
    remedy = f"name it with --from, one of {names}" if for_convert else f"files of {names} are read"
    raise InputError(
        f"{path.absolute().name} is of no particle format that is known here; {remedy}."
    )
