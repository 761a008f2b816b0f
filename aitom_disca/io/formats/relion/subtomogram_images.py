"""Subtomograms of a store as image files for RELION's refinement and classification."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.free_space import need_space
from aitom_disca.io.disk.outputs import none_if_failed, replacing_files
from aitom_disca.io.file_names import file_parts
from aitom_disca.io.formats import get_format
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.relion.optics_groups import OPTICS_KEY
from aitom_disca.io.formats.relion.particle_images import coordinate_pixels, tilt_series_pixel
from aitom_disca.io.formats.relion.star_blocks import GROUP_COLUMN
from aitom_disca.io.formats.relion.write_optics import optics_of_images
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.io.tomograms.mrc import write_volume
from aitom_disca.io.tomograms.wedge_volume import wedge_volume
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import track

LAYOUTS = ("relion30", "relion31", "relion4", "relion5")
_BACKGROUND = 0.75  # radius of the sphere left out, in half edges: RELION's own default
_BATCH = 64
_HEADER_BYTES = 1024
_OF_OTHER_IMAGES = ("rlnNormCorrection",)  # images are normalised here


def export_subtomograms(
    store: SubtomogramStore,
    folder: str | Path,
    particles: ParticleSet,
    star: str | Path,
    *,
    rows: np.ndarray | None = None,
    to: str = "relion31",
    known: Known | None = None,
) -> list[Path]:
    """Write every subtomogram, the wedges, and a star file for ``relion_refine``.

    Parameters
    ----------
    store : SubtomogramStore
        Cubic boxes. RELION reads even edges only: of odd boxes the last planes are left out, which
        leaves the centre where it is.
    folder : path
        For the images: ``TOMOGRAM/000001.mrc`` by the row in the store from 1, and
        ``wedge_-60_60.mrc`` for every tilt range.
    particles : ParticleSet
        One for every row of the store, in order, unless ``rows`` says which they are.
    star : path
    rows : ndarray of int, shape (n_particles,), optional
    to : {"relion30", "relion31", "relion4", "relion5"}
        Layout of the star file.
    known : Known, optional
        Its tilt range goes before those of the store.

    Returns
    -------
    list of Path
        The star file, then the wedges. The images are named in the star file.

    Raises
    ------
    InputError
        If boxes are not cubic, or the layout needs what is unknown.
    """
    if to not in LAYOUTS:
        raise InputError(f"images go with {', '.join(LAYOUTS)} only; got {to}.")
    # The star file must agree with the images about their pixel size.
    known = replace(known or Known(), voxel_size_angstrom=None)
    target = get_format(to)
    if target.write is None:
        raise InputError(f"{target.title} cannot be written.")
    folder = Path(folder)
    if known.tilt_range_deg is not None:
        infos = {
            name: replace(info, tilt_range_deg=known.tilt_range_deg, tilts_deg=())
            for name, info in particles.tomograms.items()
        }
        particles = replace(particles, tomograms=infos)
    planned = with_images(store, folder, particles, rows)
    _check_binning(planned, known, to)
    if to == "relion30" and not (fits := coordinate_pixels(planned, known, "3.0")).images:
        raise InputError(
            f"{target.title} has no place for images {fits.reason}; use --to relion31, or "
            "subtomograms that were not reduced."
        )
    with TemporaryDirectory() as name:  # complains before images are written
        target.write(Path(name) / Path(star).name, planned, known)
    with none_if_failed(image_files(store, folder, planned, rows)):
        wedges = write_images(store, folder, planned, rows)
        return [*target.write(Path(star), planned, known), *wedges]


def written_images(
    store: SubtomogramStore,
    folder: Path,
    particles: ParticleSet,
    rows: np.ndarray | None = None,
    relion: str = "3.1",
) -> ParticleSet:
    """Write images and wedges; the particles that name them, for a star file of RELION 3.1 or 5.

    Parameters
    ----------
    store, folder, particles, rows
        As for `export_subtomograms`.
    relion : {"3.1", "5"}

    Raises
    ------
    InputError
        As `with_images`, or if RELION 5 needs what is unknown.
    """
    planned = checked_images(store, folder, particles, rows, relion)
    write_images(store, folder, planned, rows)
    return planned


def checked_images(
    store: SubtomogramStore,
    folder: Path,
    particles: ParticleSet,
    rows: np.ndarray | None = None,
    relion: str = "3.1",
) -> ParticleSet:
    """What `written_images` returns, with all that it refuses, but nothing is written."""
    planned = with_images(store, folder, particles, rows)
    if planned.has_positions:  # else they are written for 3.1, which needs none
        _check_binning(planned, Known(), "relion5" if relion == "5" else "relion31")
    return planned


def _check_binning(planned: ParticleSet, known: Known, to: str) -> None:
    if to not in ("relion4", "relion5"):
        return
    if planned.centered_xyz_angstrom is None and not planned.has_positions:
        raise InputError(
            f"{get_format(to).title} needs positions also of images, which these particles do not "
            "have; use --to relion31 (--relion 3.1), which needs none."
        )
    if tilt_series_pixel(planned, known) is None:
        raise InputError(
            f"images go with {get_format(to).title} only where the binning of the tomogram is "
            "known; give it with --binning, or use --to relion31 (--relion 3.1)."
        )


def with_images(
    store: SubtomogramStore, folder: Path, particles: ParticleSet, rows: np.ndarray | None = None
) -> ParticleSet:
    """Particles with the names of their image files and with optics groups.

    Where boxes were cut is known: at the voxel nearest to the centre in the store.

    Parameters
    ----------
    store, folder, particles, rows
        As for `export_subtomograms`.

    Raises
    ------
    InputError
        If boxes are not cubic, or the particles are not those of the store.
    """
    box = store.box_shape_zyx
    if len(set(box)) > 1:
        raise InputError(
            f"RELION reads cubic images only, the store holds {box}; extract again with --box-px."
        )
    rows = np.arange(len(store)) if rows is None else rows
    if len(particles) != len(rows):
        raise InputError(f"{len(particles)} particles do not fit {len(rows)} subtomograms.")
    wedges = [folder / _wedge_name(_tilt_range(store, particles, i)) for i in range(len(rows))]
    optics, group = optics_of_images(particles, store.voxel_size_angstrom, _even(box[0]))
    more = {
        "rlnImageName": np.array([_from_project(path) for path in _paths(folder, store, rows)]),
        "rlnCtfImage": np.array([_from_project(path) for path in wedges]),
        GROUP_COLUMN: group,
    }
    cut_at = store.particles().cut_at_zyx_px[rows]
    known = np.isfinite(cut_at).all()
    return replace(
        particles,
        box_center_zyx_px=cut_at if known else particles.box_center_zyx_px,
        more={k: v for k, v in particles.more.items() if k not in _OF_OTHER_IMAGES} | more,
        more_blocks={**particles.more_blocks, OPTICS_KEY: optics},
    )


def _even(box_px: int) -> int:
    return box_px - box_px % 2


def image_files(
    store: SubtomogramStore, folder: Path, particles: ParticleSet, rows: np.ndarray | None = None
) -> list[Path]:
    """All that `write_images` writes: subtomograms and wedges."""
    rows = np.arange(len(store)) if rows is None else rows
    return [*_paths(folder, store, rows), *_wedges(folder, store, particles)]


def _paths(folder: Path, store: SubtomogramStore, rows: np.ndarray) -> list[Path]:
    names = store.particles().tomogram_name.tolist()
    safe = file_parts(names)
    return [folder / safe[names[row]] / f"{row + 1:06d}.mrc" for row in np.asarray(rows).tolist()]


def normalise_background(volumes: np.ndarray) -> np.ndarray:
    """Volumes (n, z, y, x) whose corners, outside of a sphere, have mean 0 and s.d. 1.

    Raises
    ------
    InputError
        If a background is constant.
    """
    n = volumes.shape[-1]
    axis = (np.arange(n) - n // 2) ** 2
    squared = axis[:, None, None] + axis[:, None] + axis
    background = volumes[:, squared > (_BACKGROUND * n / 2) ** 2].astype(float)
    mean, spread = background.mean(axis=1), background.std(axis=1)
    if (spread == 0).any():
        raise InputError("a subtomogram has a constant background; leave it out of the store.")
    scaled = (volumes - mean[:, None, None, None]) / spread[:, None, None, None]
    return scaled.astype(np.float32)


def write_images(
    store: SubtomogramStore, folder: Path, particles: ParticleSet, rows: np.ndarray | None = None
) -> list[Path]:
    """Write the images that `with_images` names, and the wedges; the paths of these.

    Raises
    ------
    InputError
        If the background of a subtomogram is constant.
    """
    rows = np.arange(len(store)) if rows is None else rows
    edge, voxel = _even(store.box_shape_zyx[0]), store.voxel_size_angstrom
    wedges = _wedges(folder, store, particles)
    n_bytes = (len(rows) + len(wedges)) * (4 * edge**3 + _HEADER_BYTES)
    need_space(folder, n_bytes, f"images of {counted(len(rows), 'subtomogram')}")
    with replacing_files(folder) as new:
        paths = _paths(new, store, rows)
        for start in track(range(0, len(rows), _BATCH), "writing subtomograms"):
            volumes = store.read(rows[start : start + _BATCH])[:, :edge, :edge, :edge]
            for path, volume in zip(paths[start:], normalise_background(volumes), strict=False):
                write_volume(path, volume, voxel)
        for path, tilts in wedges.items():
            wedge = wedge_volume(edge, tilts)
            write_volume(new / path.name, wedge, voxel, tilt_range_deg=tilts)
    return [*wedges]


def _wedges(
    folder: Path, store: SubtomogramStore, particles: ParticleSet
) -> dict[Path, tuple[float, float]]:
    """The files of missing wedges, and their tilt ranges."""
    ranges = {_tilt_range(store, particles, i) for i in range(len(particles))}
    return {folder / _wedge_name(tilts): tilts for tilts in sorted(ranges)}


def _tilt_range(store: SubtomogramStore, particles: ParticleSet, row: int) -> tuple[float, float]:
    info = particles.tomograms.get(str(particles.tomogram_name[row]))
    return store.common_tilt_range_deg if info is None else info.tilt_range_deg


def _wedge_name(tilt_range_deg: tuple[float, float]) -> str:
    return "wedge_{:g}_{:g}.mrc".format(*tilt_range_deg)


def _from_project(path: Path) -> str:
    """As RELION finds it: from the working folder, or else from the root."""
    whole = path.resolve()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)
