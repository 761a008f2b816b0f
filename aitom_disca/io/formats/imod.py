"""IMOD's models (.mod): the points of one tomogram, an object for every cluster.

A model is laid over the volume with x and y from 0 at the corner of the first voxel, but z from
-0.5 (IMOD's binary file specification, Model Coordinate Conventions): voxel ``i`` is at
``i + 0.5`` in x and y, and at ``i`` in z. Three flags of its header say how it is meant: with bit
16 y and z are exchanged, with bit 17 the model was turned by 90 degrees about x, and with bit 14
the MINX chunk holds in otrans where the whole volume begins, so that the coordinates are those of
the whole volume again; without it otrans is not set, and coordinates are those of the image as it
is.

Models hold no poses and no scores, and numbers of single precision. Points come back object by
object.
"""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.file_text import library, one_file_per_tomogram
from aitom_disca.io.formats.format import CLUSTER, Format, Known, need_positions
from aitom_disca.io.formats.particle_coordinates import (
    find_places,
    name_of_only_tomogram,
    voxel_size_or_none,
)
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.pixel_sizes import differs, to_pixel_sizes
from aitom_disca.particles import UNASSIGNED, ParticleSet

logger = logging.getLogger(__name__)

_TITLE = "an IMOD model"
_BEGIN = b"IMODV1.2"
_CENTRE_XYZ = np.array([0.5, 0.5, 0.0])  # of the first voxel
_NONE, _CLUSTER = "no cluster", "cluster "
# Powers of 10 of a metre, but for the Angstrom.
_ANGSTROM_PER_UNIT = {1: 1e10, -2: 1e8, -3: 1e7, -6: 1e4, -9: 10.0, -10: 1.0, -12: 0.01}
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
    points = to_numbers(_of_whole_volume(points, model), path, "a coordinate")
    name = name_of_only_tomogram(path, known)
    pixel = None if known.file_pixel_angstrom else _pixels(path, model, len(points))
    places = find_places(path, [name] * len(points), known, pixel_angstrom=pixel)
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


_BROKEN = "breaks off or is damaged; save it again"


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
    with reading(path, "an IMOD model", f"it {_BROKEN}"):
        model = parsers.parse_model(_Whole(path.read_bytes()))
    if len(model.objects) != model.header.objsize or any(
        len(one.contours) != one.header.contsize for one in model.objects
    ):  # chunks that nobody knows are passed over, also where they are damaged ones
        raise InputError(
            f"{path.name} is an IMOD model that breaks off or is damaged; save it again."
        )
    return model


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
    points = np.concatenate([points for _, _, points in rows])
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


def _of_whole_volume(points: np.ndarray, model: Any) -> np.ndarray:
    """Points (x, y, z) in pixels of the volume as it is stored, where the flags say another."""
    flags = model.header.flags
    x, y, z = points.astype(float).T
    if flags.model_last_viewed_onYZ_flipped_or_rotated:
        y, z = z, y
    elif flags.model_rotx:
        y, z = model.header.zmax - 1.0 - z, y
    points = np.stack([x, y, z], axis=1)
    scale = _image_scale(model)
    if scale is None or not flags.otrans_has_image_origin_values:
        return points
    return points + np.subtract(model.minx.otrans, model.minx.ctrans) / scale


def _image_scale(model: Any) -> np.ndarray | None:
    """Pixel edges (x, y, z) of the image that a model was drawn on, as MINX holds them."""
    if model.minx is None:
        return None
    scale = np.array(model.minx.cscale, float)
    return scale if np.isfinite(scale).all() and (scale > 0).all() else None


def _pixels(path: Path, model: Any, n: int) -> np.ndarray:
    """Pixel size (n,) that coordinates count in: the image's, or else the model's own.

    A model's own pixel size is what somebody once set; coordinates count in pixels of the image.
    """
    unit = _ANGSTROM_PER_UNIT.get(model.header.units)
    own = model.header.pixelsize * unit if unit and model.header.pixelsize > 0 else np.nan
    scale = _image_scale(model)
    if scale is None or (scale == 1).all():  # what an image that does not know it says
        return to_pixel_sizes(np.full(n, own), path, "of the model", may_be_missing=True)
    if differs(scale.min(), scale.max()):
        raise InputError(
            f"{path.name} was drawn on an image with pixels of different edges (x, y, z: "
            f"{', '.join(f'{edge:.4g}' for edge in scale)} Angstrom); say which pixel it counts in "
            "with --file-pixel-angstrom."
        )
    pixel = float(f"{scale[0]:.6g}")  # single precision
    if np.isfinite(own) and differs(own, pixel):
        logger.warning(
            "%s says two pixel sizes: its image has %.5g Angstrom, the model itself %.5g; the "
            "first is taken (--file-pixel-angstrom if that is wrong).",
            path.name,
            pixel,
            own,
        )
    return to_pixel_sizes(np.full(n, pixel), path, "of the image")


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
    from aitom_disca.colours import cluster_colour

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
