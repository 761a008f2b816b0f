"""Dynamo's tables (.tbl) and the table map beside them (.doc) that names the tomograms.

The angles tdrot, tilt, narot turn the reference clockwise about z, its new x and its new z. About
fixed axes, and with anticlockwise rotations, this is
``A = (Rz(narot) Rx(tilt) Rz(tdrot))^T``, and so do the tools that convert them for RELION
(eulerangles, STOPGAP, cryoCAT) take them.

Coordinates begin at the corner of the first voxel: Dynamo's wiki (Volume center) and the tables
that it writes have voxel centres at half integers, so that voxel ``i`` from 0 is at ``i + 0.5``.
x, y, z is where the box was cut; dx, dy, dz lead from there to the particle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats import common_columns as common
from aitom_disca.io.formats.file_text import head, library, read_text
from aitom_disca.io.formats.format import EVERYTHING, POSTERIOR, Format, Known, need_positions
from aitom_disca.io.formats.numbered_tomograms import (
    files_of_numbers,
    names_of_numbers,
    number_map_text,
    numbers_of_tomograms,
)
from aitom_disca.io.formats.particle_coordinates import find_places, voxel_size_or_none
from aitom_disca.io.numbers_in_files import check_angles, to_numbers
from aitom_disca.io.pixel_sizes import to_pixel_sizes
from aitom_disca.io.text_columns import check_row_lengths
from aitom_disca.particles import ParticleSet

_TITLE = "a Dynamo table"
_FILES = "dynamo:files"  # of tomograms, by name
_COLUMNS = "dynamo:columns"  # of a table read: their names, in order
_N_NEEDED = 26  # up to z
_VOXEL_CENTRE = 0.5
_NUMBERS = ["dx", "dy", "dz", "tdrot", "tilt", "narot", "x", "y", "z"]
_OWN = [*_NUMBERS, "class", "cc"]  # held by the particles themselves


def read(path: Path, known: Known) -> ParticleSet:
    """Read a table of 26 columns or more, and its map of tomograms if ``STEM.doc`` is there.

    Tomograms without a name in the map are called by their numbers. Voxel sizes (column 36) and
    tilt ranges (14 and 15, where 13 is not 0) go to the tomograms; all other columns are kept.

    Raises
    ------
    InputError
        If it is not a table of numbers.
    """
    table = _read_table(Path(path))
    values = {name: to_numbers(table[name], path, f"column {name}") for name in _NUMBERS}
    names = names_of_numbers(table["tomo"], path, "tomo", Path(path).with_suffix(".doc"), known)
    places = find_places(
        path,
        names,
        known,
        pixel_angstrom=None if known.file_pixel_angstrom else _pixels(table, path),
        tilt_range_deg=_tilts(table, names, path),
    )
    xyz = np.stack([values[axis] for axis in "xyz"], axis=1) - _VOXEL_CENTRE
    shift = np.stack([values[f"d{axis}"] for axis in "xyz"], axis=1)
    center = ((xyz + shift) * places.scale)[:, ::-1]
    angles = np.stack([values[angle] for angle in ("tdrot", "tilt", "narot")], axis=1)
    check_angles(path, angles)
    return ParticleSet(
        places.names,
        center,
        score=common.scores_or_none(table["cc"], path),
        euler_zyz_deg=common.euler_zyz_deg(Rotation.from_euler("zxz", angles, degrees=True).inv()),
        cluster=common.clusters_from_1(table["class"], path, "class"),
        box_center_zyx_px=common.box_centers_if_moved((xyz * places.scale)[:, ::-1], center),
        tomograms=places.tomograms,
        more={name: table[name].to_numpy() for name in table if name not in _OWN},
        more_blocks={_COLUMNS: list(table), _FILES: files_of_numbers(places.names, names)},
    )


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a table, and beside it ``STEM.doc`` with the tomograms of column 20.

    Raises
    ------
    InputError
        If positions in voxels are not known.
    """
    need_positions(particles, _TITLE)
    path = Path(path)
    numbers = numbers_of_tomograms(particles, "tomo")
    columns = _filled(particles, known, numbers)
    order = list(library("dynamotable.utils", _TITLE).COLUMN_NAMES)
    order += [name for name in particles.more_blocks.get(_COLUMNS, []) if name not in order]
    zeros = np.zeros(len(particles), int)
    table = pd.DataFrame({name: columns.get(name, zeros) for name in order})
    write_text(
        path, table.to_csv(sep=" ", header=False, index=False, na_rep="NaN", float_format="%.12g")
    )
    map_path = path.with_suffix(".doc")
    write_text(map_path, number_map_text(numbers, particles, known, _FILES))
    return [path, map_path]


def _read_table(path: Path) -> pd.DataFrame:
    """The table by the names that dynamotable gives to Dynamo's columns; text where one is none."""
    names = library("dynamotable.utils", _TITLE).generate_column_names
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    if not rows:
        raise InputError(f"{path.name} holds no rows.")
    n_columns = len(rows[0])
    if n_columns < _N_NEEDED:
        raise InputError(
            f"{path.name} has {n_columns} columns, a Dynamo table needs {_N_NEEDED} or more."
        )
    check_row_lengths(path, rows, n_columns)
    table = pd.DataFrame(rows, columns=list(names(n_columns)), dtype=str)
    table.columns = [name or f"column_{i}" for i, name in enumerate(table.columns, 1)]
    return table.apply(_numbers_or_text)


def _numbers_or_text(column: pd.Series) -> pd.Series:
    """Further columns may hold anything; daxis holds complex numbers at times."""
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column


def _filled(particles: ParticleSet, known: Known, numbers: dict[str, int]) -> dict[str, Any]:
    """Columns that are not 0 throughout."""
    names = particles.tomogram_name.tolist()
    ones = np.ones(len(particles), int)
    columns: dict[str, Any] = {"tag": np.arange(1, len(particles) + 1), "aligned_value": ones}
    columns |= {"averaged_value": ones, "npar": ones, "ref": ones} | _wedges(particles, known)
    columns |= particles.more
    columns |= _wedges(particles, known) if known.tilt_range_deg is not None else {}
    box = common.box_centers(particles)
    columns |= zip("xyz", box.T[::-1] + _VOXEL_CENTRE, strict=True)
    columns |= zip(("dx", "dy", "dz"), (particles.center_zyx_px - box).T[::-1], strict=True)
    angles = common.zxz_deg(common.rotations(particles).inv())
    columns |= zip(("tdrot", "tilt", "narot"), angles.T, strict=True)
    if particles.score is not None:
        columns["cc"] = np.nan_to_num(particles.score)
    columns["class"] = common.numbers_from_1(particles)
    columns["tomo"] = [numbers[name] for name in names]
    voxel = {name: voxel_size_or_none(name, particles, known) for name in numbers}
    if all(voxel.values()):
        columns["apix"] = [voxel[name] for name in names]
    return columns


def _wedges(particles: ParticleSet, known: Known) -> dict[str, np.ndarray]:
    """Tilt ranges about y, where the tomograms are known."""
    names = particles.tomogram_name.tolist()
    if not all(voxel_size_or_none(name, particles, known) for name in set(names)):
        return {}
    ranges = {name: known.info(name, particles).tilt_range_deg for name in set(names)}
    low, high = np.array([ranges[name] for name in names], float).reshape(-1, 2).T
    return {"ftype": np.ones(len(names), int), "ymintilt": low, "ymaxtilt": high}


def _pixels(table: pd.DataFrame, path: Path) -> np.ndarray | None:
    """Pixel size of every row; Dynamo fills what it does not know with 0."""
    if "apix" not in table:
        return None
    sizes = to_numbers(table["apix"], path, "apix", may_be_missing=True)
    return to_pixel_sizes(np.where(sizes == 0, np.nan, sizes), path, "apix", may_be_missing=True)


def _tilts(table: pd.DataFrame, names: list[str], path: Path) -> dict[str, tuple[float, float]]:
    columns = [
        to_numbers(table[name], path, name, may_be_missing=True)
        for name in ("ftype", "ymintilt", "ymaxtilt")
    ]
    rows = np.nan_to_num(np.stack(columns, axis=1))
    return {
        name: (float(min(ends)), float(max(ends)))
        for name, (kind, *ends) in zip(names, rows, strict=True)
        if kind and ends[0] != ends[1]
    }


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Further columns that are none of a Dynamo table."""
    named = library("dynamotable.utils", _TITLE).COLUMN_NAMES
    return common.lost_columns(particles, [*named, *particles.more_blocks.get(_COLUMNS, [])])


def recognises(path: Path) -> bool:
    """A ``.tbl`` file of numbers."""
    first = head(path).split("\n", 1)[0].split()
    return path.suffix.lower() == ".tbl" and len(first) >= _N_NEEDED


FORMAT = Format(
    name="dynamo",
    title="Dynamo table",
    suffixes=(".tbl",),
    recognises=recognises,
    read=read,
    write=write,
    keeps=EVERYTHING - {POSTERIOR},
    library="dynamotable",
    loses=loses,
)
