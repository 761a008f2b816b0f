"""Rotations: uniform ones, the 24 of the cube, and RELION's Euler angles."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from scipy.spatial.transform import Rotation

CubeRotation = tuple[tuple[int, int, int], tuple[int, int, int]]


def random_rotations(n: int, rng: np.random.Generator) -> Rotation:
    """Draw ``n`` rotations uniformly from SO(3): normalised Gaussian quaternions."""
    return Rotation.from_quat(rng.normal(size=(n, 4)))


def rotation_from_euler_zyz_deg(euler_zyz_deg: np.ndarray) -> Rotation:
    """Rotation A of (x, y, z) vectors, reference to tomogram, from RELION's rot, tilt, psi.

    ``r_tomogram = A @ r_reference`` with ``A = (Rz(rot) Ry(tilt) Rz(psi))^T``.

    Parameters
    ----------
    euler_zyz_deg : ndarray of shape (N, 3)
    """
    return Rotation.from_euler("ZYZ", np.asarray(euler_zyz_deg, float), degrees=True).inv()


def euler_zyz_deg_from_rotation(rotation: Rotation) -> np.ndarray:
    """RELION's rot, tilt, psi (N, 3) of rotations that take the reference to the tomogram."""
    return rotation.inv().as_euler("ZYZ", degrees=True)


def cube_rotations() -> list[CubeRotation]:
    """The 24 proper rotations of the cube as (axis order, signs), the identity first.

    The first four are those of a box of three different edges, the first twelve those of the
    tetrahedron: groups as well.

    Returns
    -------
    list of (order, signs)
        The rotated volume is ``volume.transpose(order)`` flipped along the axes with sign -1.
    """
    found = []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                found.append((order, signs))
    return sorted(found, key=lambda turn: np.prod(turn[1]) < 0)  # type: ignore[arg-type, return-value]


def rotate_by_cube(volumes: np.ndarray, rotation: CubeRotation) -> np.ndarray:
    """Turn cubic volumes (..., n, n, n) by one of the 24; exact, a view where possible.

    The turn is about the middle ``(n - 1) / 2`` of the box, which is half a voxel from the
    centre index of an even box.
    """
    order, signs = rotation
    lead = volumes.ndim - 3
    turned = volumes.transpose(*range(lead), *(lead + axis for axis in order))
    flips = tuple(lead + axis for axis, sign in enumerate(signs) if sign < 0)
    return np.flip(turned, flips) if flips else turned
