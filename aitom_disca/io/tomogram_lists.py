"""Several tomograms at once: MRC files and RELION's tomograms.star."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.io.defocus import optics_of, optics_of_row
from aitom_disca.io.mrc import Tomogram, open_tomogram
from aitom_disca.io.project_folders import tomograms_in
from aitom_disca.io.star_blocks import (
    find_table,
    positive_number,
    read_blocks,
    resolve,
    tilt_series_of_row,
)
from aitom_disca.io.tilt_angles import STAR_COLUMNS, likely_tilts, read_tilts
from aitom_disca.io.zarr_tomogram import is_zarr

logger = logging.getLogger(__name__)

VOLUME_COLUMNS = (
    "rlnTomoReconstructedTomogram",
    "rlnTomoReconstructedTomogramDenoised",
    "rlnTomoDenoisedTomogram",
)


def open_tomograms(
    paths: Iterable[str | Path],
    *,
    voxel_size_angstrom: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    dark_protein: bool = False,
    tilt_file: str | Path | None = None,
    zarr_level: int = 0,
    optics: OpticsSettings | None = None,
) -> list[Tomogram]:
    """Open MRC files, OME-Zarr folders, RELION's tomograms.star (.star) and folders of projects.

    The options hold for every tomogram, as in `open_tomogram`. What a folder holds is told by
    `tomograms_in`. Defocus and microscope are those given (``optics``), else those that a
    tomograms.star or a file beside the tomogram says, see `aitom_disca.io.defocus`.

    Raises
    ------
    InputError
        If there are no paths, two tomograms have one name, or one cannot be opened.
    """
    tomograms: list[Tomogram] = []
    tilts_deg = tilt_range_deg or (() if tilt_file is None else read_tilts(tilt_file))
    options = (voxel_size_angstrom, tilts_deg, dark_protein)
    for path in map(Path, paths):
        inside = tomograms_in(path) if path.is_dir() and not is_zarr(path) else [path]
        for one in inside:
            if one.suffix == ".star":
                tomograms += _read_list(one, *options, optics)
            else:
                opened = _open(one, *options, zarr_level)
                found = optics_of(opened.name, opened.path, optics)
                tomograms.append(replace(opened, **found))
    if not tomograms:
        raise InputError("no tomogram was given; give at least one .mrc, .rec or tomograms.star.")
    return _unique(tomograms)


def read_tomograms_star(
    path: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    dark_protein: bool = False,
) -> list[Tomogram]:
    """Open the reconstructed tomograms of a RELION 4 or 5 tomograms.star.

    The voxel size is the tilt series' pixel size times the binning, the tilt range that of the
    tilt series (aligned y tilt, else nominal stage angle), unless given.

    Raises
    ------
    InputError
        If a column or a reconstructed tomogram is missing.
    """
    return _unique(_read_list(Path(path), voxel_size_angstrom, tilt_range_deg or (), dark_protein))


def _read_list(
    path: Path,
    voxel_size_angstrom: float | None,
    tilts_deg: tuple[float, ...],
    dark_protein: bool,
    optics: OpticsSettings | None = None,
) -> list[Tomogram]:
    blocks = read_blocks(path)
    table = find_table(path, blocks, "global", VOLUME_COLUMNS)
    if "rlnTomoName" not in table:
        raise InputError(
            f"{path.name} needs the column rlnTomoName; found: {', '.join(table.columns)}."
        )
    tomograms = []
    for _, row in table.iterrows():
        tomogram = _open(
            _volume_path(path, row),
            _binned_voxel_size(row) if voxel_size_angstrom is None else voxel_size_angstrom,
            tilts_deg or tilts_of_row(path, blocks, row),
            dark_protein,
        )
        tomograms.append(
            replace(
                tomogram,
                name=row["rlnTomoName"],
                tilt_series_pixel_size_angstrom=positive_number(row, "rlnTomoTiltSeriesPixelSize"),
                unbinned_shape_zyx=unbinned_shape(row),
                **optics_of(row["rlnTomoName"], path, optics, optics_of_row(path, blocks, row)),
            )
        )
    return tomograms


def _open(
    path: Path,
    voxel_size_angstrom: float | None,
    tilts_deg: tuple[float, ...],
    dark_protein: bool,
    zarr_level: int = 0,
) -> Tomogram:
    opened = open_tomogram(
        path,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=(tilts_deg[0], tilts_deg[-1]) if tilts_deg else None,
        dark_protein=dark_protein,
        zarr_level=zarr_level,
    )
    return replace(opened, tilts_deg=tilts_deg) if len(tilts_deg) > 2 else opened


def _unique(tomograms: list[Tomogram]) -> list[Tomogram]:
    counts = Counter(tomogram.name for tomogram in tomograms)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        files = ", ".join(str(t.path) for t in tomograms if t.name == twice[0])
        raise InputError(
            f"two tomograms are called {twice[0]} ({files}); give every tomogram once, under a "
            "name of its own."
        )
    return tomograms


def _volume_path(star: Path, row: pd.Series) -> Path:
    named = [row[c] for c in VOLUME_COLUMNS if isinstance(row.get(c), str) and row[c] != "None"]
    if not named:
        raise InputError(
            f"{star.name} names no reconstructed tomogram for {row['rlnTomoName']}; reconstruct "
            "it first, or give its MRC file."
        )
    found = resolve(named[0], star)
    if found is None:
        raise InputError(
            f"the tomogram {named[0]} of {star.name} is neither in the working folder nor in one "
            "above the star file; run from RELION's project folder, or give the MRC file."
        )
    return found


def _binned_voxel_size(row: pd.Series) -> float | None:
    pixel_size = positive_number(row, "rlnTomoTiltSeriesPixelSize")
    binning = positive_number(row, "rlnTomoTomogramBinning")
    return None if pixel_size is None or binning is None else pixel_size * binning


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
