"""Star files of clusters, and of what was left out of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.config import JUNK_KINDS, RelionVersion
from aitom_disca.curation.cluster_names_in_files import with_cluster_names
from aitom_disca.curation.curation_file import decided
from aitom_disca.io import (
    open_store,
    write_cluster_stars,
    write_particles_star,
)
from aitom_disca.io.disk.outputs import none_if_failed
from aitom_disca.io.file_names import distinct_parts, plain_part
from aitom_disca.io.formats.relion.particle_images import has_images
from aitom_disca.io.formats.relion.subtomogram_images import (
    checked_images,
    image_files,
    write_images,
)
from aitom_disca.io.formats.relion.write_star import cluster_star_paths
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.labels_of_store import labels_of_store
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from aitom_disca.picking import Candidates

_IMAGES = "subtomograms"  # a folder of images for RELION


def write_stars(
    store: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    relion: RelionVersion = "3.1",
    images: bool = False,
) -> dict[str, Any]:
    """Write the particles of a store with their clusters as RELION star files.

    ``particles.star`` holds all that are in a cluster, ``clusters/cluster_01.star`` and so on one
    cluster each, ``junk/noise.star`` those in none, ``junk/curated_gold.star`` and so on those that
    a person called junk. Names of clusters (see `aitom_disca.curation`) become a column and a part
    of the files' names. With ``images`` they name subtomograms and
    missing wedges for RELION, which are written into ``subtomograms``; else a store without
    positions gives no star file, and says so.

    Returns
    -------
    dict
        ``star_files`` of clusters and of all that are in one, ``junk_files`` of what is in none,
        ``relion`` that they are for.

    Raises
    ------
    InputError
        If the labels are not of this store, or the RELION version needs what the store lacks.
    """
    folder = RunFolder(out)
    into = folder.path / _IMAGES
    with open_store(store) as source:
        particles = source.particles().with_clusters(*labels_of_store(source, labels))
        of_images = image_files(source, into, particles) if images else []
        if images:
            particles = checked_images(source, into, particles, relion=relion)
        writable = _writable(particles, relion)
        if writable is None:
            say("the store holds no positions: no star file written")
            return {"star_files": 0, "junk_files": 0}
        box_px = source.box_shape_zyx[0]
        infos = list(particles.tomograms.values())
        if infos:  # RELION's image size counts voxels of the tomogram
            box_px = round(box_px * source.voxel_size_angstrom / infos[0].voxel_size_angstrom)
        names, junk = decided(labels)
        left_out = _left_out(folder, np.asarray(particles.cluster), junk)
        files = [*cluster_star_paths(folder.star_folder, particles, names).values()]
        with none_if_failed([*of_images, folder.star, *left_out, *files]):
            if images:
                write_images(source, into, particles)
            particles = with_cluster_names(particles, names)
            how: dict[str, Any] = {"relion": writable, "box_px": box_px}
            write_cluster_stars(folder.star_folder, particles, names=names, **how)
            for path, rows in left_out.items():
                write_particles_star(path, particles.select(rows), **how)
            kept = particles.select(np.asarray(particles.cluster) >= 0)
            write_particles_star(folder.star, kept, **how)
    for stale in {*folder.junk.glob("curated_*.star"), folder.noise_star} - {*left_out}:
        stale.unlink(missing_ok=True)
    for stale in {*folder.star_folder.glob("cluster_*.star")} - {*files}:
        stale.unlink()  # of earlier labels with more clusters
    return {"star_files": 1 + len(files), "junk_files": len(left_out), "relion": writable}


def what_was_written(summary: Mapping[str, Any], out: str | Path) -> str:
    """What `write_stars` wrote, in a sentence without its full stop."""
    junk = summary["junk_files"]
    more = f" and {junk} of junk" if junk else ""
    return f"{counted(summary['star_files'], 'star file')}{more} written to {out}"


def _left_out(
    folder: RunFolder, cluster: np.ndarray, junk: dict[str, np.ndarray]
) -> dict[Path, np.ndarray]:
    """Star files of what is in no cluster, with its rows: by the kind of junk, or noise."""
    rest = cluster < 0
    parts = {}
    names = distinct_parts(plain_part(kind) or "other" for kind in junk)
    for kind, name in zip(junk, names, strict=True):
        rows = np.flatnonzero(np.isin(np.arange(len(cluster)), junk[kind]) & rest)
        parts[folder.junk / f"curated_{name}.star"] = rows
        rest[rows] = False
    parts[folder.noise_star] = np.flatnonzero(rest)
    return {path: rows for path, rows in parts.items() if len(rows)}


def star_files_there(out: str | Path, images: bool = False) -> list[Path]:
    """All files in a folder that `write_stars` could replace or remove."""
    folder = RunFolder(out)
    single = [folder.star, folder.noise_star, *([folder.path / _IMAGES] if images else [])]
    return [
        *(path for path in single if path.exists()),
        *sorted(folder.star_folder.glob("cluster_*.star")),
        *sorted(folder.junk.glob("curated_*.star")),
    ]


def _writable(particles: ParticleSet, relion: RelionVersion) -> RelionVersion | None:
    """The RELION version to write: None where there are no positions at all."""
    if particles.has_positions:
        return relion
    if has_images(particles):
        return "3.1"  # which needs no positions of images
    if particles.centered_xyz_angstrom is None:
        return None
    if relion != "5":
        say("the store counts positions from the tomogram's centre: writing RELION 5")
    return "5"


def write_junk(
    folder: Path, candidates: Candidates, *, relion: RelionVersion = "3.1"
) -> list[Path]:
    """Write what was set apart, ``gold.star`` and so on; files of an earlier run go."""
    paths = []
    for kind, particles in candidates.junk.items():
        paths.append(folder / f"{kind}.star")
        write_particles_star(paths[-1], particles, relion=relion)
    for kind in JUNK_KINDS:
        if kind not in candidates.junk:
            (folder / f"{kind}.star").unlink(missing_ok=True)
    return paths
