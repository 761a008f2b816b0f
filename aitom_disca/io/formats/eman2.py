"""EMAN2's boxes in a tomogram's info file (info/NAME_info.json).

A box is x, y, z, how it was picked, a score and a class, counted from 0. Where the file holds
apix_unbin, x, y, z are unbinned pixels from the middle voxel ``n // 2`` of the volume, so that they
hold at any binning; else they are voxels of the volume at hand, from 0. Poses are not in this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.file_names import file_parts, name_in
from aitom_disca.io.formats.common_columns import lost_columns
from aitom_disca.io.formats.file_text import head, one_file_per_tomogram, read_json
from aitom_disca.io.formats.format import (
    CLUSTER,
    FURTHER,
    SCORE,
    Format,
    Known,
    need_positions,
)
from aitom_disca.io.formats.particle_coordinates import (
    find_places,
    name_of_only_tomogram,
    voxel_size_or_none,
)
from aitom_disca.io.numbers_in_files import to_numbers, to_whole_numbers
from aitom_disca.io.pixel_sizes import to_pixel_sizes
from aitom_disca.particles import UNASSIGNED, ParticleSet

_TITLE = "an EMAN2 info file"
_INFO, _CLASSES = "eman2:info", "eman2:class_list"
_SUFFIX = "_info.json"
_UNBINNED = "apix_unbin"
_MISSING = [0.0, 0.0, 0.0, "manual", 0.0, 0]  # what EMAN2 takes for a value that is not there
_NONE, _CLUSTER = "no_cluster", "cluster_"


def read(path: Path, known: Known) -> ParticleSet:
    """Read the boxes of a tomogram, which is called as the file without ``_info.json``.

    Classes become clusters where there are several; the one called "no_cluster" is none.

    Raises
    ------
    InputError
        If it holds no boxes, or boxes are counted from the middle of a volume of unknown size.
    """
    path = Path(path)
    content = read_json(path)
    boxes = content.get("boxes_3d") if isinstance(content, dict) else None
    if not isinstance(boxes, list) or not boxes or not all(isinstance(b, list) for b in boxes):
        raise InputError(f"{path.name} holds no boxes: it needs a list of them as boxes_3d.")
    if any(len(box) < 3 for box in boxes):
        raise InputError(f"{path.name} holds a box without three coordinates.")
    longest = max(map(len, boxes))
    for number, box in enumerate(boxes, 1):  # places alone, or all that others have
        if len(box) not in (3, longest) or not isinstance((box + _MISSING[len(box) :])[3], str):
            raise InputError(
                f"{path.name} holds a box (number {number}) of {len(box)} values, others have "
                f"{longest}, and a text behind its place; a value may be missing."
            )
    rows = [box[: len(_MISSING)] + _MISSING[len(box) :] for box in boxes]
    xyz = to_numbers([row[:3] for row in rows], path, "a coordinate")
    name = path.name.removesuffix(_SUFFIX)
    if known.one_of_several:  # cut when it is known what the others are called
        name = str(path.with_name(name))
    if not path.name.endswith(_SUFFIX) or known.tomogram_name or name_in(path, known.tomograms):
        name = name_of_only_tomogram(path, known)
    score = to_numbers([row[4] for row in rows], path, "a score")
    classes = to_whole_numbers([row[5] for row in rows], path, "a class")
    unbinned = content.get(_UNBINNED)
    places = find_places(path, [name] * len(rows), known, in_pixels=unbinned is None)
    if unbinned is None:
        xyz = xyz * places.scale
    elif known.only_known and places.names[0] not in known.tomograms:
        xyz = np.full_like(xyz, np.nan)
    else:
        pixel = known.file_pixel_angstrom or _pixel(unbinned, path)
        middle = _Middle.of(places.names[0], known, pixel)
        xyz = middle.to_voxels(xyz)
    class_list = content.get("class_list", {})
    rest = {key: value for key, value in content.items() if key not in ("boxes_3d", "class_list")}
    return ParticleSet(
        places.names,
        xyz[:, ::-1],
        score=score if score.any() else None,
        cluster=_clusters(classes, _names(class_list)),
        tomograms=places.tomograms,
        more={"method": np.array([row[3] for row in rows], object), "class": classes},
        more_blocks={_INFO: rest, _CLASSES: class_list},
    )


def _pixel(unbinned: Any, path: Path) -> float:
    return float(to_pixel_sizes([unbinned], path, _UNBINNED)[0])


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write an info file for every tomogram; of several tomograms as ``NAME_info.json``.

    Coordinates are counted from the middle where the unbinned pixel and the size of the tomogram
    are known, else from 0. Boxes have the edge of ``known.box_px``, else the one that they had.

    Raises
    ------
    InputError
        If positions in voxels are not known.
    """
    need_positions(particles, _TITLE)
    parts = one_file_per_tomogram(path, particles)
    safe = file_parts(name for _, name, _ in parts)
    written = []
    for own, name, members in parts:
        own = own if len(parts) == 1 else own.with_name(f"{safe[name]}{_SUFFIX}")
        middle = _middle_to_write(name, members, known)
        content = dict(members.more_blocks.get(_INFO, {}))
        content.pop(_UNBINNED, None)
        xyz = members.center_zyx_px[:, ::-1]
        if middle is not None:
            xyz = middle.to_unbinned(xyz)
            content[_UNBINNED] = middle.unbinned_angstrom
        classes, class_list = _classes(members, known.box_px, middle)
        content["boxes_3d"] = _rows(members, xyz, classes)
        content["class_list"] = class_list
        write_text(own, json.dumps(content, indent=1) + "\n")
        written.append(own)
    return written


@dataclass(frozen=True)
class _Middle:
    """From where, and in which pixels, EMAN2 counts."""

    xyz_px: np.ndarray
    voxel_angstrom: float
    unbinned_angstrom: float

    @classmethod
    def of(
        cls, name: str, known: Known, unbinned: float, particles: ParticleSet | None = None
    ) -> _Middle:
        info = known.info(name, particles)
        if info.shape_zyx is None:
            raise InputError(
                f"EMAN2 counts from the middle of tomogram {name}, whose size is unknown; give it "
                "with --size-zyx, or the tomogram with --tomogram."
            )
        middle = np.array(info.shape_zyx[::-1]) // 2
        return cls(middle, info.voxel_size_angstrom, unbinned)

    def to_voxels(self, xyz: np.ndarray) -> np.ndarray:
        return xyz * self.unbinned_angstrom / self.voxel_angstrom + self.xyz_px

    def to_unbinned(self, xyz: np.ndarray) -> np.ndarray:
        return (xyz - self.xyz_px) * self.voxel_angstrom / self.unbinned_angstrom


def _middle_to_write(name: str, members: ParticleSet, known: Known) -> _Middle | None:
    before = members.more_blocks.get(_INFO, {}).get(_UNBINNED)
    if before is not None:
        return _Middle.of(name, known, float(before), members)
    if voxel_size_or_none(name, members, known) is None:
        return None
    info = known.info(name, members)
    if info.tilt_series_pixel_size_angstrom is None or info.shape_zyx is None:
        return None
    return _Middle.of(name, known, info.tilt_series_pixel_size_angstrom, members)


def _names(class_list: Any) -> dict[int, str]:
    """Names of classes; older files hold them without a box size."""
    found = {}
    for key, value in class_list.items() if isinstance(class_list, dict) else ():
        if str(key).lstrip("-").isdigit():
            found[int(key)] = str(value.get("name", "") if isinstance(value, dict) else value)
    return found


def _clusters(classes: np.ndarray, names: Mapping[int, str]) -> np.ndarray | None:
    own = [name for name in names.values() if name.startswith(_CLUSTER) or name == _NONE]
    if len(np.unique(classes)) == 1 and not own:
        return None
    none = [number for number, name in names.items() if name == _NONE]
    return np.where(np.isin(classes, none), UNASSIGNED, classes)


def _classes(
    members: ParticleSet, box_px: int | None, middle: _Middle | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Class of every box, and the list of classes: those read, where clusters are as they were."""
    classes = np.asarray(members.more.get("class", np.zeros(len(members))), int)
    class_list = members.more_blocks.get(_CLASSES, {})
    if members.cluster is not None:
        before = _clusters(classes, _names(class_list))
        if before is None or not np.array_equal(members.cluster, before):
            classes, class_list = _from_clusters(members.cluster)
    if not class_list:
        class_list = {str(c): f"particles_{c:02d}" for c in np.unique(classes).tolist()}
    if box_px is None:
        return classes, dict(class_list)
    scale = middle.voxel_angstrom / middle.unbinned_angstrom if middle is not None else 1.0
    size = round(box_px * scale)
    named = _names(class_list).items()
    return classes, {str(c): {"name": title, "boxsize": size} for c, title in named}


def _from_clusters(cluster: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Clusters as classes, and particles in none as one more."""
    none = int(cluster.max(initial=-1)) + 1
    classes = np.where(cluster < 0, none, cluster)
    titles = {c: f"{_CLUSTER}{c + 1:02d}" for c in np.unique(cluster[cluster >= 0]).tolist()}
    if (cluster < 0).any():
        titles[none] = _NONE
    return classes, {str(c): title for c, title in titles.items()}


def _rows(members: ParticleSet, xyz: np.ndarray, classes: np.ndarray) -> list[list[Any]]:
    methods = members.more.get("method", np.full(len(members), "aitom_disca", object))
    scores = np.zeros(len(members)) if members.score is None else np.nan_to_num(members.score)
    return [
        [*map(float, point), str(method), float(score), int(number)]
        for point, method, score, number in zip(xyz, methods, scores, classes, strict=True)
    ]


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Further columns that are none of boxes."""
    return lost_columns(particles, ("method", "class"))


def recognises(path: Path) -> bool:
    """An info file by its name, or JSON with boxes."""
    return path.suffix.lower() == ".json" and (
        path.name.endswith(_SUFFIX) or '"boxes_3d"' in head(path)
    )


FORMAT = Format(
    name="eman2",
    title="EMAN2 info file",
    suffixes=(_SUFFIX, ".json"),
    recognises=recognises,
    read=read,
    write=write,
    keeps=frozenset({SCORE, CLUSTER, FURTHER}),
    one_tomogram=True,
    loses=loses,
)
