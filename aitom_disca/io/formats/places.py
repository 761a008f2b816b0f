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
from aitom_disca.io.names import check_names, tomogram_names
from aitom_disca.particles import ParticleSet, TomogramInfo

logger = logging.getLogger(__name__)

_SAME_SIZE = 0.01  # pixel sizes that differ by less mean the same voxels


def name_of_only_tomogram(path: str | Path, known: Known) -> str:
    """Name of the tomogram of a file that does not say it: as given, by the file's own name, or
    the only one.

    Raises
    ------
    InputError
        If nothing tells it, or the file's name tells of another known one than was given.
    """
    path = Path(path)
    by_file = name_in(path, known.tomograms)
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
    pixel_angstrom: Mapping[str, float] | None = None,
    tilt_range_deg: Mapping[str, tuple[float, float]] | None = None,
) -> Places:
    """Tomograms by the names under which they are known, and the scale of the file.

    Parameters
    ----------
    path : path
    names : iterable of str
        What the file calls the tomogram of every particle; it may be a path.
    known : Known
    pixel_angstrom, tilt_range_deg : mapping of str to values, optional
        What the file says of a tomogram, by its name there.

    Raises
    ------
    InputError
        If a name is missing, or it is not clear which known tomogram it means.
    """
    given = [str(name) for name in names]
    check_names(given, Path(path).name)
    called = tomogram_names(given, known.tomograms, Path(path).name, whole=known.one_of_several)
    infos: dict[str, TomogramInfo] = {}
    own: dict[str, str] = {}
    scale: dict[str, float] = {}
    for name in dict.fromkeys(given):
        own[name] = called[name]
        pixel = known.file_pixel_angstrom or (pixel_angstrom or {}).get(name)
        info = _info(own[name], name, known, pixel, (tilt_range_deg or {}).get(name))
        scale[name] = 1.0
        if info is not None:
            infos[own[name]] = info
            if pixel and abs(pixel / info.voxel_size_angstrom - 1) > _SAME_SIZE:
                scale[name] = pixel / info.voxel_size_angstrom
                logger.warning(
                    "%s counts in pixels of %.5g Angstrom, tomogram %s has %.5g; coordinates are "
                    "scaled (--file-pixel-angstrom if that is wrong).",
                    Path(path).name,
                    pixel,
                    own[name],
                    info.voxel_size_angstrom,
                )
    return Places(
        np.array([own[name] for name in given], dtype=str),
        np.array([scale[name] for name in given])[:, None],
        infos,
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
