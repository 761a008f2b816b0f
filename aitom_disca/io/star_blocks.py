"""The text of star files: blocks read and written, paths found, names of columns."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import pandas as pd
import starfile

from aitom_disca.errors import InputError

Block: TypeAlias = "pd.DataFrame | dict"

PLAIN_COLUMNS = [f"rlnCoordinate{axis}" for axis in "XYZ"]
CENTERED_COLUMNS = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ANGLE_COLUMNS = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
SUBTOMOGRAM_ANGLE_COLUMNS = [f"rlnTomoSubtomogram{angle}" for angle in ("Rot", "Tilt", "Psi")]
ORIGIN_ANGST_COLUMNS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
ORIGIN_PX_COLUMNS = [f"rlnOrigin{axis}" for axis in "XYZ"]
CLASS_COLUMN = "rlnClassNumber"
POSTERIOR_COLUMN = "rlnMaxValueProbDistribution"
SCORE_COLUMN = "rlnAutopickFigureOfMerit"
NAME_COLUMNS = ("rlnTomoName", "rlnMicrographName")
GROUP_COLUMN = "rlnOpticsGroup"
TILT_SERIES_PIXEL_COLUMN = "rlnTomoTiltSeriesPixelSize"
IMAGE_PIXEL_COLUMN = "rlnImagePixelSize"
# What coordinates of RELION 3.1 count in, also where its images were rescaled.
MICROGRAPH_PIXEL_COLUMNS = ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize")
IMAGE_COLUMNS = ["rlnImageName", "rlnCtfImage", "rlnTomoVisibleFrames"]
MICROSCOPE_COLUMNS = {  # by the names of `Optics`
    "voltage_kv": "rlnVoltage",
    "spherical_aberration_mm": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
}
# Labels whose values stay text, also where all of them look like numbers ("007").
_TEXT_LABEL = re.compile(
    r"^\s*_(\w*(?:Name|File|Image|Tomogram|TomogramDenoised|Metadata|Frames|Half[12]))\b",
    re.MULTILINE,
)
_BLOCK = re.compile(r"^data_", re.MULTILINE)
_LABEL = re.compile(r"^\s*_(\w+)", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)


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
        text = path.read_text(encoding="utf-8")
        blocks = _blocks_of(path, text)
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{path.name} cannot be read as a star file ({error}); check that every row has as "
            "many values as there are columns."
        ) from error
    _check_labels(path, text)
    if not blocks:
        raise InputError(f"{path.name} is not a star file: it has no line 'data_...'.")
    return blocks


def _check_labels(path: Path, text: str) -> None:
    """Refuse a block that has a label twice: which of two columns counts nobody can know."""
    for block in _BLOCK.split(text)[1:]:
        labels = _LABEL.findall(block)
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise InputError(
                f"{path.name} has the label {twice} twice in one table; remove one of the columns."
            )


def _blocks_of(path: Path, text: str) -> dict[str, Block]:
    """What the library reads; where a table without rows misleads it, without the comments."""
    text_labels = _TEXT_LABEL.findall(text)
    try:
        return starfile.read(path, always_dict=True, parse_as_string=text_labels)
    except pd.errors.EmptyDataError:  # a comment behind a loop without rows was taken for its rows
        with TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            copy.write_text(_COMMENT.sub("", text), encoding="utf-8")
            return starfile.read(copy, always_dict=True, parse_as_string=text_labels)


def find_table(
    path: str | Path,
    blocks: dict[str, pd.DataFrame | dict],
    name: str,
    any_of: Iterable[str],
    *,
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """The table called ``name``, or else the only one with one of the columns.

    Raises
    ------
    InputError
        If there is none, or it is empty and may not be; the columns found are named.
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
    if table.empty and not may_be_empty:
        raise InputError(f"{Path(path).name} holds no rows in its table {name!r}.")
    return table


def positive_number(row: pd.Series, column: str) -> float | None:
    """A value of a row that is more than 0; None where there is none."""
    value = row.get(column)
    return float(value) if isinstance(value, Real) and 0 < float(value) < np.inf else None


def tilt_series_of_row(
    star: Path, blocks: Mapping[str, Block], row: pd.Series
) -> pd.DataFrame | None:
    """Images of a tomogram's tilt series: in a file of its own (RELION 5) or a block here (4)."""
    tilts = blocks.get(row["rlnTomoName"])
    named = row.get("rlnTomoTiltSeriesStarFile")
    found = resolve(named, star) if isinstance(named, str) else None
    if found is not None:
        own = read_blocks(found)
        tilts = own.get(row["rlnTomoName"], next(iter(own.values())))
    return tilts if isinstance(tilts, pd.DataFrame) else None


def write_blocks_text(
    blocks: Mapping[str, Block], version: int | None, comments: Sequence[str] = ()
) -> str:
    """Text of a star file.

    Parameters
    ----------
    blocks : mapping of str to DataFrame or dict
        A table, or values by name. Numbers get 6 decimals, or 12 digits where those say more.
    version : int, optional
        RELION's version, in a comment before every block; RELION 3.0 has none.
    comments : sequence of str
        Lines for the reader, before everything.
    """
    parts = ["".join(f"# {line}\n" for line in comments)] if comments else []
    for name, block in blocks.items():
        said = block
        if isinstance(block, pd.DataFrame):
            said = pd.DataFrame({column: texts(block[column]) for column in block})
        text = starfile.to_string({name: said})
        body = text.split("\n", 1)[1].strip("\n")  # without starfile's line with the date
        mark = "" if version is None else f"# version {version}\n\n"
        parts.append(f"\n{mark}{body}\n")
    return "\n".join(parts) + "\n"


def texts(column: np.ndarray | pd.Series) -> list[str]:
    """Values as a star file holds them: whole numbers whole, no NaN (0 in its place)."""
    values = np.asarray(column)
    if values.dtype.kind == "b":
        values = values.astype(int)
    if values.dtype.kind != "f":
        return ["None" if value != value else str(value) for value in values.tolist()]
    values = np.nan_to_num(values, posinf=0, neginf=0).astype(float)
    digits = [f"{value:.12g}" for value in values.tolist()]
    enough = np.round(values, 6) == np.array(digits, float)
    return [
        f"{value:.6f}" if six else text
        for value, text, six in zip(values.tolist(), digits, enough.tolist(), strict=True)
    ]


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
