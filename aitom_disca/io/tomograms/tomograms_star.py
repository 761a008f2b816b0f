"""Tomograms that RELION's tomograms.star lists, opened as it describes them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.io.formats.relion.star_blocks import (
    find_table,
    positive_number,
    read_blocks,
    resolve,
    tilt_series_of_row,
)
from aitom_disca.io.formats.relion.star_pixels import listed_voxel_angstrom
from aitom_disca.io.numbers_in_files import is_missing
from aitom_disca.io.tomogram_names import check_names
from aitom_disca.io.tomograms.defocus import optics_of, optics_of_row
from aitom_disca.io.tomograms.tilt_angles import STAR_COLUMNS, likely_tilts
from aitom_disca.io.tomograms.tomogram import MeanOfHalves, Tomogram, open_with_tilts
from aitom_disca.progress import say

logger = logging.getLogger(__name__)

VOLUME_COLUMNS = (
    "rlnTomoReconstructedTomogram",
    "rlnTomoReconstructedTomogramDenoised",
    "rlnTomoDenoisedTomogram",
)
HALF_COLUMNS = ("rlnTomoReconstructedTomogramHalf1", "rlnTomoReconstructedTomogramHalf2")
_ROUNDED_PX = 2.0  # RELION makes sizes whole and even


def open_listed(
    path: Path,
    voxel_size_angstrom: float | None,
    tilts_deg: tuple[float, ...],
    dark_protein: bool,
    optics: OpticsSettings | None = None,
) -> list[Tomogram]:
    """Open the reconstructed tomograms of a list, those of one name too.

    Parameters
    ----------
    path : Path
    voxel_size_angstrom : float or None
        In place of what the list says.
    tilts_deg : tuple of float
        In place of what it says; empty for that.
    dark_protein : bool
    optics : OpticsSettings, optional
        Defocus and microscope, in place of what it says.

    Raises
    ------
    InputError
        If a column or a reconstructed tomogram is missing.
    """
    blocks = read_blocks(path)
    table = find_table(path, blocks, "global", (*VOLUME_COLUMNS, *HALF_COLUMNS))
    if "rlnTomoName" not in table:
        raise InputError(
            f"{path.name} needs the column rlnTomoName; found: {', '.join(table.columns)}."
        )
    check_names(table["rlnTomoName"], path.name)
    tomograms = []
    for _, row in table.iterrows():
        volumes = _volume_paths(path, row)
        tomogram = open_with_tilts(
            volumes[0],
            voxel_size_angstrom or listed_voxel_angstrom(path, row)[0],
            tilts_deg or tilts_of_row(path, blocks, row),
            dark_protein,
        )
        if len(volumes) > 1:
            tomogram = _with_other_half(tomogram, volumes[1], path, row["rlnTomoName"])
        check_listed_size(path, row, tomogram.shape_zyx)
        tomograms.append(
            replace(
                tomogram,
                name=row["rlnTomoName"],
                tilt_series_pixel_size_angstrom=listed_voxel_angstrom(path, row)[1],
                unbinned_shape_zyx=unbinned_shape(row),
                **optics_of(row["rlnTomoName"], path, optics, optics_of_row(path, blocks, row)),
            )
        )
    return tomograms


def _volume_paths(star: Path, row: pd.Series) -> list[Path]:
    """The tomogram itself, or both halves where there are only these.

    A column that names a file which is nowhere is passed over with a warning, where another helps.
    """
    wholes, halves = (
        [str(row[column]) for column in columns if not is_missing(row.get(column))]
        for columns in (VOLUME_COLUMNS, HALF_COLUMNS)
    )
    name = row["rlnTomoName"]
    if not wholes and len(halves) == 1:
        raise InputError(
            f"{star.name} names one half tomogram of {name} only; give both as "
            f"{' and '.join(HALF_COLUMNS)}, or a whole tomogram."
        )
    if not (wholes or halves):
        raise InputError(
            f"{star.name} names no reconstructed tomogram for {name}; reconstruct it first, or "
            "give its MRC file."
        )
    there = [one for one in wholes if resolve(one, star) is not None]
    chosen = there[:1] or (halves if len(halves) == len(HALF_COLUMNS) else wholes[:1])
    paths = [_found(star, one) for one in chosen]
    if wholes and chosen[0] != wholes[0]:
        logger.warning(
            "%s: %s of %s is nowhere; %s is read.", star.name, wholes[0], name, chosen[0]
        )
    return paths


def _found(star: Path, named: str) -> Path:
    found = resolve(named, star)
    if found is None:
        raise InputError(
            f"the tomogram {named} of {star.name} is neither in the working folder nor in one "
            "above the star file; run from RELION's project folder, or give the MRC file."
        )
    return found


def _with_other_half(tomogram: Tomogram, path: Path, star: Path, name: str) -> Tomogram:
    """The mean of both halves, where a list names no whole tomogram."""
    other = open_with_tilts(path, tomogram.voxel_size_angstrom, tomogram.tilt_range_deg, False)
    if other.shape_zyx != tomogram.shape_zyx:
        raise InputError(
            f"the half tomograms of {name} have different sizes (z, y, x), {tomogram.shape_zyx} "
            f"and {other.shape_zyx}; reconstruct them again."
        )
    say(f"{name}: the mean of both half tomograms is read, no whole one of {star.name} is there")
    return replace(tomogram, data=MeanOfHalves(tomogram.data, other.data, other.path))


def check_listed_size(star: Path, row: pd.Series, shape_zyx: tuple[int, int, int]) -> None:
    """Warn where a list says another size of a tomogram than its volume has."""
    unbinned, (voxel, pixel) = unbinned_shape(row), listed_voxel_angstrom(star, row)
    if unbinned is None or voxel is None or pixel is None:
        return
    listed = [n * pixel / voxel for n in unbinned]
    if max(abs(n - m) for n, m in zip(listed, shape_zyx, strict=True)) > _ROUNDED_PX:
        logger.warning(
            "%s says that %s has %s voxels (x, y, z), but its volume has %s; centred coordinates "
            "count from half of what the list says.",
            star.name,
            row["rlnTomoName"],
            " x ".join(f"{n:.4g}" for n in listed[::-1]),
            " x ".join(map(str, shape_zyx[::-1])),
        )


def unbinned_shape(row: pd.Series) -> tuple[float, float, float] | None:
    """Size of a tomogram in unbinned pixels (z, y, x); None where it is not said."""
    sizes = [positive_number(row, f"rlnTomoSize{axis}") for axis in "ZYX"]
    if any(size is None for size in sizes):
        return None
    return tuple(sizes)  # type: ignore[return-value]


def tilts_of_row(
    star: Path, blocks: dict[str, pd.DataFrame | dict], row: pd.Series
) -> tuple[float, ...]:
    """Tilt angles of a tilt series, the smallest first; empty where none are said that can be."""
    images = tilt_series_of_row(star, blocks, row)
    columns = [] if images is None else [images[c] for c in STAR_COLUMNS if c in images]
    tilts = likely_tilts(columns)
    if columns and not tilts:
        logger.warning(
            "%s: the tilt angles of %s can hardly be those of a tilt series and are passed over.",
            star.name,
            row["rlnTomoName"],
        )
    return tilts
