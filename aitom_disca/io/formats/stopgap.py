"""STOPGAP's motive lists (.star), and the list of tomograms beside them (STEM_tomolist.txt).

The angles phi, the, psi turn the reference about the fixed axes z, x, z, in that order:
``A = Rz(psi) Rx(the) Rz(phi)``. Voxels are counted from 1, as the extraction in STOPGAP's own
source does: voxel ``i`` from 0 is at ``i + 1``. orig_x, orig_y, orig_z is where the box was cut;
the shifts lead from there to the particle.
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
from aitom_disca.io.formats.file_text import head
from aitom_disca.io.formats.format import EVERYTHING, POSTERIOR, Format, Known, need_positions
from aitom_disca.io.formats.numbered_tomograms import (
    files_of_numbers,
    names_of_numbers,
    number_map_text,
    numbers_of_tomograms,
)
from aitom_disca.io.formats.particle_coordinates import find_places
from aitom_disca.io.formats.relion.star_blocks import find_table, read_blocks
from aitom_disca.io.formats.relion.star_text import quoted
from aitom_disca.io.numbers_in_files import check_angles, to_numbers
from aitom_disca.particles import ParticleSet

_BLOCK = "stopgap_motivelist"
_FILES = "stopgap:files"  # of tomograms, by name
_COLUMNS = "stopgap:columns"  # of a list read: their names, in order
_FIRST_VOXEL = 1
_ORIG = ["orig_x", "orig_y", "orig_z"]
_SHIFT = ["x_shift", "y_shift", "z_shift"]
_ANGLES = ["phi", "the", "psi"]
_OWN = [*_ORIG, *_SHIFT, *_ANGLES, "score", "class"]
_ALL = ["motl_idx", "tomo_num", "object", "subtomo_num", "halfset", *_ORIG, "score", *_SHIFT]
_ALL += ["phi", "psi", "the", "class"]  # STOPGAP reads these 16


def read(path: Path, known: Known) -> ParticleSet:
    """Read a motive list, and the names of its tomograms if ``STEM_tomolist.txt`` is there.

    Tomograms without a name in that list are called by their numbers.

    Raises
    ------
    InputError
        If columns are missing or hold no numbers.
    """
    path = Path(path)
    wanted = ["motl_idx", *_ORIG]
    table = find_table(path, read_blocks(path), _BLOCK, wanted, may_be_empty=True, alone=True)
    missing = [name for name in (*_OWN, "tomo_num") if name not in table]
    if missing:
        raise InputError(
            f"{path.name} lacks the columns {', '.join(missing)} of a STOPGAP motive list."
        )
    values = {
        name: to_numbers(table[name], path, f"column {name}")
        for name in (*_ORIG, *_SHIFT, *_ANGLES)
    }
    names = names_of_numbers(table["tomo_num"], path, "tomo_num", _tomolist(path), known)
    places = find_places(path, names, known)
    box = np.stack([values[name] for name in _ORIG], axis=1) - _FIRST_VOXEL
    center = box + np.stack([values[name] for name in _SHIFT], axis=1)
    box, center = (box * places.scale)[:, ::-1], (center * places.scale)[:, ::-1]
    angles = np.stack([values[name] for name in _ANGLES], axis=1)
    check_angles(path, angles)
    return ParticleSet(
        places.names,
        center,
        score=common.scores_or_none(table["score"], path),
        euler_zyz_deg=common.euler_zyz_deg(Rotation.from_euler("zxz", angles, degrees=True)),
        cluster=common.clusters_from_1(table["class"], path, "class"),
        box_center_zyx_px=common.box_centers_if_moved(box, center),
        tomograms=places.tomograms,
        more={name: table[name].to_numpy() for name in table if name not in _OWN},
        more_blocks={_COLUMNS: list(table), _FILES: files_of_numbers(places.names, names)},
    )


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a motive list, and beside it ``STEM_tomolist.txt`` with the tomograms of tomo_num.

    Half sets alternate where none are known.

    Raises
    ------
    InputError
        If positions in voxels are not known.
    """
    need_positions(particles, "a STOPGAP motive list")
    path = Path(path)
    numbers = numbers_of_tomograms(particles, "tomo_num")
    columns = _filled(particles, numbers)
    order = _ALL + [name for name in particles.more_blocks.get(_COLUMNS, []) if name not in _ALL]
    table = pd.DataFrame({name: columns[name] for name in order if name in columns})
    write_text(path, _star_text(table))
    write_text(_tomolist(path), number_map_text(numbers, particles, known, _FILES))
    return [path, _tomolist(path)]


def _filled(particles: ParticleSet, numbers: dict[str, int]) -> dict[str, Any]:
    n = len(particles)
    count = np.arange(1, n + 1)
    columns: dict[str, Any] = {"motl_idx": count, "subtomo_num": count, "object": np.ones(n, int)}
    columns |= {"halfset": np.where(count % 2, "A", "B"), "score": np.zeros(n)}
    columns |= particles.more
    box = common.box_centers(particles)
    columns |= zip(_ORIG, box.T[::-1] + _FIRST_VOXEL, strict=True)
    columns |= zip(_SHIFT, (particles.center_zyx_px - box).T[::-1], strict=True)
    columns |= zip(_ANGLES, common.zxz_deg(common.rotations(particles)).T, strict=True)
    if particles.score is not None:
        columns["score"] = np.nan_to_num(particles.score)
    columns["class"] = common.numbers_from_1(particles)
    columns["tomo_num"] = [numbers[name] for name in particles.tomogram_name.tolist()]
    return columns


def _star_text(table: pd.DataFrame) -> str:
    """Star text without comments or column numbers, which STOPGAP's faster reader cannot skip."""
    header = "".join(f"_{name}\n" for name in table)
    columns = [_words(table[name].to_numpy()) for name in table]
    rows = "".join(" ".join(row) + "\n" for row in zip(*columns, strict=True))
    return f"\ndata_{_BLOCK}\n\nloop_\n{header}\n{rows}\n"


def _words(column: np.ndarray) -> list[str]:
    if column.dtype.kind == "f":
        return [f"{v:.10g}" if np.isfinite(v) else "NaN" for v in column.tolist()]
    return [quoted(str(value)) for value in column.tolist()]


def _tomolist(path: Path) -> Path:
    return path.with_name(f"{path.stem}_tomolist.txt")


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Further columns that are none of a motive list."""
    return common.lost_columns(particles, [*_ALL, *particles.more_blocks.get(_COLUMNS, [])])


def recognises(path: Path) -> bool:
    """A star file with a motive list."""
    return path.suffix.lower() == ".star" and f"data_{_BLOCK}" in head(path)


FORMAT = Format(
    name="stopgap",
    title="STOPGAP motive list",
    suffixes=(".star",),
    recognises=recognises,
    read=read,
    write=write,
    keeps=EVERYTHING - {POSTERIOR},
    loses=loses,
)
