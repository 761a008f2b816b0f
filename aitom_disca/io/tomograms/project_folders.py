"""Folders of other programs as a source of tomograms: RELION, Warp, AreTomo, the Data Portal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.io.formats.relion.star_blocks import read_blocks
from aitom_disca.io.tomogram_names import series_name, tomogram_name
from aitom_disca.io.tomograms.zarr_tomogram import is_zarr
from aitom_disca.progress import say

_VOLUMES = (".mrc", ".rec", ".map", ".mrc.gz", ".rec.gz")
_RECONSTRUCTED = (
    "rlnTomoReconstructedTomogram",
    "rlnTomoReconstructedTomogramHalf1",
    "rlnTomoDenoisedTomogram",
)
_RECONSTRUCTED_AS = ("_vol", "_rec", "_full_rec")  # by AreTomo and IMOD
# What the names of files that show a tomogram in another way end with, in small letters.
_DERIVED = re.compile(
    r"_(ctf|power|ali|preali|3dmod|proj(xy|xz|yz)?|2nd_vol|masks?|seg|segmented|segmentation|labels?"
    r"|membranes?|scores|angles)$"
)
# What stands in the names of further versions of a tomogram, of which one is to be taken.
_VERSION = re.compile(
    r"_(2nd|denoised|deconv|corrected|isonet|cryocare)(?=(_vol|_rec|_full|_\d+(\.\d+)?apx|_bin\d+)*$)"
)
_HALF = re.compile(r"_(evn|odd|even|half1|half2)(?=(_vol|_rec|_full|_\d+(\.\d+)?apx|_bin\d+)*$)")
_OTHER_HALF = {
    "evn": ("odd",),
    "even": ("odd",),
    "odd": ("evn", "even"),
    "half1": ("half2",),
    "half2": ("half1",),
}


def tomograms_in(folder: str | Path) -> list[Path]:
    """What `open_tomograms` can open in a folder: volumes, or a tomograms.star.

    Looked for, in this order: RELION's newest ``tomograms.star`` that names reconstructions;
    Warp's ``reconstruction``; a run of the CryoET Data Portal (``.zarr`` before ``.mrc``); volumes
    in the folder itself, as AreTomo leaves them. Hidden files are passed over; half sets, tilt
    series, spectra, masks and segmentations of tomograms that are there are left out, which is
    said aloud.

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
    names = dict.fromkeys([tomogram_name(tomogram), series_name(tomogram.name)])
    for folder in (tomogram.parent, *tomogram.parents[1:4]):
        for place in (folder, folder / "tomostar"):
            for name in names:
                if (place / f"{name}.tomostar").is_file():
                    return place / f"{name}.tomostar"
    return None


def _relion(folder: Path) -> list[Path]:
    stars = [*folder.glob("tomograms.star"), *folder.glob("*/job*/tomograms.star")]
    stars.sort(key=lambda star: star.parent.name)  # job009 before job010
    for star in reversed(stars):
        try:
            blocks = read_blocks(star)
        except InputError as error:  # of a job that broke off
            say(f"passed over {star}: {error}")
            continue
        columns = {c for block in blocks.values() for c in getattr(block, "columns", ())}
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
        inside = [one.relative_to(folder) for one in sorted(folder.glob(place)) if one.is_dir()]
        seen = [one for one in inside if not any(part.startswith(".") for part in one.parts)]
        held = {one: found for one in seen if (found := find(folder / one))}
        first, *others = held or [None]
        if others:
            say(f"taken from {folder}: {first}; not taken: {', '.join(map(str, others))}")
        if first is not None:
            return held[first]
    return []


def _stores(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.zarr") if is_zarr(path))


def _volumes(folder: Path) -> list[Path]:
    visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    volumes = [path for path in visible if path.name.lower().endswith(_VOLUMES)]
    files = [path for path in volumes if not path.is_dir()]
    others = {path: why for path in files if (why := _is_no_tomogram(path, files))}
    if others and len(others) == len(files):
        raise InputError(
            f"the folder {folder} holds only {', '.join(sorted(set(others.values())))} "
            f"({files[0].name}, ...), but no whole tomograms; give the files that are to be used."
        )
    if others:
        named = "; ".join(f"{path.name} ({why})" for path, why in others.items())
        say(f"left out of {folder}: {named}")
    return [path for path in files if path not in others] or _stores(folder)


def _is_no_tomogram(path: Path, files: Sequence[Path]) -> str | None:
    """What a file is, if another one of a folder shows that it is not a tomogram of its own."""
    name = tomogram_name(path).lower()
    names = {tomogram_name(other).lower() for other in files if other != path}
    if half := _HALF.search(name):
        rest = [name[: half.start()], name[half.end() :]]
        wholes = ["".join(rest), *(f"_{other}".join(rest) for other in _OTHER_HALF[half[1]])]
        return "half sets" if names & set(wholes) else None
    if derived := _DERIVED.search(name):
        of = name[: derived.start()]
        shown = names | {series_name(other) for other in names}
        is_of_one = any(re.match(rf"{re.escape(other)}(?![^\W_])", of) for other in shown)
        return "spectra, masks and the like" if is_of_one else None
    if (version := _VERSION.search(name)) and names & {_without(version, name)}:
        return "other versions of tomograms"
    if path.name.lower().endswith((".mrc", ".mrc.gz")) and _is_series(name, path, files):
        return "tilt series"
    trimmed = re.sub(r"_full(_rec)?$", "", name)
    if trimmed != name and any(_is_trimmed(other, trimmed) for other in files):
        return "tomograms before they were trimmed"
    return None


def _without(found: re.Match[str], name: str) -> str:
    return name[: found.start()] + name[found.end() :]


def _is_series(name: str, path: Path, files: Sequence[Path]) -> bool:
    """Whether a file's reconstruction is there; or only its spectra, where others have one."""
    others = [other for other in files if other != path]
    if any(_is_made_of(other, name) for other in others):
        return True
    names = {tomogram_name(other).lower() for other in others}
    of_aretomo = {other.removesuffix("_vol") + "_ctf" for other in names if other.endswith("_vol")}
    return name + "_ctf" in names and bool(names & of_aretomo)


def _is_trimmed(path: Path, name: str) -> bool:
    """Whether a file is the tomogram of a series that was trimmed, by old and new names of IMOD."""
    own = tomogram_name(path).lower()
    return own == name + "_rec" or (own == name and path.suffix.lower() == ".rec")


def _is_made_of(reconstruction: Path, series: str) -> bool:
    """Whether a file is the reconstruction of a tilt series, by its name."""
    name = tomogram_name(reconstruction).lower()
    of_imod = reconstruction.suffix.lower() == ".rec" and name in (series, f"{series}_full")
    return of_imod or name in {series + added for added in _RECONSTRUCTED_AS}
