"""Particles written as AITom's files: `read_files` says what these are."""

from __future__ import annotations

import json
import logging
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bridge.aitom_poses import angles_of_euler, loc_of_offset
from aitom_disca.bridge.pickles import write_pickle
from aitom_disca.bridge.read_files import BOX_KEY, KINDS, LOC, POINTS, SUBVOLUMES, TABLE
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.particles import ParticleSet

logger = logging.getLogger(__name__)


def write_particles(
    path: str | Path,
    particles: ParticleSet,
    *,
    kind: str,
    volumes: np.ndarray | None = None,
    box_px: int | None = None,
    mask: str = "mask",
) -> Path:
    """Write particles as one of AITom's files, JSON or pickle by the name's ending.

    Peaks and subvolumes of AITom lie at whole voxels: positions are rounded, and that is said.

    Parameters
    ----------
    path : path
        ``.json``, or anything else for a pickle; subvolumes are pickles.
    particles : ParticleSet
        With the columns ``uuid``, ``val``, ``subtomogram``, ``mask``, ... if they came from AITom.
    kind : {"peaks", "subvolumes", "3dmod", "table"}
    volumes : ndarray of shape (N, z, y, x), optional
        For subvolumes.
    box_px : int, optional
        For a table: edge of the boxes that the poses belong to.
    mask : str
        For a table: key of the missing-wedge mask, where the particles bring none.

    Raises
    ------
    InputError
        If the kind is unknown, or needs what is not given.
    """
    path = Path(path)
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    if kind != TABLE and not particles.has_positions:
        raise InputError(f"AITom's {kind} need positions in voxels, which these particles lack.")
    if kind == SUBVOLUMES:
        if path.suffix.lower() == ".json":
            raise InputError("subvolumes are written as a pickle; choose a name without .json.")
        held: Any = subvolumes_of(particles, volumes)
    elif kind == TABLE:
        held = _as_table(particles, box_px, mask)
    else:
        held = _as_points(particles) if kind == POINTS else _as_peaks(particles)
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps(held, default=lambda value: value.item()))
    else:
        write_pickle(path, held)
    return path


def uuids_of(particles: ParticleSet) -> list[str]:
    """The uuid of every particle: its own, or one made of its tomogram and number.

    They are made anew where two particles have the same.
    """
    if "uuid" in particles.more:
        own = [str(key) for key in particles.more["uuid"]]
        if len({*own}) == len(own):
            return own
        logger.warning("some particles have the same uuid: all get new ones")
    named = enumerate(particles.tomogram_name.tolist())
    return [str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{row}")) for row, name in named]


def _whole(center_zyx: np.ndarray) -> list[list[np.int64]]:
    """Nearest voxels (x, y, z), as AITom's own lists hold them."""
    nearest = np.floor(center_zyx + 0.5).astype(np.int64)
    moved = int((nearest != center_zyx).any(axis=1).sum())
    if moved:
        logger.warning("%d positions were rounded to whole voxels, as AITom needs them", moved)
    return [list(row) for row in nearest[:, ::-1]]


def _as_peaks(particles: ParticleSet) -> list[dict[str, Any]]:
    score = particles.score if particles.score is not None else np.zeros(len(particles))
    val = np.asarray(particles.more.get("val", score), float)
    columns = zip(
        _whole(particles.center_zyx_px),
        val.tolist(),
        uuids_of(particles),
        particles.tomogram_name.tolist(),
        strict=True,
    )
    return [{"val": v, "x": x, "uuid": key, "tomogram_id": name} for x, v, key, name in columns]


def _as_points(particles: ParticleSet) -> list[dict[str, Any]]:
    if len(np.unique(particles.tomogram_name)) > 1:
        raise InputError("points for 3dmod are of one tomogram; write one file for each.")
    places = particles.center_zyx_px[:, ::-1]
    whole = (places == np.round(places)).all()
    return [{"peak": {"loc": row}} for row in (places.astype(int) if whole else places).tolist()]


def subvolumes_of(particles: ParticleSet, volumes: np.ndarray | None) -> dict[str, Any]:
    """The dictionary of a subvolume pickle.

    Raises
    ------
    InputError
        If there are no volumes, or not as many as particles.
    """
    if volumes is None or len(volumes) != len(particles):
        n = "none" if volumes is None else len(volumes)
        raise InputError(
            f"subvolumes need a volume for each of {len(particles)} particles; got {n}."
        )
    edge = volumes.shape[-1]
    at = particles.box_center_zyx_px
    at = particles.center_zyx_px if at is None else at
    columns = zip(
        uuids_of(particles), _whole(at + edge % 2), particles.tomogram_name.tolist(), strict=True
    )
    entries = {
        key: {"center": center, "id": key, "tomogram_id": name} for key, center, name in columns
    }
    for entry, volume in zip(entries.values(), volumes, strict=True):
        entry["v"] = np.ascontiguousarray(np.asarray(volume, np.float32).transpose(2, 1, 0))
    return {"v_siz": np.array([edge] * 3), "vs": entries}


def _as_table(particles: ParticleSet, box_px: int | None, mask: str) -> list[dict[str, Any]]:
    n = len(particles)
    euler = np.zeros((n, 3)) if particles.euler_zyz_deg is None else particles.euler_zyz_deg
    loc = _locs(particles, euler, box_px)
    keys = particles.more.get("subtomogram", uuids_of(particles))
    masks = particles.more.get("mask", np.full(n, mask))
    angles = angles_of_euler(euler).tolist()
    rows: list[dict[str, Any]] = [
        {"subtomogram": str(keys[i]), "mask": str(masks[i]), "angle": angles[i], "loc": loc[i]}
        for i in range(n)
    ]
    for i, row in enumerate(rows):
        row["tomogram_id"] = str(particles.tomogram_name[i])
        if particles.score is not None and np.isfinite(particles.score[i]):
            row["score"] = float(particles.score[i])
        if particles.cluster is not None and particles.cluster[i] >= 0:
            row["cluster"] = int(particles.cluster[i])
        for key in ("template_id", "model_id"):
            if str(particles.more.get(key, [""] * n)[i]):
                row[key] = str(particles.more[key][i])
    return rows


def _locs(particles: ParticleSet, euler: np.ndarray, box_px: int | None) -> list[list[float]]:
    """Shifts (x, y, z) of a table: from the positions, or those that the particles came with."""
    edge = box_px or particles.more_blocks.get(BOX_KEY)
    at = particles.box_center_zyx_px
    if at is None and all(name in particles.more for name in LOC):
        columns = [np.asarray(particles.more[name], float) for name in LOC]
        return np.stack(columns, axis=1).tolist()  # type: ignore[no-any-return]
    if edge is None:
        raise InputError("a table of poses needs the edge of the boxes; give it with box_px.")
    offset = np.zeros((len(particles), 3)) if at is None else particles.center_zyx_px - at
    return loc_of_offset(euler, offset, int(edge)).tolist()  # type: ignore[no-any-return]
