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
from aitom_disca.io.atomic import write_text
from aitom_disca.io.formats.columns import (
    box_centers,
    box_centers_if_moved,
    clusters_from_1,
    euler_zyz_deg,
    lost_columns,
    numbers_from_1,
    rotations,
    scores_or_none,
    to_numbers,
    zxz_deg,
)
from aitom_disca.io.formats.files import head, library
from aitom_disca.io.formats.format import (
    BOX_CENTER,
    CLUSTER,
    FURTHER,
    NAME,
    POSE,
    SCORE,
    Format,
    Known,
    need_positions,
)
from aitom_disca.io.formats.numbered import (
    files_of_numbers,
    names_of_numbers,
    number_map_text,
    numbers_of_tomograms,
    read_number_map,
)
from aitom_disca.io.formats.places import find_places, voxel_size_or_none
from aitom_disca.particles import ParticleSet

_TITLE = "a Dynamo table"
_FILES = "dynamo:files"  # of tomograms, by name
_COLUMNS = "dynamo:columns"  # of a table read: their names, in order
_N_NEEDED = 26  # up to z
_VOXEL_CENTRE = 0.5
_NUMBERS = ["dx", "dy", "dz", "tdrot", "tilt", "narot", "class", "x", "y", "z", "tomo"]
_OWN = [*(name for name in _NUMBERS if name != "tomo"), "cc"]  # held by the particles themselves


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
    numbers = read_number_map(Path(path).with_suffix(".doc"))
    names = names_of_numbers(values["tomo"], numbers, known)
    places = find_places(
        path,
        names,
        known,
        pixel_angstrom=_pixels(table, names),
        tilt_range_deg=_tilts(table, names),
    )
    xyz = np.stack([values[axis] for axis in "xyz"], axis=1) - _VOXEL_CENTRE
    shift = np.stack([values[f"d{axis}"] for axis in "xyz"], axis=1)
    center = ((xyz + shift) * places.scale)[:, ::-1]
    angles = np.stack([values[angle] for angle in ("tdrot", "tilt", "narot")], axis=1)
    return ParticleSet(
        places.names,
        center,
        score=scores_or_none(table["cc"], path),
        euler_zyz_deg=euler_zyz_deg(Rotation.from_euler("zxz", angles, degrees=True).inv()),
        cluster=clusters_from_1(values["class"]),
        box_center_zyx_px=box_centers_if_moved((xyz * places.scale)[:, ::-1], center),
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
    dynamotable = library("dynamotable", _TITLE)
    try:
        table = dynamotable.read(path)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InputError(f"{path.name} cannot be read as a Dynamo table ({error}).") from error
    if table.shape[1] < _N_NEEDED:
        raise InputError(
            f"{path.name} has {table.shape[1]} columns, a Dynamo table needs {_N_NEEDED} or more."
        )
    table.columns = [name or f"column_{i}" for i, name in enumerate(table.columns, 1)]
    return table


def _filled(particles: ParticleSet, known: Known, numbers: dict[str, int]) -> dict[str, Any]:
    """Columns that are not 0 throughout."""
    names = particles.tomogram_name.tolist()
    ones = np.ones(len(particles), int)
    columns: dict[str, Any] = {"tag": np.arange(1, len(particles) + 1), "aligned_value": ones}
    columns |= {"averaged_value": ones, "npar": ones, "ref": ones} | _wedges(particles, known)
    columns |= particles.more
    columns |= _wedges(particles, known) if known.tilt_range_deg is not None else {}
    box = box_centers(particles)
    columns |= zip("xyz", box.T[::-1] + _VOXEL_CENTRE, strict=True)
    columns |= zip(("dx", "dy", "dz"), (particles.center_zyx_px - box).T[::-1], strict=True)
    angles = zxz_deg(rotations(particles).inv())
    columns |= zip(("tdrot", "tilt", "narot"), angles.T, strict=True)
    if particles.score is not None:
        columns["cc"] = np.nan_to_num(particles.score)
    columns["class"] = numbers_from_1(particles)
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


def _pixels(table: pd.DataFrame, names: list[str]) -> dict[str, float]:
    if "apix" not in table:
        return {}
    sizes = pd.to_numeric(table["apix"], errors="coerce").fillna(0)
    return {name: float(size) for name, size in zip(names, sizes, strict=True) if size > 0}


def _tilts(table: pd.DataFrame, names: list[str]) -> dict[str, tuple[float, float]]:
    rows = table[["ftype", "ymintilt", "ymaxtilt"]].apply(pd.to_numeric, errors="coerce").fillna(0)
    return {
        name: (float(low), float(high))
        for name, (kind, low, high) in zip(names, rows.to_numpy(), strict=True)
        if kind and low < high
    }


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Further columns that are none of a Dynamo table."""
    named = library("dynamotable.utils", _TITLE).COLUMN_NAMES
    return lost_columns(particles, [*named, *particles.more_blocks.get(_COLUMNS, [])])


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
    keeps=frozenset({POSE, SCORE, CLUSTER, BOX_CENTER, FURTHER, NAME}),
    library="dynamotable",
    loses=loses,
)
