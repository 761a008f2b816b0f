"""Several tomograms at once: MRC files and RELION's tomograms.star."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

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
from aitom_disca.io.names import are_apart, check_names, fault_of, short_names, tomogram_name
from aitom_disca.io.numbers_in_files import is_missing
from aitom_disca.io.pixel_sizes import listed_voxel_angstrom
from aitom_disca.io.tomograms.defocus import optics_of, optics_of_row
from aitom_disca.io.tomograms.half_tomograms import MeanOfHalves
from aitom_disca.io.tomograms.mrc import Tomogram, open_tomogram
from aitom_disca.io.tomograms.project_folders import tomograms_in
from aitom_disca.io.tomograms.tilt_angles import STAR_COLUMNS, likely_tilts, read_tilts
from aitom_disca.io.tomograms.zarr_tomogram import is_zarr
from aitom_disca.particles import TomogramInfo
from aitom_disca.progress import say

Opened = TypeVar("Opened", Tomogram, TomogramInfo)
logger = logging.getLogger(__name__)

VOLUME_COLUMNS = (
    "rlnTomoReconstructedTomogram",
    "rlnTomoReconstructedTomogramDenoised",
    "rlnTomoDenoisedTomogram",
)
HALF_COLUMNS = ("rlnTomoReconstructedTomogramHalf1", "rlnTomoReconstructedTomogramHalf2")
_ROUNDED_PX = 2.0  # RELION makes sizes whole and even


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
    tomograms.star or a file beside the tomogram says, see `aitom_disca.io.tomograms.defocus`.

    Raises
    ------
    InputError
        If there are no paths, two tomograms have one name, or one cannot be opened. Files of one
        name are told apart by folders that differ in their numbers (``TS_03/rec``).
    """
    tomograms: list[Tomogram] = []
    tilts_deg = tilt_range_deg or (() if tilt_file is None else read_tilts(tilt_file))
    options = (voxel_size_angstrom, tilts_deg, dark_protein)
    for path in map(Path, paths):
        is_folder = path.is_dir() and not is_zarr(path)
        for one in tomograms_in(path) if is_folder else [path]:
            try:
                if one.suffix == ".star":
                    tomograms += _read_list(one, *options, optics)
                else:
                    opened = _open(one, *options, zarr_level)
                    found = optics_of(opened.name, opened.path, optics)
                    tomograms.append(replace(opened, **found))
            except InputError as error:
                if not is_folder or one.suffix == ".star":
                    raise
                raise InputError(
                    f"{str(error).rstrip('.')}; it lies in the folder {path}: move it elsewhere, "
                    "or give the files in place of the folder."
                ) from error
    if not tomograms:
        raise InputError("no tomogram was given; give at least one .mrc, .rec or tomograms.star.")
    return with_own_names(tomograms)


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
    table = find_table(path, blocks, "global", (*VOLUME_COLUMNS, *HALF_COLUMNS))
    if "rlnTomoName" not in table:
        raise InputError(
            f"{path.name} needs the column rlnTomoName; found: {', '.join(table.columns)}."
        )
    check_names(table["rlnTomoName"], path.name)
    tomograms = []
    for _, row in table.iterrows():
        volumes = _volume_paths(path, row)
        tomogram = _open(
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


def with_own_names(tomograms: list[Opened], *, by_any_folder: bool = False) -> list[Opened]:
    """Tomograms of which those that only their folders tell apart are called by these as well.

    Parameters
    ----------
    tomograms : list of Tomogram or TomogramInfo
    by_any_folder : bool
        Whether folders tell them apart that do not differ in their numbers alone, too: of files
        that are not worked on, ``raw/TS_1.mrc`` may stand beside ``denoised/TS_1.mrc``.

    Raises
    ------
    InputError
        If two have one name even so, or one has a name that cannot be.
    """
    named = defaultdict(list)
    for tomogram in tomograms:
        if tomogram.path is not None and tomogram.name == tomogram_name(tomogram.path):
            named[tomogram.name].append(str(tomogram.path))
    names: dict[str, str] = {}
    for paths in named.values():
        apart = all(are_apart(one, other) for one, other in combinations(paths, 2))
        if apart or (by_any_folder and len(set(paths)) == len(paths)):
            names |= short_names(paths)
    return _unique([replace(one, name=names.get(str(one.path), one.name)) for one in tomograms])


def _unique(tomograms: list[Opened]) -> list[Opened]:
    for tomogram in tomograms:
        if fault := fault_of(tomogram.name):
            file = str(tomogram.path)
            raise InputError(
                f"the tomogram {file!r} is called {tomogram.name!r}, {fault}; rename it."
            )
    counts = Counter(tomogram.name for tomogram in tomograms)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        files = ", ".join(str(t.path) for t in tomograms if t.name == twice[0])
        raise InputError(
            f"two tomograms are called {twice[0]} ({files}); give every tomogram once, under a "
            "name of its own."
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
    other = _open(path, tomogram.voxel_size_angstrom, tomogram.tilt_range_deg, False)
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
