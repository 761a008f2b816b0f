"""What particles of star files call their tomograms, and by which names these are known."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.relion.star_blocks import NAME_COLUMNS
from aitom_disca.io.numbers_in_files import is_missing
from aitom_disca.io.tomogram_names import check_names, known_among
from aitom_disca.particles import TomogramInfo

logger = logging.getLogger(__name__)


def find_known(
    path: str | Path,
    names: np.ndarray,
    tomograms: Mapping[str, TomogramInfo],
    *,
    must_fit: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Which particles lie in known tomograms, and the names by which those are known.

    Which name fits is told by `known_among`.

    Returns
    -------
    known : ndarray of bool, shape (N,)
    names : ndarray of str, shape (N,)

    Raises
    ------
    InputError
        If there are particles, and none lies in one of the tomograms, though one must; or it is
        not clear which do.
    """
    name = Path(path).absolute().name
    unique, which = np.unique(names, return_inverse=True)
    found = known_among(unique.tolist(), tomograms, name)
    own = np.array([found.get(said, said) for said in unique.tolist()], dtype=str)[which]
    known = np.array([said in found for said in unique.tolist()], dtype=bool)[which]
    if must_fit and len(names) and not known.any():
        raise InputError(
            f"{name} holds particles of {', '.join(unique[:3])}, none of the tomograms "
            f"given ({', '.join(list(tomograms)[:3])}); the names must agree."
        )
    if not known.all():
        logger.warning(
            "%s: %d of %d particles are in tomograms that were not given and are left out.",
            name,
            (~known).sum(),
            len(known),
        )
    return known, own


def with_whole_names(path: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """A table whose columns of names fill the gaps of one another, and the name in every row.

    Files that were joined have the names of some rows in one column, of others in the other.
    """
    columns = [column for column in NAME_COLUMNS if column in table]
    if not columns:
        raise InputError(
            f"{path.name} needs the column rlnTomoName or rlnMicrographName; found: "
            f"{', '.join(table.columns)}."
        )
    missing = {c: np.array([is_missing(v) for v in table[c]], bool) for c in columns}
    names = table[columns[0]].to_numpy(object)
    for column in columns[1:]:
        others = table[column].to_numpy(object)
        said = _said_of(others, names, ~missing[columns[0]] & ~missing[column])
        instead = np.array([said.get(other, other) for other in others.tolist()], object)
        names = np.where(missing[columns[0]], instead, names)
    check_names(names, path.name)
    filled = {c: np.where(missing[c], names, table[c].to_numpy(object)) for c in columns}
    return table.assign(**filled), names.astype(str)


def _said_of(others: np.ndarray, names: np.ndarray, both: np.ndarray) -> dict[str, str]:
    """What rows that have names in both columns call those of the second, if they agree."""
    pairs = set(zip(others[both].tolist(), names[both].tolist(), strict=True))
    times = Counter(other for other, _ in pairs)
    return {other: name for other, name in pairs if times[other] == 1}


def name_column(table: pd.DataFrame) -> str:
    """The column of names: the first that a table has."""
    return next(column for column in NAME_COLUMNS if column in table)


def with_paths(
    infos: Mapping[str, TomogramInfo], said: np.ndarray, names: np.ndarray
) -> dict[str, TomogramInfo]:
    """Tomograms with the paths by which the file calls them."""
    paths = {name: Path(path) for name, path in zip(names, said, strict=True) if "/" in path}
    return {
        name: replace(info, path=paths[name]) if info.path is None and name in paths else info
        for name, info in infos.items()
    }
