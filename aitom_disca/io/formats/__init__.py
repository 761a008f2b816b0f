"""Particle sets in the files of many programs, read and written."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.io.formats.format import Format, Known
from aitom_disca.io.text_tables import read_csv_columns

# Each is a module here that holds FORMAT. Asked in this order whose a file is.
NAMES: tuple[str, ...] = (
    "relion5",
    "relion4",
    "warp",
    "relion31",
    "relion30",
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

__all__ = ["NAMES", "Format", "Known", "get_format", "recognise"]


def get_format(name: str) -> Format:
    """The format of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in NAMES:
        raise InputError(f"{name!r} is no particle format; choose from {', '.join(NAMES)}.")
    return import_module(f"{__name__}.{name}").FORMAT  # type: ignore[no-any-return]


def recognise(path: str | Path) -> Format:
    """The format of a file, from its name and its content.

    Raises
    ------
    InputError
        If it does not exist, or is of no format that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    for name in NAMES:
        found = get_format(name)
        if found.read is not None and found.recognises(path):
            return found
    if path.suffix.lower() == ".csv" and path.is_file():
        read_csv_columns(path, ("x", "y", "z"))  # says which columns it lacks
    if path.suffix.lower() == ".star" and b"data_" in path.read_bytes()[:4096]:
        from aitom_disca.io.star_blocks import read_blocks  # which reads text as the formats do

        read_blocks(path)  # says what is wrong with it
    raise InputError(
        f"{path.name} is of no particle format that is known here; name it with --from, one of "
        f"{', '.join(n for n in NAMES if get_format(n).read)}."
    )
