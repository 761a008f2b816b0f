"""Folders of other programs as a source of tomograms: RELION, Warp, AreTomo, the Data Portal."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.io.star_blocks import read_blocks
from aitom_disca.io.zarr_tomogram import is_zarr

_VOLUMES = (".mrc", ".rec", ".map", ".mrc.gz", ".rec.gz")
_RECONSTRUCTED = (
    "rlnTomoReconstructedTomogram",
    "rlnTomoReconstructedTomogramHalf1",
    "rlnTomoDenoisedTomogram",
)
_HALVES = re.compile(r"(_EVN|_ODD|_even|_odd|_half[12]|_mask)", re.IGNORECASE)


def tomograms_in(folder: str | Path) -> list[Path]:
    """What `open_tomograms` can open in a folder: volumes, or a tomograms.star.

    Looked for, in this order: RELION's newest ``tomograms.star`` that names reconstructions;
    Warp's ``reconstruction``; a run of the CryoET Data Portal (``.zarr`` before ``.mrc``); volumes
    in the folder itself, as AreTomo leaves them (half sets are left out).

    Raises
    ------
    InputError
        If there is none of these.
    """
    folder = Path(folder)
    for find in (_relion, _warp, _portal, _volumes):
        found = find(folder)
        if found:
            return found
    raise InputError(
        f"the folder {folder} holds no tomograms: looked for RELION's tomograms.star with "
        "reconstructed tomograms, Warp's reconstruction, Tomograms of the CryoET Data Portal, and "
        ".mrc, .rec, .map or .zarr; give the folder that holds them, or the files."
    )


def tilt_file_of(tomogram: Path) -> Path | None:
    """Warp's .tomostar of a reconstruction; None elsewhere."""
    series = re.sub(r"_\d+(\.\d+)?Apx$", "", tomogram.stem)
    for folder in (tomogram.parent, *tomogram.parents[1:4]):
        for place in (folder, folder / "tomostar"):
            if (place / f"{series}.tomostar").is_file():
                return place / f"{series}.tomostar"
    return None


def _relion(folder: Path) -> list[Path]:
    stars = [*folder.glob("tomograms.star"), *folder.glob("*/job*/tomograms.star")]
    stars.sort(key=lambda star: star.parent.name)  # job009 before job010
    for star in reversed(stars):
        columns = {c for block in read_blocks(star).values() for c in getattr(block, "columns", ())}
        if columns & {*_RECONSTRUCTED}:
            return [star]
    return []


def _warp(folder: Path) -> list[Path]:
    return _first(folder, ["reconstruction", "*/reconstruction"], _volumes)


def _portal(folder: Path) -> list[Path]:
    places = [
        "Reconstructions/VoxelSpacing*/Tomograms/*",
        "Reconstructions/VoxelSpacing*/Tomograms",
        "Tomograms/VoxelSpacing*/CanonicalTomogram",
        "VoxelSpacing*/CanonicalTomogram",
        "Tomograms/*",
    ]
    return _first(folder, places, lambda place: _stores(place) or _volumes(place))


def _first(folder: Path, places: list[str], find: Callable[[Path], list[Path]]) -> list[Path]:
    for place in places:
        for one in sorted(folder.glob(place)):
            found = find(one) if one.is_dir() else []
            if found:
                return found
    return []


def _stores(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.zarr") if is_zarr(path))


def _volumes(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(_VOLUMES)]
    return [path for path in files if not _HALVES.search(path.name)] or _stores(folder)
