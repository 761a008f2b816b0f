"""Comma-separated tables: what particle sets hold, column by column, and the package's picks."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.format import EVERYTHING, Format, Known, need_positions
from aitom_disca.io.formats.particle_coordinates import (
    find_places,
    name_of_only_tomogram,
    voxel_size_or_none,
)
from aitom_disca.io.numbers_in_files import (
    check_angles,
    is_missing,
    to_clusters,
    to_numbers,
    to_probabilities,
)
from aitom_disca.io.pixel_sizes import to_pixel_sizes
from aitom_disca.io.text_columns import as_cell, csv_header, read_csv_columns
from aitom_disca.particles import ParticleSet

Columns = dict[str, list[str]]

_XYZ, _ANGLES, _BOX = ("x", "y", "z"), ("rot", "tilt", "psi"), ("box_x", "box_y", "box_z")
_VOXEL = "voxel_size_angstrom"
_ZERO_IN_FRONT = re.compile(r"-?0\d")
_OWN = ("tomogram", *_XYZ, *_ANGLES, "score", "cluster", "posterior", *_BOX, _VOXEL)


def recognises(path: Path) -> bool:
    """Whether a table has the columns x, y and z."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    return set(_XYZ) <= set(csv_header(path))


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
    table = read_csv_columns(path, _XYZ)
    names = _names(path, table, known)
    pixel = None
    if known.file_pixel_angstrom is None and not _is_empty(table, _VOXEL):
        pixel = to_pixel_sizes(table[_VOXEL], path, _VOXEL, may_be_missing=True)
    xyz = _three(path, table, _XYZ)
    box = _three_or_none(path, table, _BOX)
    angles = _three_or_none(path, table, _ANGLES)
    if angles is not None:
        check_angles(path, angles)
    score = cluster = posterior = None
    if not _is_empty(table, "score"):
        score = to_numbers(table["score"], path, "score", may_be_missing=True)
    if not _is_empty(table, "cluster"):
        cluster = to_clusters(table["cluster"], path, "cluster")
    if not _is_empty(table, "posterior"):
        posterior = to_probabilities(table["posterior"], path, "posterior")
    places = find_places(path, names, known, pixel_angstrom=pixel)
    return ParticleSet(
        places.names,
        xyz[:, ::-1] * places.scale,
        score=score,
        euler_zyz_deg=angles,
        cluster=cluster,
        posterior=posterior,
        box_center_zyx_px=None if box is None else box[:, ::-1] * places.scale,
        tomograms=places.tomograms,
        more={name: _typed(column) for name, column in table.items() if name not in _OWN},
    )


def _names(path: Path, table: Columns, known: Known) -> list[str]:
    """What the table calls the tomogram of every row."""
    if "tomogram" not in table:
        return [name_of_only_tomogram(path, known)] * len(table["x"])
    return table["tomogram"]


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
    writer.writerow(map(as_cell, written))
    writer.writerows(map(as_cell, row) for row in zip(*written.values(), strict=True))
    write_text(path, text.getvalue())
    return [Path(path)]


def _three(path: Path, table: Columns, columns: tuple[str, ...]) -> np.ndarray:
    return np.stack([to_numbers(table[column], path, column) for column in columns], axis=1)


def _three_or_none(path: Path, table: Columns, columns: tuple[str, ...]) -> np.ndarray | None:
    """Numbers of three columns, if they are there; some without the others are refused."""
    found = [column for column in columns if column in table]
    if 0 < len(found) < len(columns):
        raise InputError(
            f"{path.name} has the column {found[0]}, but not all of {', '.join(columns)}; add or "
            "leave out the others."
        )
    return _three(path, table, columns) if found else None


def _is_empty(table: Columns, column: str) -> bool:
    """Whether a column is not there, or holds nothing."""
    return all(map(is_missing, table.get(column, ())))


def _typed(column: list[str]) -> np.ndarray:
    """Numbers where all values are, but not where zeros in front would be lost."""
    values = np.array(column, str)
    if not any(_ZERO_IN_FRONT.match(value) for value in column):
        try:
            return pd.to_numeric(pd.Series(values)).to_numpy()
        except (ValueError, TypeError):
            pass
    return values


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
    keeps=EVERYTHING,
    library="",
)
