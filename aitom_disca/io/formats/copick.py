"""Picks of copick (JSON): a file, or a project folder with ``ExperimentRuns/RUN/Picks``.

Positions are in Angstrom, voxel ``i`` being at ``i * voxel_spacing``. The transformation takes the
object to the tomogram: its rotation is the pose, and its translation leads from the location, where
a box may have been cut, to the particle. A file holds one kind of object in one tomogram (a run);
particles of cluster 2 are written as the object ``NAME-2`` of the user aitom-disca, and read as
such again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.file_names import file_part, file_parts
from aitom_disca.io.formats import common_columns as common
from aitom_disca.io.formats.file_text import head, read_json
from aitom_disca.io.formats.format import EVERYTHING, POSTERIOR, Format, Known, need_positions
from aitom_disca.io.formats.particle_coordinates import find_places, name_of_only_tomogram
from aitom_disca.io.numbers_in_files import to_numbers, to_whole_numbers
from aitom_disca.io.pixel_sizes import to_pixel_sizes
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo

_PICKS = "ExperimentRuns/*/Picks/*.json"
OBJECT, _USER, _SESSION = "pickable_object_name", "user_id", "session_id"
_SPACING, _TRUST, _INSTANCE = "voxel_spacing", "trust_orientation", "instance_id"
_WHOLE_FILE = (OBJECT, _USER, _SESSION, _SPACING, _TRUST)
_EYE = np.eye(4).tolist()
_US = "aitom-disca"  # the user of picks with clusters, by which they are known again


def read(path: Path, known: Known) -> ParticleSet:
    """Read a file of picks, or all of a project.

    Raises
    ------
    InputError
        If there are none, they are not in Angstrom, or nothing says the voxel size.
    """
    path = Path(path)
    files = sorted(path.glob(_PICKS)) if path.is_dir() else [path]
    rows = [row for file in files for row in _rows(file, known)]
    if not rows:
        raise InputError(f"{path.name} holds no picks of copick.")
    names = [row["run"] for row in rows]
    in_angstrom = replace(known, file_pixel_angstrom=None)
    spacing = to_pixel_sizes(
        [row[_SPACING] for row in rows], path, _SPACING, may_be_missing=True, option_helps=False
    )
    places = find_places(path, names, in_angstrom, pixel_angstrom=spacing, in_pixels=False)
    infos = dict(places.tomograms)
    for name in set(places.names.tolist()) - set(infos):
        infos[name] = TomogramInfo(name, np.nan) if known.only_known else known.info(name)
    voxel = {name: info.voxel_size_angstrom for name, info in infos.items()}
    size = np.array([voxel[name] for name in places.names.tolist()])[:, None]
    box = to_numbers([row["xyz"] for row in rows], path, "a location")
    matrices = to_numbers([row["matrix"] for row in rows], path, "a transformation")
    if matrices.shape[1:] != (4, 4):
        raise InputError(f"{path.name} holds a transformation that is not 4 x 4.")
    center = ((box + matrices[:, :3, 3]) / size)[:, ::-1]
    poses = common.rotations_from_matrices(matrices[:, :3, :3], path)
    trusted = any(row[_TRUST] for row in rows)
    cluster, objects = _clusters(rows)
    more = {key: np.array([row[key] for row in rows], object) for key in (_USER, _SESSION, _TRUST)}
    more |= {OBJECT: np.array(objects, object)}
    more[_INSTANCE] = to_whole_numbers([row[_INSTANCE] for row in rows], path, _INSTANCE)
    return ParticleSet(
        places.names,
        center,
        score=to_numbers([row["score"] for row in rows], path, "a score", may_be_missing=True),
        euler_zyz_deg=common.euler_zyz_deg(poses) if trusted else None,
        cluster=cluster,
        box_center_zyx_px=common.box_centers_if_moved((box / size)[:, ::-1], center),
        tomograms=places.tomograms,
        more=more,
    )


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a file for every tomogram and object.

    ``OUT.json`` is one file, or several called ``OUT_run_object.json``; any other name is that of
    the folder of a project.

    Raises
    ------
    InputError
        If positions in voxels or a voxel size are not known.
    """
    need_positions(particles, "a file of copick picks")
    path = Path(path)
    labels = np.array([_labels(particles, known, i) for i in range(len(particles))], str)
    kinds = np.column_stack([particles.tomogram_name.astype(str), labels]).reshape(-1, 4)
    trusted = particles.more.get(_TRUST, False)
    written = []
    unique = list(dict.fromkeys(map(tuple, kinds.tolist())))
    safe = file_parts(run for run, *_ in unique)
    several = len({(run, name) for run, *_, name in unique}) < len(unique)  # users or sessions
    for run, user, session, name in unique:
        members = particles.select((kinds == (run, user, session, name)).all(axis=1))
        own = path / "ExperimentRuns" / safe[run] / "Picks" / f"{user}_{session}_{name}.json"
        if path.suffix.lower() == ".json":
            own = path
            if len(unique) > 1:
                who = f"{user}_{session}_" if several else ""
                own = path.with_name(f"{path.stem}_{safe[run]}_{who}{name}.json")
        content: dict[str, Any] = {OBJECT: name, _USER: user, _SESSION: session, "run_name": run}
        content |= _content(members, known.info(run, members).voxel_size_angstrom)
        content[_TRUST] = members.euler_zyz_deg is not None
        if np.any(trusted):  # else no pose is from the files read
            content[_TRUST] = content[_TRUST] and bool(np.all(members.more[_TRUST]))
        write_text(own, json.dumps(content, indent=4) + "\n")
        written.append(own)
    return written


def _rows(path: Path, known: Known) -> Iterator[dict[str, Any]]:
    content = read_json(path)
    if not isinstance(content, dict) or OBJECT not in content or "points" not in content:
        raise InputError(
            f"{path.name} is no file of copick picks: it needs pickable_object_name and points."
        )
    if content.get("unit", "angstrom") != "angstrom":
        raise InputError(
            f"{path.name} counts in {content['unit']}; only picks in angstrom are read."
        )
    run = content.get("run_name")
    if not run and path.parent.name == "Picks":
        run = path.parent.parent.name
    run = run or name_of_only_tomogram(path, known)
    whole = {key: content.get(key) for key in _WHOLE_FILE}
    whole |= {"run": str(run), _TRUST: content.get(_TRUST) is not False}
    for point in content["points"] or []:
        with reading(path, "points with location x, y, z"):
            xyz = [point["location"][axis] for axis in "xyz"]
            matrix = point.get("transformation_") or _EYE
            score, instance = point.get("score", 1.0), point.get(_INSTANCE, 0)
        score, instance = 1.0 if score is None else score, instance or 0
        yield whole | {"xyz": xyz, "matrix": matrix, "score": score, _INSTANCE: instance}


def _clusters(rows: list[dict[str, Any]]) -> tuple[np.ndarray | None, list[str]]:
    """Clusters of the objects ``NAME-1`` and so on, and the names of objects without them.

    Only of what this package wrote: the own name of another object may end in a number.
    """
    objects = [str(row[OBJECT]) for row in rows]
    ours = [row[_USER] == _US for row in rows]
    found = [
        re.fullmatch(r"(.+)-([1-9]\d*)", name) if own else None
        for name, own in zip(objects, ours, strict=True)
    ]
    if not any(found):
        return None, objects
    cluster = [int(m[2]) - 1 if m else UNASSIGNED for m in found]
    return np.array(cluster), [m[1] if m else n for m, n in zip(found, objects, strict=True)]


def _labels(particles: ParticleSet, known: Known, i: int) -> tuple[str, str, str]:
    """User, session and object of a particle, without what copick forbids in them."""
    otherwise = {_USER: _US, _SESSION: "0", OBJECT: known.object_name}
    found = {key: column[i] for key, column in particles.more.items() if key in otherwise}
    user, session, name = (_part(found.get(key) or value) for key, value in otherwise.items())
    if particles.cluster is not None and particles.cluster[i] >= 0:
        user, name = _US, f"{name}-{particles.cluster[i] + 1}"
    return user, session, name


def _part(name: Any) -> str:
    return file_part(str(name)).replace("_", "-").strip("-") or "0"


def _content(members: ParticleSet, voxel: float) -> dict[str, Any]:
    box = common.box_centers(members)
    matrices = np.tile(np.eye(4), (len(members), 1, 1))
    matrices[:, :3, :3] = common.rotations(members).as_matrix()
    matrices[:, :3, 3] = (members.center_zyx_px - box)[:, ::-1] * voxel
    xyz = box[:, ::-1] * voxel
    scores = np.ones(len(members)) if members.score is None else np.nan_to_num(members.score)
    instances = members.more.get(_INSTANCE, np.zeros(len(members), int))
    points = [
        {
            "location": dict(zip("xyz", map(float, xyz[i]), strict=True)),
            "transformation_": matrices[i].tolist(),
            _INSTANCE: int(instances[i]),
            "score": float(scores[i]),
        }
        for i in range(len(members))
    ]
    return {_SPACING: voxel, "unit": "angstrom", "points": points}


def numbered_objects(particles: ParticleSet) -> tuple[ParticleSet, dict[int, str]]:
    """Make objects of several names, as files of copick bring them, into clusters.

    Returns
    -------
    ParticleSet
        With a cluster for every name; of an object that had clusters, for each of them. Unchanged
        where there is one name, or none.
    dict of int to str
        The legend: what each cluster is, counted from 1; empty where nothing changed.
    """
    names = particles.more.get(OBJECT)
    if names is None or len(set(names.tolist())) < 2:
        return particles, {}
    labels = names.astype(str).astype(object)
    if particles.cluster is not None:
        own = particles.cluster >= 0
        labels[own] = [
            f"{name}-{k + 1}" for name, k in zip(labels[own], particles.cluster[own], strict=True)
        ]
    found, cluster = np.unique(labels.astype(str), return_inverse=True)
    more = {name: column for name, column in particles.more.items() if name != OBJECT}
    numbered = replace(particles, cluster=cluster, posterior=None, more=more)
    return numbered, {k: str(name) for k, name in enumerate(found, 1)}


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Further columns that are none of picks, and users of picks with clusters."""
    lost = common.lost_columns(particles, (OBJECT, _USER, _SESSION, _TRUST, _INSTANCE))
    if particles.cluster is not None and _USER in particles.more:
        users = set(particles.more[_USER][particles.cluster >= 0].tolist()) - {_US, None}
        lost += [f"the {_USER} {', '.join(sorted(map(str, users)))}"] if users else []
    return lost


def recognises(path: Path) -> bool:
    """A folder with picks, or JSON with the name of a pickable object."""
    if path.is_dir():
        return next(path.glob(_PICKS), None) is not None
    return path.suffix.lower() == ".json" and f'"{OBJECT}"' in head(path)


FORMAT = Format(
    name="copick",
    title="copick picks",
    suffixes=(".json",),
    recognises=recognises,
    read=read,
    write=write,
    keeps=EVERYTHING - {POSTERIOR},
    loses=loses,
)
