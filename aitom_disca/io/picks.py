"""Picks: tables of our own, and the particle files of any program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.formats.format import Format, Known
from aitom_disca.io.formats.relion.generations import PARTICLES_KEY, optimisation_set
from aitom_disca.io.formats.relion.read_star import read_in_tomograms, read_particles_star
from aitom_disca.io.formats.relion.star_names import find_known
from aitom_disca.io.pixel_sizes import check_given_pixel
from aitom_disca.io.result_tables import write_csv
from aitom_disca.particles import ParticleSet, TomogramInfo

_VOXEL = "voxel_size_angstrom"
_PICKS_MORE = ("diameter_angstrom", "kind")
_RELION = ("relion", "warp")


def write_picks_csv(path: str | Path, particles: ParticleSet) -> None:
    """Write ``tomogram,z,y,x,score``: voxels of the tomogram from 0; no score as an empty cell.

    ``diameter_angstrom`` and ``kind`` follow where the particles have them, and at the end
    ``voxel_size_angstrom``, in which they count, where it is known for all.
    """
    n = len(particles)
    scores = np.full(n, np.nan) if particles.score is None else particles.score
    names = particles.tomogram_name.tolist()
    columns: dict[str, list[str]] = {"tomogram": list(map(str, names))}
    columns |= {axis: _texts(particles.center_zyx_px[:, i], 10) for i, axis in enumerate("zyx")}
    columns["score"] = _texts(scores, 9)
    for name in _PICKS_MORE:
        if name in particles.more:
            columns[name] = _texts(particles.more[name], 9)
    if all(name in particles.tomograms for name in names):
        sizes = [particles.tomograms[name].voxel_size_angstrom for name in names]
        columns[_VOXEL] = _texts(sizes, 10)
    write_csv(path, tuple(columns), zip(*columns.values(), strict=True))


def read_picks_csv(
    path: str | Path, *, tomograms: Mapping[str, TomogramInfo] | None = None
) -> ParticleSet:
    """Read picks from a table with the columns tomogram, z, y, x and any of `formats.csv`.

    Parameters
    ----------
    path : path
    tomograms : mapping of str to TomogramInfo, optional
        Picks in other tomograms are left out; positions become voxels of these, scaled where the
        table says another voxel size.

    Raises
    ------
    InputError
        If a column is missing, a value is no number, there are no rows, or no tomogram fits.
    """
    from aitom_disca.io.formats.csv import read as read_table

    return _of_tomograms(path, read_table(path, Known(tomograms=tomograms or {})), tomograms)


def _of_tomograms(
    path: str | Path, particles: ParticleSet, tomograms: Mapping[str, TomogramInfo] | None
) -> ParticleSet:
    """Those in the tomograms, which are all that is known then."""
    if tomograms is None:
        return particles
    fits, names = find_known(path, particles.tomogram_name, tomograms)
    return replace(particles, tomogram_name=names, tomograms=tomograms).select(fits)


def _texts(values: Any, digits: int) -> list[str]:
    """Cells: numbers to so many digits, an empty one where there is none."""
    column = np.asarray(values)
    if column.dtype.kind != "f":
        return [str(value) for value in column.tolist()]
    return [f"{v:.{digits}g}" if np.isfinite(v) else "" for v in column.tolist()]


def read_picks(
    path: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    tomograms: Mapping[str, TomogramInfo] | None = None,
    tomogram_name: str | None = None,
) -> ParticleSet:
    """Read picks from a particle file of any format that is known.

    Parameters
    ----------
    path : path
        A table with the columns tomogram, z, y, x; a RELION star file; another format, see
        `aitom_disca.io.formats`; a folder of such files; or a subtomogram store.
    voxel_size_angstrom : float, optional
        Pixel size in which the file counts; overrides what it says.
    tomograms : mapping of str to TomogramInfo, optional
        Picks in other tomograms are left out.
    tomogram_name : str, optional
        Tomogram of a file that does not name it.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    # formats read tables themselves
    from aitom_disca.io.formats.read_particles import (
        check_one_format,
        is_store,
        join,
        read_store,
        readable,
    )

    if voxel_size_angstrom is not None:
        check_given_pixel(voxel_size_angstrom)
    known = Known(
        tomograms=tomograms or {},
        file_pixel_angstrom=voxel_size_angstrom,
        tomogram_name=tomogram_name,
        only_known=tomograms is not None,
    )
    if is_store(Path(path)):
        particles = read_store(Path(path), known)
    else:
        files = readable(Path(path), None, known)
        check_one_format(files, f"give those of {path} that are meant one by one")
        known = replace(known, one_of_several=len(files) > 1)
        sets = [_read_one(file, own, known, tomograms) for file, own in files]
        particles, _ = join(sets, known)
        if known.one_of_several and tomograms and not len(particles):
            raise InputError(
                f"none of the {len(files)} particle files of {path} holds particles of the "
                f"tomograms given ({', '.join(list(tomograms)[:3])}); the names must agree."
            )
    return _of_tomograms(path, particles, tomograms)


def _read_one(
    path: Path, own: Format, known: Known, tomograms: Mapping[str, TomogramInfo] | None
) -> ParticleSet:
    """Picks of a file; of RELION's only those in the tomograms."""
    if own.name.startswith(_RELION):
        star = optimisation_set(path).get(PARTICLES_KEY, path)
        if tomograms is not None:
            return read_in_tomograms(star, known)
        return read_particles_star(star, voxel_size_angstrom=known.file_pixel_angstrom)
    assert own.read is not None  # noqa: S101  what is recognised can be read
    return own.read(path, known)
