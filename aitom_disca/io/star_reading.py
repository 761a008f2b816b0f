"""RELION particle star files of every generation from 3.0 to 5, and Warp's, read."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, rotation_from_euler_zyz_deg
from aitom_disca.io.formats.format import Known
from aitom_disca.io.mrc import tomogram_name
from aitom_disca.io.star_blocks import (
    ANGLE_COLUMNS,
    CENTERED_COLUMNS,
    CLASS_COLUMN,
    IMAGE_PIXEL_COLUMN,
    NAME_COLUMNS,
    ORIGIN_ANGST_COLUMNS,
    ORIGIN_PX_COLUMNS,
    PLAIN_COLUMNS,
    POSTERIOR_COLUMN,
    SCORE_COLUMN,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
    Block,
    find_table,
    read_blocks,
)
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo

logger = logging.getLogger(__name__)

TABLE_KEY = "relion:"  # in more_blocks: name of the block that held the particles
PIXEL_KEY = "relion:pixel size given"  # in more_blocks: overrules what the columns say
_Called = Literal["as in the file", "known", "plain"]  # what particles call their tomograms
_SAME_SIZE = 0.01  # pixel sizes that differ by less mean the same voxels
_PLACED = {
    *PLAIN_COLUMNS,
    *CENTERED_COLUMNS,
    *ORIGIN_ANGST_COLUMNS,
    *ORIGIN_PX_COLUMNS,
    *ANGLE_COLUMNS,
    CLASS_COLUMN,
    POSTERIOR_COLUMN,
    SCORE_COLUMN,
}


def read_particles_star(
    path: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    tomograms: Mapping[str, TomogramInfo] | None = None,
) -> ParticleSet:
    """Read particles of RELION 3.0, 3.1, 4 or 5, or of Warp.

    Origins are subtracted from the coordinates and the two stages of subtomogram orientations
    multiplied, so that positions and angles are those of the particle in its tomogram:
    ``position = coordinate - A_subtomogram @ origin``, ``A = A_subtomogram @ A_particle``. The
    coordinate itself is kept as ``box_center_zyx_px``, the outer stage and all further columns in
    ``more``, other tables in ``more_blocks`` ("relion:optics").

    Parameters
    ----------
    path : path
    voxel_size_angstrom : float, optional
        Pixel size in which the file counts plain coordinates; overrides what the file says.
    tomograms : mapping of str to TomogramInfo, optional
        Positions become voxels of these, scaled where the pixel sizes differ by more than 1 %;
        particles of other tomograms are left out. Without it, positions stay in the pixels of the
        file, and the centred ones of RELION 5 in ``centered_xyz_angstrom`` only.

    Raises
    ------
    InputError
        If columns that are needed are missing, no tomogram fits, or the pixel size is unknown.
    """
    known = Known(tomograms=tomograms or {}, file_pixel_angstrom=voxel_size_angstrom)
    called: _Called = "as in the file" if tomograms is None else "known"
    return _read(Path(path), known, called, "--voxel-size-angstrom")


def read_star(path: str | Path, known: Known) -> ParticleSet:
    """Read particles as `read_particles_star` does, with all that is known beside the file.

    Particles of tomograms that are not known are kept. Centred coordinates become voxels where
    the tomogram's size is known. Tomograms are called by their file's name without folder and
    type; the column as it stands is kept in ``more``.

    Raises
    ------
    InputError
        If columns that are needed are missing, or the pixel size is unknown.
    """
    return _read(Path(path), known, "plain", "--file-pixel-angstrom")


def _read(path: Path, known: Known, called: _Called, pixel_option: str) -> ParticleSet:
    blocks = read_blocks(path)
    rows = find_table(path, blocks, "particles", [PLAIN_COLUMNS[0], CENTERED_COLUMNS[0]])
    block = next(name for name, table in blocks.items() if table is rows)
    layout = CENTERED_COLUMNS if CENTERED_COLUMNS[0] in rows else PLAIN_COLUMNS
    _need(path, rows, layout)
    if known.tomogram_name is not None and not any(c in rows for c in NAME_COLUMNS):
        rows = rows.assign(rlnTomoName=known.tomogram_name)
    said = names = _tomogram_names(path, rows)
    if called == "known":
        inside, names = find_known(path, names, known.tomograms)
        rows, names = rows[inside].reset_index(drop=True), names[inside]
        said = said[inside]
    elif called == "plain":
        names = _plain_names(names, known)
    table = _with_optics(rows, blocks.get("optics"))
    if layout is CENTERED_COLUMNS:
        places = _from_centre(path, table, names, known)
    else:
        places = _in_voxels(path, table, names, known, pixel_option)
    keep = [] if np.array_equal(said, names) else [_name_column(rows)]
    if not np.isfinite(places.center_zyx_px).all():
        keep += ORIGIN_ANGST_COLUMNS
    return ParticleSet(
        names,
        places.center_zyx_px,
        score=_optional(path, table, SCORE_COLUMN),
        euler_zyz_deg=_euler_zyz_deg(path, table),
        cluster=_clusters(path, table),
        posterior=_optional(path, table, POSTERIOR_COLUMN),
        centered_xyz_angstrom=places.centered_xyz_angstrom,
        box_center_zyx_px=places.box_center_zyx_px,
        tomograms=(dict(known.tomograms) if called == "known" else {})
        | _with_paths(places.tomograms, said, names),
        more=_further_columns(rows, keep),
        more_blocks={**_further_blocks(blocks, block), **places.more_blocks},
    )


@dataclass(frozen=True)
class _Places:
    center_zyx_px: np.ndarray
    box_center_zyx_px: np.ndarray | None
    tomograms: dict[str, TomogramInfo]
    centered_xyz_angstrom: np.ndarray | None = None
    more_blocks: Mapping[str, Any] = field(default_factory=dict)


def find_known(
    path: str | Path, names: np.ndarray, tomograms: Mapping[str, TomogramInfo]
) -> tuple[np.ndarray, np.ndarray]:
    """Which particles lie in known tomograms, and the names by which those are known.

    A name fits as it is, or without folder and file type.

    Returns
    -------
    known : ndarray of bool, shape (N,)
    names : ndarray of str, shape (N,)

    Raises
    ------
    InputError
        If no particle lies in one of the tomograms.
    """
    unique, which = np.unique(names, return_inverse=True)
    own = np.array([n if n in tomograms else tomogram_name(n) for n in unique.tolist()])[which]
    known = np.isin(own, list(tomograms))
    if not known.any():
        raise InputError(
            f"{Path(path).name} holds particles of {', '.join(unique[:3])}, none of the tomograms "
            f"given ({', '.join(list(tomograms)[:3])}); the names must agree."
        )
    if not known.all():
        logger.warning(
            "%s: %d of %d particles are in tomograms that were not given and are left out.",
            Path(path).name,
            (~known).sum(),
            len(known),
        )
    return known, own


def _plain_names(names: np.ndarray, known: Known) -> np.ndarray:
    """Names without folder and file type, but where that makes two of them one."""
    unique, which = np.unique(names, return_inverse=True)
    own = [n if n in known.tomograms else tomogram_name(n) for n in unique.tolist()]
    return names if len(set(own)) < len(own) else np.array(own, dtype=str)[which]


def _with_optics(table: pd.DataFrame, optics: pd.DataFrame | dict | None) -> pd.DataFrame:
    """Add the columns of the optics groups to the rows; they win over columns of the same name."""
    if optics is None or "rlnOpticsGroup" not in table:
        return table
    groups = optics if isinstance(optics, pd.DataFrame) else pd.DataFrame([optics])
    if "rlnOpticsGroup" not in groups:
        return table
    own = [c for c in table.columns if c == "rlnOpticsGroup" or c not in groups]
    return table[own].merge(groups, on="rlnOpticsGroup", how="left")


def _need(path: Path, table: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"{path.name} needs the columns {', '.join(columns)}; missing: {', '.join(missing)}; "
            f"found: {', '.join(table.columns)}."
        )


def _numbers(path: Path, table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    _need(path, table, columns)
    try:
        values = table[columns].to_numpy(float)
    except ValueError as error:
        raise InputError(f"{path.name} has a value that is no number ({error}).") from error
    if not np.isfinite(values).all():
        raise InputError(f"{path.name} has rows without a number in {', '.join(columns)}.")
    return values


def _optional(path: Path, table: pd.DataFrame, column: str) -> np.ndarray | None:
    return _numbers(path, table, [column])[:, 0] if column in table else None


def _tomogram_names(path: Path, table: pd.DataFrame) -> np.ndarray:
    if not any(column in table for column in NAME_COLUMNS):
        raise InputError(
            f"{path.name} needs the column rlnTomoName or rlnMicrographName; found: "
            f"{', '.join(table.columns)}."
        )
    return table[_name_column(table)].to_numpy(str)


def _name_column(table: pd.DataFrame) -> str:
    return next(column for column in NAME_COLUMNS if column in table)


def _pixel_size(path: Path, table: pd.DataFrame) -> tuple[np.ndarray | None, bool]:
    """Pixel size (N,) in which plain coordinates are counted; whether that is the unbinned one."""
    if TILT_SERIES_PIXEL_COLUMN in table and not counts_in_particle_pixels(table):
        return _optional(path, table, TILT_SERIES_PIXEL_COLUMN), True
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


def _said_pixel_sizes(path: Path, table: pd.DataFrame) -> list[np.ndarray | None]:
    """Pixel sizes (N,) of the file, the most trusted first."""
    magnified = None
    if {"rlnDetectorPixelSize", "rlnMagnification"} <= set(table.columns):
        detector, magnification = _numbers(
            path, table, ["rlnDetectorPixelSize", "rlnMagnification"]
        ).T
        magnified = 10000 * detector / magnification
    return [
        _optional(path, table, IMAGE_PIXEL_COLUMN),
        magnified,
        _optional(path, table, "rlnPixelSize"),
    ]


def _pixel_size_in_names(table: pd.DataFrame) -> float | None:
    """Warp writes the pixel size into the names of its images."""
    first = str(table["rlnImageName"].iloc[0]) if "rlnImageName" in table else ""
    found = re.search(r"_(\d+\.\d+)A[_.]", first)
    return float(found[1]) if found else None


def _offset_angstrom(path: Path, table: pd.DataFrame, pixel: np.ndarray | None) -> np.ndarray:
    """What to subtract from the coordinates (x, y, z)."""
    offset = np.zeros((len(table), 3))
    if ORIGIN_ANGST_COLUMNS[0] in table:
        offset = _numbers(path, table, ORIGIN_ANGST_COLUMNS)
    elif ORIGIN_PX_COLUMNS[0] in table and pixel is not None:
        offset = _numbers(path, table, ORIGIN_PX_COLUMNS) * pixel[:, None]
    if SUBTOMOGRAM_ANGLE_COLUMNS[0] in table and offset.any():
        angles = _numbers(path, table, SUBTOMOGRAM_ANGLE_COLUMNS)
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


def _from_centre(path: Path, table: pd.DataFrame, names: np.ndarray, known: Known) -> _Places:
    """Centred coordinates, and voxels (z, y, x) where the size of the tomogram is known."""
    coordinate = _numbers(path, table, CENTERED_COLUMNS)
    centered = coordinate - _offset_angstrom(path, table, None)
    unbinned = _optional(path, table, TILT_SERIES_PIXEL_COLUMN)
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
    return _Places(center, box if moved else None, infos, centered)


def middle_xyz_angstrom(info: TomogramInfo, known: Known) -> np.ndarray:
    """Point (x, y, z) from which centred coordinates count, from voxel 0."""
    unbinned = info.tilt_series_pixel_size_angstrom or info.voxel_size_angstrom
    return info.centre_xyz_angstrom - known.centre_offset_px * unbinned


def _in_voxels(
    path: Path, table: pd.DataFrame, names: np.ndarray, known: Known, pixel_option: str
) -> _Places:
    """Positions (z, y, x) in voxels of the tomograms, or else in pixels of the file."""
    if known.file_pixel_angstrom is None:
        pixel, unbinned = _pixel_size(path, table)
    else:
        pixel = np.full(len(table), known.file_pixel_angstrom)
        unbinned = TILT_SERIES_PIXEL_COLUMN in table and not counts_in_particle_pixels(table)
    tilt_series_pixel = pixel if unbinned else _optional(path, table, TILT_SERIES_PIXEL_COLUMN)
    infos = _infos(names, known, pixel, tilt_series_pixel)
    if len(infos) < len(np.unique(names)):
        raise InputError(f"{path.name} does not say its pixel size; give it with {pixel_option}.")
    voxel = np.array([infos[name].voxel_size_angstrom for name in names.tolist()])
    pixel = voxel if pixel is None else pixel
    coordinate = _numbers(path, table, PLAIN_COLUMNS)
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
    overruled = known.file_pixel_angstrom is not None and not unbinned
    blocks = {PIXEL_KEY: known.file_pixel_angstrom} if overruled else {}
    return _Places(center, box if moved else None, infos, more_blocks=blocks)


def _with_paths(
    infos: Mapping[str, TomogramInfo], said: np.ndarray, names: np.ndarray
) -> dict[str, TomogramInfo]:
    """Tomograms with the paths by which the file calls them."""
    paths = {name: Path(path) for name, path in zip(names, said, strict=True) if "/" in path}
    return {
        name: replace(info, path=paths[name]) if info.path is None and name in paths else info
        for name, info in infos.items()
    }


def _further_columns(rows: pd.DataFrame, keep: list[str]) -> dict[str, np.ndarray]:
    """Columns that have no place of their own and those to keep, text as text."""
    placed = {*_PLACED, _name_column(rows)} - set(keep)
    columns = {str(c): rows[c].to_numpy() for c in rows.columns if c not in placed}
    return {c: v.astype(str) if v.dtype == object else v for c, v in columns.items()}


def _further_blocks(blocks: Mapping[str, Block], particles: str) -> dict[str, Any]:
    further: dict[str, Any] = {f"relion:{k}": v for k, v in blocks.items() if k != particles}
    return further | {TABLE_KEY: particles}


def _euler_zyz_deg(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    own = _numbers(path, table, ANGLE_COLUMNS) if ANGLE_COLUMNS[0] in table else None
    if SUBTOMOGRAM_ANGLE_COLUMNS[0] not in table:
        return own
    outer = _numbers(path, table, SUBTOMOGRAM_ANGLE_COLUMNS)
    if own is None:
        return outer
    product = rotation_from_euler_zyz_deg(outer) * rotation_from_euler_zyz_deg(own)
    return euler_zyz_deg_from_rotation(product)


def _clusters(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    numbers = _optional(path, table, CLASS_COLUMN)
    return None if numbers is None else np.where(numbers < 1, UNASSIGNED, numbers - 1).astype(int)
