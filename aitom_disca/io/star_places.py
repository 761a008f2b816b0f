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
from aitom_disca.io.star_blocks import (
    CENTERED_COLUMNS,
    IMAGE_PIXEL_COLUMN,
    MICROGRAPH_PIXEL_COLUMNS,
    ORIGIN_ANGST_COLUMNS,
    ORIGIN_PX_COLUMNS,
    PLAIN_COLUMNS,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
)
from aitom_disca.particles import TomogramInfo

logger = logging.getLogger(__name__)

PIXEL_KEY = "relion:pixel size given"  # in more_blocks: overrules what the columns say
_SAME_SIZE = 0.01  # pixel sizes that differ by less mean the same voxels


@dataclass(frozen=True)
class Places:
    """Positions of particles, their boxes, and what is known of their tomograms."""

    center_zyx_px: np.ndarray
    box_center_zyx_px: np.ndarray | None
    tomograms: dict[str, TomogramInfo]
    centered_xyz_angstrom: np.ndarray | None = None
    more_blocks: Mapping[str, Any] = field(default_factory=dict)


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
    try:
        values = table[columns].to_numpy(float)
    except ValueError as error:
        raise InputError(f"{path.name} has a value that is no number ({error}).") from error
    if not np.isfinite(values).all():
        raise InputError(f"{path.name} has rows without a number in {', '.join(columns)}.")
    return values


def optional_numbers(path: Path, table: pd.DataFrame, column: str) -> np.ndarray | None:
    """Finite numbers (N,) of a column, if it is there."""
    return numbers(path, table, [column])[:, 0] if column in table else None


def _pixel_size(path: Path, table: pd.DataFrame) -> tuple[np.ndarray | None, bool]:
    """Pixel size (N,) in which plain coordinates are counted; whether that is the unbinned one."""
    if TILT_SERIES_PIXEL_COLUMN in table and not counts_in_particle_pixels(table):
        return optional_numbers(path, table, TILT_SERIES_PIXEL_COLUMN), True
    if (of_micrograph := micrograph_pixel_column(table)) is not None:
        return optional_numbers(path, table, of_micrograph), False
    sizes = [size for size in _said_pixel_sizes(path, table) if size is not None]
    for other in sizes[1:]:
        if np.any(np.abs(other / sizes[0] - 1) > _SAME_SIZE):
            i = int(np.argmax(np.abs(other / sizes[0] - 1)))
            logger.warning(
                "%s says two pixel sizes, %.5g and %.5g Angstrom; the first is taken "
                "(--file-pixel-angstrom if that is wrong).",
                path.name,
                sizes[0][i],
                other[i],
            )
            break
    hint = _pixel_size_in_names(table)
    named_only = hint is not None and len(sizes) == 1
    if named_only and np.any(np.abs(hint / sizes[0] - 1) > _SAME_SIZE):
        logger.warning(
            "%s says a pixel size of %.5g Angstrom, the names of its images %.5g; the first is "
            "taken (--file-pixel-angstrom if that is wrong).",
            path.name,
            sizes[0][0],
            hint,
        )
    return (sizes[0] if sizes else None), False


def counts_in_particle_pixels(table: pd.DataFrame) -> bool:
    """Whether plain coordinates count in pixels of the images, as in particle series of Warp."""
    names = table.get("rlnTomoName")
    by_warp = names is not None and all(str(name).endswith(".tomostar") for name in names)
    return by_warp and {"rlnTomoVisibleFrames", IMAGE_PIXEL_COLUMN} <= set(table.columns)


def micrograph_pixel_column(table: pd.DataFrame) -> str | None:
    """The column of the pixel that RELION 3.1 counts in, whatever the pixels of its images are."""
    if counts_in_particle_pixels(table):
        return None
    return next((column for column in MICROGRAPH_PIXEL_COLUMNS if column in table), None)


def _said_pixel_sizes(path: Path, table: pd.DataFrame) -> list[np.ndarray | None]:
    """Pixel sizes (N,) of the file, the most trusted first."""
    magnified = None
    if {"rlnDetectorPixelSize", "rlnMagnification"} <= set(table.columns):
        detector, magnification = numbers(
            path, table, ["rlnDetectorPixelSize", "rlnMagnification"]
        ).T
        magnified = 10000 * detector / magnification
    return [
        optional_numbers(path, table, IMAGE_PIXEL_COLUMN),
        magnified,
        optional_numbers(path, table, "rlnPixelSize"),
    ]


def _pixel_size_in_names(table: pd.DataFrame) -> float | None:
    """Warp writes the pixel size into the names of its images."""
    names = table.get("rlnImageName", pd.Series(dtype=str))
    found = re.search(r"_(\d+\.\d+)A[_.]", str(names.iloc[0])) if len(names) else None
    return float(found[1]) if found else None


def _offset_angstrom(path: Path, table: pd.DataFrame, pixel: np.ndarray | None) -> np.ndarray:
    """What to subtract from the coordinates (x, y, z)."""
    offset = np.zeros((len(table), 3))
    if ORIGIN_ANGST_COLUMNS[0] in table:
        offset = numbers(path, table, ORIGIN_ANGST_COLUMNS)
    elif ORIGIN_PX_COLUMNS[0] in table and pixel is not None:
        offset = numbers(path, table, ORIGIN_PX_COLUMNS) * pixel[:, None]
    if SUBTOMOGRAM_ANGLE_COLUMNS[0] in table and offset.any():
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
    unbinned = optional_numbers(path, table, TILT_SERIES_PIXEL_COLUMN)
    if known.file_pixel_angstrom is not None:
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


def without_places(
    path: Path, table: pd.DataFrame, names: np.ndarray, known: Known
) -> tuple[Places, dict[str, np.ndarray]]:
    """Images of unknown places; their origins (x, y, z) in Angstrom, as columns."""
    pixel, _ = _pixel_size(path, table)
    if known.file_pixel_angstrom is not None:
        pixel = np.full(len(table), known.file_pixel_angstrom)
    unknown = np.full((len(table), 3), np.nan)
    offset = _offset_angstrom(path, table, pixel)
    origins = dict(zip(ORIGIN_ANGST_COLUMNS, offset.T, strict=True)) if offset.any() else {}
    return Places(unknown, None, _infos(names, known, pixel, None)), origins


def middle_xyz_angstrom(info: TomogramInfo, known: Known) -> np.ndarray:
    """Point (x, y, z) from which centred coordinates count, from voxel 0."""
    unbinned = info.tilt_series_pixel_size_angstrom or info.voxel_size_angstrom
    return info.centre_xyz_angstrom - known.centre_offset_px * unbinned


def places_in_pixels(
    path: Path, table: pd.DataFrame, names: np.ndarray, known: Known, pixel_option: str
) -> Places:
    """Positions (z, y, x) in voxels of the tomograms, or else in pixels of the file."""
    if known.file_pixel_angstrom is None:
        pixel, unbinned = _pixel_size(path, table)
    else:
        pixel = np.full(len(table), known.file_pixel_angstrom)
        unbinned = TILT_SERIES_PIXEL_COLUMN in table and not counts_in_particle_pixels(table)
    tilt_series_pixel = (
        pixel if unbinned else optional_numbers(path, table, TILT_SERIES_PIXEL_COLUMN)
    )
    infos = _infos(names, known, pixel, tilt_series_pixel)
    if len(infos) < len(np.unique(names)):
        raise InputError(f"{path.name} does not say its pixel size; give it with {pixel_option}.")
    voxel = np.array([infos[name].voxel_size_angstrom for name in names.tolist()])
    pixel = voxel if pixel is None else pixel
    coordinate = numbers(path, table, PLAIN_COLUMNS)
    xyz = coordinate - _offset_angstrom(path, table, pixel) / pixel[:, None]
    scale = np.where(np.abs(pixel / voxel - 1) > _SAME_SIZE, pixel / voxel, 1.0)
    if np.any(scale != 1) and not unbinned and known.voxel_size_angstrom is None:
        logger.warning(
            "%s counts in pixels of %.5g Angstrom, the tomogram has %.5g; coordinates are scaled "
            "(%s if that is wrong).",
            path.name,
            pixel[scale != 1][0],
            voxel[scale != 1][0],
            pixel_option,
        )
    center, box = ((values * scale[:, None])[:, ::-1] for values in (xyz, coordinate))
    moved = not np.array_equal(xyz, coordinate)
    overruled = (
        known.file_pixel_angstrom is not None
        and not unbinned
        and micrograph_pixel_column(table) is None
    )
    blocks = {PIXEL_KEY: known.file_pixel_angstrom} if overruled else {}
    return Places(center, box if moved else None, infos, more_blocks=blocks)
