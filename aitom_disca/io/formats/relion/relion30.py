"""RELION 3.0: one table, origins in pixels, the pixel size as that of a detector."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.format import EVERYTHING, Format, Known, need_positions
from aitom_disca.io.formats.relion import particle_columns as rc
from aitom_disca.io.formats.relion.box_centre import cut_at_voxels
from aitom_disca.io.formats.relion.generations import read, reads
from aitom_disca.io.formats.relion.optics_groups import (
    MICROSCOPE,
    lost_optics_columns,
    optics_value,
)
from aitom_disca.io.formats.relion.particle_images import Layout, coordinate_pixels, has_images
from aitom_disca.io.formats.relion.star_blocks import (
    GROUP_COLUMN,
    ORIGIN_PX_COLUMNS,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    write_blocks_text,
)
from aitom_disca.particles import ParticleSet

IN_PIXELS = "Coordinates count pixels from 0, voxel centres at integers"


def convention(coordinates: str) -> list[str]:
    """What readers of a file need to know to use its numbers, a comment a line."""
    return [
        f"{coordinates}; particle = coordinate - origin.",
        "rot, tilt, psi: ZYZ, degrees; A = (Rz(rot) Ry(tilt) Rz(psi))^T turns the reference into "
        "the particle.",
    ]


def lost(particles: ParticleSet, known: Known, layout: Layout = "3.0") -> list[str]:
    """What one table cannot keep of particles of RELION, in words."""
    optics = lost_optics_columns(particles, ())
    return unfit(particles, known, layout) + (
        [f"optics columns {', '.join(optics)}"] if optics else []
    )


def unfit(particles: ParticleSet, known: Known, layout: Layout) -> list[str]:
    """What 3.0, 3.1 and Warp cannot keep of the rows, in words."""
    reasons = rc.unfit_columns(particles, coordinate_pixels(particles, known, layout))
    found = [f"{', '.join(columns)} ({reason})" for reason, columns in reasons.items() if columns]
    return found + rc.foreign(particles)


def rows_of(particles: ParticleSet, known: Known, layout: Layout = "3.0") -> pd.DataFrame:
    """The table of 3.0 and of Warp; origins of 0 are left out for Warp, which keeps fractions."""
    counted = coordinate_pixels(particles, known, layout)
    if layout == "3.0" and not (counted.images and has_images(particles)):
        particles = cut_at_voxels(particles)
    pixel = counted.pixel_angstrom
    dropped = rc.unfit_columns(particles, counted).values()
    origin = rc.turn_outwards(particles, rc.origins_angstrom(particles, counted.voxel_angstrom))
    origin = origin / pixel[:, None]
    microscope = {c: optics_value(particles, c) for c in MICROSCOPE}
    named = rc.names(particles, "rlnMicrographName")
    sizes = rc.detector_columns(pixel) | rc.pixel_columns(particles, counted)
    with_origins = layout == "3.0" or origin.any()
    placed = rc.table(
        named,
        rc.plain_coordinates(particles, counted.scale),
        rc.angles(particles, two_stages=False),
        dict(zip(ORIGIN_PX_COLUMNS, origin.T, strict=True)) if with_origins else {},
        rc.judged(particles),
        sizes,
        {c: v for c, v in microscope.items() if v is not None},
    )
    left_out = [*SUBTOMOGRAM_ANGLE_COLUMNS, GROUP_COLUMN, *(c for some in dropped for c in some)]
    return rc.table(placed, rc.further(particles, placed, left_out))


def write(path: str | Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write one table without a name.

    Raises
    ------
    InputError
        If positions or voxel sizes are unknown.
    """
    if not has_images(particles):  # which need none
        need_positions(particles, FORMAT.title)
    text = write_blocks_text({"": rows_of(particles, known)}, None, convention(IN_PIXELS))
    write_text(path, text)
    return [Path(path)]


FORMAT = Format(
    name="relion30",
    title="RELION 3.0 star",
    suffixes=(".star",),
    recognises=reads("relion30"),
    read=read,
    write=write,
    keeps=EVERYTHING,
    loses=lost,
)
