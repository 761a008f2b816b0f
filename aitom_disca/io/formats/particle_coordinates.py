"""In which tomograms, and in which of their voxels, the particles of a file are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.file_names import name_in
from aitom_disca.io.formats.format import Known
from aitom_disca.io.pixel_sizes import pixels_in_voxels
from aitom_disca.io.tomogram_names import check_names, tomogram_names
from aitom_disca.io.tomograms.tilt_range import doubt
from aitom_disca.particles import ParticleSet, TomogramInfo

logger = logging.getLogger(__name__)


def name_of_only_tomogram(path: str | Path, known: Known) -> str:
    """Name of the tomogram of a file that does not say it: as given, by the file's own name, or
    the only one.

    Raises
    ------
    InputError
        If nothing tells it, or the file's name tells of another known one than was given.
    """
    path = Path(path)
    paths = [info.path for info in known.tomograms.values() if info.path is not None]
    shared = {folder for one in paths for folder in one.parts[:-1]}
    by_file = name_in(path, known.tomograms, shared)
    told = known.tomogram_name or by_file
    if by_file in known.tomograms and by_file != told:
        raise InputError(
            f"{path.name} is of the tomogram {by_file} by its name, but of {told} by "
            "--tomogram-name; rename the file, or leave the option out."
        )
    if told is not None:
        return told
    if known.one_of_several:
        return str(path.with_suffix(""))  # cut when it is known what the others are called
    if len(known.tomograms) == 1:
        return next(iter(known.tomograms))
    such = f"{next(iter(known.tomograms), 'TS_01')}{path.suffix}"
    raise InputError(
        f"{path.name} does not say which tomogram its particles are in; give its name with "
        f"--tomogram-name, or call the file by it, such as {such}."
    )


@dataclass(frozen=True)
class Places:
    """Which tomograms the particles of a file are in, and in which voxels.

    Parameters
    ----------
    names : ndarray of str, shape (N,)
    scale : ndarray of shape (N, 1)
        Voxels of the tomogram in a pixel of the file.
    tomograms : mapping of str to TomogramInfo
        Those of which at least the voxel size is known.
    """

    names: np.ndarray
    scale: np.ndarray
    tomograms: Mapping[str, TomogramInfo]


def find_places(
    path: str | Path,
    names: Iterable[str],
    known: Known,
    *,
    pixel_angstrom: np.ndarray | None = None,
    tilt_range_deg: Mapping[str, tuple[float, float]] | None = None,
    in_pixels: bool = True,
) -> Places:
    """Tomograms by the names under which they are known, and the scale of the file.

    Parameters
    ----------
    path : path
    names : iterable of str
        What the file calls the tomogram of every particle; it may be a path.
    known : Known
    pixel_angstrom : ndarray of shape (N,), optional
        What the file says of every row, NaN where it says nothing. Rows of one tomogram that count
        in several pixels are brought to its voxels, or else to the pixels of the first.
    tilt_range_deg : mapping of str to values, optional
        What the file says of a tomogram, by its name there.
    in_pixels : bool
        Whether the file counts in pixels; in a unit of length otherwise, and nothing is scaled.

    Raises
    ------
    InputError
        If a name is missing, it is not clear which known tomogram it means, or some rows of a
        tomogram say their pixel and others do not.
    """
    given = [str(name) for name in names]
    check_names(given, Path(path).name)
    called = tomogram_names(given, known.tomograms, Path(path).name, whole=known.one_of_several)
    unique, first, which = np.unique(given, return_index=True, return_inverse=True)
    pixel = np.full(len(given), np.nan) if pixel_angstrom is None else pixel_angstrom
    if known.file_pixel_angstrom is not None:
        pixel = np.full(len(given), known.file_pixel_angstrom)
    infos: dict[str, TomogramInfo] = {}
    own, voxel = np.empty(len(unique), object), np.full(len(unique), np.nan)
    for i in np.argsort(first).tolist():
        name = str(unique[i])
        own[i] = called[name]
        sizes = pixel[which == i]
        if in_pixels:
            _check_all_say_it(path, name, sizes)
        said = sizes[np.isfinite(sizes)]
        size = float(said[0]) if len(said) else None
        tilts = _likely_range(path, name, (tilt_range_deg or {}).get(name))
        info = _info(own[i], name, known, size, tilts)
        if info is not None:
            infos.setdefault(own[i], info)
            voxel[i] = infos[own[i]].voxel_size_angstrom
    scale = np.ones(len(given))
    if in_pixels:
        told = known.voxel_size_angstrom is not None and np.isnan(pixel).all()
        scale = pixels_in_voxels(path, pixel, voxel[which], is_known_why=told)
    return Places(np.array(own[which], dtype=str), scale[:, None], infos)


def _likely_range(
    path: str | Path, name: str, tilt_range_deg: tuple[float, float] | None
) -> tuple[float, float] | None:
    """A tilt range, unless it can hardly be one."""
    if tilt_range_deg is None or not (reason := doubt(tilt_range_deg)):
        return tilt_range_deg
    logger.warning("%s: the tilts of %s are passed over: %s.", Path(path).name, name, reason)
    return None


def _check_all_say_it(path: str | Path, name: str, sizes: np.ndarray) -> None:
    """Refuse rows of a tomogram of which only some say in which pixels they count."""
    said = np.isfinite(sizes)
    if said.any() and not said.all():
        raise InputError(
            f"{Path(path).name} says the pixel size of some particles of {name}, but not of "
            f"{(~said).sum()} others; fill it in, or give it with --file-pixel-angstrom."
        )


def _info(
    name: str,
    name_in_file: str,
    known: Known,
    pixel: float | None,
    tilt_range_deg: tuple[float, float] | None,
) -> TomogramInfo | None:
    if name in known.tomograms or known.voxel_size_angstrom or pixel:
        if not (name in known.tomograms or known.voxel_size_angstrom):
            known = replace(known, voxel_size_angstrom=pixel)
        info = known.info(name)
        if name in known.tomograms:
            return info
        if tilt_range_deg is not None and known.tilt_range_deg is None:
            info = replace(info, tilt_range_deg=tilt_range_deg)
        is_path = "/" in name_in_file or name_in_file != name
        return replace(info, path=Path(name_in_file)) if is_path else info
    return None


def voxel_size_or_none(name: str, particles: ParticleSet, known: Known) -> float | None:
    """Voxel size of a tomogram, for formats that can do without."""
    if known.voxel_size_angstrom or name in known.tomograms or name in particles.tomograms:
        return known.info(name, particles).voxel_size_angstrom
    return None
