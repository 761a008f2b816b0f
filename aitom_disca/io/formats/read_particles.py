"""Particles read from a file of any format, from several, from a folder, or from a store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.formats import format_of, get_format, recognise
from aitom_disca.io.formats.format import Format, Known
from aitom_disca.io.formats.relion.star_blocks import read_blocks
from aitom_disca.io.formats.relion.write_optics import join_optics
from aitom_disca.io.pixel_sizes import differs
from aitom_disca.io.stores.read_store import open_store
from aitom_disca.io.tomogram_names import known_among, short_names
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


def read_store(path: Path, known: Known) -> ParticleSet:
    """The particles of a store, in voxels of the tomograms that are known.

    Raises
    ------
    InputError
        If it cannot be read, or it is not clear which tomograms are known.
    """
    with open_store(path) as store:
        particles = store.particles()
    said = np.unique(particles.tomogram_name).tolist()
    scale = np.ones(len(particles))
    for name, known_as in known_among(said, known.tomograms, path.name).items():
        if name in particles.tomograms:
            own = particles.tomograms[name].voxel_size_angstrom
            ratio = own / known.tomograms[known_as].voxel_size_angstrom
            scale[particles.tomogram_name == name] = ratio if differs(ratio, 1) else 1
    return _scaled(particles, scale)


def listed(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Paths of one or several sources."""
    paths = [Path(p) for p in ([source] if isinstance(source, str | Path) else source)]
    return [path if path.name else path.absolute() for path in paths]  # ``.`` has no name


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
    check_one_format(found, "convert one at a time")
    if not found:
        raise InputError("no file was given to read.")
    sets = []
    for path, own in found:
        if own.read is None:
            raise InputError(f"{own.title} is only written, not read.")
        sets.append(own.read(path, replace(known, one_of_several=len(found) > 1)))
    return join(sets, known)


def check_one_format(found: list[tuple[Path, Format]], remedy: str) -> None:
    """Refuse files of several formats, which may hold the same particles.

    Raises
    ------
    InputError
    """
    titles = dict.fromkeys(own.title for _, own in found)
    if len(titles) > 1:
        raise InputError(f"the files are of several formats ({', '.join(titles)}); {remedy}.")


def readable(path: Path, from_: str | None, known: Known) -> list[tuple[Path, Format]]:
    """A file, or the files of a folder, and their format.

    Raises
    ------
    InputError
        If the file is of none, or the folder holds none, or a star file that is not whole.
    """
    wanted = None if from_ is None else get_format(from_)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
        return [(path, wanted or recognise(path, for_convert=known.has_from))]
    whole = format_of(path)
    if whole is not None:
        return [(path, wanted if wanted and wanted.recognises(path) else whole)]
    found = []
    for file in sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != "."):
        own = wanted if wanted and wanted.recognises(file) else format_of(file)
        if own is None and file.suffix.lower() == ".star":
            read_blocks(file)  # which refuses one that is cut, and that would be missed
        elif own is not None and wanted in (None, own):
            found.append((file, own))
    if not found:
        raise InputError(
            f"the folder {path} holds no particle file{f' of {from_}' if from_ else ''}; check it."
        )
    return found


def join(sets: list[ParticleSet], known: Known) -> tuple[ParticleSet, list[str]]:
    """One set of several, and what that lost: columns that only some hold, but known ones."""
    sets = [one for one in sets if len(one)] or sets[:1]
    sets = _in_short(sets, known)
    if len(sets) == 1:
        return sets[0], []
    sets = _in_same_voxels(sets)
    every = list(dict.fromkeys(name for one in sets for name in one.more))
    partly = [name for name in every if any(name not in one.more for one in sets)]
    joined = concatenate(_filled(join_optics(sets)))
    lost = [f"columns that only some files hold: {', '.join(partly)}"] if partly else []
    return joined, lost


def _in_short(sets: list[ParticleSet], known: Known) -> list[ParticleSet]:
    """Sets whose tomograms are called by names that are distinct among all of them."""
    said = dict.fromkeys(str(n) for one in sets for n in np.unique(one.tomogram_name).tolist())
    names = short_names((n for n in said if n not in known.tomograms), known.tomograms)
    return [_renamed(one, names) for one in sets]


def _renamed(one: ParticleSet, names: Mapping[str, str]) -> ParticleSet:
    unique, which = np.unique(one.tomogram_name, return_inverse=True)
    own = [names.get(name, name) for name in unique.tolist()]
    if own == unique.tolist():
        return one
    infos = {
        names.get(name, name): replace(info, name=names.get(name, name))
        for name, info in one.tomograms.items()
    }
    return replace(one, tomogram_name=np.array(own, dtype=str)[which], tomograms=infos)


def _in_same_voxels(sets: list[ParticleSet]) -> list[ParticleSet]:
    """Sets whose particles of one tomogram count in its voxels as the first that knows it has them.

    What is scaled or assumed is said.
    """
    known: dict[str, TomogramInfo] = {}
    for one in sets:
        known = {**one.tomograms, **known}
    return [_in_voxels_of(known, one) for one in sets]


def _in_voxels_of(known: Mapping[str, TomogramInfo], one: ParticleSet) -> ParticleSet:
    scale = np.ones(len(one))
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
    return replace(_scaled(one, scale), tomograms=infos)


def _scaled(particles: ParticleSet, scale: np.ndarray) -> ParticleSet:
    """The same places in other voxels: ``scale`` (N,) of them are as long as one of the old."""
    boxes = particles.box_center_zyx_px
    return replace(
        particles,
        center_zyx_px=particles.center_zyx_px * scale[:, None],
        box_center_zyx_px=None if boxes is None else boxes * scale[:, None],
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
