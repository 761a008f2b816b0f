"""AITom's files of particles, read: peak lists, subvolumes, points for 3dmod, alignment tables.

Its arrays are (x, y, z), its positions voxels from 0, its angles radians. Here all of that becomes
what the rest of the package keeps: (z, y, x), and RELION's angles in degrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bridge.aitom_poses import euler_of_angles, offset_of_loc
from aitom_disca.bridge.pickles import read_pickle
from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.file_text import read_json
from aitom_disca.io.tomogram_names import check_names
from aitom_disca.io.tomograms.tilt_range import DEFAULT_TILT_RANGE_DEG
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo

PEAKS, SUBVOLUMES, POINTS, TABLE = "peaks", "subvolumes", "3dmod", "table"
KINDS = (PEAKS, SUBVOLUMES, POINTS, TABLE)
BOX_KEY = "aitom:box_px"  # in more_blocks: edge of the subvolumes
LOC = ("loc_x", "loc_y", "loc_z")
_LONGEST_TEXT = 1000  # signs
_TEXTS = ("subtomogram", "mask", "template_id", "model_id")


def load(path: str | Path) -> tuple[str, Any]:
    """What a file holds, and which of `KINDS` that is.

    Raises
    ------
    InputError
        If it is none of them.
    """
    path = Path(path)
    held = read_json(path) if _is_json(path) else read_pickle(path)
    if isinstance(held, Mapping) and held and all(isinstance(k, int | np.integer) for k in held):
        held = held[max(held)]  # passes of an alignment: the last
    kind = _kind(held)
    if kind is None:
        raise InputError(
            f"{path.name} is none of AITom's particle files: expected a list of peaks (x, val), of "
            "points (peak, loc) or of an alignment (angle, loc), or subvolumes (v_siz, vs)."
        )
    return kind, held


def _kind(held: Any) -> str | None:
    if isinstance(held, Mapping) and "vs" in held:
        return SUBVOLUMES
    if not isinstance(held, list) or not held or not all(isinstance(r, Mapping) for r in held):
        return None
    keys = {PEAKS: ("x", "val"), TABLE: ("angle", "loc"), POINTS: ("peak",)}
    fitting = (kind for kind, names in keys.items() if all(n in row for row in held for n in names))
    return next(fitting, None)


def _is_json(path: Path) -> bool:
    if path.suffix.lower() == ".json":
        return True
    with reading(path, "a file of particles"), path.open("rb") as file:
        return file.read(64).lstrip()[:1] in (b"[", b"{")


def read_particles(
    path: str | Path,
    *,
    tomogram_name: str | None = None,
    voxel_size_angstrom: float | None = None,
    tilt_range_deg: tuple[float, float] = DEFAULT_TILT_RANGE_DEG,
    boxes: str | Path | ParticleSet | None = None,
    box_px: int | None = None,
) -> ParticleSet:
    """Read a particle file of AITom; its kind is told by its content.

    The particles of peak lists and points lie at the voxels given. Peaks that are listed with the
    lowest first are minima: their score is the negative of ``val``. The boxes of subvolumes have
    the pick at their voxel ``n // 2`` where n is even and one past it where n is odd, which
    ``box_center_zyx_px`` says. An alignment table has poses, and positions only with ``boxes``.

    Parameters
    ----------
    path : path
        JSON or pickle.
    tomogram_name : str, optional
        For entries that do not name theirs; by default the file's name.
    voxel_size_angstrom : float, optional
        No file says it; without it nothing is known of the tomogram.
    tilt_range_deg : tuple of 2 floats
    boxes : path or ParticleSet, optional
        For a table: where its subtomograms were cut, by their ``uuid``.
    box_px : int, optional
        For a table: edge of the boxes, where ``boxes`` do not say it.

    Returns
    -------
    ParticleSet
        With ``uuid`` and ``val`` among the further columns, or for a table its own.

    Raises
    ------
    InputError
        If the file cannot be read, is none of AITom's, or the boxes do not fit.
    """
    path = Path(path)
    kind, held = load(path)
    name = tomogram_name or path.stem
    with reading(path, f"{kind} as AITom writes them"):
        if kind == TABLE:
            cut = _boxes_of(boxes, name)
            particles = _of_table(held, name, cut, box_px, path)
        else:
            readers: dict[str, Callable[[Any, str], ParticleSet]] = {
                PEAKS: _of_peaks,
                POINTS: _of_points,
                SUBVOLUMES: _of_subvolumes,
            }
            particles = readers[kind](held, name)
    if voxel_size_angstrom is None:
        return particles
    infos = {
        str(n): TomogramInfo(str(n), voxel_size_angstrom, None, tilt_range_deg)
        for n in np.unique(particles.tomogram_name)
    }
    return replace(particles, tomograms={**infos, **particles.tomograms})


def _threes(values: Sequence[Any]) -> np.ndarray:
    """Three numbers a row, (N, 3)."""
    found = np.array([np.asarray(value, float).ravel() for value in values])
    if found.ndim != 2 or found.shape[1] != 3 or not np.isfinite(found).all():
        raise ValueError("a row has other than three numbers where it should")
    return found


def _zyx(places: Sequence[Any]) -> np.ndarray:
    """Positions x, y, z as (N, 3) of z, y, x."""
    return _threes(places)[:, ::-1].copy()


def _names(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    names = [str(row.get("tomogram_id", name)) for row in rows]
    check_names(names, "the file")
    return np.array(names)


def _array_of_texts(texts: Iterable[Any]) -> np.ndarray:
    """As it takes as much for each as for the longest, no text may be very long."""
    found = [str(text) for text in texts]
    if max(map(len, found), default=0) > _LONGEST_TEXT:
        raise ValueError(f"a text has more than {_LONGEST_TEXT} signs")
    return np.array(found)


def _of_peaks(rows: list[Mapping[str, Any]], name: str) -> ParticleSet:
    val = np.array([row["val"] for row in rows], float)
    more: dict[str, np.ndarray] = {"val": val}
    if all("uuid" in row for row in rows):
        more["uuid"] = _array_of_texts(row["uuid"] for row in rows)
    score = -val if val[0] < val[-1] else val
    return ParticleSet(_names(rows, name), _zyx([row["x"] for row in rows]), score=score, more=more)


def _of_points(rows: list[Mapping[str, Any]], name: str) -> ParticleSet:
    return ParticleSet(_names(rows, name), _zyx([row["peak"]["loc"] for row in rows]))


def _of_subvolumes(held: Mapping[str, Any], name: str) -> ParticleSet:
    rows = list(held["vs"].values())
    if not rows:
        raise InputError("the pickle holds no subvolumes.")
    box_px = box_of(held)
    center = _zyx([row["center"] for row in rows])
    return ParticleSet(
        _names(rows, name),
        center,
        box_center_zyx_px=center - box_px % 2 if box_px % 2 else None,
        more={"uuid": _array_of_texts(held["vs"])},
        more_blocks={BOX_KEY: box_px},
    )


def box_of(held: Mapping[str, Any]) -> int:
    """Edge of the subvolumes of a pickle.

    Raises
    ------
    InputError
        If they are not cubes.
    """
    size = {int(n) for n in np.ravel(held["v_siz"])}
    if len(size) != 1:
        raise InputError(f"expected cubic subvolumes, but their size is {held['v_siz']}.")
    return size.pop()


def _boxes_of(boxes: str | Path | ParticleSet | None, name: str) -> ParticleSet | None:
    if boxes is None or isinstance(boxes, ParticleSet):
        return boxes
    return read_particles(boxes, tomogram_name=name)


def _of_table(
    rows: list[Mapping[str, Any]],
    name: str,
    boxes: ParticleSet | None,
    box_px: int | None,
    path: Path,
) -> ParticleSet:
    loc = _threes([row["loc"] for row in rows])
    euler = euler_of_angles(_threes([row["angle"] for row in rows]))
    more = {LOC[i]: loc[:, i] for i in range(3)}
    for key in _TEXTS:
        if any(key in row for row in rows):
            more[key] = _array_of_texts(row.get(key, "") for row in rows)
    score = cluster = None
    if any("score" in row for row in rows):
        score = np.array([row.get("score", np.nan) for row in rows], float)
    if any(row.get("cluster") is not None for row in rows):
        found = [row.get("cluster") for row in rows]
        cluster = np.array([UNASSIGNED if c is None else int(c) for c in found])
    particles = ParticleSet(
        _names(rows, name),
        np.full((len(rows), 3), np.nan),
        score=score,
        euler_zyz_deg=euler,
        cluster=cluster,
        more=more,
    )
    if boxes is None:
        return particles
    edge = box_px or boxes.more_blocks.get(BOX_KEY)
    if edge is None:
        raise InputError(f"{path.name} needs the edge of its subtomograms; give it with box_px.")
    cut = boxes.select(_rows_of(more.get("subtomogram"), boxes, path))
    at = cut.center_zyx_px if cut.box_center_zyx_px is None else cut.box_center_zyx_px
    return replace(
        particles,
        tomogram_name=cut.tomogram_name,
        center_zyx_px=at + offset_of_loc(euler, loc, int(edge)),
        box_center_zyx_px=at,
        tomograms=boxes.tomograms,
        more_blocks={BOX_KEY: int(edge)},
    )


def _rows_of(keys: np.ndarray | None, boxes: ParticleSet, path: Path) -> np.ndarray:
    """The boxes that the subtomograms of a table are, told by their uuid, or that in their path."""
    if keys is None or "uuid" not in boxes.more:
        raise InputError(f"{path.name} and the boxes have no uuid by which they belong together.")
    place = {str(key): row for row, key in enumerate(boxes.more["uuid"])}
    found = [place.get(str(key), place.get(Path(str(key)).stem, -1)) for key in keys]
    if -1 in found:
        raise InputError(
            f"subtomogram {keys[found.index(-1)]} of {path.name} is none of the boxes; give those "
            "that it was made from."
        )
    return np.array(found)
