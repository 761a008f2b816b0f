"""PyTom's particle lists (XML).

The angles Z1, X, Z2 turn the reference about the fixed axes z, x, z, in that order:
``A = Rz(Z2) Rx(X) Rz(Z1)``. Voxels are counted from 0. PickPosition is where the box was cut;
Shift leads from there to the particle, as in PyTom's own averaging. (PyTom's converter to RELION
writes it as an origin of the same sign, which points the other way.) Angle1 and Angle2 are the
angles from the beam that no tilt covered: 90 degrees plus the smallest and minus the largest tilt.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats import common_columns as common
from aitom_disca.io.formats.file_text import head, parse_xml
from aitom_disca.io.formats.format import EVERYTHING, POSTERIOR, Format, Known, need_positions
from aitom_disca.io.formats.particle_coordinates import (
    find_places,
    name_of_only_tomogram,
    voxel_size_or_none,
)
from aitom_disca.io.numbers_in_files import check_angles, is_missing, to_numbers
from aitom_disca.io.tomogram_names import is_called
from aitom_disca.particles import ParticleSet

logger = logging.getLogger(__name__)

_DEEPEST = 20  # of elements in a particle; PyTom nests two
_COLUMNS = "pytom:columns"  # of a list read: paths of its attributes, in order
_ROTATION = ("Rotation@Z1", "Rotation@X", "Rotation@Z2")
_PICK = ("PickPosition@X", "PickPosition@Y", "PickPosition@Z")
_SHIFT = ("Shift@X", "Shift@Y", "Shift@Z")
_ORIGIN, _CLASS, _SCORE = "PickPosition@Origin", "Class@Name", "Score@Value"
_OWN = (*_ROTATION, *_PICK, *_SHIFT, _CLASS, _SCORE)
_TAGS = ("", "Rotation", "Shift", "PickPosition", "Wedge", "InfoGUI", "Score", "Class")
_WEDGE = ("Wedge/SingleTiltWedge@Angle1", "Wedge/SingleTiltWedge@Angle2")


def read(path: Path, known: Known) -> ParticleSet:
    """Read a particle list.

    What else its particles hold is kept as columns of text, called by the elements and the
    attribute, such as ``Wedge/SingleTiltWedge@Angle1``. Wedges go to the tomograms as tilt ranges.

    Raises
    ------
    InputError
        If it is not such a list, a number is missing, or no tomogram is named.
    """
    path = Path(path)
    rows = [_attributes(element) for element in _particles(path)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    names = [row.get(_ORIGIN, "") for row in rows]
    if not any(names):
        names = [name_of_only_tomogram(path, known)] * len(rows)
    places = find_places(path, names, known, tilt_range_deg=_tilts(path, rows, names))
    pick = _numbers(path, rows, _PICK)
    center = pick + _numbers(path, rows, _SHIFT, missing="0")
    pick, center = (pick * places.scale)[:, ::-1], (center * places.scale)[:, ::-1]
    angles = _numbers(path, rows, _ROTATION, missing="0")
    check_angles(path, angles)
    score = common.scores_or_none([row.get(_SCORE) for row in rows], path)
    cluster, named = _clusters(path, rows)
    more = {name: np.array([row.get(name) for row in rows], object)
            for name in columns if name not in _OWN or name in named}  # fmt: skip
    return ParticleSet(
        places.names,
        center,
        score=score,
        euler_zyz_deg=common.euler_zyz_deg(Rotation.from_euler("zxz", angles, degrees=True)),
        cluster=cluster,
        box_center_zyx_px=common.box_centers_if_moved(pick, center),
        tomograms=places.tomograms,
        more=more,
        more_blocks={_COLUMNS: columns},
    )


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a particle list.

    Raises
    ------
    InputError
        If positions in voxels are not known.
    """
    need_positions(particles, "a PyTom particle list")
    columns = _filled(particles, known)
    root = ET.Element("ParticleList")
    for i in range(len(particles)):
        _add_particle(root, {name: column[i] for name, column in columns.items()})
    ET.indent(root)
    write_text(path, ET.tostring(root, encoding="unicode") + "\n")
    return [Path(path)]


def _particles(path: Path) -> list[ET.Element]:
    with reading(path, "a text file of XML"):
        root = parse_xml(path.read_bytes(), path.name)  # which may say its encoding
    found = root.findall("Particle") if root.tag == "ParticleList" else []
    if not found:
        raise InputError(
            f"{path.name} is no PyTom particle list with particles: its outermost element is "
            f"{root.tag}, and {len(found)} elements Particle are in it."
        )
    return found


def _attributes(element: ET.Element, before: str = "") -> dict[str, str]:
    """All attributes of an element and those in it, by their paths."""
    found = {f"{before}@{name}".lstrip("/"): value for name, value in element.attrib.items()}
    tags = [child.tag for child in element]
    twice = next((tag for tag, n in Counter(tags).items() if n > 1), None)
    if twice is not None:
        raise InputError(
            f"a particle of the list holds the element {twice} twice; which of them counts nobody "
            "can know: remove one."
        )
    if before.count("/") > _DEEPEST:
        raise InputError("a particle of the list is nested without end; check which file this is.")
    for child in element:
        found |= _attributes(child, f"{before}/{child.tag}".lstrip("/"))
    return found


def _add_particle(root: ET.Element, values: Mapping[str, object]) -> None:
    """An element with what `_attributes` takes out of it."""
    particle = ET.SubElement(root, "Particle")
    for name, value in values.items():
        if value is None:
            continue
        tags, _, attribute = name.partition("@")
        element = particle
        for tag in filter(None, tags.split("/")):
            inner = element.find(tag)
            element = ET.SubElement(element, tag) if inner is None else inner
        element.set(attribute, str(value))


def _numbers(
    path: Path,
    rows: list[dict[str, str]],
    names: tuple[str, ...],
    missing: str | None = None,
) -> np.ndarray:
    absent = [name for name in names for row in rows if row.get(name, missing) is None]
    if absent:
        raise InputError(
            f"{path.name} holds a particle without the attribute {absent[0].replace('@', ' ')}."
        )
    values = [[row.get(name, missing) for name in names] for row in rows]
    return to_numbers(values, path, names[0].partition("@")[0])


def _clusters(path: Path, rows: list[dict[str, str]]) -> tuple[np.ndarray | None, list[str]]:
    """Clusters of class numbers; else None, and the column of names to be kept."""
    names = [row.get(_CLASS, "0") for row in rows]
    if all(is_missing(name) or name.lstrip("-").isdigit() for name in names):
        return common.clusters_from_1(names, path, _CLASS), []
    logger.warning("%s names its classes with words; they are not taken as clusters.", path.name)
    return None, [_CLASS]


def _tilts(
    path: Path, rows: list[dict[str, str]], names: list[str]
) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name, row in zip(names, rows, strict=True):
        if all(column in row for column in _WEDGE) and name not in ranges:
            first, second = to_numbers([row[column] for column in _WEDGE], path, "a wedge angle")
            if first + second > 0:
                ranges[name] = (float(first) - 90.0, 90.0 - float(second))
    return ranges


def _filled(particles: ParticleSet, known: Known) -> dict[str, list[Any]]:
    """Columns by the paths of attributes, in PyTom's order."""
    n = len(particles)
    old = {name: list(column) for name, column in particles.more.items()}
    old = {name: old[name] for name in particles.more_blocks.get(_COLUMNS, ()) if name in old}
    pick = common.box_centers(particles)
    columns: dict[str, list[Any]] = {"@Filename": [f"particle_{i}.mrc" for i in range(n)]}
    columns |= zip(_ROTATION, _text(common.zxz_deg(common.rotations(particles))), strict=True)
    columns["Rotation@Paradigm"] = ["ZXZ"] * n
    columns |= zip(_SHIFT, _text((particles.center_zyx_px - pick)[:, ::-1]), strict=True)
    columns |= zip(_PICK, _text(pick[:, ::-1]), strict=True)
    columns[_ORIGIN] = _origins(particles, known, old.pop(_ORIGIN, None))
    columns |= {"PickPosition@Binning": ["1"] * n} | _wedges(particles, known)
    columns |= {"Score@Type": ["FLCFScore"] * n, _SCORE: ["0.0"] * n} | old
    if particles.score is not None:
        columns |= zip([_SCORE], _text(np.nan_to_num(particles.score)[:, None]), strict=True)
    if particles.cluster is not None or _CLASS not in old:
        columns[_CLASS] = [str(number) for number in common.numbers_from_1(particles)]
    if known.tilt_range_deg is not None:
        columns |= _wedges(particles, known)
    return {name: columns[name] for name in sorted(columns, key=_rank)}


def _rank(column: str) -> int:
    """Place of an attribute's element in PyTom's own order."""
    tag = column.partition("@")[0].partition("/")[0]
    return _TAGS.index(tag) if tag in _TAGS else len(_TAGS)


def _text(numbers: np.ndarray) -> list[list[str]]:
    """Columns of numbers as text, 12 digits."""
    return [[f"{float(value):.12g}" for value in column] for column in np.asarray(numbers).T]


def _origins(particles: ParticleSet, known: Known, before: list[Any] | None) -> list[str]:
    """What the tomograms are called: as in the file read, else their files, else their names."""
    found = []
    for i, name in enumerate(particles.tomogram_name.tolist()):
        info = known.tomograms.get(name) or particles.tomograms.get(name)
        choices = [before[i] if before else None, info.path if info else None]
        fitting = [str(c) for c in choices if c and is_called(str(c), name)]
        found.append(fitting[0] if fitting else name)
    return found


def _wedges(particles: ParticleSet, known: Known) -> dict[str, list[str]]:
    names = particles.tomogram_name.tolist()
    if not all(voxel_size_or_none(name, particles, known) for name in set(names)):
        return {}
    tilts = {name: known.info(name, particles).tilt_range_deg for name in set(names)}
    angles = np.array([(90 + tilts[name][0], 90 - tilts[name][1]) for name in names])
    first, second = _text(angles.reshape(-1, 2))
    wedge = {"Wedge@Type": ["SingleTiltWedge"] * len(names)}
    return wedge | {_WEDGE[0]: first, _WEDGE[1]: second}


def loses(particles: ParticleSet, known: Known) -> list[str]:
    """Further columns that are none of a particle list."""
    return common.lost_columns(particles, particles.more_blocks.get(_COLUMNS, []))


def recognises(path: Path) -> bool:
    """XML of a particle list."""
    return "<ParticleList" in head(path)


FORMAT = Format(
    name="pytom",
    title="PyTom particle list",
    suffixes=(".xml",),
    recognises=recognises,
    read=read,
    write=write,
    keeps=EVERYTHING - {POSTERIOR},
    loses=loses,
)
