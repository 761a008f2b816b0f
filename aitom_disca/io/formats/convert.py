"""Particle files of one program made into those of another; what gets lost is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats import get_format, recognise
from aitom_disca.io.formats.format import (
    BOX_CENTER,
    CLUSTER,
    FURTHER,
    NAME,
    POSE,
    POSTERIOR,
    SCORE,
    Format,
    Known,
)
from aitom_disca.io.formats.relion_images import LAYOUTS, export_subtomograms
from aitom_disca.io.formats.relion_optics import join_optics
from aitom_disca.io.star_blocks import SUBTOMOGRAM_ANGLE_COLUMNS
from aitom_disca.io.star_reading import PIXEL_KEY, TABLE_KEY
from aitom_disca.io.store import open_store
from aitom_disca.io.tables import read_labels_csv
from aitom_disca.particles import UNASSIGNED, ParticleSet, concatenate

_STORES = (".h5", ".hdf5")
_RELION = ("relion", "warp")


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Parameters
    ----------
    paths : list of Path
        Files written.
    n_particles : int
    lost : list of str
        What the target cannot keep, in plain words.
    """

    paths: list[Path]
    n_particles: int
    lost: list[str]


def convert(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    to: str,
    *,
    from_: str | None = None,
    known: Known | None = None,
    strict: bool = False,
    overwrite: bool = False,
    labels: str | Path | None = None,
    images: bool = False,
) -> Converted:
    """Read particles in one format and write them in another.

    Parameters
    ----------
    source : path or sequence of path
        A file, a folder of files of one format, several files, or a subtomogram store (.h5).
    out : path
        For formats of one tomogram per file the beginning of several names.
    to : str
        Name of a format, see `formats.NAMES`.
    from_ : str, optional
        Format of the source; recognised by its content if left out.
    known : Known, optional
        What is known beside the files.
    strict : bool
        Whether to refuse to lose anything.
    overwrite : bool
        Whether files that are there may be replaced.
    labels : path, optional
        Clusters of the particles, as ``labels.csv`` holds them.
    images : bool
        Whether to write the subtomograms of a store as well, for RELION, into the folder OUT
        without its suffix.

    Raises
    ------
    InputError
        If the source cannot be read, something that the target needs is unknown, a file is there
        already, or something would be lost although ``strict``. Nothing is written then.
    """
    known = known or Known()
    target = get_format(to)
    if target.write is None:
        raise InputError(f"{target.title} is only read, not written; choose another --to.")
    sources = _listed(source)
    particles, left_behind = _read_sources(sources, from_, known)
    if labels is not None:
        particles = _with_labels(particles, labels)
    lost = left_behind + losses(particles, target, known)
    if strict and lost:
        raise InputError(
            f"{target.title} cannot keep {'; '.join(lost)}; leave out --strict, or choose another "
            "format."
        )
    out = Path(out)
    if images:
        _check_free([out, out.with_suffix("")], overwrite)
        paths = _write_with_images(sources, out, particles, to, known)
    else:
        _check_free(_rehearse(target.write, out, particles, known), overwrite)
        paths = target.write(out, particles, known)
    return Converted([Path(p) for p in paths], len(particles), lost)


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
    return _read_sources(_listed(source), from_, known or Known())[0]


def losses(particles: ParticleSet, target: Format, known: Known) -> list[str]:
    """What a format cannot keep of these particles, in plain words."""
    kept = target.keeps
    lost = []
    if POSE not in kept and _count(particles.euler_zyz_deg):
        lost.append(f"orientations of {_count(particles.euler_zyz_deg)} particles")
    if SCORE not in kept and _count(particles.score):
        lost.append(f"scores of {_count(particles.score)} particles")
    if CLUSTER not in kept and particles.cluster is not None:
        n_members = int((particles.cluster != UNASSIGNED).sum())
        lost += [f"clusters of {n_members} particles"] if n_members else []
    if POSTERIOR not in kept and _count(particles.posterior):
        lost.append(f"posterior of {_count(particles.posterior)} particles")
    boxes = particles.box_center_zyx_px
    if BOX_CENTER not in kept and boxes is not None:
        moved = int((boxes != particles.center_zyx_px).any(axis=1).sum())
        lost += [f"where the boxes of {moved} particles were cut"] if moved else []
    if NAME not in kept:
        lost.append("names of tomograms")
    if target.loses is not None:
        lost += target.loses(particles, known)
    elif FURTHER not in kept:
        stages = SUBTOMOGRAM_ANGLE_COLUMNS if POSE in kept else []
        columns = [name for name in particles.more if name not in stages]
        lost += [f"further columns {', '.join(columns)}"] if columns else []
    return lost + _lost_blocks(particles, target)


def _count(values: np.ndarray | None) -> int:
    """Rows of which something is known; angles that are all 0 say nothing."""
    if values is None:
        return 0
    if values.ndim == 2:
        return int((np.nan_to_num(values) != 0).any(axis=1).sum())
    return int(np.isfinite(values).sum())


def _lost_blocks(particles: ParticleSet, target: Format) -> list[str]:
    to_relion = target.name.startswith(_RELION)
    lost = []
    for key, block in particles.more_blocks.items():
        family, _, name = key.partition(":")
        kept = to_relion if family == "relion" else target.name.startswith(family)
        empty = not isinstance(block, dict | pd.DataFrame) or len(block) == 0
        if not kept and not empty and key not in (TABLE_KEY, PIXEL_KEY):
            lost.append(f"the block {name}")
    return lost


def _listed(source: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(p) for p in ([source] if isinstance(source, str | Path) else source)]


def _read_sources(
    sources: list[Path], from_: str | None, known: Known
) -> tuple[ParticleSet, list[str]]:
    """All particles, and what joining several files lost."""
    if len(sources) == 1 and sources[0].suffix.lower() in _STORES and from_ is None:
        with open_store(sources[0]) as store:
            return store.particles(), []
    found = [pair for path in sources for pair in _readable(path, from_)]
    if len({own.name for _, own in found}) > 1:
        titles = ", ".join(dict.fromkeys(own.title for _, own in found))
        raise InputError(f"the files are of several formats ({titles}); convert one at a time.")
    if not found:
        raise InputError("no file was given to read.")
    sets = []
    for path, own in found:
        if own.read is None:
            raise InputError(f"{own.title} is only written, not read.")
        several = own.one_tomogram and len(found) > 1
        named = replace(known, tomogram_name=_name_of(path, known)) if several else known
        sets.append(own.read(path, named))
    return (sets[0], []) if len(sets) == 1 else _join(sets)


def _readable(path: Path, from_: str | None) -> list[tuple[Path, Format]]:
    """A file, or the files of a folder, and their format."""
    wanted = None if from_ is None else get_format(from_)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
        return [(path, wanted or recognise(path))]
    try:
        return [(path, wanted if wanted and wanted.recognises(path) else recognise(path))]
    except InputError:
        pass
    found = []
    for file in sorted(p for p in path.iterdir() if p.is_file()):
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


def _name_of(path: Path, known: Known) -> str:
    """The tomogram of one of several files: the one known whose name is in its own, or its own."""
    fitting = [name for name in known.tomograms if name in path.stem]
    return max(fitting, key=len) if fitting else path.stem


def _join(sets: list[ParticleSet]) -> tuple[ParticleSet, list[str]]:
    """One set; columns that only some hold are filled up, further ones dropped."""
    every = list(dict.fromkeys(name for one in sets for name in one.more))
    partly = [name for name in every if any(name not in one.more for one in sets)]
    joined = concatenate(_filled(join_optics(sets)))
    lost = [f"columns that only some files hold: {', '.join(partly)}"] if partly else []
    return joined, lost


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


def _with_labels(particles: ParticleSet, labels: str | Path) -> ParticleSet:
    cluster, posterior = read_labels_csv(labels)
    if len(cluster) != len(particles):
        raise InputError(
            f"{Path(labels).name} holds {len(cluster)} labels, but there are {len(particles)} "
            "particles; give the one label per particle that belongs to them."
        )
    return particles.with_clusters(cluster, posterior)


def _rehearse(
    write: Callable[[Path, ParticleSet, Known], list[Path]],
    out: Path,
    particles: ParticleSet,
    known: Known,
) -> list[Path]:
    """Names of all files, found by writing them elsewhere: what fails, fails there."""
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        written = [Path(p).resolve() for p in write(folder / out.name, particles, known)]
        return [out.parent / p.relative_to(folder) for p in written if p.is_relative_to(folder)]


def _check_free(paths: list[Path], overwrite: bool) -> None:
    folders = [path for path in paths if path.suffix and path.is_dir()]
    if folders:
        raise InputError(f"{folders[0]} is a folder; choose another name for the file.")
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]} is there already; choose another name, or add --overwrite.")


def _write_with_images(
    sources: list[Path], out: Path, particles: ParticleSet, to: str, known: Known
) -> list[Path]:
    if len(sources) != 1 or sources[0].suffix.lower() not in _STORES:
        raise InputError("--images writes the subtomograms of a store; give one .h5 as input.")
    if to not in LAYOUTS:
        raise InputError(f"--images goes with --to {', '.join(LAYOUTS)}; got {to}.")
    with open_store(sources[0]) as store:
        return export_subtomograms(store, out.with_suffix(""), particles, out, to=to, known=known)
