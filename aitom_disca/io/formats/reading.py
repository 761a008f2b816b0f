"""Particles read from a file of any format, from several, from a folder, or from a store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.formats import get_format, recognise
from aitom_disca.io.formats.format import Format, Known
from aitom_disca.io.formats.relion_optics import join_optics
from aitom_disca.io.pixel_sizes import differs
from aitom_disca.io.store import open_store
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo, concatenate

logger = logging.getLogger(__name__)


def read_particles(
    source: str | Path | Sequence[str | Path],
    *,
    from_: str | None = None,
    known: Known | None = None,
) -> ParticleSet:
    """Read particles of any format: of a file, a folder, several files, or a store.

    Parameters
    ----------
    source, from_, known
        As for `convert`.

    Raises
    ------
    InputError
        If the source cannot be read.
    """
    return read_sources(listed(source), from_, known or Known())[0]


def is_store(path: Path) -> bool:
    """Whether a file is a subtomogram store, by its name."""
    return path.suffix.lower() in (".h5", ".hdf5")


def listed(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Paths of one or several sources."""
    return [Path(p) for p in ([source] if isinstance(source, str | Path) else source)]


def read_sources(
    sources: list[Path], from_: str | None, known: Known
) -> tuple[ParticleSet, list[str]]:
    """All particles, and what joining several files lost, in words.

    Raises
    ------
    InputError
        If there is no source, one cannot be read, or they are of several formats.
    """
    if len(sources) == 1 and is_store(sources[0]) and from_ is None:
        with open_store(sources[0]) as store:
            return store.particles(), []
    found = [pair for path in sources for pair in readable(path, from_, known)]
    if len({own.name for _, own in found}) > 1:
        titles = ", ".join(dict.fromkeys(own.title for _, own in found))
        raise InputError(f"the files are of several formats ({titles}); convert one at a time.")
    if not found:
        raise InputError("no file was given to read.")
    sets = []
    for path, own in found:
        if own.read is None:
            raise InputError(f"{own.title} is only written, not read.")
        sets.append(own.read(path, replace(known, one_of_several=len(found) > 1)))
    return join(sets)


def readable(path: Path, from_: str | None, known: Known) -> list[tuple[Path, Format]]:
    """A file, or the files of a folder, and their format.

    Raises
    ------
    InputError
        If the file is of none, or the folder holds none.
    """
    wanted = None if from_ is None else get_format(from_)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
        return [(path, wanted or recognise(path, in_convert=known.in_convert))]
    try:
        return [(path, wanted if wanted and wanted.recognises(path) else recognise(path))]
    except InputError:
        pass
    found = []
    for file in sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != "."):
        if wanted is not None and wanted.recognises(file):
            found.append((file, wanted))
        elif wanted is None:
            try:
                found.append((file, recognise(file)))
            except InputError:
                continue
    if not found:
        raise InputError(
            f"the folder {path} holds no particle file{f' of {from_}' if from_ else ''}; check it."
        )
    return found


def join(sets: list[ParticleSet]) -> tuple[ParticleSet, list[str]]:
    """One set of several, and what that lost: columns that only some hold, but known ones."""
    sets = [one for one in sets if len(one)] or sets[:1]
    if len(sets) == 1:
        return sets[0], []
    sets = _in_same_voxels(sets)
    every = list(dict.fromkeys(name for one in sets for name in one.more))
    partly = [name for name in every if any(name not in one.more for one in sets)]
    joined = concatenate(_filled(join_optics(sets)))
    lost = [f"columns that only some files hold: {', '.join(partly)}"] if partly else []
    return joined, lost


def _in_same_voxels(sets: list[ParticleSet]) -> list[ParticleSet]:
    """Sets whose particles of one tomogram count in its voxels as the first that knows it has them.

    What is scaled or assumed is said.
    """
    known: dict[str, TomogramInfo] = {}
    for one in sets:
        known = {**one.tomograms, **known}
    return [_in_voxels_of(known, one) for one in sets]


def _in_voxels_of(known: Mapping[str, TomogramInfo], one: ParticleSet) -> ParticleSet:
    scale = np.ones((len(one), 1))
    infos = dict(one.tomograms)
    for name in sorted(known.keys() & set(one.tomogram_name.tolist())):
        voxel = known[name].voxel_size_angstrom
        if name not in one.tomograms:
            logger.warning(
                "a file does not say in which pixels particles of %s count; %.5g Angstrom, as "
                "another says, are assumed.",
                name,
                voxel,
            )
        elif differs(own := one.tomograms[name].voxel_size_angstrom, voxel):
            scale[one.tomogram_name == name] = own / voxel
            infos[name] = known[name]
            logger.warning(
                "the files count in pixels of %.5g and %.5g Angstrom of %s; coordinates are scaled "
                "to the first.",
                voxel,
                own,
                name,
            )
    if (scale == 1).all():
        return one
    boxes = one.box_center_zyx_px
    return replace(
        one,
        center_zyx_px=one.center_zyx_px * scale,
        box_center_zyx_px=None if boxes is None else boxes * scale,
        tomograms=infos,
    )


def _filled(sets: list[ParticleSet]) -> list[ParticleSet]:
    empty: dict[str, Any] = {
        "score": lambda s: np.full(len(s), np.nan),
        "posterior": lambda s: np.full(len(s), np.nan),
        "cluster": lambda s: np.full(len(s), UNASSIGNED),
        "euler_zyz_deg": lambda s: np.zeros((len(s), 3)),
        "centered_xyz_angstrom": lambda s: np.full((len(s), 3), np.nan),
        "box_center_zyx_px": lambda s: s.center_zyx_px,
    }
    needed = [name for name in empty if any(getattr(s, name) is not None for s in sets)]
    return [
        replace(s, **{name: empty[name](s) for name in needed if getattr(s, name) is None})
        for s in sets
    ]
