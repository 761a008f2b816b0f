"""Subtomograms that another program cut: a folder of volumes, or those that a star file names."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram
from aitom_disca.io.disk.free_space import need_space
from aitom_disca.io.formats import Known
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.io.formats.relion.optics_groups import optics_by_tomogram
from aitom_disca.io.formats.relion.particle_columns import cut_anew
from aitom_disca.io.formats.relion.particle_images import is_two_stage
from aitom_disca.io.formats.relion.star_blocks import ORIGIN_ANGST_COLUMNS, resolve
from aitom_disca.io.pixel_sizes import UnknownPixelSize, check_given_pixel, differs
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.io.tomogram_names import short_names
from aitom_disca.io.tomograms.defocus import optics_of
from aitom_disca.io.tomograms.mrc import read_voxels
from aitom_disca.io.tomograms.mrc_header import read_header, tilt_range_of
from aitom_disca.io.tomograms.tilt_range import check_given_range
from aitom_disca.io.tomograms.tomogram import open_tomogram
from aitom_disca.io.tomograms.wedge_volume import tilt_range_of_wedge
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.progress import say, track
from aitom_disca.subtomograms.preprocess import is_constant, normalise

logger = logging.getLogger(__name__)

_VOLUMES = (".mrc", ".rec", ".map", ".mrc.gz")
_IMAGE, _CTF_IMAGE = "rlnImageName", "rlnCtfImage"
# As Warp calls the CTF of a subtomogram, and this package its wedges.
_CTF = re.compile(r"_ctf(?=(_\d+(\.\d+)?A)?\.\w+(\.gz)?$)", re.IGNORECASE)
_WEDGE = re.compile(r"wedge_-?[\d.]+_-?[\d.]+\.mrc$")
_AT_ONCE = 64
_TILT_RANGE_DEG = (-60.0, 60.0)
_NORMALISATION = "zero mean and unit variance per subtomogram"


def import_subtomograms(
    source: str | Path,
    out: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    file_pixel_angstrom: float | None = None,
    tilt_range_deg: tuple[float, float] | None = None,
    dark_protein: bool = False,
    optics: OpticsSettings | None = None,
    overwrite: bool = False,
) -> int:
    """Write volumes that are there already into a store, normalised.

    Parameters
    ----------
    source : path
        A folder of MRC files, all of them taken but CTFs and wedges of others, in the order of
        their names; or a RELION star file whose ``rlnImageName`` are 3D volumes, with the
        positions that it holds: those of the boxes.
    out : path
        The store.
    voxel_size_angstrom : float, optional
        Of the volumes, if their headers are silent or wrong.
    file_pixel_angstrom : float, optional
        In which the star file counts, if it does not say it.
    tilt_range_deg : tuple of 2 floats, optional
        Measured tilts; unless given those of each tomogram, as the file or the CtfImages that it
        names say, else -60 to 60.
    dark_protein : bool
        Whether protein is dark: the volumes are inverted.
    optics : OpticsSettings, optional
        Defocus and microscope; come before what the star file says.
    overwrite : bool

    Returns
    -------
    int
        Subtomograms written; constant ones are left out, and counted aloud.

    Raises
    ------
    InputError
        If there are no volumes, one is missing, or they differ in size or voxel size.
    """
    source = Path(source)
    if file_pixel_angstrom is not None:
        check_given_pixel(file_pixel_angstrom)
    paths, particles, of_star = _listed(source, file_pixel_angstrom, voxel_size_angstrom)
    first = open_tomogram(
        paths[0], voxel_size_angstrom=voxel_size_angstrom, tilt_range_deg=_TILT_RANGE_DEG
    )
    box, voxel = first.shape_zyx, first.voxel_size_angstrom
    if len(set(box)) != 1:
        raise InputError(f"expected cubic subtomograms, but {paths[0].name} is {box} (z, y, x).")
    tilts = _tilt_ranges(source, particles, tilt_range_deg)
    known = dict(particles.tomograms)
    if optics is not None and optics.defocus is not None:  # else a folder's need not be listed
        known = {
            name: known.get(name, TomogramInfo(name, voxel))
            for name in np.unique(particles.tomogram_name).tolist()
        }
    infos = {
        name: replace(
            info,
            tilt_range_deg=tilts.get(name, info.tilt_range_deg),
            **optics_of(name, source, optics, of_star.get(name, {})),
        )
        for name, info in known.items()
    }
    particles = replace(_as_cut(particles), tomograms=infos)
    n_bytes = 4 * math.prod(box) * len(paths)
    need_space(Path(out).parent, n_bytes, f"{Path(out).name}, {counted(len(paths), 'subtomogram')}")
    n_constant = 0
    with StoreWriter.create(
        out, box, voxel, tilts, infos, _NORMALISATION, str(source), overwrite
    ) as writer:
        pieces = np.split(np.arange(len(paths)), range(_AT_ONCE, len(paths), _AT_ONCE))
        for rows in track(pieces, "reading subtomograms"):
            volumes = np.stack(
                [_volume(paths[row], first, voxel_size_angstrom, dark_protein) for row in rows]
            )
            flat = is_constant(volumes)
            n_constant += int(flat.sum())
            if flat.all():
                continue
            kept = volumes[~flat]
            axes = (1, 2, 3)
            writer.append(
                normalise(kept),
                particles.select(rows[~flat]),
                raw_mean=kept.mean(axis=axes),
                raw_std=kept.std(axis=axes),
                image_name=np.array([str(paths[row]) for row in rows[~flat]]),
            )
    if n_constant:
        say(f"left out: {counted(n_constant, 'volume')} with one value only")
    return len(paths) - n_constant


def _listed(
    source: Path, file_pixel_angstrom: float | None, voxel_size_angstrom: float | None
) -> tuple[list[Path], ParticleSet, dict[str, dict[str, float]]]:
    """Paths of all volumes, the particles that they show, and what is said of the microscope."""
    if source.is_dir():
        paths = _without_ctf_images([p for p in sorted(source.iterdir()) if _is_volume(p)])
        if not paths:
            raise InputError(f"the folder {source} holds no .mrc, .rec or .map; check the path.")
        names = np.array(list(short_names(map(str, paths)).values()))
        return paths, ParticleSet(names, np.full((len(paths), 3), np.nan)), {}
    try:
        particles = read_particles(source, known=Known(file_pixel_angstrom=file_pixel_angstrom))
    except UnknownPixelSize:  # then positions count in voxels of the volumes
        if voxel_size_angstrom is None:
            raise
        logger.warning(
            "%s does not say in which pixels it counts; the voxels of the volumes, %.5g Angstrom, "
            "are assumed (--file-pixel-angstrom if that is wrong).",
            source.name,
            voxel_size_angstrom,
        )
        particles = read_particles(source, known=Known(file_pixel_angstrom=voxel_size_angstrom))
    if _IMAGE not in particles.more or not len(particles):
        raise InputError(
            f"{source.name} names no volumes (column {_IMAGE}); give one that does, the folder of "
            "the volumes, or extract them from the tomograms."
        )
    paths = _resolved(source, particles.more[_IMAGE].astype(str).tolist())
    return paths, particles, optics_by_tomogram(particles)


def _as_cut(particles: ParticleSet) -> ParticleSet:
    """What is known of particles whose images are taken as they are.

    Where boxes were cut stays where they were cut. Of images that were cut in orientations of their
    own the poses are those of the particle in the tomogram, not in the image: they are left out.
    """
    boxes = particles.box_center_zyx_px
    boxes = particles.center_zyx_px if boxes is None else boxes
    kept = cut_anew(particles)
    if is_two_stage(particles):
        say("subtomograms were cut in orientations of their own: their poses are left out")
        more = {k: v for k, v in kept.more.items() if k not in ORIGIN_ANGST_COLUMNS}
        return replace(
            kept, center_zyx_px=boxes, euler_zyz_deg=None, box_center_zyx_px=None, more=more
        )
    return replace(kept, box_center_zyx_px=boxes if particles.has_positions else None)


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(_VOLUMES) and not path.name.startswith(".")


def _without_ctf_images(paths: list[Path]) -> list[Path]:
    """Volumes of a folder without the CTFs and wedges of others, by their names."""
    names = {path.name for path in paths}
    others = [
        path
        for path in paths
        if _WEDGE.match(path.name) or names & {_CTF.sub("", path.name)} - {path.name}
    ]
    if not others or len(others) == len(paths):
        return paths
    say(f"left out: {counted(len(others), 'file')} of CTFs or wedges ({others[0].name})")
    return [path for path in paths if path not in others]


def _tilt_ranges(
    source: Path, particles: ParticleSet, given: tuple[float, float] | None
) -> dict[str, tuple[float, float]]:
    """Measured tilts of every tomogram: given, as the file says, of its CtfImages, or a guess."""
    names, first = np.unique(particles.tomogram_name, return_index=True)
    if given is not None:
        return dict.fromkeys(names.tolist(), check_given_range(given))
    found, unknown = {}, []
    images = particles.more.get(_CTF_IMAGE)
    for name, row in zip(names.tolist(), first.tolist(), strict=True):
        info = particles.tomograms.get(name)
        own = (
            None if info is None or info.tilt_range_deg == _TILT_RANGE_DEG else info.tilt_range_deg
        )
        if own is None and images is not None:
            own = _of_ctf_image(source, str(images[row]))
        found[name] = own or _TILT_RANGE_DEG
        unknown += [name] if own is None else []
    if unknown:
        whose = "" if len(unknown) == len(found) else f" of {', '.join(unknown)}"
        say(f"tilt range{whose}: -60 to 60 degrees (a guess; --tilt-range sets it)")
    for low, high in sorted({found[name] for name in found if name not in unknown}):
        n = sum(ends == (low, high) for ends in found.values())
        say(f"tilt range {low:g} to {high:g} degrees: {n} of {counted(len(found), 'tomogram')}")
    return found


def _of_ctf_image(source: Path, named: str) -> tuple[float, float] | None:
    """Tilt range of a CtfImage, by its header or its zeros; None where it cannot be told."""
    path = resolve(named, source)
    if path is None:
        return None
    said = tilt_range_of(*read_header(path))
    if said is not None:
        return said
    return tilt_range_of_wedge(read_voxels(path))


def _resolved(star: Path, named: Sequence[str]) -> list[Path]:
    paths = []
    for name in named:
        if "@" in name or name.endswith(".mrcs"):
            raise InputError(
                f"{star.name} names images of a stack ({name}), which are no 3D subtomograms; "
                "extract the subtomograms as volumes."
            )
        found = resolve(name, star)
        if found is None:
            raise InputError(
                f"the volume {name} of {star.name} is neither in the working folder nor in one "
                "above the star file; run from RELION's project folder."
            )
        paths.append(found)
    return paths


def _volume(
    path: Path, first: Tomogram, voxel_size_angstrom: float | None, dark_protein: bool
) -> np.ndarray:
    one = open_tomogram(
        path,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=_TILT_RANGE_DEG,
        dark_protein=dark_protein,
    )
    if one.shape_zyx != first.shape_zyx:
        raise InputError(
            f"expected subtomograms of one size, but {path.name} is {one.shape_zyx} (z, y, x) and "
            f"the first one {first.shape_zyx}."
        )
    if differs(one.voxel_size_angstrom, first.voxel_size_angstrom):
        raise InputError(
            f"expected subtomograms of one voxel size, but {path.name} has "
            f"{one.voxel_size_angstrom:g} A and the first one {first.voxel_size_angstrom:g} A; "
            "import them into stores of their own, or give --voxel-size-angstrom if one is wrong."
        )
    return one.read()
