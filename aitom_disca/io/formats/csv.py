"""Comma-separated tables: what particle sets hold, column by column, and the package's picks."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.atomic import write_text
from aitom_disca.io.formats.files import read_text
from aitom_disca.io.formats.format import (
    BOX_CENTER,
    CLUSTER,
    FURTHER,
    NAME,
    POSE,
    POSTERIOR,
    SCORE,
    Format,
    Known,
    need_positions,
)
from aitom_disca.io.formats.places import find_places, name_of_only_tomogram, voxel_size_or_none
from aitom_disca.particles import UNASSIGNED, ParticleSet

_XYZ, _ANGLES, _BOX = ("x", "y", "z"), ("rot", "tilt", "psi"), ("box_x", "box_y", "box_z")
_VOXEL = "voxel_size_angstrom"
_OWN = ("tomogram", *_XYZ, *_ANGLES, "score", "cluster", "posterior", *_BOX, _VOXEL)


def recognises(path: Path) -> bool:
    """Whether a table has the columns x, y and z."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(_XYZ) <= set(header)


def read(path: str | Path, known: Known) -> ParticleSet:
    """Read a table with the columns x, y, z (voxels from 0) and any of the others.

    ``tomogram``, ``rot``, ``tilt``, ``psi`` (RELION's, in degrees), ``score``, ``cluster`` (from
    1; 0 for none), ``posterior``, ``box_x``, ``box_y``, ``box_z`` (where the subtomogram was cut)
    and ``voxel_size_angstrom`` have their places; all others are kept as further columns.

    Raises
    ------
    InputError
        If a needed column is missing or holds something that is no number.
    """
    path = Path(path)
    table = _read_table(path)
    if "tomogram" in table:
        names = table["tomogram"].tolist()
    else:
        names = [name_of_only_tomogram(path, known)] * len(table)
    pixel = _numbers(path, table, _VOXEL) if _VOXEL in table else None
    said = {} if pixel is None else dict(zip(names, pixel.tolist(), strict=True))
    places = find_places(path, names, known, pixel_angstrom=said)
    center = _three(path, table, _XYZ)[:, ::-1] * places.scale
    box = _three(path, table, _BOX)[:, ::-1] * places.scale if set(_BOX) <= set(table) else None
    cluster = _optional(path, table, "cluster")
    return ParticleSet(
        places.names,
        center,
        score=_optional(path, table, "score"),
        euler_zyz_deg=_three(path, table, _ANGLES) if set(_ANGLES) <= set(table) else None,
        cluster=None
        if cluster is None
        else np.where(cluster < 1, UNASSIGNED, np.nan_to_num(cluster) - 1).astype(int),
        posterior=_optional(path, table, "posterior"),
        box_center_zyx_px=box,
        tomograms=places.tomograms,
        more={str(c): _typed(table[c]) for c in table.columns if c not in _OWN},
    )


def write(path: str | Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write one row for every particle; columns of which nothing is known are left out.

    Raises
    ------
    InputError
        If positions are unknown.
    """
    need_positions(particles, FORMAT.title)
    columns: dict[str, Any] = {"tomogram": particles.tomogram_name.astype(str)}
    columns |= _split(_XYZ, particles.center_zyx_px[:, ::-1])
    if particles.euler_zyz_deg is not None:
        columns |= _split(_ANGLES, particles.euler_zyz_deg)
    columns["score"] = particles.score
    if particles.cluster is not None:
        columns["cluster"] = np.where(particles.cluster < 0, 0, particles.cluster + 1)
    columns["posterior"] = particles.posterior
    if particles.box_center_zyx_px is not None:
        columns |= _split(_BOX, particles.box_center_zyx_px[:, ::-1])
    columns[_VOXEL] = _voxels(particles, known)
    columns |= {name: value for name, value in particles.more.items() if name not in _OWN}
    written = {name: _texts(value) for name, value in columns.items() if value is not None}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(written)
    writer.writerows(zip(*written.values(), strict=True))
    write_text(path, text.getvalue())
    return [Path(path)]


def _read_table(path: Path) -> pd.DataFrame:
    try:
        rows = [row for row in csv.reader(read_text(path).splitlines()) if row]
    except csv.Error as error:
        raise InputError(f"{path.name} cannot be read as a table ({error}).") from error
    header = rows[0] if rows else []
    uneven = next((i for i, row in enumerate(rows, 1) if len(row) != len(header)), None)
    if uneven is not None:
        raise InputError(
            f"{path.name} cannot be read as a table: row {uneven} has {len(rows[uneven - 1])} "
            f"values, but there are {len(header)} columns."
        )
    table = pd.DataFrame(rows[1:], columns=header, dtype=str)
    missing = [axis for axis in _XYZ if axis not in table]
    if missing:
        raise InputError(
            f"{path.name} needs the columns x, y, z (voxels from 0); missing: "
            f"{', '.join(missing)}; found: {', '.join(map(str, table.columns)) or 'none'}."
        )
    if table.empty:
        raise InputError(f"{path.name} holds no rows.")
    return table


def _numbers(path: Path, table: pd.DataFrame, column: str) -> np.ndarray:
    try:
        values = pd.to_numeric(table[column].replace("", np.nan)).to_numpy(float)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path.name}: the column {column} holds something that is no number ({error})."
        ) from error
    if column in (*_XYZ, *_ANGLES, *_BOX, _VOXEL) and not np.isfinite(values).all():
        raise InputError(f"{path.name} has rows without a number in the column {column}.")
    return values


def _three(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    return np.stack([_numbers(path, table, column) for column in columns], axis=1)


def _optional(path: Path, table: pd.DataFrame, column: str) -> np.ndarray | None:
    if column not in table or not table[column].ne("").any():
        return None
    return _numbers(path, table, column)


def _typed(column: pd.Series) -> np.ndarray:
    """Numbers where all values are, but not where zeros in front would be lost."""
    if not column.str.match(r"-?0\d").any():
        try:
            return pd.to_numeric(column).to_numpy()
        except (ValueError, TypeError):
            pass
    return column.to_numpy(str)


def _split(names: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(names, np.asarray(values, float).T, strict=True))


def _voxels(particles: ParticleSet, known: Known) -> np.ndarray | None:
    names, which = np.unique(particles.tomogram_name, return_inverse=True)
    sizes = [voxel_size_or_none(str(name), particles, known) for name in names]
    return None if None in sizes else np.array(sizes, float)[which]


def _texts(column: np.ndarray) -> list[str]:
    values = np.asarray(column)
    if values.dtype.kind != "f":
        return [str(value) for value in values.tolist()]
    return [f"{value:.10g}" if np.isfinite(value) else "" for value in values.tolist()]


FORMAT = Format(
    name="csv",
    title="Table (CSV)",
    suffixes=(".csv",),
    recognises=recognises,
    read=read,
    write=write,
    keeps=frozenset({POSE, SCORE, CLUSTER, POSTERIOR, BOX_CENTER, FURTHER, NAME}),
    library="",
)
