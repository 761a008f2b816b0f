"""Several tomograms at once: MRC files and RELION's tomograms.star."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.io.tomogram_names import are_apart, fault_of, short_names, tomogram_name
from aitom_disca.io.tomograms.defocus import optics_of
from aitom_disca.io.tomograms.project_folders import tomograms_in
from aitom_disca.io.tomograms.tilt_angles import read_tilts
from aitom_disca.io.tomograms.tomogram import Tomogram, open_with_tilts
from aitom_disca.io.tomograms.tomograms_star import open_listed
from aitom_disca.io.tomograms.zarr_tomogram import is_zarr
from aitom_disca.particles import TomogramInfo

Opened = TypeVar("Opened", Tomogram, TomogramInfo)


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
                    tomograms += open_listed(one, *options, optics)
                else:
                    opened = open_with_tilts(one, *options, zarr_level)
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
    return _unique(open_listed(Path(path), voxel_size_angstrom, tilt_range_deg or (), dark_protein))


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
