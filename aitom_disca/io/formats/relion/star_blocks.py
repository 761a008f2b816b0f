"""The text of star files: blocks read and written, paths found, names of columns."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.file_text import read_text, warn_of_end
from aitom_disca.io.formats.relion.star_pixels import (
    IMAGE,
    MICROGRAPH,
    MICROGRAPH_ORIGINAL,
    TILT_SERIES,
)
from aitom_disca.io.formats.relion.star_text import (
    StarBlock,
    block_text,
    parse_star,
    quoted,
    values_text,
)
from aitom_disca.io.numbers_in_files import is_missing

logger = logging.getLogger(__name__)

Block: TypeAlias = "pd.DataFrame | dict"

PLAIN_COLUMNS = [f"rlnCoordinate{axis}" for axis in "XYZ"]
CENTERED_COLUMNS = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ANGLE_COLUMNS = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
SUBTOMOGRAM_ANGLE_COLUMNS = [f"rlnTomoSubtomogram{angle}" for angle in ("Rot", "Tilt", "Psi")]
ORIGIN_ANGST_COLUMNS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
ORIGIN_PX_COLUMNS = [f"rlnOrigin{axis}" for axis in "XYZ"]
CLASS_COLUMN = "rlnClassNumber"
CLUSTER_NAME_COLUMN = "aitomDiscaClusterName"  # which RELION passes over
POSTERIOR_COLUMN = "rlnMaxValueProbDistribution"
SCORE_COLUMN = "rlnAutopickFigureOfMerit"
# What a particle set has a place for; all other columns are kept as they are.
PLACED_COLUMNS = (
    *PLAIN_COLUMNS,
    *CENTERED_COLUMNS,
    *ORIGIN_ANGST_COLUMNS,
    *ORIGIN_PX_COLUMNS,
    *ANGLE_COLUMNS,
    CLASS_COLUMN,
    POSTERIOR_COLUMN,
    SCORE_COLUMN,
)
NAME_COLUMNS = ("rlnTomoName", "rlnMicrographName")
GROUP_COLUMN = "rlnOpticsGroup"
TILT_SERIES_PIXEL_COLUMN = TILT_SERIES
IMAGE_PIXEL_COLUMN = IMAGE
# What coordinates of RELION 3.1 count in, also where its images were rescaled.
MICROGRAPH_PIXEL_COLUMNS = (MICROGRAPH, MICROGRAPH_ORIGINAL)
IMAGE_COLUMNS = ["rlnImageName", "rlnCtfImage", "rlnTomoVisibleFrames"]
MICROSCOPE_COLUMNS = {  # by the names of `Optics`
    "voltage_kv": "rlnVoltage",
    "spherical_aberration_mm": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
}
# Labels whose values stay text, also where all of them look like numbers ("007").
_TEXT_LABEL = re.compile(
    r"\w*(?:Name|File|Image|Tomogram|TomogramDenoised|Metadata|Frames|Half[12])"
)


def read_blocks(path: str | Path) -> dict[str, Block]:
    """Blocks of a star file by name (without ``data_``); names of files stay text.

    Columns in which all values are numbers hold numbers, NaN where one is missing (`is_missing`);
    all others hold text.

    Raises
    ------
    InputError
        If there is no such file, or it is not a star file or not a whole one, see `parse_star`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the star file {path} does not exist; check the path.")
    text = read_text(path)
    blocks = parse_star(text, path.name)
    warn_of_end(path, text)
    return {name: _table(own) if own.looped else _values(own) for name, own in blocks.items()}


def _table(block: StarBlock) -> pd.DataFrame:
    columns = list(zip(*block.rows, strict=True)) or [()] * len(block.labels)
    named = zip(block.labels, columns, strict=True)
    return pd.DataFrame({label: _column(label, values) for label, values in named})


def _values(block: StarBlock) -> dict[str, object]:
    values = block.rows[0] if block.rows else []
    return {k: _column(k, [v]).tolist()[0] for k, v in zip(block.labels, values, strict=True)}


def _column(label: str, values: Sequence[str]) -> np.ndarray:
    """Values of a column: numbers where all that are there are numbers, else text."""
    text = np.array(values, dtype=object)
    if _TEXT_LABEL.fullmatch(label):
        return text
    try:
        return np.asarray(pd.to_numeric(text))
    except (ValueError, TypeError):
        pass
    missing = np.array([is_missing(value) for value in values], bool)
    try:
        found = np.full(len(text), np.nan)
        found[~missing] = pd.to_numeric(text[~missing])
    except (ValueError, TypeError):
        return text
    return text if missing.all() else found


def find_table(
    path: str | Path,
    blocks: dict[str, pd.DataFrame | dict],
    name: str,
    any_of: Iterable[str],
    *,
    may_be_empty: bool = False,
    alone: bool = False,
) -> pd.DataFrame:
    """The table called ``name``, or else the only one with one of the columns.

    Raises
    ------
    InputError
        If there is none, or it is empty and may not be; the columns found are named. Also if others
        with such columns hold rows, which would be lost, where it has to be ``alone``.
    """
    tables = {key: block for key, block in blocks.items() if isinstance(block, pd.DataFrame)}
    wanted = list(any_of)
    fitting = {key: table for key, table in tables.items() if set(wanted) & set(table.columns)}
    if not fitting:
        found = sorted({column for t in tables.values() for column in t.columns})
        raise InputError(
            f"{Path(path).name} needs a table with one of the columns {', '.join(wanted)}; found: "
            f"{', '.join(found) or 'no table'}."
        )
    others = [key for key, table in fitting.items() if key != name and not (alone and table.empty)]
    if len(fitting) > 1 and (name not in fitting or (alone and others)):
        names = ", ".join(f"data_{key}" for key in fitting)
        raise InputError(
            f"{Path(path).name} holds {len(fitting)} tables with such columns ({names}), where one "
            "is expected; put them into one table, or into a file each."
        )
    table = fitting.get(name, next(iter(fitting.values())))
    if table.empty and not may_be_empty:
        raise InputError(f"{Path(path).name} holds no rows in its table {name!r}.")
    return table


def positive_number(row: pd.Series, column: str) -> float | None:
    """A value of a row that is more than 0; None where there is none."""
    value = row.get(column)
    return float(value) if isinstance(value, Real) and 0 < float(value) < np.inf else None


def tilt_series_of_row(
    star: Path, blocks: Mapping[str, Block], row: pd.Series, *, quiet: bool = False
) -> pd.DataFrame | None:
    """Images of a tomogram's tilt series: in a file of its own (RELION 5) or a block here (4).

    A file that cannot be read is passed over, with a warning unless ``quiet``.
    """
    tilts = blocks.get(row["rlnTomoName"])
    named = row.get("rlnTomoTiltSeriesStarFile")
    found = resolve(named, star) if isinstance(named, str) else None
    if found is not None:
        try:
            own = read_blocks(found)
        except InputError as error:
            if not quiet:
                logger.warning(
                    "the tilt series %s of %s is passed over: %s", named, row["rlnTomoName"], error
                )
            return None
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
        if isinstance(block, pd.DataFrame):
            columns = [_words(block[column]) for column in block]
            body = block_text(name, block.columns, zip(*columns, strict=True))
        else:
            body = values_text(name, ((k, _words([v])[0]) for k, v in block.items()))
        mark = "" if version is None else f"# version {version}\n\n"
        parts.append(f"\n{mark}{body}\n")
    return "\n".join(parts) + "\n"


def _words(column: Sequence[object] | np.ndarray | pd.Series) -> list[str]:
    """Values as words of a star file: text in quotes where it needs them."""
    values = texts(np.asarray(column))
    if np.asarray(column).dtype.kind in "biuf":
        return values
    words = {value: quoted(value) for value in set(values)}
    return [words[value] for value in values]


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
