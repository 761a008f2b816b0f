"""Subtomograms that another program cut: a folder of volumes, or those that a star file names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram
from aitom_disca.io.defocus import optics_of
from aitom_disca.io.formats import Known
from aitom_disca.io.formats.reading import read_particles
from aitom_disca.io.formats.relion_columns import cut_anew
from aitom_disca.io.formats.relion_optics import is_two_stage, optics_by_tomogram
from aitom_disca.io.mrc import open_tomogram
from aitom_disca.io.star_blocks import ORIGIN_ANGST_COLUMNS, resolve
from aitom_disca.io.store import StoreWriter
from aitom_disca.io.wedge_volume import read_tilt_range
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.progress import say, track
from aitom_disca.subtomograms.preprocess import is_constant, normalise

_VOLUMES = (".mrc", ".rec", ".map", ".mrc.gz")
_IMAGE, _WEDGE = "rlnImageName", "rlnCtfImage"
_AT_ONCE = 64
_SAME_VOXEL = 0.01  # headers round
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
        A folder of MRC files, all of them taken, in the order of their names; or a RELION star
        file whose ``rlnImageName`` are 3D volumes, with the positions that it holds: those of the
        boxes.
    out : path
        The store.
    voxel_size_angstrom : float, optional
        Of the volumes, if their headers are silent or wrong.
    file_pixel_angstrom : float, optional
        In which the star file counts, if it does not say it.
    tilt_range_deg : tuple of 2 floats, optional
        Measured tilts; unless given those that ``rlnCtfImage`` shows, or else -60 to 60.
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
    paths, particles, of_star, of_wedges = _listed(source, file_pixel_angstrom, voxel_size_angstrom)
    first = open_tomogram(
        paths[0], voxel_size_angstrom=voxel_size_angstrom, tilt_range_deg=_TILT_RANGE_DEG
    )
    box, voxel = first.shape_zyx, first.voxel_size_angstrom
    if len(set(box)) != 1:
        raise InputError(f"expected cubic subtomograms, but {paths[0].name} is {box} (z, y, x).")
    tilts = tilt_range_deg or _common(of_wedges.values()) or _TILT_RANGE_DEG
    if tilt_range_deg is not None:
        of_wedges = {}
    elif of_wedges:
        say(f"tilt range: {tilts[0]:g} to {tilts[1]:g} degrees, of rlnCtfImage")
    else:
        say("tilt range: -60 to 60 degrees (a guess; --tilt-range sets it)")
    known = dict(particles.tomograms)
    if optics is not None and optics.defocus is not None:  # else a folder's need not be listed
        known = {
            name: known.get(name, TomogramInfo(name, voxel))
            for name in np.unique(particles.tomogram_name).tolist()
        }
    infos = {
        name: replace(
            info,
            tilt_range_deg=of_wedges.get(name, tilts),
            **optics_of(name, source, optics, of_star.get(name, {})),
        )
        for name, info in known.items()
    }
    particles = replace(particles, tomograms=infos)
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
        say(f"{n_constant} volumes hold one value only and were left out")
    return len(paths) - n_constant


def _common(ranges: Collection[tuple[float, float]]) -> tuple[float, float] | None:
    """What all ranges hold; None of no ranges, or of those that hold nothing together."""
    low, high = max((r[0] for r in ranges), default=0), min((r[1] for r in ranges), default=0)
    return (low, high) if low < high else None


def _listed(
    source: Path, file_pixel_angstrom: float | None, voxel_size_angstrom: float | None
) -> tuple[list[Path], ParticleSet, dict[str, dict[str, float]], dict[str, tuple[float, float]]]:
    """Paths of all volumes, the particles that they show; by tomogram microscope and tilt range."""
    if source.is_dir():
        paths = [p for p in sorted(source.iterdir()) if p.name.lower().endswith(_VOLUMES)]
        if not paths:
            raise InputError(f"the folder {source} holds no .mrc, .rec or .map; check the path.")
        names = np.array([path.name.split(".")[0] for path in paths])
        return paths, ParticleSet(names, np.full((len(paths), 3), np.nan)), {}, {}
    known = Known(file_pixel_angstrom=file_pixel_angstrom or voxel_size_angstrom)
    particles = read_particles(source, known=known)
    if _IMAGE not in particles.more or not len(particles):
        raise InputError(
            f"{source.name} names no volumes (column {_IMAGE}); give one that does, the folder of "
            "the volumes, or extract them from the tomograms."
        )
    paths = _resolved(source, particles.more[_IMAGE].astype(str).tolist())
    of_star = optics_by_tomogram(particles)
    return paths, _as_cut(particles), of_star, _tilts_of_wedges(source, particles)


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


def _tilts_of_wedges(source: Path, particles: ParticleSet) -> dict[str, tuple[float, float]]:
    """Tilt ranges of the tomograms, as the first wedge of each shows it."""
    wedges, found = particles.more.get(_WEDGE), {}
    if wedges is None:
        return {}
    for name in np.unique(particles.tomogram_name).tolist():
        row = int(np.flatnonzero(particles.tomogram_name == name)[0])
        wedge = resolve(str(wedges[row]), source)
        tilts = read_tilt_range(wedge) if wedge is not None else None
        if tilts is not None:
            found[name] = tilts
    return found


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
    if abs(one.voxel_size_angstrom / first.voxel_size_angstrom - 1) > _SAME_VOXEL:
        raise InputError(
            f"expected subtomograms of one voxel size, but {path.name} has "
            f"{one.voxel_size_angstrom:g} A and the first one {first.voxel_size_angstrom:g} A; "
            "import them into stores of their own, or give --voxel-size-angstrom if one is wrong."
        )
    return one.read()
