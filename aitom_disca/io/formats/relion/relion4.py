"""RELION 4: coordinates in unbinned pixels, poses in two stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.format import EVERYTHING, Format, Known, need_positions, voxel_sizes
from aitom_disca.io.formats.relion import particle_columns as rc
from aitom_disca.io.formats.relion.generations import read, reads
from aitom_disca.io.formats.relion.optics_groups import optics_value
from aitom_disca.io.formats.relion.particle_images import has_images, image_pixel, tilt_series_pixel
from aitom_disca.io.formats.relion.relion30 import convention
from aitom_disca.io.formats.relion.star_blocks import (
    GROUP_COLUMN,
    IMAGE_PIXEL_COLUMN,
    ORIGIN_ANGST_COLUMNS,
    Block,
    write_blocks_text,
)
from aitom_disca.io.formats.relion.write_optics import build_optics
from aitom_disca.particles import ParticleSet

VERSION = 30001  # as RELION 4 writes it


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Columns of other families, in words."""
    return rc.foreign(particles)


def general_block(particles: ParticleSet) -> dict[str, Block]:
    """What says whether images are tilt series."""
    general = particles.more_blocks.get("relion:general")
    return {} if general is None else {"general": general}


def image_pixels(particles: ParticleSet, voxel_angstrom: np.ndarray) -> np.ndarray:
    """Pixel size of the images, or of what would be cut from the tomogram."""
    pixel = image_pixel(particles) if has_images(particles) else None
    if pixel is None:
        pixel = optics_value(particles, IMAGE_PIXEL_COLUMN)
    return voxel_angstrom if pixel is None else pixel


def optics_and_group(
    particles: ParticleSet,
    known: Known,
    unbinned_angstrom: np.ndarray,
    voxel_angstrom: np.ndarray,
) -> tuple[Block, rc.Columns]:
    """The optics groups, and the column that tells the group of every particle."""
    pixel = image_pixels(particles, voxel_angstrom)
    box = None if has_images(particles) else known.box_px
    optics, group = build_optics(particles, pixel, unbinned_angstrom, box_px=box)
    return optics, {GROUP_COLUMN: group}


def write(path: str | Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write optics groups and particles.

    Raises
    ------
    InputError
        If positions, voxel sizes or the binning are unknown.
    """
    need_positions(particles, FORMAT.title)
    voxel = voxel_sizes(particles, known)
    unbinned = tilt_series_pixel(particles, known)
    if unbinned is None:
        raise InputError(
            "RELION 4 counts in pixels of the tilt series, whose size is unknown; give the "
            "tomogram's binning with --binning, or RELION's tomograms.star with --tomogram."
        )
    optics, group = optics_and_group(particles, known, unbinned, voxel)
    counted = unbinned
    if _is_particle_series_of_warp(particles):
        counted = image_pixels(particles, voxel)
    origin = rc.origins_angstrom(particles, voxel)
    placed = rc.table(
        rc.names(particles, "rlnTomoName"),
        {"rlnTomoParticleName": particle_names(particles)},
        rc.plain_coordinates(particles, voxel / counted),
        group,
        rc.angles(particles, two_stages=True),
        dict(zip(ORIGIN_ANGST_COLUMNS, origin.T, strict=True)),
        rc.judged(particles),
    )
    rows = rc.table(placed, rc.further(particles, placed, ()))
    blocks = general_block(particles) | {"optics": optics, "particles": rows}
    pixels = "unbinned pixels" if counted is unbinned else "image pixels"
    if counted is unbinned and len(unbinned):
        pixels += f" of {unbinned[0]:.6g} A"
    said = convention(f"Coordinates count {pixels} from 0, their centres at integers")
    write_text(path, write_blocks_text(blocks, VERSION, said))
    return [Path(path)]


def particle_names(particles: ParticleSet) -> np.ndarray:
    """The particles' own names, or their tomogram and a number from 1 in it."""
    if "rlnTomoParticleName" in particles.more:
        return np.asarray(particles.more["rlnTomoParticleName"])
    counts: dict[str, int] = {}
    found = []
    for name in particles.tomogram_name.tolist():
        counts[name] = counts.get(name, 0) + 1
        found.append(f"{name}/{counts[name]}")
    return np.array(found)


def _is_particle_series_of_warp(particles: ParticleSet) -> bool:
    names = rc.names(particles, "rlnTomoName")["rlnTomoName"].astype(str)
    by_warp = bool(np.char.endswith(names, ".tomostar").all())
    with_sizes = optics_value(particles, IMAGE_PIXEL_COLUMN) is not None
    return by_warp and "rlnTomoVisibleFrames" in particles.more and with_sizes


FORMAT = Format(
    name="relion4",
    title="RELION 4 star",
    suffixes=(".star",),
    recognises=reads("relion4"),
    read=read,
    write=write,
    keeps=EVERYTHING,
    loses=loses,
)
