"""What a particle format is to this package, and what a user knows that its files do not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.tomogram_names import check_names
from aitom_disca.particles import ParticleSet, TomogramInfo

POSE, SCORE, CLUSTER = "pose", "score", "cluster"
POSTERIOR, BOX_CENTER, FURTHER, NAME = "posterior", "box centre", "further columns", "tomogram name"
EVERYTHING = frozenset({POSE, SCORE, CLUSTER, POSTERIOR, BOX_CENTER, FURTHER, NAME})


@dataclass(frozen=True)
class Known:
    """What is known beside a file; each is asked for by name where a format needs it.

    Parameters
    ----------
    tomograms : mapping of str to TomogramInfo
    voxel_size_angstrom : float, optional
        Voxel of the tomogram that positions are counted in, in memory and in what is written.
    file_pixel_angstrom : float, optional
        Pixel that the file read counts in; overrides what it says.
    shape_zyx : tuple of 3 int, optional
        Size of that tomogram in voxels.
    binning : float, optional
        That voxel, divided by the pixel of the tilt series.
    unbinned_shape_zyx : tuple of 3 float, optional
        Size of the tomogram in pixels of the tilt series.
    tilt_range_deg : tuple of 2 float, optional
    tomogram_name : str, optional
        For files that do not name their tomogram.
    box_px : int, optional
        Edge of a box, in voxels of the tomogram.
    centre_offset_px : float
        Unbinned pixels by which centred coordinates are counted from before half the size: 0 as
        RELION's own programs, 1 as some others.
    object_name : str
        What the particles are called where a format wants a name.
    transposed : bool
        Whether matrices in a portal file take the tomogram to the particle.
    one_of_several : bool
        Whether the file is one of several, which are of several tomograms.
    only_known : bool
        Whether particles in other tomograms are left out, of which nothing need be known then.
    has_from : bool
        Whether the command has the option ``--from``, to be named in errors.
    """

    tomograms: Mapping[str, TomogramInfo] = field(default_factory=dict)
    voxel_size_angstrom: float | None = None
    file_pixel_angstrom: float | None = None
    shape_zyx: tuple[int, int, int] | None = None
    binning: float | None = None
    unbinned_shape_zyx: tuple[float, float, float] | None = None
    tilt_range_deg: tuple[float, float] | None = None
    tomogram_name: str | None = None
    box_px: int | None = None
    centre_offset_px: float = 0.0
    object_name: str = "particle"
    transposed: bool = False
    one_of_several: bool = False
    only_known: bool = False
    has_from: bool = False

    def info(self, name: str, particles: ParticleSet | None = None) -> TomogramInfo:
        """All that is known of a tomogram: from options, then the tomograms given, then the file.

        Raises
        ------
        InputError
            If nothing says its voxel size.
        """
        info = self.tomograms.get(name)
        if info is None and particles is not None:
            info = particles.tomograms.get(name)
        voxel = self.voxel_size_angstrom or (info.voxel_size_angstrom if info else None)
        if voxel is None:
            raise InputError(
                f"the voxel size of tomogram {name} is unknown; give it with --voxel-size-angstrom."
            )
        info = info or TomogramInfo(name, voxel)
        given = {
            "voxel_size_angstrom": voxel,
            "shape_zyx": self.shape_zyx,
            "unbinned_shape_zyx": self.unbinned_shape_zyx,
            "tilt_range_deg": self.tilt_range_deg,
            "tilt_series_pixel_size_angstrom": voxel / self.binning if self.binning else None,
        }
        return replace(info, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Format:
    """A kind of particle file.

    Parameters
    ----------
    name : str
        As in ``--to``.
    title : str
    suffixes : tuple of str
        Of file names, the one that is written first.
    recognises : callable
        Whether a file is of this kind, from its name and its content; never raises.
    read : callable, optional
        ``read(path, known) -> ParticleSet``
    write : callable, optional
        ``write(path, particles, known) -> list of files written``
    keeps : frozenset of str
        What survives being written, beside positions.
    library : str
        What reads and writes it.
    one_tomogram : bool
        Whether a file holds the particles of one tomogram; several are written as several files,
        ``OUT_name.suffix``.
    loses : callable, optional
        ``loses(particles, known)`` says, in words, what else of these particles is not written;
        for formats that keep further columns, but not all.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Known], ParticleSet] | None = None
    write: Callable[[Path, ParticleSet, Known], list[Path]] | None = None
    keeps: frozenset[str] = frozenset()
    library: str = ""
    one_tomogram: bool = False
    loses: Callable[[ParticleSet, Known], list[str]] | None = None

    def __post_init__(self) -> None:
        if self.read is not None:
            object.__setattr__(self, "read", _with_border(self.read, self.title))


def _with_border(
    read: Callable[[Path, Known], ParticleSet], title: str
) -> Callable[[Path, Known], ParticleSet]:
    """A reader whose every error is a sentence; see `reading`."""

    @wraps(read)
    def bordered(path: Path, known: Known) -> ParticleSet:
        with reading(path, f"a file of {title}"):
            return read(path, known)

    return bordered


def tomogram_numbers(particles: ParticleSet) -> dict[str, int]:
    """A number from 1 for every tomogram, in order of appearance."""
    return {str(name): i for i, name in enumerate(dict.fromkeys(particles.tomogram_name), 1)}


def voxel_sizes(particles: ParticleSet, known: Known) -> np.ndarray:
    """Voxel size in Angstrom of every particle's tomogram, shape (N,)."""
    names, which = np.unique(particles.tomogram_name, return_inverse=True)
    return np.array([known.info(str(n), particles).voxel_size_angstrom for n in names])[which]


def need_positions(particles: ParticleSet, title: str) -> None:
    """Refuse particles without voxel positions, or in tomograms of names that no file keeps.

    Raises
    ------
    InputError
    """
    check_names(particles.tomogram_name.tolist(), "the list of particles")
    if particles.has_positions:
        return
    if particles.centered_xyz_angstrom is None:
        raise InputError(
            f"{title} needs positions, which these particles do not have; give a file or a store "
            "that knows them."
        )
    raise InputError(
        f"{title} needs positions in voxels, but these are only known from the centre of "
        "tomograms of unknown size; give the tomograms with --tomogram, or --size-zyx and "
        "--voxel-size-angstrom."
    )
