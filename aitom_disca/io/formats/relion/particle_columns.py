"""Columns of RELION's particle tables, from particle sets; x, y, z order begins here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, rotation_from_euler_zyz_deg
from aitom_disca.io.formats.common_columns import box_centers
from aitom_disca.io.formats.format import Known, voxel_sizes
from aitom_disca.io.formats.relion.optics_groups import GROUP_NAME_COLUMN
from aitom_disca.io.formats.relion.particle_images import CoordinatePixels, is_two_stage
from aitom_disca.io.formats.relion.read_star import TABLE_KEY
from aitom_disca.io.formats.relion.star_blocks import (
    ANGLE_COLUMNS,
    CENTERED_COLUMNS,
    CLASS_COLUMN,
    CLUSTER_NAME_COLUMN,
    GROUP_COLUMN,
    IMAGE_COLUMNS,
    IMAGE_PIXEL_COLUMN,
    MICROGRAPH_PIXEL_COLUMNS,
    ORIGIN_ANGST_COLUMNS,
    PLACED_COLUMNS,
    PLAIN_COLUMNS,
    POSTERIOR_COLUMN,
    SCORE_COLUMN,
    SUBTOMOGRAM_ANGLE_COLUMNS,
)
from aitom_disca.io.formats.relion.star_coordinates import middle_xyz_angstrom
from aitom_disca.io.formats.relion.star_pixels import DETECTOR, MAGNIFICATION, of_detector_angstrom
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.pixel_sizes import differs
from aitom_disca.io.tomogram_names import is_called, series_name
from aitom_disca.particles import UNASSIGNED, ParticleSet

Columns = dict[str, Any]
_PRIORS = ["rlnAngleTiltPrior", "rlnAnglePsiPrior"]
_PIXELS = ["rlnPixelSize", "rlnDetectorPixelSize", "rlnMagnification"]
_FILE = "the star file"  # that brought the columns along
_PLACED = {*PLACED_COLUMNS, GROUP_COLUMN, GROUP_NAME_COLUMN}


def cut_anew(particles: ParticleSet) -> ParticleSet:
    """Particles without what is said of images: for images that are cut by this package."""
    of_images = {*IMAGE_COLUMNS, *SUBTOMOGRAM_ANGLE_COLUMNS, *_PRIORS, *_PIXELS, GROUP_COLUMN}
    of_images |= {IMAGE_PIXEL_COLUMN, *MICROGRAPH_PIXEL_COLUMNS, "rlnImageSize"}
    more = {name: column for name, column in particles.more.items() if name not in of_images}
    return replace(particles, more=more, more_blocks={})


def names(particles: ParticleSet, column: str) -> Columns:
    """The tomograms' names, or what the file that the particles came from says in that column.

    That only where it means these tomograms: it may be of micrographs, or lack some rows.
    """
    own = particles.tomogram_name.astype(str)
    said = np.asarray(particles.more.get(column, own)).astype(str)
    pairs = set(zip(said.tolist(), own.tolist(), strict=True))
    one_to_one = len(pairs) == len(set(said.tolist())) == len(set(own.tolist()))
    fits = all(is_called(s, n) or series_name(s) == series_name(n) for s, n in pairs)
    return {column: said if one_to_one and fits else own}


def plain_coordinates(particles: ParticleSet, scale: np.ndarray) -> Columns:
    """Where boxes lie, in pixels of which a voxel has ``scale`` (N,); nothing where unknown.

    Positions from the tomogram's centre, if only they are known, stay in their columns.
    """
    if not particles.has_positions:
        centered = particles.centered_xyz_angstrom
        known = centered is not None and np.isfinite(centered).all()
        return centered_coordinates(particles, Known(), "") if known else {}
    xyz = box_centers(particles)[:, ::-1] * scale[:, None]
    return dict(zip(PLAIN_COLUMNS, xyz.T, strict=True))


def centered_coordinates(particles: ParticleSet, known: Known, advice: str) -> Columns:
    """Where boxes lie in Angstrom from the centre of the tomogram.

    Raises
    ------
    InputError
        If that centre is unknown; ``advice`` says what to do.
    """
    xyz = _centered_xyz_angstrom(particles, known, advice)
    if particles.box_center_zyx_px is None:
        xyz = xyz + turn_outwards(particles, origins_angstrom(particles, np.ones(len(particles))))
    else:
        moved = box_centers(particles) - particles.center_zyx_px
        xyz = xyz + moved[:, ::-1] * voxel_sizes(particles, known)[:, None]
    return dict(zip(CENTERED_COLUMNS, xyz.T, strict=True))


def _centered_xyz_angstrom(particles: ParticleSet, known: Known, advice: str) -> np.ndarray:
    own = particles.centered_xyz_angstrom
    if own is not None and np.isfinite(own).all():
        return own
    centered = np.empty((len(particles), 3))
    for name in np.unique(particles.tomogram_name).tolist():
        info = known.tomograms.get(name) or particles.tomograms.get(name)
        if info is not None or known.voxel_size_angstrom is not None:
            info = known.info(name, particles)
        if info is None or (info.shape_zyx is None and info.unbinned_shape_zyx is None):
            raise InputError(
                f"the size of tomogram {name} is unknown, from whose centre RELION 5 counts; "
                f"{advice}."
            )
        rows = particles.tomogram_name == name
        xyz = particles.center_zyx_px[rows, ::-1] * info.voxel_size_angstrom
        centered[rows] = xyz - middle_xyz_angstrom(info, known)
    return centered


def origins_angstrom(particles: ParticleSet, voxel_angstrom: np.ndarray) -> np.ndarray:
    """Origins (x, y, z) in the frame of the subtomogram: coordinate minus centre."""
    if particles.box_center_zyx_px is not None:
        moved = particles.box_center_zyx_px - particles.center_zyx_px
        origin = moved[:, ::-1] * voxel_angstrom[:, None]
        if is_two_stage(particles):
            origin = _outer(particles).inv().apply(origin)
        return np.round(origin, 7)  # differences of large numbers
    if ORIGIN_ANGST_COLUMNS[0] in particles.more:  # of particles without voxel positions
        return np.stack([particles.more[c] for c in ORIGIN_ANGST_COLUMNS], axis=1).astype(float)
    return np.zeros((len(particles), 3))


def turn_outwards(particles: ParticleSet, origin_xyz: np.ndarray) -> np.ndarray:
    """Origins in the frame of the tomogram."""
    if not is_two_stage(particles):
        return origin_xyz
    return np.round(_outer(particles).apply(origin_xyz), 7)


def _outer(particles: ParticleSet) -> Any:
    angles = [to_numbers(particles.more[c], _FILE, c) for c in SUBTOMOGRAM_ANGLE_COLUMNS]
    return rotation_from_euler_zyz_deg(np.stack(angles, axis=1))


def angles(particles: ParticleSet, *, two_stages: bool) -> Columns:
    """rot, tilt, psi: of the whole pose, or of what follows the subtomogram's own orientation."""
    pose = particles.euler_zyz_deg
    pose = np.zeros((len(particles), 3)) if pose is None else np.nan_to_num(np.asarray(pose, float))
    if two_stages and is_two_stage(particles):
        inner = _outer(particles).inv() * rotation_from_euler_zyz_deg(pose)
        pose = euler_zyz_deg_from_rotation(inner)
    return dict(zip(ANGLE_COLUMNS, pose.T, strict=True))


def judged(particles: ParticleSet) -> Columns:
    """Class, its probability and the score, as far as they are known."""
    columns: Columns = {}
    if particles.cluster is not None:
        columns[CLASS_COLUMN] = np.where(particles.cluster == UNASSIGNED, 0, particles.cluster + 1)
    if particles.posterior is not None:
        columns[POSTERIOR_COLUMN] = np.asarray(particles.posterior, float)
    if particles.score is not None:
        columns[SCORE_COLUMN] = np.asarray(particles.score, float)
    return columns


def further(particles: ParticleSet, written: Iterable[str], unfit: Iterable[str]) -> Columns:
    """The columns that the particles came with, but those that are written or do not fit."""
    left_out = {*written, *unfit, *_PLACED}
    return {c: v for c, v in particles.more.items() if c not in left_out and _is_ours(particles, c)}


def pixel_columns(particles: ParticleSet, counted: CoordinatePixels) -> Columns:
    """Columns of the rows that say a pixel size, corrected where they say another."""
    more, pixel_angstrom = particles.more, counted.image_angstrom
    found: Columns = {c: counted.pixel_angstrom for c in MICROGRAPH_PIXEL_COLUMNS if c in more}
    if {"rlnDetectorPixelSize", "rlnMagnification"} <= set(more):
        detector, magnification = (to_numbers(more[c], _FILE, c) for c in (DETECTOR, MAGNIFICATION))
        said = of_detector_angstrom(detector, magnification)
        if differs(said, pixel_angstrom).any():
            found |= detector_columns(pixel_angstrom)
        else:
            found |= {c: more[c] for c in _PIXELS[1:]}
    if "rlnPixelSize" in more:
        size = to_numbers(more["rlnPixelSize"], _FILE, "rlnPixelSize")
        other = differs(size, pixel_angstrom).any()
        found["rlnPixelSize"] = pixel_angstrom if other else more["rlnPixelSize"]
    if IMAGE_PIXEL_COLUMN in more:
        found[IMAGE_PIXEL_COLUMN] = pixel_angstrom
    if "rlnDetectorPixelSize" in more and "rlnMagnification" not in more:  # in Angstrom
        found["rlnDetectorPixelSize"] = pixel_angstrom
    return found


def detector_columns(pixel_angstrom: np.ndarray) -> Columns:
    """A pixel size as RELION 3.0 says it: micrometres at a magnification."""
    magnification = np.full(len(pixel_angstrom), 10000.0)
    return {"rlnMagnification": magnification, "rlnDetectorPixelSize": pixel_angstrom}


def unfit_columns(particles: ParticleSet, counted: CoordinatePixels) -> dict[str, list[str]]:
    """Columns that the layouts of 3.x cannot keep, by the reason."""
    reasons: dict[str, list[str]] = {}
    if not counted.images:
        reasons[counted.reason] = [c for c in IMAGE_COLUMNS if c in particles.more]
    if is_two_stage(particles):
        stage = [c for c in _PRIORS if c in particles.more]
        if stage:
            reasons["of the inner of two orientations"] = stage
    return reasons


def foreign(particles: ParticleSet) -> list[str]:
    """The columns of other families, which are not written, in words."""
    columns = [c for c in particles.more if not _is_ours(particles, c)]
    return [f"further columns {', '.join(columns)}"] if columns else []


def _is_ours(particles: ParticleSet, column: str) -> bool:
    own = column == CLUSTER_NAME_COLUMN
    return own or TABLE_KEY in particles.more_blocks or column.startswith(("rln", "wrp"))


def table(*parts: Mapping[str, Any]) -> pd.DataFrame:
    """One table of columns; of two of one name the first."""
    columns: Columns = {}
    for part in parts:
        columns |= {name: value for name, value in part.items() if name not in columns}
    return pd.DataFrame({name: np.asarray(value) for name, value in columns.items()})
