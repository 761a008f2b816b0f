"""Where particles of a star file lie: pixel sizes, origins, the centre of the tomogram."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.relion.star_blocks import (
    CENTERED_COLUMNS,
    IMAGE_PIXEL_COLUMN,
    ORIGIN_ANGST_COLUMNS,
    ORIGIN_PX_COLUMNS,
    PLAIN_COLUMNS,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
)
from aitom_disca.io.formats.relion.star_pixels import (
    LABELS,
    MAGNIFICATION,
    MICROGRAPH,
    MICROGRAPH_ORIGINAL,
    coordinate_pixel_angstrom,
    image_pixel_angstrom,
)
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.pixel_sizes import UnknownPixelSize, differs, pixels_in_voxels, to_pixel_sizes
from aitom_disca.particles import TomogramInfo

logger = logging.getLogger(__name__)

PIXEL_KEY = "relion:pixel size given"  # in more_blocks: overrules what the columns say


@dataclass(frozen=True)
class Places:
    """Positions of particles, their boxes, and what is known of their tomograms."""

    center_zyx_px: np.ndarray
    box_center_zyx_px: np.ndarray | None
    tomograms: dict[str, TomogramInfo]
    centered_xyz_angstrom: np.ndarray | None = None
    more_blocks: Mapping[str, Any] = field(default_factory=dict)


def has_any(table: pd.DataFrame, columns: list[str]) -> bool:
    """Whether a table has one of these columns, and so has to have all."""
    return any(column in table for column in columns)


def need_columns(path: Path, table: pd.DataFrame, columns: list[str]) -> None:
    """Refuse a table without these columns.

    Raises
    ------
    InputError
    """
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"{path.name} needs the columns {', '.join(columns)}; missing: {', '.join(missing)}; "
            f"found: {', '.join(table.columns)}."
        )


def numbers(path: Path, table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Finite numbers (N, columns).

    Raises
    ------
    InputError
        If a column is missing or a value is no number.
    """
    need_columns(path, table, columns)
    return np.stack([to_numbers(table[column], path, column) for column in columns], axis=1)


def _coordinate_pixel(path: Path, table: pd.DataFrame) -> tuple[np.ndarray | None, bool]:
    """Pixel size (N,) in which plain coordinates are counted; whether that is the unbinned one."""
    by_images = counts_in_particle_pixels(path, table)
    pixel, is_unbinned = coordinate_pixel_angstrom(path, table, by_images=by_images)
    hint = _pixel_size_in_names(table)
    said_once = len([label for label in LABELS if label in table and label != MAGNIFICATION]) == 1
    if hint is not None and said_once and pixel is not None and differs(hint, pixel).any():
        logger.warning(
            "%s says a pixel size of %.5g Angstrom, the names of its images %.5g; the first is "
            "taken (--file-pixel-angstrom if that is wrong).",
            path.name,
            pixel[0],
            hint,
        )
    return pixel, is_unbinned


def counts_in_particle_pixels(path: Path, table: pd.DataFrame) -> bool:
    """Whether plain coordinates count in pixels of the images, as in particle series of Warp.

    Raises
    ------
    InputError
        If some tomograms are called as Warp does, and others are not.
    """
    if not {"rlnTomoName", "rlnTomoVisibleFrames", IMAGE_PIXEL_COLUMN} <= set(table.columns):
        return False
    by_warp = [str(name).endswith(".tomostar") for name in table["rlnTomoName"]]
    if any(by_warp) and not all(by_warp):
        raise InputError(
            f"{path.name} holds tomograms called .tomostar, as Warp does where particles count in "
            "pixels of their images, and others that are not; give them in files of their own."
        )
    return bool(by_warp) and by_warp[0]


def _pixel_size_in_names(table: pd.DataFrame) -> float | None:
    """Warp writes the pixel size into the names of its images."""
    names = table.get("rlnImageName", pd.Series(dtype=str))
    found = re.search(r"_(\d+\.\d+)A[_.]", str(names.iloc[0])) if len(names) else None
    return float(found[1]) if found else None


def _offset_angstrom(path: Path, table: pd.DataFrame, pixel: np.ndarray | None) -> np.ndarray:
    """What to subtract from the coordinates (x, y, z); ``pixel`` is that of the images."""
    offset = np.zeros((len(table), 3))
    if has_any(table, ORIGIN_ANGST_COLUMNS):
        offset = numbers(path, table, ORIGIN_ANGST_COLUMNS)
    elif has_any(table, ORIGIN_PX_COLUMNS) and pixel is not None:
        offset = numbers(path, table, ORIGIN_PX_COLUMNS) * pixel[:, None]
    if has_any(table, SUBTOMOGRAM_ANGLE_COLUMNS) and offset.any():
        angles = numbers(path, table, SUBTOMOGRAM_ANGLE_COLUMNS)
        offset = rotation_from_euler_zyz_deg(angles).apply(offset)
    return offset


def _infos(
    names: np.ndarray,
    known: Known,
    pixel: np.ndarray | None,
    tilt_series_pixel: np.ndarray | None,
) -> dict[str, TomogramInfo]:
    """The tomograms of which at least the voxel size is known, from options, files and rows."""
    infos = {}
    for name, row in zip(*np.unique(names, return_index=True), strict=True):
        unbinned = None if tilt_series_pixel is None else float(tilt_series_pixel[row])
        voxel = None if pixel is None else float(pixel[row])
        if unbinned is not None and known.binning:
            voxel = unbinned * known.binning
        info = known.tomograms.get(str(name))
        if info is None and (voxel or known.voxel_size_angstrom):
            info = TomogramInfo(str(name), float(voxel or known.voxel_size_angstrom or 0))
        if info is None:
            continue
        info = replace(known, tomograms={str(name): info}).info(str(name))
        if info.tilt_series_pixel_size_angstrom is None:
            info = replace(info, tilt_series_pixel_size_angstrom=unbinned)
        infos[str(name)] = info
    return infos


def places_from_centre(path: Path, table: pd.DataFrame, names: np.ndarray, known: Known) -> Places:
    """Centred coordinates, and voxels (z, y, x) where the size of the tomogram is known."""
    coordinate = numbers(path, table, CENTERED_COLUMNS)
    centered = coordinate - _offset_angstrom(path, table, None)
    if known.file_pixel_angstrom is None:
        unbinned = _tilt_series_pixel(path, table)
    else:
        unbinned = np.full(len(table), known.file_pixel_angstrom)
    counted = unbinned if known.unbinned_shape_zyx is not None else None
    infos = _infos(names, known, counted, unbinned)
    center, box = np.full((2, len(names), 3), np.nan)
    for name, info in infos.items():
        if info.shape_zyx is None and info.unbinned_shape_zyx is None:
            continue
        rows = names == name
        middle = middle_xyz_angstrom(info, known)
        center[rows] = ((centered[rows] + middle) / info.voxel_size_angstrom)[:, ::-1]
        box[rows] = ((coordinate[rows] + middle) / info.voxel_size_angstrom)[:, ::-1]
    moved = np.isfinite(box).all() and not np.array_equal(coordinate, centered)
    return Places(center, box if moved else None, infos, centered)


def _tilt_series_pixel(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    """Unbinned pixel size (N,), where the file says it."""
    if TILT_SERIES_PIXEL_COLUMN not in table:
        return None
    return to_pixel_sizes(table[TILT_SERIES_PIXEL_COLUMN], path, TILT_SERIES_PIXEL_COLUMN)


def without_places(
    path: Path, table: pd.DataFrame, names: np.ndarray, known: Known
) -> tuple[Places, dict[str, np.ndarray]]:
    """Images of unknown places; their origins (x, y, z) in Angstrom, as columns."""
    if known.file_pixel_angstrom is None:
        pixel, images = _coordinate_pixel(path, table)[0], image_pixel_angstrom(path, table)
    else:
        pixel = images = np.full(len(table), known.file_pixel_angstrom)
    unknown = np.full((len(table), 3), np.nan)
    offset = _offset_angstrom(path, table, images)
    origins = dict(zip(ORIGIN_ANGST_COLUMNS, offset.T, strict=True)) if offset.any() else {}
    return Places(unknown, None, _infos(names, known, pixel, None)), origins


def middle_xyz_angstrom(info: TomogramInfo, known: Known) -> np.ndarray:
    """Point (x, y, z) from which centred coordinates count, from voxel 0."""
    unbinned = info.tilt_series_pixel_size_angstrom or info.voxel_size_angstrom
    return info.centre_xyz_angstrom - known.centre_offset_px * unbinned


def places_in_pixels(path: Path, table: pd.DataFrame, names: np.ndarray, known: Known) -> Places:
    """Positions (z, y, x) in voxels of the tomograms, or else in pixels of the file."""
    if known.file_pixel_angstrom is None:
        pixel, unbinned = _coordinate_pixel(path, table)
    else:
        pixel = np.full(len(table), known.file_pixel_angstrom)
        unbinned = TILT_SERIES_PIXEL_COLUMN in table and not counts_in_particle_pixels(path, table)
    tilt_series_pixel = pixel if unbinned else _tilt_series_pixel(path, table)
    infos = _infos(names, known, pixel, tilt_series_pixel)
    if len(infos) < len(np.unique(names)):
        raise UnknownPixelSize(
            f"{path.name} does not say its pixel size; give it with --file-pixel-angstrom."
        )
    voxel = np.array([infos[name].voxel_size_angstrom for name in names.tolist()])
    said, pixel = pixel, voxel if pixel is None else pixel
    coordinate = numbers(path, table, PLAIN_COLUMNS)
    images = None
    if has_any(table, ORIGIN_PX_COLUMNS) and known.file_pixel_angstrom is None:
        images = image_pixel_angstrom(path, table)
    offset = _offset_angstrom(path, table, pixel if images is None else images)
    xyz = coordinate - offset / pixel[:, None]
    told = unbinned or (said is None and known.voxel_size_angstrom is not None)
    said = np.full(len(table), np.nan) if said is None else said
    scale = pixels_in_voxels(path, said, voxel, is_known_why=told)
    center, box = ((values * scale[:, None])[:, ::-1] for values in (xyz, coordinate))
    moved = not np.array_equal(xyz, coordinate)
    of_images = not unbinned and MICROGRAPH not in table and MICROGRAPH_ORIGINAL not in table
    overruled = known.file_pixel_angstrom is not None and of_images
    blocks = {PIXEL_KEY: known.file_pixel_angstrom} if overruled else {}
    return Places(center, box if moved else None, infos, more_blocks=blocks)
