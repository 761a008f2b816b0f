"""Columns of particle files: numbers, scores, clusters, poses, boxes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation, rotation_from_euler_zyz_deg
from aitom_disca.io.numbers_in_files import to_clusters, to_numbers
from aitom_disca.particles import UNASSIGNED, ParticleSet


def clusters_from_1(values: Any, path: str | Path, what: str) -> np.ndarray | None:
    """Clusters from 0 of numbers that count from 1; none at all where all are 0 or missing.

    Raises
    ------
    InputError
        If one is no whole number.
    """
    clusters = to_clusters(values, path, what)
    return clusters if (clusters != UNASSIGNED).any() else None


def numbers_from_1(particles: ParticleSet) -> np.ndarray:
    """Clusters counted from 1, 0 for none."""
    if particles.cluster is None:
        return np.zeros(len(particles), int)
    return np.where(particles.cluster < 0, 0, particles.cluster + 1).astype(int)


def scores_or_none(values: Any, path: str | Path) -> np.ndarray | None:
    """Scores, NaN where none is known; None where a file only fills its column with 0.

    Raises
    ------
    InputError
        If one is no number.
    """
    numbers = to_numbers(values, path, "a score", may_be_missing=True)
    return numbers if np.nan_to_num(numbers).any() else None


def lost_columns(particles: ParticleSet, written: Iterable[str]) -> list[str]:
    """What a format that writes these further columns does not keep, in words."""
    kept = set(written)
    lost = [name for name in particles.more if name not in kept]
    return [f"further columns {', '.join(lost)}"] if lost else []


def rotations(particles: ParticleSet) -> Rotation:
    """Pose of every particle, reference to tomogram; none turned where nothing is known."""
    if particles.euler_zyz_deg is None:
        return Rotation.identity(len(particles))
    return rotation_from_euler_zyz_deg(np.nan_to_num(particles.euler_zyz_deg))


def euler_zyz_deg(rotation: Rotation) -> np.ndarray:
    """RELION's angles of poses; where two of them turn the same axis, one is 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock")
        return euler_zyz_deg_from_rotation(rotation)


def zxz_deg(rotation: Rotation) -> np.ndarray:
    """Angles (N, 3) about the fixed axes z, x, z in the order in which they are turned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock")
        return rotation.as_euler("zxz", degrees=True)


def rotations_from_matrices(matrices: Any, path: str | Path) -> Rotation:
    """Rotations from 3 x 3 matrices.

    Raises
    ------
    InputError
        If one is no rotation.
    """
    array = to_numbers(matrices, path, "a rotation matrix")
    if array.ndim != 3 or array.shape[1:] != (3, 3):
        raise InputError(f"{Path(path).name} holds a rotation matrix that is not 3 x 3.")
    error = np.abs(array @ array.transpose(0, 2, 1) - np.eye(3)).max(initial=0)
    if error > 1e-2 or (np.linalg.det(array) < 0).any():
        raise InputError(
            f"{Path(path).name} holds a matrix that is no rotation (it scales, shears or mirrors)."
        )
    return Rotation.from_matrix(array)


def box_centers(particles: ParticleSet) -> np.ndarray:
    """Where boxes are cut (z, y, x): the particles' centres where nothing else is known."""
    boxes = particles.box_center_zyx_px
    return particles.center_zyx_px if boxes is None else boxes


def box_centers_if_moved(box_zyx: np.ndarray, center_zyx: np.ndarray) -> np.ndarray | None:
    """Box centres, or None where they are the particles' own."""
    return None if np.array_equal(box_zyx, center_zyx) else box_zyx
