"""RELION particle star files, written for 3.1 and for 5.

x, y, z order begins here; everything else in the package is z, y, x.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.atomic import write_text
from aitom_disca.io.star_blocks import (
    ANGLE_COLUMNS,
    CENTERED_COLUMNS,
    CLASS_COLUMN,
    ORIGIN_ANGST_COLUMNS,
    PLAIN_COLUMNS,
    POSTERIOR_COLUMN,
    SCORE_COLUMN,
    write_blocks_text,
)
from aitom_disca.particles import UNASSIGNED, ParticleSet

Relion = Literal["3.1", "5"]

_COMMENT_VERSION = {"3.1": 30001, "5": 50001}


def write_particles_star(
    path: str | Path,
    particles: ParticleSet,
    *,
    relion: Relion = "3.1",
    box_px: int | None = None,
) -> None:
    """Write one row for every particle.

    ``rlnClassNumber`` is the cluster counted from 1 (0: in no cluster),
    ``rlnMaxValueProbDistribution`` its probability, ``rlnAutopickFigureOfMerit`` the picking
    score. Angles and origins are 0 where nothing is known.

    For RELION 3.1 coordinates are voxels of the tomogram from 0, with one optics group for every
    voxel size; voltage, spherical aberration and amplitude contrast in it are the usual 300 kV,
    2.7 mm and 0.1, to be corrected where they matter. For RELION 5 coordinates are Angstrom from
    the centre of the tomogram, and there are no optics groups: RELION takes them from its
    tomograms.star.

    Parameters
    ----------
    path : path
    particles : ParticleSet
    relion : {"3.1", "5"}
    box_px : int, optional
        Edge of a subtomogram in voxels of the tomogram, for the optics groups of 3.1.

    Raises
    ------
    InputError
        If the positions that the layout needs are not known.
    """
    if relion not in _COMMENT_VERSION:
        raise InputError(f"RELION {relion!r} is not a layout that is written; choose 3.1 or 5.")
    blocks = {}
    if relion == "5":
        positions = pd.DataFrame(_centered_xyz_angstrom(particles), columns=CENTERED_COLUMNS)
        columns = _common_columns(particles)
    else:
        _check_voxel_positions(particles)
        positions = pd.DataFrame(particles.center_zyx_px[:, ::-1], columns=PLAIN_COLUMNS)
        blocks["optics"], group = _optics(particles, box_px)
        columns = {"rlnOpticsGroup": group, **_common_columns(particles)}
    names = [str(name) for name in particles.tomogram_name]
    start = pd.DataFrame({"rlnTomoName": names, "rlnMicrographName": names})
    blocks["particles"] = pd.concat([start, positions, pd.DataFrame(columns)], axis=1)
    write_text(path, write_blocks_text(blocks, _COMMENT_VERSION[relion]))


def write_cluster_stars(
    folder: str | Path,
    particles: ParticleSet,
    *,
    relion: Relion = "3.1",
    box_px: int | None = None,
) -> list[Path]:
    """Write ``cluster_01.star`` and so on, one file for every cluster that has particles.

    Parameters
    ----------
    folder : path
    particles, relion, box_px
        As in `write_particles_star`. Particles in no cluster are left out.

    Raises
    ------
    InputError
        As `write_particles_star`, or if the particles have no clusters.
    """
    if particles.cluster is None:
        raise InputError("the particles have no clusters yet; cluster them first.")
    numbers = np.unique(particles.cluster[particles.cluster != UNASSIGNED])
    width = max(2, len(str(numbers.max(initial=0) + 1)))
    paths = []
    for number in numbers:
        path = Path(folder) / f"cluster_{number + 1:0{width}d}.star"
        members = particles.select(particles.cluster == number)
        write_particles_star(path, members, relion=relion, box_px=box_px)
        paths.append(path)
    return paths


def _check_voxel_positions(particles: ParticleSet) -> None:
    if particles.has_positions:
        return
    n = int((~np.isfinite(particles.center_zyx_px).all(axis=1)).sum())
    if particles.centered_xyz_angstrom is None:
        raise InputError(
            f"{n} of {len(particles)} particles have no position, which a star file needs; extract "
            "the subtomograms from their tomograms with this package."
        )
    raise InputError(
        f"{n} of {len(particles)} particles have no voxel position, only Angstrom from the centre "
        "of a tomogram of unknown size, so that RELION 3.1 coordinates cannot be written; use "
        "--relion 5."
    )


def _centered_xyz_angstrom(particles: ParticleSet) -> np.ndarray:
    known = particles.centered_xyz_angstrom
    if known is not None and np.isfinite(known).all():
        return known
    _check_voxel_positions(particles)
    centered = np.empty((len(particles), 3))
    for name in np.unique(particles.tomogram_name):
        info = particles.tomograms.get(str(name))
        if info is None or (info.shape_zyx is None and info.unbinned_shape_zyx is None):
            raise InputError(
                f"the size of tomogram {name} is unknown, from whose centre RELION 5 counts; use "
                "--relion 3.1, or extract the subtomograms again with the tomogram at hand."
            )
        rows = particles.tomogram_name == name
        xyz = particles.center_zyx_px[rows, ::-1]
        centered[rows] = xyz * info.voxel_size_angstrom - info.centre_xyz_angstrom
    return centered


def _optics(particles: ParticleSet, box_px: int | None) -> tuple[pd.DataFrame, np.ndarray]:
    """Optics groups, one for every voxel size, and the group of every particle."""
    names, which = np.unique(particles.tomogram_name, return_inverse=True)
    unknown = [str(name) for name in names if str(name) not in particles.tomograms]
    if unknown:
        raise InputError(
            f"the voxel size of tomogram {unknown[0]} is unknown, which the optics groups need; "
            "extract the subtomograms again with the tomogram at hand."
        )
    of_name = np.array([particles.tomograms[str(name)].voxel_size_angstrom for name in names])
    sizes, group_of_name = np.unique(of_name, return_inverse=True)
    numbers = np.arange(1, len(sizes) + 1)
    table = pd.DataFrame({"rlnOpticsGroup": numbers})
    table["rlnOpticsGroupName"] = [f"opticsGroup{n}" for n in numbers]
    table["rlnVoltage"], table["rlnSphericalAberration"] = 300.0, 2.7
    table["rlnAmplitudeContrast"] = 0.1
    table["rlnImagePixelSize"] = sizes
    if box_px is not None:
        table["rlnImageSize"] = box_px
    table["rlnImageDimensionality"] = 3
    return table, numbers[group_of_name[which]]


def _common_columns(particles: ParticleSet) -> dict[str, np.ndarray | list[str]]:
    n = len(particles)
    angles = np.zeros((n, 3)) if particles.euler_zyz_deg is None else particles.euler_zyz_deg
    columns: dict[str, np.ndarray | list[str]] = {}
    columns |= zip(ANGLE_COLUMNS, np.nan_to_num(np.asarray(angles, float)).T, strict=True)
    columns |= zip(ORIGIN_ANGST_COLUMNS, np.zeros((3, n)), strict=True)
    if particles.cluster is not None:
        columns[CLASS_COLUMN] = np.where(particles.cluster == UNASSIGNED, 0, particles.cluster + 1)
    if particles.posterior is not None:
        columns[POSTERIOR_COLUMN] = np.nan_to_num(np.asarray(particles.posterior, float))
    if particles.score is not None:  # scores may be tiny: significant digits, not decimals
        columns[SCORE_COLUMN] = [
            f"{s:.9g}" for s in np.nan_to_num(np.asarray(particles.score, float))
        ]
    return columns
