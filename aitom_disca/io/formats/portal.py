"""Points of the CryoET Data Portal (.ndjson): one JSON object a line, of one tomogram.

Locations are voxels of the tomogram, from 0, of the size that a folder ``VoxelSpacing13.480``
above the file says. The matrix of an orientedPoint takes the object to the
tomogram, as copick reads it; ArtiaX takes it the other way (``--transposed``). An instance_id is
taken as a cluster, counted from 1, 0 for none. Scores have no place in this format.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats import common_columns as common
from aitom_disca.io.formats.file_text import head, one_file_per_tomogram, parse_json, read_text
from aitom_disca.io.formats.format import CLUSTER, FURTHER, POSE, Format, Known, need_positions
from aitom_disca.io.formats.particle_coordinates import find_places, name_of_only_tomogram
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.pixel_sizes import pixel_in_folders
from aitom_disca.particles import ParticleSet

logger = logging.getLogger(__name__)

_KEYS = "portal:keys"  # further keys of the points read
_TYPES = ("point", "orientedPoint", "instancePoint")
_MATRIX, _INSTANCE = "xyz_rotation_matrix", "instance_id"
_OWN = ("type", "location", _MATRIX, _INSTANCE)


def read(path: Path, known: Known) -> ParticleSet:
    """Read points; poses and clusters where all points have them.

    Raises
    ------
    InputError
        If a line is not a point, or nothing says the tomogram's name.
    """
    path = Path(path)
    points = _points(path)
    xyz = to_numbers([p["location"] for p in points], path, "a location")
    name = name_of_only_tomogram(path, known)
    pixel = pixel_in_folders(path)
    said = None if pixel is None else np.full(len(points), pixel)
    places = find_places(path, [name] * len(points), known, pixel_angstrom=said)
    euler = None
    posed = sum(p.get(_MATRIX) is not None for p in points)
    if 0 < posed < len(points):
        logger.warning(
            "%s: poses of %d of %d points are left out, since the others have none.",
            path.name,
            posed,
            len(points),
        )
    elif posed:
        poses = common.rotations_from_matrices([p[_MATRIX] for p in points], path)
        euler = common.euler_zyz_deg(poses.inv() if known.transposed else poses)
    cluster = None
    if all(p.get(_INSTANCE) is not None for p in points):
        cluster = common.clusters_from_1([p[_INSTANCE] for p in points], path, _INSTANCE)
    further = [key for key in dict.fromkeys(key for p in points for key in p) if key not in _OWN]
    return ParticleSet(
        places.names,
        (xyz * places.scale)[:, ::-1],
        euler_zyz_deg=euler,
        cluster=cluster,
        tomograms=places.tomograms,
        more={key: _column([p.get(key) for p in points]) for key in further},
        more_blocks={_KEYS: further},
    )


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a file for every tomogram.

    Points are of the type orientedPoint where poses are known, else instancePoint where clusters
    are, else point; an orientedPoint carries its cluster as well.

    Raises
    ------
    InputError
        If positions in voxels are not known.
    """
    need_positions(particles, "a portal file")
    written = []
    for own, _, members in one_file_per_tomogram(path, particles):
        lines = [json.dumps(point) + "\n" for point in _written(members, known)]
        write_text(own, "".join(lines))
        written.append(own)
    return written


def _points(path: Path) -> list[dict[str, Any]]:
    points = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number} of {path.name}"
        point = parse_json(line, where)
        if not isinstance(point, dict) or point.get("type") not in _TYPES:
            raise InputError(f"{where} is no portal point; its type must be {', '.join(_TYPES)}.")
        with reading(where, "a point with location x, y, z"):
            location = [point["location"][axis] for axis in "xyz"]
        points.append(point | {"location": location})
    if not points:
        raise InputError(f"{path.name} holds no points.")
    return points


def _column(values: list[Any]) -> np.ndarray:
    """A column of anything, also of lists."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _written(members: ParticleSet, known: Known) -> list[dict[str, Any]]:
    poses = common.rotations(members)
    matrices = (poses.inv() if known.transposed else poses).as_matrix()
    numbers = common.numbers_from_1(members)
    oriented, clustered = members.euler_zyz_deg is not None, members.cluster is not None
    kind = _TYPES[1] if oriented else _TYPES[2] if clustered else _TYPES[0]
    further = [key for key in members.more_blocks.get(_KEYS, []) if key in members.more]
    points = []
    for i, xyz in enumerate(members.center_zyx_px[:, ::-1].tolist()):
        point: dict[str, Any] = {"type": kind, "location": dict(zip("xyz", xyz, strict=True))}
        point |= {_MATRIX: matrices[i].tolist()} if oriented else {}
        point |= {_INSTANCE: int(numbers[i])} if clustered else {}
        values = {key: members.more[key][i] for key in further}
        points.append(point | {key: value for key, value in values.items() if value is not None})
    return points


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Further columns that came from no portal file."""
    return common.lost_columns(particles, particles.more_blocks.get(_KEYS, []))


def recognises(path: Path) -> bool:
    """Lines of JSON that begin with a point."""
    first = head(path).lstrip().split("\n", 1)[0]
    return '"location"' in first and any(f'"{kind}"' in first for kind in _TYPES)


FORMAT = Format(
    name="portal",
    title="CryoET Data Portal points",
    suffixes=(".ndjson",),
    recognises=recognises,
    read=read,
    write=write,
    keeps=frozenset({POSE, CLUSTER, FURTHER}),
    one_tomogram=True,
    loses=loses,
)
