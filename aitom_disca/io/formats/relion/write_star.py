"""RELION particle star files, written for 3.1 and for 5; other layouts lie beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.file_names import name_endings
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.relion import relion5, relion31
from aitom_disca.io.formats.relion.particle_images import has_images
from aitom_disca.io.tomogram_names import check_names
from aitom_disca.particles import UNASSIGNED, ParticleSet

Relion = Literal["3.1", "5"]

_ADVICE = "use --relion 3.1, or extract the subtomograms again with the tomogram at hand"


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
    score. Angles and origins are 0 where nothing is known. What the particles brought along from
    another star file (further columns, image files, optics groups) is written as far as it fits.

    For RELION 3.1 coordinates are voxels of the tomogram from 0: the whole ones nearest to the
    particles, where boxes are to be cut; the rest is in ``rlnOriginXAngst`` and so on, since RELION
    drops fractions. There is one optics group for every voxel size and microscope, with a name of
    its own; where the microscope is not known it is the usual one, 300 kV, 2.7 mm and 0.1, to be
    corrected if that matters. For RELION 5 coordinates are Angstrom from the centre of the
    tomogram, and there are no optics groups: RELION takes them from its tomograms.star.

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
    if relion not in ("3.1", "5"):
        raise InputError(f"RELION {relion!r} is not a layout that is written; choose 3.1 or 5.")
    check_names(particles.tomogram_name.tolist(), "the list of particles")
    known = Known(box_px=box_px)
    centred = particles.centered_xyz_angstrom
    enough = has_images(particles)  # RELION 3.1 needs no positions of images
    if relion == "5":
        enough = centred is not None and bool(np.isfinite(centred).all())
    if not enough:
        _check_voxel_positions(particles)
    if relion == "5":
        write_text(path, relion5.text_of(particles, known, advice=_ADVICE))
    else:
        write_text(path, relion31.text_of(particles, known))


def write_cluster_stars(
    folder: str | Path,
    particles: ParticleSet,
    *,
    relion: Relion = "3.1",
    box_px: int | None = None,
    names: Mapping[int, str] | None = None,
) -> list[Path]:
    """Write ``cluster_01.star`` and so on, one file for every cluster that has particles.

    Parameters
    ----------
    folder : path
    particles, relion, box_px
        As in `write_particles_star`. Particles in no cluster are left out.
    names : mapping of int to str, optional
        What clusters are called, by their number from 1: ``cluster_05_ribosome.star``.

    Raises
    ------
    InputError
        As `write_particles_star`, or if the particles have no clusters.
    """
    paths = cluster_star_paths(folder, particles, names)
    for number, path in paths.items():
        members = particles.select(np.asarray(particles.cluster) == number)
        write_particles_star(path, members, relion=relion, box_px=box_px)
    return [*paths.values()]


def cluster_star_paths(
    folder: str | Path, particles: ParticleSet, names: Mapping[int, str] | None = None
) -> dict[int, Path]:
    """The files of `write_cluster_stars`, by cluster from 0; parameters as there.

    Raises
    ------
    InputError
        If the particles have no clusters.
    """
    if particles.cluster is None:
        raise InputError("the particles have no clusters yet; cluster them first.")
    numbers = np.unique(particles.cluster[particles.cluster != UNASSIGNED]).tolist()
    width = max(2, len(str(max(numbers, default=0) + 1)))
    ends = name_endings(names or {})
    return {
        k: Path(folder) / f"cluster_{k + 1:0{width}d}{ends.get(k + 1, '')}.star" for k in numbers
    }


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
