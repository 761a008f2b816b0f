"""A tomogram, whose voxels stay on disk until they are read; opened from MRC files and OME-Zarr."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.tomogram_names import tomogram_name
from aitom_disca.io.tomograms.mrc import MappedVolume, map_voxels
from aitom_disca.io.tomograms.mrc_header import choose_voxel_size, read_header, tilt_range_of
from aitom_disca.io.tomograms.tilt_angles import read_tilts, tilts_beside
from aitom_disca.io.tomograms.tilt_range import DEFAULT_TILT_RANGE_DEG, check_tilt_range, doubt
from aitom_disca.io.tomograms.zarr_tomogram import ZarrVolume, is_zarr, open_zarr_volume
from aitom_disca.particles import Optics, TomogramInfo
from aitom_disca.progress import say

logger = logging.getLogger(__name__)

_WHOLE_TILT_RANGE_DEG = (-90.0, 90.0)


class MeanOfHalves:
    """A volume (z, y, x) whose voxels are the mean of two; only what is asked for is read.

    Parameters
    ----------
    one, other : array_like
    other_path : Path
        File of the other half; that of the one is the tomogram's.
    """

    def __init__(self, one: Any, other: Any, other_path: Path) -> None:
        if one.shape != other.shape:
            raise ValueError(f"halves of different sizes, {one.shape} and {other.shape}")
        self._halves = (one, other)
        self.other_path = other_path
        self.shape: tuple[int, ...] = one.shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, slices: Any) -> np.ndarray:
        """Voxels, as of an ndarray."""
        one, other = (np.asarray(half[slices], np.float32) for half in self._halves)
        return (one + other) / 2


@dataclass(frozen=True, eq=False)
class Tomogram(Optics):
    """A tomogram whose voxels stay on disk until they are read; with the values of `Optics`.

    It may be sent to other processes, which read the same file.

    Parameters
    ----------
    name : str
    path : Path
    data : MappedVolume, ZarrVolume, MeanOfHalves or ndarray of shape (z, y, x)
        Values and type as in the file, from which they are read when they are needed.
    voxel_size_angstrom : float
    tilt_range_deg : tuple of 2 floats
        Smallest and largest measured tilt; tilt axis y, beam z.
    dark_protein : bool
        Whether protein is darker than its surroundings in the file.
    tilt_series_pixel_size_angstrom, unbinned_shape_zyx, tilts_deg
        As in `TomogramInfo`.
    """

    name: str
    path: Path
    data: MappedVolume | ZarrVolume | MeanOfHalves | np.ndarray
    voxel_size_angstrom: float
    tilt_range_deg: tuple[float, float]
    dark_protein: bool = False
    tilt_series_pixel_size_angstrom: float | None = None
    unbinned_shape_zyx: tuple[float, float, float] | None = None
    tilts_deg: tuple[float, ...] = ()

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Size in voxels."""
        nz, ny, nx = self.data.shape
        return nz, ny, nx

    @property
    def paths(self) -> list[Path]:
        """The files that its voxels are read from."""
        other = [self.data.other_path] if isinstance(self.data, MeanOfHalves) else []
        return [self.path, *other]

    @property
    def info(self) -> TomogramInfo:
        """What is known without the voxels."""
        return TomogramInfo(
            self.name,
            self.voxel_size_angstrom,
            self.shape_zyx,
            self.tilt_range_deg,
            self.path,
            self.tilt_series_pixel_size_angstrom,
            self.unbinned_shape_zyx,
            self.tilts_deg,
            **self.optics,
        )

    def read(self, slices: tuple[slice, ...] | None = None) -> np.ndarray:
        """Copy a region into memory, protein bright.

        Parameters
        ----------
        slices : tuple of 3 slices, optional
            Along z, y, x, inside of the tomogram; everything if left out.

        Returns
        -------
        ndarray of float32, axes z, y, x

        Raises
        ------
        InputError
            If the region holds NaN or infinity, or the file has become shorter.
        """
        region = np.array(self.data[slices or ...], np.float32, order="C")
        finite = np.isfinite(region)
        if not finite.all():
            start = [s.start or 0 for s in slices] if slices else [0, 0, 0]
            first = np.unravel_index(np.argmin(finite), finite.shape)
            place = ", ".join(str(a + b) for a, b in zip(start[::-1], first[::-1], strict=True))
            raise InputError(
                f"tomogram {self.name} has {(~finite).sum()} voxels that are not finite numbers "
                f"(NaN or infinite) where it was read, the first at {place} (x, y, z from 0); "
                "reconstruct it again, or replace them by its mean."
            )
        return np.negative(region, out=region) if self.dark_protein else region


def open_tomogram(
    path: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    dark_protein: bool = False,
    name: str | None = None,
    tilt_file: str | Path | None = None,
    zarr_level: int = 0,
) -> Tomogram:
    """Open an MRC file (.mrc, .rec, .map; also .gz, .bz2) or an OME-Zarr folder as a tomogram.

    A compressed file is unpacked into an unnamed temporary file, which is gone with the object.

    Parameters
    ----------
    path : path
    voxel_size_angstrom : float, optional
        Overrides the header.
    tilt_range_deg : tuple of 2 floats, optional
        Overrides the header, where hardly any file has it. Where the header is silent, a file of
        tilt angles that lies beside the tomogram is read, and otherwise -60 to 60 taken.
    dark_protein : bool
        Whether protein is darker than its surroundings, as in most reconstructions.
    name : str, optional
        By which particles refer to the tomogram; from the file's name if left out.
    tilt_file : path, optional
        File of tilt angles, see `read_tilts`, in place of what the header says.
    zarr_level : int
        Of a multiscale image; see `open_zarr_volume`.

    Raises
    ------
    InputError
        If the file cannot be used, with the reason and what to do.
    """
    path = Path(path)
    given: tuple[float, ...] = ()
    if tilt_range_deg is not None:
        given = check_tilt_range(tilt_range_deg)
    elif tilt_file is not None:
        given = read_tilts(tilt_file)
    data: MappedVolume | ZarrVolume
    if is_zarr(path):
        data, voxel_size = open_zarr_volume(
            path, zarr_level, voxel_size_angstrom=voxel_size_angstrom
        )
        tilts = _tilts(path, None, given)
    else:
        with reading(path, "an MRC file", "copy it again"):
            header, extended = read_header(path)
            data = map_voxels(path, header)
            voxel_size = choose_voxel_size(path, header, voxel_size_angstrom)
            tilts = _tilts(path, tilt_range_of(header, extended), given)
    return Tomogram(
        name or tomogram_name(path),
        path.resolve(),
        data,
        voxel_size,
        (tilts[0], tilts[-1]),
        dark_protein,
        tilts_deg=tilts if len(tilts) > 2 else (),
    )


def open_with_tilts(
    path: Path,
    voxel_size_angstrom: float | None,
    tilts_deg: tuple[float, ...],
    dark_protein: bool,
    zarr_level: int = 0,
) -> Tomogram:
    """Open a tomogram of which every tilt is known, or none; else as `open_tomogram`.

    Parameters
    ----------
    path, voxel_size_angstrom, dark_protein, zarr_level
        As for `open_tomogram`.
    tilts_deg : tuple of float
        All tilts, or the smallest and the largest; empty where none are known.
    """
    opened = open_tomogram(
        path,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=(tilts_deg[0], tilts_deg[-1]) if tilts_deg else None,
        dark_protein=dark_protein,
        zarr_level=zarr_level,
    )
    return replace(opened, tilts_deg=tilts_deg) if len(tilts_deg) > 2 else opened


def _tilts(
    path: Path, of_header: tuple[float, float] | None, given: tuple[float, ...]
) -> tuple[float, ...]:
    """The tilts or range given, else the header's, else those of a file beside it, else a guess."""
    if given:
        if reason := doubt(given):
            logger.warning("%s: tilts as given, but %s; check them.", path.name, reason)
        return given
    if of_header is not None:
        return of_header
    beside = tilts_beside(path)
    if beside is not None:
        tilts, file = beside
        say(f"{path.name}: tilt range {tilts[0]:g} to {tilts[-1]:g} degrees, of {file.name}")
        return tilts
    logger.warning(
        "%s does not say its tilt range; -60 to 60 degrees is taken (--tilt-range to change it).",
        path.name,
    )
    return DEFAULT_TILT_RANGE_DEG


def open_map(path: str | Path, *, voxel_size_angstrom: float | None = None) -> Tomogram:
    """Open a density map, an average or a mask, which has no tilt range: none is missing.

    Parameters
    ----------
    path : path
    voxel_size_angstrom : float, optional
        In place of the header's.

    Raises
    ------
    InputError
        As `open_tomogram`.
    """
    return open_tomogram(
        path, voxel_size_angstrom=voxel_size_angstrom, tilt_range_deg=_WHOLE_TILT_RANGE_DEG
    )
