"""Names, sizes and tilts of tomograms, for formats whose files do not say them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.relion.star_blocks import find_table, read_blocks, resolve
from aitom_disca.io.formats.relion.star_pixels import listed_voxel_angstrom
from aitom_disca.io.numbers_in_files import is_missing
from aitom_disca.io.tomogram_names import check_names
from aitom_disca.io.tomograms.defocus import optics_of_row
from aitom_disca.io.tomograms.tomogram import open_tomogram
from aitom_disca.io.tomograms.tomogram_lists import open_tomograms, with_own_names
from aitom_disca.io.tomograms.tomograms_star import (
    HALF_COLUMNS,
    VOLUME_COLUMNS,
    check_listed_size,
    tilts_of_row,
    unbinned_shape,
)
from aitom_disca.particles import TomogramInfo


def tomogram_infos(
    paths: Iterable[str | Path],
    *,
    voxel_size_angstrom: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    binning: float | None = None,
) -> dict[str, TomogramInfo]:
    """What MRC files and RELION's tomograms.star say of tomograms, by name.

    The volumes that a tomograms.star names need not be there: it says their size itself.

    Parameters
    ----------
    paths : iterable of path
    voxel_size_angstrom : float, optional
        Overrides what the files say.
    tilt_range_deg : tuple of 2 floats, optional
        Overrides what the files say.
    binning : float, optional
        For a tomograms.star that does not say it.

    Raises
    ------
    InputError
        If a file cannot be read, does not say the voxel size, or two tomograms have one name.
    """
    given: list[TomogramInfo] = []
    for path in map(Path, paths):
        if path.suffix.lower() == ".star":
            found = _listed(path, voxel_size_angstrom, tilt_range_deg, binning)
        else:
            opened = open_tomograms(
                [path], voxel_size_angstrom=voxel_size_angstrom, tilt_range_deg=tilt_range_deg
            )
            found = [tomogram.info for tomogram in opened]
        given += found
    return {info.name: info for info in with_own_names(given, by_any_folder=True)}


def _listed(
    path: Path,
    voxel_size_angstrom: float | None,
    tilt_range_deg: tuple[float, float] | None,
    binning: float | None,
) -> list[TomogramInfo]:
    blocks = read_blocks(path)
    table = find_table(path, blocks, "global", ["rlnTomoName"])
    check_names(table["rlnTomoName"], path.name)
    infos = []
    for _, row in table.iterrows():
        voxel, unbinned = listed_voxel_angstrom(path, row, binning)
        voxel = voxel_size_angstrom or voxel
        if voxel is None:
            raise InputError(
                f"{path.name} does not say the voxel size of {row['rlnTomoName']}; give it with "
                "--binning or --voxel-size-angstrom."
            )
        size = unbinned_shape(row)
        tilts = tilt_range_deg or tilts_of_row(path, blocks, row)
        options: dict[str, Any] = {}
        if tilts:
            options = {"tilt_range_deg": (tilts[0], tilts[-1]), "tilts_deg": tilts}
        options |= optics_of_row(path, blocks, row)
        volume = _volume(path, row)
        shape = _shape(size, voxel, unbinned) if volume is None else _shape_of(volume, voxel)
        if volume is not None and shape is not None:
            check_listed_size(path, row, shape)
        infos.append(
            TomogramInfo(
                str(row["rlnTomoName"]),
                voxel,
                shape,
                path=volume,
                tilt_series_pixel_size_angstrom=unbinned,
                unbinned_shape_zyx=size,
                **options,
            )
        )
    return infos


def _shape(
    unbinned_zyx: tuple[float, float, float] | None, voxel: float, unbinned: float | None
) -> tuple[int, int, int] | None:
    if unbinned_zyx is None or unbinned is None:
        return None
    z, y, x = (round(n * unbinned / voxel) for n in unbinned_zyx)
    return z, y, x


def _shape_of(volume: Path, voxel: float) -> tuple[int, int, int]:
    return open_tomogram(volume, voxel_size_angstrom=voxel, tilt_range_deg=(-90, 90)).shape_zyx


def _volume(star: Path, row: pd.Series) -> Path | None:
    for column in (*VOLUME_COLUMNS, *HALF_COLUMNS):
        named = row.get(column)
        found = None if is_missing(named) else resolve(str(named), star)
        if found is not None:
            return found
    return None
