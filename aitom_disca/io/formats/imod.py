"""IMOD's models (.mod): the points of one tomogram, an object for every cluster.

A model is laid over the volume with x and y from 0 at the corner of the first voxel, but z from
-0.5 (IMOD's binary file specification, Model Coordinate Conventions): voxel ``i`` is at
``i + 0.5`` in x and y, and at ``i`` in z. Where a model tells how its volume was placed (MINX), the
coordinates are those of the whole volume again when that is taken back.

Models hold no poses and no scores, and numbers of single precision. Points come back object by
object.
"""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.atomic import replacing
from aitom_disca.io.formats.columns import to_numbers
from aitom_disca.io.formats.files import library, one_file_per_tomogram
from aitom_disca.io.formats.format import CLUSTER, Format, Known, need_positions
from aitom_disca.io.formats.places import find_places, name_of_only_tomogram, voxel_size_or_none
from aitom_disca.particles import UNASSIGNED, ParticleSet

_TITLE = "an IMOD model"
_BEGIN = b"IMODV1.2"
_CENTRE_XYZ = np.array([0.5, 0.5, 0.0])  # of the first voxel
_NONE, _CLUSTER = "no cluster", "cluster "
_ANGSTROM_PER_UNIT = {-9: 10.0, -10: 1.0, -6: 1e4}  # nm, Angstrom, micrometre
_NM = -9


def read(path: Path, known: Known) -> ParticleSet:
    """Read the points of a model.

    Objects called "cluster 1" and so on, or else several objects, become clusters.

    Raises
    ------
    InputError
        If it is not a model, holds no points, or nothing says its tomogram's name.
    """
    path = Path(path)
    model = _read_model(path)
    if path.read_bytes().count(_BEGIN) > 1:
        raise InputError(f"{path.name} is several IMOD models in one; give them one by one.")
    points, objects, contours = _points(path, model)
    if model.minx is not None and np.all(model.minx.cscale):
        moved = np.subtract(model.minx.otrans, model.minx.ctrans) / np.array(model.minx.cscale)
        points = points + moved
    name = name_of_only_tomogram(path, known)
    names = [name] * len(points)
    places = find_places(path, names, known, pixel_angstrom=_pixel(name, model))
    return ParticleSet(
        places.names,
        ((points - _CENTRE_XYZ) * places.scale)[:, ::-1],
        cluster=_clusters(model, objects),
        tomograms=places.tomograms,
        more={"object_id": objects, "contour_id": contours},
    )


def write(path: Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write a model for every tomogram, its objects in the colours of the report.

    Raises
    ------
    InputError
        If positions in voxels are not known.
    """
    need_positions(particles, _TITLE)
    models = library("imodmodel.models", _TITLE)
    written = []
    for own, name, members in one_file_per_tomogram(path, particles):
        model = models.ImodModel(header=_header(models, name, members, known))
        for cluster, title in _objects(members):
            rows = members.cluster == cluster if title else np.full(len(members), True)
            points = members.center_zyx_px[rows][:, ::-1] + _CENTRE_XYZ
            model.objects.append(_object(models, title, points, cluster))
        with replacing(own) as temporary:
            model.to_file(temporary)
        written.append(own)
    return written


class _Whole(io.BytesIO):
    """Bytes that may not end early: imodmodel would read on for ever."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if size is not None and len(data) < size:
            raise EOFError
        return data


def _read_model(path: Path) -> Any:
    parsers = library("imodmodel.parsers", _TITLE)
    if not recognises(path):
        raise InputError(f"{path.name} is not an IMOD model: it does not begin with IMODV1.2.")
    try:
        return parsers.parse_model(_Whole(path.read_bytes()))
    except (ValueError, LookupError, EOFError, struct.error, MemoryError, OverflowError) as error:
        raise InputError(f"{path.name} is an IMOD model that breaks off or is damaged.") from error


def _points(path: Path, model: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3) in x, y, z, and the numbers of their objects and contours from 0."""
    rows = [
        (i, j, contour.points)
        for i, obj in enumerate(model.objects)
        for j, contour in enumerate(obj.contours)
        if len(contour.points)
    ]
    if not rows:
        raise InputError(f"{path.name} holds no points.")
    counts = [len(points) for _, _, points in rows]
    points = to_numbers(np.concatenate([points for _, _, points in rows]), path, "a coordinate")
    objects, contours = (np.repeat([row[k] for row in rows], counts) for k in (0, 1))
    return points, objects, contours


def _clusters(model: Any, objects: np.ndarray) -> np.ndarray | None:
    titles = [str(obj.header.name).strip("\x00 ") for obj in model.objects]
    own = [re.fullmatch(_CLUSTER + r"(\d+)", title) for title in titles]
    used = np.unique(objects)
    if all(own[i] or titles[i] == _NONE for i in used):
        numbers = [int(m[1]) - 1 if m else UNASSIGNED for m in own]
        return np.array(numbers)[objects]
    return objects if len(used) > 1 else None


def _pixel(name: str, model: Any) -> dict[str, float]:
    unit = _ANGSTROM_PER_UNIT.get(model.header.units)
    size = model.header.pixelsize
    return {name: size * unit} if unit and size > 0 else {}


def _header(models: Any, name: str, members: ParticleSet, known: Known) -> Any:
    header = models.ModelHeader(name=name[:127])
    header.flags.z_coordinates_start_from_negative_half = True
    size = np.ceil(members.center_zyx_px.max(axis=0)) + 1
    voxel = voxel_size_or_none(name, members, known)
    if voxel is not None:
        header.pixelsize, header.units = voxel / _ANGSTROM_PER_UNIT[_NM], _NM
        shape = known.info(name, members).shape_zyx
        size = np.array(shape if shape is not None else size)
    header.zmax, header.ymax, header.xmax = (int(n) for n in np.maximum(size, 1))
    return header


def _objects(members: ParticleSet) -> list[tuple[int, str]]:
    """Clusters and what their objects are called; one without a name where there are none."""
    if members.cluster is None:
        return [(0, "")]
    found = np.unique(members.cluster).tolist()
    return [(c, f"{_CLUSTER}{c + 1}" if c >= 0 else _NONE) for c in sorted(found, key=_last)]


def _last(cluster: int) -> tuple[bool, int]:
    return cluster < 0, cluster


def _object(models: Any, title: str, points: np.ndarray, cluster: int) -> Any:
    from aitom_disca.report.figures import cluster_colour

    colour = cluster_colour(cluster).lstrip("#")
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4))
    header = models.ObjectHeader(name=title, red=red, green=green, blue=blue)
    header.flags.scattered = True
    contour = models.Contour(points=points.astype(np.float32))
    return models.Object(header=header, contours=[contour])


def recognises(path: Path) -> bool:
    """A binary model by its first bytes."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_BEGIN)) == _BEGIN
    except OSError:
        return False


FORMAT = Format(
    name="imod",
    title="IMOD model",
    suffixes=(".mod",),
    recognises=recognises,
    read=read,
    write=write,
    keeps=frozenset({CLUSTER}),
    library="imodmodel",
    one_tomogram=True,
)
