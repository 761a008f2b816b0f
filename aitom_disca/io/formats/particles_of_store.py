"""Which subtomograms of a store the particles of a file are, and the clusters that it gives."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.file_names import file_parts
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.io.formats.relion.particle_columns import cut_anew
from aitom_disca.io.formats.relion.star_blocks import IMAGE_COLUMNS, resolve
from aitom_disca.io.pixel_sizes import UnknownPixelSize
from aitom_disca.io.result_tables import read_labels_csv
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.io.text_columns import csv_header
from aitom_disca.particles import UNASSIGNED, ParticleSet

_EXPORTED = re.compile(r"(?:^|/)([^/]+)/(\d{6,})\.mrc$")  # as images of a store are called
_SAME_PLACE_PX = 1.0  # a coordinate with a fraction is cut at a voxel beside it


def labels_of(source: SubtomogramStore, labels: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Clusters (from 0, -1 for none) and posteriors of a store's subtomograms, from a file.

    Parameters
    ----------
    source : SubtomogramStore
    labels : path
        ``labels.csv``, or a particle file with classes, such as RELION's ``run_it025_data.star``:
        its particles are found in the store by `rows_of_store`, and subtomograms that it does not
        hold are in no cluster.

    Raises
    ------
    InputError
        If the labels are not of this store.
    """
    if is_labels_table(Path(labels)):
        cluster, posterior = read_labels_csv(labels)
        if len(cluster) != len(source):
            raise InputError(
                f"expected one label per subtomogram, but {labels} has {len(cluster)} and "
                f"{source.path} holds {len(source)} subtomograms; give the labels of this store."
            )
        return cluster, posterior
    particles, rows = particles_of_store(source, labels)
    check_classes(particles, labels)
    cluster = np.full(len(source), UNASSIGNED)
    cluster[rows] = particles.cluster
    if particles.posterior is None:
        return cluster, None
    posterior = np.zeros(len(source))
    posterior[rows] = particles.posterior
    return cluster, posterior


def clusters_of_particles(
    particles: ParticleSet, labels: str | Path, known: Known
) -> tuple[np.ndarray, np.ndarray | None]:
    """Clusters and posteriors of particles from a file of the same ones, in any order.

    They are told by their places; where those of one of the two are unknown, taken in order.

    Raises
    ------
    InputError
        If the file has no classes, or holds others.
    """
    classified = read_particles(labels, known=known)
    check_classes(classified, labels)
    rows: np.ndarray | None = np.arange(len(particles))
    if particles.has_positions and classified.has_positions:
        rows = _by_place(particles, classified)
    if len(classified) != len(particles) or rows is None:
        raise InputError(
            f"the {len(classified)} particles of {Path(labels).name} are not the {len(particles)} "
            "that are to be labelled: their tomograms or places differ; give the file that belongs "
            "to them, or labels.csv."
        )
    order = np.argsort(rows)
    posterior = classified.posterior
    return np.asarray(classified.cluster)[order], None if posterior is None else posterior[order]


def check_classes(particles: ParticleSet, path: str | Path) -> None:
    """Refuse particles without classes.

    Raises
    ------
    InputError
    """
    if particles.cluster is None:
        raise InputError(
            f"{Path(path).name} gives its particles no classes (rlnClassNumber in a star file); "
            "give labels.csv, or a file of particles with classes."
        )


def particles_of_store(
    source: SubtomogramStore, path: str | Path
) -> tuple[ParticleSet, np.ndarray]:
    """Particles of a file, and which rows (N,) of a store they are.

    Raises
    ------
    InputError
        As `rows_of_store`, or if the file cannot be read.
    """
    own = source.particles()
    known = Known(tomograms=own.tomograms if own.has_positions else {})
    try:
        particles = read_particles(path, known=known)
    except UnknownPixelSize as error:
        raise InputError(
            f"{Path(path).name} does not say its pixel size, so that it is not clear where its "
            "particles are; add it to the file (rlnImagePixelSize)."
        ) from error
    rows = rows_of_store(source, particles, path)
    particles = replace(
        cut_anew(particles), tomogram_name=own.tomogram_name[rows], tomograms=own.tomograms
    )
    return particles, rows


def rows_of_store(source: SubtomogramStore, particles: ParticleSet, path: str | Path) -> np.ndarray:
    """Rows (N,) of a store that the particles of a file are.

    They are told by their image files: those that the store was made of, or those that were
    written from it; else by the places where boxes were cut. As many particles as subtomograms
    may lie elsewhere in their boxes; they are taken in order, tomogram by tomogram.

    Raises
    ------
    InputError
        If they cannot be told, or two particles are one subtomogram.
    """
    rows = _by_image(source, particles, Path(path))
    if rows is None:
        rows = _by_place(source.particles(), particles)
    if rows is None:
        rows = _in_order(source, particles)
    if rows is None:
        raise InputError(
            f"the {len(particles)} particles of {Path(path).name} are not those of "
            f"{source.path.name}, which holds {len(source)} subtomograms: neither their images nor "
            "their places agree; give the file that belongs to this store."
        )
    _, first, counts = np.unique(rows, return_index=True, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{Path(path).name} holds one subtomogram of {source.path.name} twice (particle "
            f"{first[counts > 1][0] + 1}); remove one of them."
        )
    return rows


def is_labels_table(path: Path) -> bool:
    """Whether a file is a table of labels by index, and not one of particles."""
    if path.suffix.lower() == ".star":
        return False
    if path.suffix.lower() != ".csv" or not path.is_file():
        return path.suffix.lower() == ".csv"  # its reader says that it is missing
    header = csv_header(path)
    return "index" in header or not {"x", "y", "z"} <= set(header)


def _by_image(source: SubtomogramStore, particles: ParticleSet, path: Path) -> np.ndarray | None:
    if IMAGE_COLUMNS[0] not in particles.more:
        return None
    named = [str(name) for name in particles.more[IMAGE_COLUMNS[0]].tolist()]
    if source.image_name is not None:
        row_of = {Path(name).resolve(): row for row, name in enumerate(source.image_name.tolist())}
        found = [resolve(name, path) for name in named]
        rows = [-1 if one is None else row_of.get(one.resolve(), -1) for one in found]
        return None if -1 in rows else np.array(rows, int)
    parts = [_EXPORTED.search(name) for name in named]
    if None in parts:
        return None
    folders = [part[1] for part in parts if part]
    rows = [int(part[2]) - 1 for part in parts if part]
    own = source.particles()
    safe = file_parts(own.tomogram_name.tolist())
    names = [safe[name] for name in own.tomogram_name.tolist()]
    if not all(
        0 <= row < len(names) and names[row] == folder
        for row, folder in zip(rows, folders, strict=True)
    ):
        return None
    found_rows = np.array(rows, int)
    near = _distance_px(own, particles, found_rows)
    return found_rows if near is None or (near <= max(source.box_shape_zyx)).all() else None


def _by_place(own: ParticleSet, particles: ParticleSet) -> np.ndarray | None:
    """By the places where boxes were cut; of several at one place in order."""
    if not (own.has_positions and particles.has_positions):
        return None
    places, boxes = own.cut_at_zyx_px, particles.box_center_zyx_px
    boxes = particles.center_zyx_px if boxes is None else boxes
    rows = np.empty(len(particles), int)
    free = np.ones(len(own), bool)
    by_name = {name: np.flatnonzero(own.tomogram_name == name) for name in set(own.tomogram_name)}
    for i, name in enumerate(particles.tomogram_name.tolist()):
        here = by_name.get(name, np.zeros(0, int))
        here = here[free[here]]
        away = np.abs(places[here] - boxes[i]).max(axis=1)
        if not (away <= _SAME_PLACE_PX).any():
            return None
        rows[i] = here[np.argmin(away)]
        free[rows[i]] = False
    return rows


def _in_order(source: SubtomogramStore, particles: ParticleSet) -> np.ndarray | None:
    if len(particles) != len(source):
        return None
    own, rows = source.particles(), np.arange(len(source))
    near = _distance_px(own, particles, rows)
    if near is None:
        return rows
    same = own.tomogram_name == particles.tomogram_name
    voxel = np.array([own.tomograms[n].voxel_size_angstrom for n in own.tomogram_name.tolist()])
    half_px = source.box_shape_zyx[0] * source.voxel_size_angstrom / 2 / voxel
    return rows if (same & (near <= half_px)).all() else None


def _distance_px(own: ParticleSet, particles: ParticleSet, rows: np.ndarray) -> np.ndarray | None:
    """How far apart particles and subtomograms lie, along the worst axis; None if unknown."""
    if not (own.has_positions and particles.has_positions):
        return None
    away = np.abs(particles.center_zyx_px - own.cut_at_zyx_px[rows])
    return np.asarray(away.max(axis=1))
