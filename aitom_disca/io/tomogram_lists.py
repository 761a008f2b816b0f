"""Several tomograms at once: MRC files and RELION's tomograms.star."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd

from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.io.defocus import optics_of, optics_of_row
from aitom_disca.io.mrc import Tomogram, open_tomogram
from aitom_disca.io.names import (
    are_apart,
    check_names,
    fault_of,
    is_missing,
    short_names,
    tomogram_name,
)
from aitom_disca.io.project_folders import tomograms_in
from aitom_disca.io.star_blocks import (
    find_table,
    positive_number,
    read_blocks,
    resolve,
    tilt_series_of_row,
)
from aitom_disca.io.tilt_angles import read_tilt_range
from aitom_disca.io.zarr_tomogram import is_zarr

VOLUME_COLUMNS = (
    "rlnTomoReconstructedTomogram",
    "rlnTomoReconstructedTomogramDenoised",
    "rlnTomoDenoisedTomogram",
)
_TILT_COLUMNS = ("rlnTomoYTilt", "rlnTomoNominalStageTiltAngle")


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
        If there are no paths, two tomograms have one name, or one cannot be opened. Files of one
        name are told apart by folders that differ in their numbers (``TS_03/rec``).
    """
    tomograms: list[Tomogram] = []
    if tilt_range_deg is None and tilt_file is not None:
        tilt_range_deg = read_tilt_range(tilt_file)
    options = (voxel_size_angstrom, tilt_range_deg, dark_protein)
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
    return _unique(_distinct(tomograms))


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
    return _unique(_read_list(Path(path), voxel_size_angstrom, tilt_range_deg, dark_protein))


def _read_list(
    path: Path,
    voxel_size_angstrom: float | None,
    tilt_range_deg: tuple[float, float] | None,
    dark_protein: bool,
    optics: OpticsSettings | None = None,
) -> list[Tomogram]:
    blocks = read_blocks(path)
    table = find_table(path, blocks, "global", VOLUME_COLUMNS)
    if "rlnTomoName" not in table:
        raise InputError(
            f"{path.name} needs the column rlnTomoName; found: {', '.join(table.columns)}."
        )
    check_names(table["rlnTomoName"], path.name)
    tomograms = []
    for _, row in table.iterrows():
        tomogram = _open(
            _volume_path(path, row),
            _binned_voxel_size(row) if voxel_size_angstrom is None else voxel_size_angstrom,
            tilt_range_of_row(path, blocks, row) if tilt_range_deg is None else tilt_range_deg,
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
    tilt_range_deg: tuple[float, float] | None,
    dark_protein: bool,
    zarr_level: int = 0,
) -> Tomogram:
    return open_tomogram(
        path,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range_deg,
        dark_protein=dark_protein,
        zarr_level=zarr_level,
    )


def _distinct(tomograms: list[Tomogram]) -> list[Tomogram]:
    """Tomograms of which those that only their folders tell apart are called by these as well."""
    named = defaultdict(list)
    for tomogram in tomograms:
        if tomogram.name == tomogram_name(tomogram.path):
            named[tomogram.name].append(str(tomogram.path))
    names: dict[str, str] = {}
    for paths in named.values():
        if all(are_apart(one, other) for one, other in combinations(paths, 2)):
            names |= short_names(paths)
    return [replace(one, name=names.get(str(one.path), one.name)) for one in tomograms]


def _unique(tomograms: list[Tomogram]) -> list[Tomogram]:
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


def _volume_path(star: Path, row: pd.Series) -> Path:
    named = [row[c] for c in VOLUME_COLUMNS if c in row and not is_missing(row[c])]
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


def tilt_range_of_row(
    star: Path, blocks: dict[str, pd.DataFrame | dict], row: pd.Series
) -> tuple[float, float] | None:
    """Range of a tilt series; None where it is not said."""
    tilts = tilt_series_of_row(star, blocks, row)
    if tilts is None:
        return None
    for column in _TILT_COLUMNS:
        angles = pd.to_numeric(tilts.get(column, pd.Series(dtype=float)), errors="coerce")
        if angles.notna().any() and angles.min() < angles.max():
            return float(angles.min()), float(angles.max())
    return None
