"""Poses between AITom and RELION.

AITom's angle and loc lay a particle on the reference: ``reference(g) = particle(R (g - loc))``,
with R of phi, theta, psi and points from ``(n - 1) / 2``. R is RELION's rotation of the same
angles, from the reference to the particle. Centres of boxes are voxel ``n // 2`` here, half a
voxel h on from AITom's in even boxes, so that the particle lies ``R (h - loc) - h`` from it.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.bridge.volume_rotation import angles_of_rotation, rotation_of_angles
from aitom_disca.geometry import rotation_from_euler_zyz_deg


def euler_of_angles(angles: np.ndarray) -> np.ndarray:
    """RELION's rot, tilt, psi in degrees (N, 3) of phi, theta, psi in radians."""
    return np.degrees(np.asarray(angles, float))


def angles_of_euler(euler_zyz_deg: np.ndarray) -> np.ndarray:
    """phi, theta, psi in radians (N, 3) of RELION's angles."""
    return np.radians(np.asarray(euler_zyz_deg, float))


def offset_of_loc(euler_zyz_deg: np.ndarray, loc_xyz: np.ndarray, box_px: int) -> np.ndarray:
    """Where particles lie (N, 3; z, y, x) from voxel ``n // 2`` of their box, in voxels."""
    rotation = rotation_from_euler_zyz_deg(euler_zyz_deg)
    return _offset(rotation, np.asarray(loc_xyz, float), box_px)


def loc_of_offset(euler_zyz_deg: np.ndarray, offset_zyx: np.ndarray, box_px: int) -> np.ndarray:
    """AITom's loc (N, 3; x, y, z) of particles that lie off the middle of their box."""
    rotation = rotation_from_euler_zyz_deg(euler_zyz_deg)
    return _loc(rotation, np.asarray(offset_zyx, float), box_px)


def pose_of_transform(transforms: np.ndarray, box_px: int) -> tuple[Rotation, np.ndarray]:
    """Poses of six parameters a particle, as Gum-Net's demo data hold them.

    Parameters
    ----------
    transforms : ndarray of shape (N, 6)
        phi, theta, psi in radians and a shift in voxels (x, y, z), which lay the particle on the
        target.
    box_px : int

    Returns
    -------
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from the target to the particle.
    offsets_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre ``n // 2``.
    """
    transforms = np.asarray(transforms, float).reshape(-1, 6)
    rotation = rotation_of_angles(transforms[:, :3])
    return rotation, _offset(rotation, transforms[:, 3:], box_px)


def transform_of_pose(rotations: Rotation, offsets_zyx_px: np.ndarray, box_px: int) -> np.ndarray:
    """Six parameters (N, 6) of poses; the inverse of `pose_of_transform`."""
    loc = _loc(rotations, np.asarray(offsets_zyx_px, float).reshape(-1, 3), box_px)
    return np.concatenate([angles_of_rotation(rotations).reshape(-1, 3), loc], axis=1)


def transform_of_output(output: np.ndarray, box_px: int) -> np.ndarray:
    """Six parameters (N, 6) of what Gum-Net puts out, numbers from 0 to 1.

    Angles are ``2 pi p - pi``. Shifts are ``2 p - 1`` of half an edge of the box, which the layer
    pads by a voxel on each side: ``n / (n + 2) * (n + 1) / 2`` voxels.
    """
    output = np.asarray(output, float).reshape(-1, 6)
    angles = 2 * np.pi * output[:, :3] - np.pi
    return np.concatenate([angles, (2 * output[:, 3:] - 1) * _unit(box_px)], axis=1)


def output_of_transform(transforms: np.ndarray, box_px: int) -> np.ndarray:
    """The inverse of `transform_of_output`; angles outside of -pi to pi come back inside."""
    transforms = np.asarray(transforms, float).reshape(-1, 6)
    turns = np.mod(transforms[:, :3] / (2 * np.pi) + 0.5, 1.0)
    return np.concatenate([turns, (transforms[:, 3:] / _unit(box_px) + 1) / 2], axis=1)


def _unit(box_px: int) -> float:
    return box_px / (box_px + 2) * (box_px + 1) / 2


def _between(box_px: int) -> float:
    return box_px // 2 - (box_px - 1) / 2


def _offset(rotation: Rotation, loc_xyz: np.ndarray, box_px: int) -> np.ndarray:
    h = _between(box_px)
    return np.asarray(rotation.apply(h - loc_xyz) - h)[:, ::-1]


def _loc(rotation: Rotation, offset_zyx: np.ndarray, box_px: int) -> np.ndarray:
    h = _between(box_px)
    return np.asarray(h - rotation.inv().apply(offset_zyx[:, ::-1] + h))
