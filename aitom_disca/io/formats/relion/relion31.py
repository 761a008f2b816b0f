"""RELION 3.1: optics groups and particles, origins in Angstrom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.format import EVERYTHING, Format, Known, need_positions
from aitom_disca.io.formats.relion import particle_columns as rc
from aitom_disca.io.formats.relion.box_centre import cut_at_voxels
from aitom_disca.io.formats.relion.generations import read, reads
from aitom_disca.io.formats.relion.optics_groups import lost_optics_columns
from aitom_disca.io.formats.relion.particle_images import coordinate_pixels, has_images
from aitom_disca.io.formats.relion.relion30 import IN_PIXELS, convention, unfit
from aitom_disca.io.formats.relion.star_blocks import (
    GROUP_COLUMN,
    ORIGIN_ANGST_COLUMNS,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    write_blocks_text,
)
from aitom_disca.io.formats.relion.write_optics import build_optics
from aitom_disca.particles import ParticleSet

VERSION = 30001


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """What this layout cannot keep of particles of RELION, in words."""
    optics = lost_optics_columns(particles)
    return unfit(particles, known, "3.1") + (
        [f"optics columns {', '.join(optics)}"] if optics else []
    )


def text_of(
    particles: ParticleSet,
    known: Known,
    comments: Sequence[str] = (),
    *,
    at_voxels: bool = True,
) -> str:
    """Both tables as text; without ``at_voxels`` coordinates may have fractions, for viewers."""
    counted = coordinate_pixels(particles, known)
    keeps_images = counted.images and has_images(particles)
    if at_voxels and not keeps_images:
        particles = cut_at_voxels(particles)
    origin = rc.turn_outwards(particles, rc.origins_angstrom(particles, counted.voxel_angstrom))
    optics, group = build_optics(
        particles,
        counted.image_angstrom,
        micrograph_pixel_angstrom=counted.pixel_angstrom,
        images=counted.images,
        box_px=None if keeps_images else known.box_px,
    )
    placed = rc.table(
        rc.names(particles, "rlnTomoName"),
        rc.names(particles, "rlnMicrographName"),
        rc.plain_coordinates(particles, counted.scale),
        {GROUP_COLUMN: group},
        rc.angles(particles, two_stages=False),
        dict(zip(ORIGIN_ANGST_COLUMNS, origin.T, strict=True)),
        rc.judged(particles),
        rc.pixel_columns(particles, counted),
    )
    dropped = rc.unfit_columns(particles, counted).values()
    left_out = [*SUBTOMOGRAM_ANGLE_COLUMNS, *(c for some in dropped for c in some)]
    rows = rc.table(placed, rc.further(particles, placed, left_out))
    return write_blocks_text({"optics": optics, "particles": rows}, VERSION, comments)


def write(path: str | Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write optics groups and particles.

    Raises
    ------
    InputError
        If positions or voxel sizes are unknown.
    """
    if not has_images(particles):  # which need none
        need_positions(particles, FORMAT.title)
    write_text(path, text_of(particles, known, convention(IN_PIXELS)))
    return [Path(path)]


FORMAT = Format(
    name="relion31",
    title="RELION 3.1 star",
    suffixes=(".star",),
    recognises=reads("relion31"),
    read=read,
    write=write,
    keeps=EVERYTHING,
    loses=loses,
)
