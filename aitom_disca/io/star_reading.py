"""RELION particle star files of every generation from 3.0 to 5, and Warp's, read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, rotation_from_euler_zyz_deg
from aitom_disca.io.mrc import tomogram_name
from aitom_disca.io.star_blocks import (
    ANGLE_COLUMNS,
    CENTERED_COLUMNS,
    CLASS_COLUMN,
    ORIGIN_ANGST_COLUMNS,
    ORIGIN_PX_COLUMNS,
    PLAIN_COLUMNS,
    POSTERIOR_COLUMN,
    SCORE_COLUMN,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    find_table,
    read_blocks,
)
from aitom_disca.particles import UNASSIGNED, ParticleSet, TomogramInfo

logger = logging.getLogger(__name__)


def read_particles_star(
    path: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    tomograms: Mapping[str, TomogramInfo] | None = None,
) -> ParticleSet:
    """Read particles of RELION 3.0, 3.1, 4 or 5, or of Warp.

    Origins are subtracted from the coordinates and the two stages of subtomogram orientations
    multiplied, so that positions and angles are those of the particle in its tomogram:
    ``position = coordinate - A_subtomogram @ origin``, ``A = A_subtomogram @ A_particle``.

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
    path = Path(path)
    blocks = read_blocks(path)
    table = find_table(path, blocks, "particles", [PLAIN_COLUMNS[0], CENTERED_COLUMNS[0]])
    table = _with_optics(table, blocks.get("optics"))
    layout = CENTERED_COLUMNS if CENTERED_COLUMNS[0] in table else PLAIN_COLUMNS
    _need(path, table, layout)
    names = _tomogram_names(path, table)
    if tomograms is not None:
        known, names = find_known(path, names, tomograms)
        table, names = table[known].reset_index(drop=True), names[known]
    if layout is CENTERED_COLUMNS:
        centered = _numbers(path, table, layout) - _offset_angstrom(path, table, None)
        center, tomograms = _from_centre(centered, names, tomograms)
    else:
        centered = None
        center, tomograms = _in_voxels(path, table, names, voxel_size_angstrom, tomograms)
    return ParticleSet(
        names,
        center,
        score=_optional(path, table, SCORE_COLUMN),
        euler_zyz_deg=_euler_zyz_deg(path, table),
        cluster=_clusters(path, table),
        posterior=_optional(path, table, POSTERIOR_COLUMN),
        centered_xyz_angstrom=centered,
        tomograms=tomograms,
    )


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
    for column in ("rlnTomoName", "rlnMicrographName"):
        if column in table:
            return table[column].to_numpy(str)
    raise InputError(
        f"{path.name} needs the column rlnTomoName or rlnMicrographName; found: "
        f"{', '.join(table.columns)}."
    )


def _pixel_size(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    """Pixel size (N,) in which the plain coordinates of the file are counted."""
    written_by_warp = all(name.endswith(".tomostar") for name in table.get("rlnTomoName", [""]))
    if "rlnTomoTiltSeriesPixelSize" in table and not written_by_warp:  # RELION 4: unbinned pixels
        return _optional(path, table, "rlnTomoTiltSeriesPixelSize")
    if "rlnImagePixelSize" in table:
        return _optional(path, table, "rlnImagePixelSize")
    if {"rlnDetectorPixelSize", "rlnMagnification"} <= set(table.columns):
        detector, magnification = _numbers(
            path, table, ["rlnDetectorPixelSize", "rlnMagnification"]
        ).T
        return 10000 * detector / magnification
    return _optional(path, table, "rlnPixelSize")


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


def _from_centre(
    centered_xyz_angstrom: np.ndarray,
    names: np.ndarray,
    tomograms: Mapping[str, TomogramInfo] | None,
) -> tuple[np.ndarray, Mapping[str, TomogramInfo]]:
    """Voxel positions (z, y, x) where the tomograms are known, else NaN."""
    center = np.full((len(names), 3), np.nan)
    for name in np.unique(names).tolist() if tomograms else []:
        info = tomograms[name]  # type: ignore[index]
        rows = names == name
        xyz = (centered_xyz_angstrom[rows] + info.centre_xyz_angstrom) / info.voxel_size_angstrom
        center[rows] = xyz[:, ::-1]
    return center, tomograms or {}


def _in_voxels(
    path: Path,
    table: pd.DataFrame,
    names: np.ndarray,
    given: float | None,
    tomograms: Mapping[str, TomogramInfo] | None,
) -> tuple[np.ndarray, Mapping[str, TomogramInfo]]:
    """Positions (z, y, x) in voxels of the tomograms, or else in pixels of the file."""
    pixel = _pixel_size(path, table) if given is None else np.full(len(table), given)
    voxel = None
    if tomograms is not None:
        voxel = np.array([tomograms[name].voxel_size_angstrom for name in names.tolist()])
    pixel = voxel if pixel is None else pixel
    if pixel is None:
        raise InputError(
            f"{path.name} does not say its pixel size; give it with --voxel-size-angstrom."
        )
    xyz = (
        _numbers(path, table, PLAIN_COLUMNS) - _offset_angstrom(path, table, pixel) / pixel[:, None]
    )
    if voxel is None or tomograms is None:
        sizes = dict(zip(names.tolist(), pixel.tolist(), strict=True))
        return xyz[:, ::-1], {name: TomogramInfo(name, size) for name, size in sizes.items()}
    scale = np.where(np.abs(pixel / voxel - 1) > 0.01, pixel / voxel, 1.0)
    if np.any(scale != 1):
        logger.warning(
            "%s counts in pixels of %.5g Angstrom, the tomogram has %.5g; coordinates are scaled "
            "(--voxel-size-angstrom if that is wrong).",
            path.name,
            pixel[scale != 1][0],
            voxel[scale != 1][0],
        )
    return (xyz * scale[:, None])[:, ::-1], tomograms


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
