"""Particle files of one program made into those of another; what gets lost is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.outputs import none_if_failed, refuse_existing
from aitom_disca.io.formats import get_format
from aitom_disca.io.formats.copick import numbered_objects
from aitom_disca.io.formats.format import CLUSTER, Known
from aitom_disca.io.formats.lost_in_conversion import losses
from aitom_disca.io.formats.particles_of_store import (
    clusters_of_particles,
    is_labels_table,
    labels_of,
    particles_of_store,
)
from aitom_disca.io.formats.read_particles import is_store, listed, read_sources
from aitom_disca.io.formats.relion.micrographs import named_as_in
from aitom_disca.io.formats.relion.relion5 import project_files, write_project
from aitom_disca.io.formats.relion.subtomogram_images import LAYOUTS, export_subtomograms
from aitom_disca.io.result_tables import read_labels_csv, write_rows_csv
from aitom_disca.io.stores.read_store import open_store
from aitom_disca.particles import ParticleSet


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
    n_outside : int
        Particles outside of their tomograms, as far as their sizes are known.
    legend : dict of int to str
        What the classes are, where the source names its objects and the target numbers them.
    """

    paths: list[Path]
    n_particles: int
    lost: list[str]
    n_outside: int
    legend: dict[int, str] = field(default_factory=dict)


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
    poses: str | Path | None = None,
    micrographs: str | Path | None = None,
    images: bool = False,
    optimisation_set: bool = False,
    tomograms_star: str | Path | None = None,
) -> Converted:
    """Read particles in one format and write them in another.

    Objects of several names, as copick has them, become classes where the target numbers these;
    ``OUT_classes.csv`` says which is which.

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
        Clusters of the particles, as ``labels.csv`` holds them, or a file of the same particles
        with classes.
    poses : path, optional
        A particle file whose particles are subtomograms of the store that is the source: these,
        with all that it says of them.
    micrographs : path, optional
        RELION's micrographs.star, whose names of micrographs and optics groups are taken.
    images : bool
        Whether to write the subtomograms of a store as well, for RELION, into the folder OUT
        without its suffix.
    optimisation_set : bool
        Whether to write ``OUT_optimisation_set.star`` as well, for RELION 4 and 5.
    tomograms_star : path, optional
        The list of tomograms that it names; one is written, unless given.

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
    sources = listed(source)
    particles, left_behind = read_sources(sources, from_, replace(known, has_from=True))
    legend: dict[int, str] = {}
    rows = None
    if labels is not None:
        particles = _with_labels(sources, particles, labels, known)
    if poses is not None:
        particles, rows = _with_poses(sources, particles, poses)
    if micrographs is not None:
        _check_relion(to, "--micrographs")
        particles = named_as_in(particles, micrographs)
    if labels is None and CLUSTER in target.keeps and to != "copick":
        particles, legend = numbered_objects(particles)
    lost = left_behind + losses(particles, target, known)
    if strict and lost:
        raise InputError(
            f"{target.title} cannot keep {'; '.join(lost)}; leave out --strict, or choose another "
            "format."
        )
    out = Path(out)
    classes = out.with_name(f"{out.stem}_classes.csv")
    if legend:
        _check_free([classes], overwrite)
    if optimisation_set:
        _check_project(out, to, particles, known, tomograms_star, overwrite)
    planned = [out, out.with_suffix("")]
    if not images:
        planned = _rehearse(target.write, out, particles, known)
    _check_free(planned, overwrite)
    more = [*(project_files(out) if optimisation_set else ()), *([classes] if legend else ())]
    with none_if_failed([*more, *([] if images else planned)]):
        if optimisation_set:
            write_project(out, particles, known, tomograms_star)
        if legend:
            write_rows_csv(classes, [{"class": k, "object": name} for k, name in legend.items()])
        if images:
            paths = _write_with_images(sources, out, particles, rows, to, known)
        else:
            paths = target.write(out, particles, known)
    paths = [*paths, *(path for path in more if path.exists())]
    sized = replace(particles, tomograms={**particles.tomograms, **known.tomograms})
    n_outside = int((~sized.inside()).sum())
    return Converted([Path(p) for p in paths], len(particles), lost, n_outside, legend)


def _with_labels(
    sources: list[Path], particles: ParticleSet, labels: str | Path, known: Known
) -> ParticleSet:
    if _is_one_store(sources):
        with open_store(sources[0]) as store:
            return particles.with_clusters(*labels_of(store, labels))
    if not is_labels_table(Path(labels)):
        return particles.with_clusters(*clusters_of_particles(particles, labels, known))
    cluster, posterior = read_labels_csv(labels)
    if len(cluster) != len(particles):
        raise InputError(
            f"{Path(labels).name} holds {len(cluster)} labels, but there are {len(particles)} "
            "particles; give the one label per particle that belongs to them."
        )
    return particles.with_clusters(cluster, posterior)


def _with_poses(
    sources: list[Path], own: ParticleSet, poses: str | Path
) -> tuple[ParticleSet, np.ndarray]:
    """Particles of a file that are subtomograms of the store, and their rows in it."""
    if not _is_one_store(sources):
        raise InputError("--poses goes with the subtomograms of a store; give one .h5 as input.")
    with open_store(sources[0]) as store:
        particles, rows = particles_of_store(store, poses)
    if own.cluster is not None:
        posterior = None if own.posterior is None else own.posterior[rows]
        particles = particles.with_clusters(own.cluster[rows], posterior)
    return particles, rows


def _is_one_store(sources: list[Path]) -> bool:
    return len(sources) == 1 and is_store(sources[0])


def _check_relion(to: str, option: str) -> None:
    if not to.startswith("relion"):
        raise InputError(f"{option} goes with star files of RELION; got --to {to}.")


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


def _check_project(
    out: Path,
    to: str,
    particles: ParticleSet,
    known: Known,
    tomograms_star: str | Path | None,
    overwrite: bool,
) -> None:
    if to not in ("relion4", "relion5"):
        raise InputError(f"--optimisation-set goes with --to relion4 or relion5; got {to}.")
    with TemporaryDirectory() as name:  # what fails, fails here
        made = write_project(Path(name) / out.name, particles, known, tomograms_star)
    _check_free([out.with_name(path.name) for path in made], overwrite)


def _check_free(paths: list[Path], overwrite: bool) -> None:
    folders = [path for path in paths if path.suffix and path.is_dir()]
    if folders:
        raise InputError(f"{folders[0]} is a folder; choose another name for the file.")
    refuse_existing(paths, overwrite)


def _write_with_images(
    sources: list[Path],
    out: Path,
    particles: ParticleSet,
    rows: np.ndarray | None,
    to: str,
    known: Known,
) -> list[Path]:
    if not _is_one_store(sources):
        raise InputError(
            "--images writes the subtomograms of a store; give one .h5 as input, and "
            "the file with their poses as --poses."
        )
    if to not in LAYOUTS:
        raise InputError(f"--images goes with --to {', '.join(LAYOUTS)}; got {to}.")
    with open_store(sources[0]) as store:
        folder = out.with_suffix("")
        return export_subtomograms(store, folder, particles, out, rows=rows, to=to, known=known)
