"""RELION 5: coordinates in Angstrom from the centre of the tomogram; its sets of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.format import EVERYTHING, Format, Known, need_positions, voxel_sizes
from aitom_disca.io.formats.relion import particle_columns as rc
from aitom_disca.io.formats.relion.generations import PARTICLES_KEY, TOMOGRAMS_KEY, read, reads
from aitom_disca.io.formats.relion.optics_groups import microscope, optics_table
from aitom_disca.io.formats.relion.particle_images import has_images, tilt_series_pixel
from aitom_disca.io.formats.relion.read_star import TABLE_KEY
from aitom_disca.io.formats.relion.relion4 import general_block, optics_and_group
from aitom_disca.io.formats.relion.relion30 import convention
from aitom_disca.io.formats.relion.star_blocks import (
    IMAGE_COLUMNS,
    ORIGIN_ANGST_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
    Block,
    write_blocks_text,
)
from aitom_disca.io.tomogram_names import check_names
from aitom_disca.particles import ParticleSet, TomogramInfo

VERSION = 50001
_ADVICE = (
    "give its size with --unbinned-size-zyx and --binning, or with --size-zyx, or the tomogram "
    "itself or RELION's tomograms.star with --tomogram"
)


def _keeps_images(particles: ParticleSet, known: Known) -> bool:
    """Images need optics groups, and those the pixel size of the tilt series."""
    return has_images(particles) and tilt_series_pixel(particles, known) is not None


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Columns of other families and images of an unknown binning, in words."""
    found = []
    if has_images(particles) and not _keeps_images(particles, known):
        images = [c for c in IMAGE_COLUMNS if c in particles.more]
        found.append(f"{', '.join(images)} (the binning is unknown; --binning)")
    return found + rc.foreign(particles)


def text_of(
    particles: ParticleSet, known: Known, comments: Sequence[str] = (), advice: str = _ADVICE
) -> str:
    """All tables as text; ``advice`` is for tomograms whose size is unknown."""
    check_names(particles.tomogram_name.tolist(), "the list of particles")
    if particles.centered_xyz_angstrom is None:
        need_positions(particles, FORMAT.title)
    centered = rc.centered_coordinates(particles, known, advice)
    images = _keeps_images(particles, known)
    unbinned = tilt_series_pixel(particles, known)
    own = optics_table(particles)
    blocks: dict[str, Block] = {}
    group: rc.Columns = {}
    if unbinned is not None and (images or (own is not None and TILT_SERIES_PIXEL_COLUMN in own)):
        voxel = unbinned if _voxels(particles, known) is None else voxel_sizes(particles, known)
        blocks["optics"], group = optics_and_group(particles, known, unbinned, voxel)
    moved = particles.box_center_zyx_px is not None
    scale = voxel_sizes(particles, known) if moved else np.ones(len(particles))
    origin = rc.origins_angstrom(particles, scale)
    placed = rc.table(
        rc.names(particles, "rlnTomoName"),
        _micrographs(particles),
        centered,
        group,
        rc.angles(particles, two_stages=True),
        dict(zip(ORIGIN_ANGST_COLUMNS, origin.T, strict=True)),
        rc.judged(particles),
    )
    unfit = () if images else IMAGE_COLUMNS
    blocks["particles"] = rc.table(placed, rc.further(particles, placed, unfit))
    return write_blocks_text(general_block(particles) | blocks, VERSION, comments)


def _micrographs(particles: ParticleSet) -> rc.Columns:
    """A second column of names, but for particles that came from RELION without one."""
    if TABLE_KEY in particles.more_blocks and "rlnMicrographName" not in particles.more:
        return {}
    return rc.names(particles, "rlnMicrographName")


def _voxels(particles: ParticleSet, known: Known) -> np.ndarray | None:
    names = set(particles.tomogram_name.tolist())
    if known.voxel_size_angstrom is None and names - {*known.tomograms, *particles.tomograms}:
        return None
    return voxel_sizes(particles, known)


def write(path: str | Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write particles; optics groups only where they are known or images need them.

    RELION otherwise takes them from its tomograms.star.

    Raises
    ------
    InputError
        If the centre of a tomogram is unknown.
    """
    half = "half the tomogram's size in unbinned pixels"
    if known.centre_offset_px:
        half += f" less {known.centre_offset_px:g}"
    said = convention(f"Coordinates count from the tomogram's centre, {half}")
    write_text(path, text_of(particles, known, said))
    return [Path(path)]


def write_optimisation_set(
    path: str | Path, particles_star: str | Path, tomograms_star: str | Path
) -> None:
    """Write the file that names particles and tomograms of a RELION 4 or 5 project.

    Parameters
    ----------
    path : path
    particles_star, tomograms_star : path
        Written as given; RELION counts them from the folder of its project.
    """
    row = {TOMOGRAMS_KEY: str(tomograms_star), PARTICLES_KEY: str(particles_star)}
    write_text(path, write_blocks_text({"": row}, VERSION))


def write_tomograms_star(path: str | Path, infos: Sequence[TomogramInfo]) -> None:
    """Write RELION's list of tomograms: their sizes in unbinned pixels, their binning.

    Voltage, spherical aberration and amplitude contrast are the usual 300 kV, 2.7 mm and 0.1 where
    they are not known, the hand is -1: correct them where they matter. Tilt series are not named,
    so that the list places particles, but does not let RELION extract images.

    Raises
    ------
    InputError
        If the size or the binning of a tomogram is unknown.
    """
    rows = []
    for info in infos:
        unbinned = info.tilt_series_pixel_size_angstrom
        if unbinned is None or (info.shape_zyx is None and info.unbinned_shape_zyx is None):
            raise InputError(
                f"the size or the binning of tomogram {info.name} is unknown, which tomograms.star "
                "needs; give them with --size-zyx and --binning."
            )
        binning = info.voxel_size_angstrom / unbinned
        size = info.unbinned_shape_zyx or tuple(n * binning for n in info.shape_zyx or ())
        rows.append(
            {
                "rlnTomoName": info.name,
                **microscope(info),
                TILT_SERIES_PIXEL_COLUMN: unbinned,
                "rlnTomoHand": -1.0,
                **{f"rlnTomoSize{axis}": round(n) for axis, n in zip("ZYX", size, strict=True)},
                "rlnTomoTomogramBinning": binning,
                "rlnTomoReconstructedTomogram": "None" if info.path is None else str(info.path),
            }
        )
    write_text(path, write_blocks_text({"global": pd.DataFrame(rows)}, VERSION))


def project_files(out: Path) -> tuple[Path, Path]:
    """Names of the list of tomograms and of the optimisation set that belong to a star file."""
    names = (out.with_name(f"{out.stem}_{what}.star") for what in ("tomograms", "optimisation_set"))
    tomograms, optimisation_set = names
    return tomograms, optimisation_set


def write_project(
    out: str | Path, particles: ParticleSet, known: Known, tomograms_star: str | Path | None
) -> list[Path]:
    """Write what lets RELION open particles by one file: an optimisation set.

    Parameters
    ----------
    out : path
        Star file of the particles.
    particles : ParticleSet
    known : Known
    tomograms_star : path, optional
        RELION's own list of tomograms; without it one is written, see `write_tomograms_star`.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    InputError
        If the size or the binning of a tomogram is unknown.
    """
    own, optimisation_set = project_files(Path(out))
    written = [optimisation_set]
    if tomograms_star is None:
        names = dict.fromkeys(particles.tomogram_name.tolist())
        write_tomograms_star(own, [known.info(name, particles) for name in names])
        tomograms_star, written = own, [own, optimisation_set]
    write_optimisation_set(optimisation_set, out, tomograms_star)
    return written


FORMAT = Format(
    name="relion5",
    title="RELION 5 star",
    suffixes=(".star",),
    recognises=reads("relion5"),
    read=read,
    write=write,
    keeps=EVERYTHING,
    loses=loses,
)
