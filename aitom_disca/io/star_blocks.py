"""The text of star files: blocks read and written, paths found."""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import starfile

from aitom_disca.errors import InputError

PLAIN_COLUMNS = [f"rlnCoordinate{axis}" for axis in "XYZ"]
CENTERED_COLUMNS = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ANGLE_COLUMNS = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
SUBTOMOGRAM_ANGLE_COLUMNS = [f"rlnTomoSubtomogram{angle}" for angle in ("Rot", "Tilt", "Psi")]
ORIGIN_ANGST_COLUMNS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
ORIGIN_PX_COLUMNS = [f"rlnOrigin{axis}" for axis in "XYZ"]
CLASS_COLUMN = "rlnClassNumber"
POSTERIOR_COLUMN = "rlnMaxValueProbDistribution"
SCORE_COLUMN = "rlnAutopickFigureOfMerit"
_TEXT_COLUMNS = [
    "rlnTomoName",
    "rlnMicrographName",
    "rlnImageName",
    "rlnTomoReconstructedTomogram",
    "rlnTomoDenoisedTomogram",
    "rlnTomoReconstructedTomogramDenoised",
    "rlnTomoTiltSeriesStarFile",
]


def read_blocks(path: str | Path) -> dict[str, pd.DataFrame | dict]:
    """Blocks of a star file by name (without ``data_``); names of files stay text.

    Raises
    ------
    InputError
        If there is no such file, or it is not a star file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the star file {path} does not exist; check the path.")
    linecache.clearcache()  # starfile reads through it and would see a file's earlier content
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=_TEXT_COLUMNS)
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{path.name} cannot be read as a star file ({error}); check that every row has as "
            "many values as there are columns."
        ) from error
    if not blocks:
        raise InputError(f"{path.name} is not a star file: it has no line 'data_...'.")
    return blocks


def find_table(
    path: str | Path, blocks: dict[str, pd.DataFrame | dict], name: str, any_of: Iterable[str]
) -> pd.DataFrame:
    """The table called ``name``, or else the only one with one of the columns.

    Raises
    ------
    InputError
        If there is none, or it is empty; the columns found are named.
    """
    tables = {key: block for key, block in blocks.items() if isinstance(block, pd.DataFrame)}
    wanted = list(any_of)
    fitting = [table for table in tables.values() if set(wanted) & set(table.columns)]
    table = tables.get(name)
    if table is None and len(fitting) == 1:
        table = fitting[0]
    if table is None or not set(wanted) & set(table.columns):
        found = sorted({column for t in tables.values() for column in t.columns})
        raise InputError(
            f"{Path(path).name} needs a table with one of the columns {', '.join(wanted)}; found: "
            f"{', '.join(found) or 'no table'}."
        )
    if table.empty:
        raise InputError(f"{Path(path).name} holds no rows in its table {name!r}.")
    return table


def write_blocks_text(blocks: dict[str, pd.DataFrame], version: int) -> str:
    """Text of a star file with RELION's version comment before every block; 6 decimals."""
    parts = []
    for name, table in blocks.items():
        text = starfile.to_string({name: table}, float_format="%.6f")
        body = text.split("\n", 1)[1].strip("\n")  # without starfile's line with the date
        parts.append(f"\n# version {version}\n\n{body}\n")
    return "\n".join(parts) + "\n"


def resolve(path_in_star: str, star: str | Path) -> Path | None:
    """Find a file named in a star file; None if it is nowhere.

    RELION counts paths from the folder of its project, which is the working folder or one of
    those above the star file.
    """
    star = Path(star).resolve()
    for folder in (Path.cwd(), *star.parents):
        if (folder / path_in_star).is_file():
            return folder / path_in_star
    return None
