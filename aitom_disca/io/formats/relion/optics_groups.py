"""Optics groups that particles of star files come with: their numbers, and what layouts drop."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.relion.star_blocks import (
    GROUP_COLUMN,
    IMAGE_PIXEL_COLUMN,
    MICROSCOPE_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
)
from aitom_disca.io.numbers_in_files import to_numbers, to_whole_numbers
from aitom_disca.particles import Optics, ParticleSet

OPTICS_KEY = "relion:optics"
GROUP_NAME_COLUMN = "rlnOpticsGroupName"
MICROSCOPE = tuple(MICROSCOPE_COLUMNS.values())
ONLY_UNBINNED = [TILT_SERIES_PIXEL_COLUMN, "rlnTomoSubtomogramBinning"]


def microscope(known: Optics | None = None) -> dict[str, float]:
    """RELION's columns of the microscope; the usual values where nothing is known."""
    optics = (known or Optics()).optics
    return {column: optics[name] for name, column in MICROSCOPE_COLUMNS.items()}


def optics_by_tomogram(particles: ParticleSet) -> dict[str, dict[str, float]]:
    """What particles of a star file say of their tomograms, by the names of `Optics`."""
    columns = {name: optics_value(particles, c) for name, c in MICROSCOPE_COLUMNS.items()}
    defoci = [optics_value(particles, f"rlnDefocus{axis}") for axis in "UV"]
    measured = [defocus for defocus in defoci if defocus is not None]
    columns["defocus_angstrom"] = np.mean(measured, axis=0) if measured else None
    return {
        tomogram: {
            name: float(np.median(column[particles.tomogram_name == tomogram]))
            for name, column in columns.items()
            if column is not None and np.any(column[particles.tomogram_name == tomogram])
        }
        for tomogram in np.unique(particles.tomogram_name).tolist()
    }


def optics_table(particles: ParticleSet) -> pd.DataFrame | None:
    """The optics groups that the particles came with, if all of theirs are there."""
    block = particles.more_blocks.get(OPTICS_KEY)
    if block is None or GROUP_COLUMN not in particles.more:
        return None
    table = block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
    if GROUP_COLUMN not in table:
        return None
    return table if np.isin(particles.more[GROUP_COLUMN], table[GROUP_COLUMN]).all() else None


def optics_value(particles: ParticleSet, column: str) -> np.ndarray | None:
    """A number (N,) of the optics groups, or of the rows."""
    table = optics_table(particles)
    if table is not None and column in table:
        by_group = table.drop_duplicates(GROUP_COLUMN).set_index(GROUP_COLUMN)[column]
        return numbers_of(by_group.loc[particles.more[GROUP_COLUMN]], column)
    if column in particles.more and np.asarray(particles.more[column]).dtype.kind in "fi":
        return np.asarray(particles.more[column], float)
    return None


def numbers_of(values: np.ndarray | pd.Series, column: str) -> np.ndarray:
    """A column that a star file brought along, of which reading it made no use."""
    return to_numbers(values, "the star file", column, may_be_missing=True)


def lost_optics_columns(particles: ParticleSet, kept: Iterable[str] | None = None) -> list[str]:
    """Columns of the optics groups that a layout drops: all but ``kept``, or the unbinned ones."""
    table = optics_table(particles)
    columns = [] if table is None else [str(c) for c in table.columns if c != GROUP_COLUMN]
    if kept is None:
        return [c for c in columns if c in ONLY_UNBINNED]
    return [c for c in columns if c not in {*kept, IMAGE_PIXEL_COLUMN, *MICROSCOPE}]


def with_optics(
    path: Path, table: pd.DataFrame, optics: pd.DataFrame | dict | None
) -> pd.DataFrame:
    """Add the columns of the optics groups to the rows; they win over columns of the same name.

    Rows that name no group are in the only one there is.

    Raises
    ------
    InputError
        If groups have no numbers, one is described twice, or has particles and is not described.
    """
    if optics is None:
        return table
    groups = optics if isinstance(optics, pd.DataFrame) else pd.DataFrame([optics])
    groups = groups.drop_duplicates()
    if GROUP_COLUMN not in table:
        if len(groups) != 1 or GROUP_COLUMN not in groups:
            return table
        table = table.assign(**{GROUP_COLUMN: groups[GROUP_COLUMN].iloc[0]})
    if GROUP_COLUMN not in groups:
        raise InputError(
            f"{path.name} has a table of optics groups without the column {GROUP_COLUMN}; add it."
        )
    listed = to_whole_numbers(groups[GROUP_COLUMN], path, f"{GROUP_COLUMN} of the optics")
    groups = groups.assign(**{GROUP_COLUMN: listed})
    number = to_whole_numbers(table[GROUP_COLUMN], path, GROUP_COLUMN)
    twice = groups[GROUP_COLUMN][groups[GROUP_COLUMN].duplicated()]
    if len(twice):
        raise InputError(
            f"{path.name}: the optics group {twice.iloc[0]} is described twice, and differently; "
            "give the groups numbers of their own."
        )
    strange = number[~np.isin(number, groups[GROUP_COLUMN])]
    if len(strange):
        raise InputError(
            f"{path.name}: the optics group {strange[0]} of {len(strange)} particles is not in the "
            "table of optics groups; add it."
        )
    own = [c for c in table.columns if c == GROUP_COLUMN or c not in groups]
    rows = table[own].assign(**{GROUP_COLUMN: number})
    return rows.merge(groups, on=GROUP_COLUMN, how="left", validate="many_to_one")
