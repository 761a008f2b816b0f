"""AITom's subvolume pickles to and from our store of subtomograms."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bridge.read_files import SUBVOLUMES, box_of, load, read_particles
from aitom_disca.bridge.write_files import write_particles
from aitom_disca.errors import InputError
from aitom_disca.io.stores.read_store import open_store
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.io.tomograms.tilt_range import DEFAULT_TILT_RANGE_DEG
from aitom_disca.particles import ParticleSet
from aitom_disca.subtomograms.preprocess import is_constant, normalise

logger = logging.getLogger(__name__)

_AXES = (1, 2, 3)
_BATCH = 64
_OFF_MIDDLE_PX = 1.0


def import_store(
    path: str | Path,
    out: str | Path,
    *,
    voxel_size_angstrom: float,
    tilt_range_deg: tuple[float, float] = DEFAULT_TILT_RANGE_DEG,
    tomogram_name: str | None = None,
    dark_protein: bool = False,
    table: str | Path | None = None,
    overwrite: bool = False,
) -> int:
    """Make a store of a subvolume pickle of AITom.

    Entries without a volume, whose box left the map, are left out, and so are constant ones.
    Volumes are normalised one by one, as `extract_subtomograms` does. The store keeps where the
    voxel ``n // 2`` of every box lay: for odd n a voxel before the pick.

    Parameters
    ----------
    path : path
        Pickle of ``v_siz`` and ``vs``.
    out : path
        Store to write.
    voxel_size_angstrom : float
    tilt_range_deg : tuple of 2 floats
    tomogram_name : str, optional
        For entries that do not name theirs; by default the pickle's name.
    dark_protein : bool
        Protein is dark in the subvolumes: invert them.
    table : path, optional
        Alignment table of the same subvolumes, whose angles are kept. A store has no place for
        shifts: those of more than a voxel are counted and said.
    overwrite : bool

    Returns
    -------
    int
        Subtomograms written.

    Raises
    ------
    InputError
        If the pickle holds no subvolumes or not all are of one cubic size, the table is of others,
        or the store is there already.
    """
    kind, held = load(path)
    if kind != SUBVOLUMES:
        raise InputError(f"{Path(path).name} holds {kind}, not subvolumes; a store needs these.")
    particles = read_particles(
        path,
        tomogram_name=tomogram_name,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range_deg,
    )
    if table is not None:
        particles = _with_poses(particles, table)
    if particles.box_center_zyx_px is not None:
        particles = replace(particles, center_zyx_px=particles.box_center_zyx_px)
    edge, entries = box_of(held), list(held["vs"].values())
    rows = _cut_out(entries, edge, Path(path))
    with StoreWriter.create(
        out,
        (edge,) * 3,
        voxel_size_angstrom,
        tilt_range_deg,
        particles.tomograms,
        normalisation="zero mean and unit variance per subtomogram",
        source=f"AITom, {Path(path).name}",
        overwrite=overwrite,
    ) as store:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            raw = np.stack([_volume_zyx(entries[row]) for row in batch])
            raw = -raw if dark_protein else raw
            store.append(
                normalise(raw),
                particles.select(batch),
                raw_mean=raw.mean(_AXES, dtype=float),
                raw_std=raw.std(_AXES, dtype=float),
            )
    return len(rows)


def _with_poses(particles: ParticleSet, table: str | Path) -> ParticleSet:
    """The same with the angles of a table; particles that it lacks keep none."""
    posed = read_particles(table, boxes=particles)
    place = {str(key): row for row, key in enumerate(particles.more["uuid"])}
    euler = np.zeros((len(particles), 3))
    keys = [str(key) for key in posed.more["subtomogram"]]
    rows = [place.get(key, place.get(Path(key).stem, -1)) for key in keys]
    euler[rows] = posed.euler_zyz_deg
    boxes = posed.box_center_zyx_px
    off = np.zeros(len(posed)) if boxes is None else np.abs(posed.center_zyx_px - boxes).max(1)
    if (off > _OFF_MIDDLE_PX).any():
        logger.warning(
            "%d particles lie off the middle of their box, which a store does not keep",
            int((off > _OFF_MIDDLE_PX).sum()),
        )
    return replace(particles, euler_zyz_deg=euler)


def _cut_out(entries: list[dict[str, Any]], edge: int, path: Path) -> np.ndarray:
    """Rows that have a volume, all of one shape and not constant."""
    rows = np.array([row for row, entry in enumerate(entries) if entry.get("v") is not None], int)
    if not len(rows):
        raise InputError(f"no subvolume was cut in {path.name}: every box left the map.")
    for row in rows:
        shape = np.shape(entries[row]["v"])
        if shape != (edge,) * 3:
            raise InputError(f"expected subvolumes of {(edge,) * 3} voxels, but one has {shape}.")
    flat = np.array([bool(is_constant(np.asarray(entries[row]["v"])[None])[0]) for row in rows])
    if flat.any():
        logger.warning("%d subvolumes hold one value only and were left out", int(flat.sum()))
    return rows[~flat]


def _volume_zyx(entry: dict[str, Any]) -> np.ndarray:
    return np.asarray(entry["v"], np.float32).transpose(2, 1, 0)


def export_subvolumes(store: str | Path, path: str | Path) -> int:
    """Write the subtomograms of a store as a subvolume pickle, such as AITom's DISCA reads.

    AITom holds all of them in memory, and so does this.

    Returns
    -------
    int
        Subvolumes written.

    Raises
    ------
    InputError
        If the store cannot be read, or holds no positions.
    """
    with open_store(store) as source:
        particles, volumes = source.particles(), source.read()
    write_particles(path, particles, kind=SUBVOLUMES, volumes=volumes)
    return len(particles)
