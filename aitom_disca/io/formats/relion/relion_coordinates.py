"""RELION 3.1's coordinate files: one table a tomogram, for its particle extraction.

RELION reads the first table of a coordinate file only, and finds the file by its name: that of the
micrograph without its type, and a suffix. Every column goes over into the particles that it cuts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.file_names import file_parts
from aitom_disca.io.formats.format import EVERYTHING, Format, Known, need_positions, voxel_sizes
from aitom_disca.io.formats.relion import particle_columns as rc
from aitom_disca.io.formats.relion.box_centre import cut_at_voxels
from aitom_disca.io.formats.relion.micrographs import MICROGRAPH_COLUMN
from aitom_disca.io.formats.relion.relion30 import IN_PIXELS, convention
from aitom_disca.io.formats.relion.star_blocks import (
    MICROGRAPH_PIXEL_COLUMNS,
    ORIGIN_ANGST_COLUMNS,
    write_blocks_text,
)
from aitom_disca.particles import ParticleSet


def write(path: str | Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write ``NAME_OUT`` for every tomogram, beside OUT.

    Where the particles are called as in a micrographs.star, NAME is the micrograph's, with its
    folder.

    Raises
    ------
    InputError
        If positions or voxel sizes are unknown, or two micrographs would have one file.
    """
    need_positions(particles, FORMAT.title)
    path = Path(path)
    particles = cut_at_voxels(rc.cut_anew(particles))
    written = []
    for name, stem in _stems(particles).items():
        members = particles.select(particles.tomogram_name == name)
        own = path.parent / f"{stem}_{path.name}"
        voxel = voxel_sizes(members, known)
        origin = rc.origins_angstrom(members, voxel)
        placed = rc.table(
            rc.plain_coordinates(members, np.ones(len(members))),
            rc.angles(members, two_stages=False),
            dict(zip(ORIGIN_ANGST_COLUMNS, origin.T, strict=True)),
            rc.judged(members),
            rc.names(members, MICROGRAPH_COLUMN),
            {MICROGRAPH_PIXEL_COLUMNS[0]: voxel},
        )
        rows = rc.table(placed, rc.further(members, placed, ()))
        write_text(own, write_blocks_text({"": rows}, None, convention(IN_PIXELS)))
        written.append(own)
    return written


def _stems(particles: ParticleSet) -> dict[str, str]:
    """Beginning of every tomogram's file, by the tomogram's name.

    Of a micrograph its name without its type, with its folders but never out of the folder of OUT.
    """
    micrographs = particles.more.get(MICROGRAPH_COLUMN)
    if micrographs is None:
        return file_parts(particles.tomogram_name.tolist())
    stems: dict[str, str] = {}
    of_row = zip(particles.tomogram_name.tolist(), map(str, micrographs.tolist()), strict=True)
    for name, micrograph in dict(of_row).items():
        folders = [part for part in Path(micrograph).parts if part not in ("/", "..")]
        stem = str(Path(*folders).with_suffix(""))
        if stem in stems.values():
            raise InputError(
                f"the coordinate file of the micrograph {micrograph} would be that of another one, "
                f"also called {Path(stem).name}; rename one of them."
            )
        stems[name] = stem
    return stems


FORMAT = Format(
    name="relion_coordinates",
    title="RELION 3.1 coordinate files",
    suffixes=(".star",),
    recognises=lambda path: False,  # they are read as tables of RELION 3.0
    write=write,
    keeps=EVERYTHING,
    loses=lambda particles, known: rc.foreign(particles),
)
