"""AITom's rotation of volumes: its own function where it runs, and ours that gives the same."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.bridge.aitom_availability import import_aitom, reason_of

logger = logging.getLogger(__name__)

_MODULE = "aitom.geometry.rotate"


def rotate(
    volume_xyz: np.ndarray,
    angle: Sequence[float] | np.ndarray | None = None,
    *,
    rm: np.ndarray | None = None,
    loc_r: Sequence[float] | np.ndarray | None = None,
    default_val: float = float("nan"),
    order: int = 3,
) -> np.ndarray:
    """Turn and shift a volume as AITom's ``rotate``: ``out(g) = v(rm (g - loc_r))``.

    Points count from the middle ``(n - 1) / 2`` of the box. The object in it turns by the inverse
    of ``rm``, and is then shifted by ``loc_r``.

    Parameters
    ----------
    volume_xyz : ndarray of shape (x, y, z)
    angle : sequence of 3 float, optional
        phi, theta, psi in radians: ``rm = (Rz(phi) Ry(theta) Rz(psi))^T``.
    rm : ndarray of shape (3, 3), optional
        The matrix itself, instead; the identity if neither is given.
    loc_r : sequence of 3 float, optional
        Voxels along x, y, z.
    default_val : float
        What comes from outside of the box.
    order : int
        Of the spline.

    Returns
    -------
    ndarray of the same shape and type

    Raises
    ------
    ValueError
        If both ``angle`` and ``rm`` are given.
    """
    if angle is not None and rm is not None:
        raise ValueError("give angle or rm, not both")
    matrix = np.eye(3) if rm is None else np.asarray(rm, float)
    if angle is not None:
        matrix = _matrix(*np.asarray(angle, float).ravel())
    centre = (np.array(volume_xyz.shape) - 1) / 2
    shifted = centre if loc_r is None else centre + np.asarray(loc_r, float).ravel()
    offset = centre - matrix @ shifted
    return ndimage.affine_transform(volume_xyz, matrix, offset, order=order, cval=default_val)


def _matrix(phi: float, theta: float, psi: float) -> np.ndarray:
    """``(Rz(phi) Ry(theta) Rz(psi))^T``, factor by factor.

    Where a turned face comes to lie on the face of the box, the last digit decides what is
    outside: it has to be that of AITom.
    """

    def about_z(angle: float) -> np.ndarray:
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])

    c, s = math.cos(theta), math.sin(theta)
    about_y = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return (about_z(phi) @ about_y @ about_z(psi)).T


def rotation_of_angles(angles: np.ndarray) -> Rotation:
    """Rotation rm of AITom's angles (..., 3): phi, theta, psi in radians.

    The same as RELION's, of the reference to the particle, where the angles are those that lay
    the particle on the reference.
    """
    return Rotation.from_euler("ZYZ", np.asarray(angles, float)).inv()


def angles_of_rotation(rotation: Rotation) -> np.ndarray:
    """phi, theta, psi (..., 3) in radians of rotations rm; theta from 0 to pi."""
    with warnings.catch_warnings():  # of theta 0 or pi, where only phi + psi or phi - psi counts
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(rotation.inv().as_euler("ZYZ"))


def aitom_rotation() -> Callable[[np.ndarray, Rotation], np.ndarray]:
    """What turns training copies as AITom does: about ``(n - 1) / 2``, the mean outside.

    AITom's own function where it runs, else `rotate`, which gives the same, with a warning the
    first time: AITom's uses names that NumPy removed in version 1.24.

    Returns
    -------
    callable
        Volumes (n, z, y, x) and rotations A of (x, y, z) vectors to volumes in which a point
        ``r`` went to ``A r``.
    """
    turn = _aitom_rotate() or rotate

    def rotate_copies(volumes: np.ndarray, rotations: Rotation) -> np.ndarray:
        turned = np.empty(volumes.shape, np.float32)
        for row, matrix in enumerate(rotations.inv().as_matrix().reshape(-1, 3, 3)):
            volume_xyz = np.asarray(volumes[row], np.float32).transpose(2, 1, 0)
            out = turn(volume_xyz, rm=matrix, default_val=float("nan"))
            out = np.where(np.isfinite(out), out, volume_xyz.mean())
            turned[row] = out.transpose(2, 1, 0)
        return turned

    return rotate_copies


def _aitom_rotate() -> Callable[..., np.ndarray] | None:
    try:
        theirs: Callable[..., np.ndarray] = import_aitom(_MODULE).rotate
        theirs(np.zeros((8, 8, 8), np.float32), rm=np.eye(3))
    except Exception as error:
        _warn_once(reason_of(error))
        return None
    return theirs


@lru_cache
def _warn_once(reason: str) -> None:
    logger.warning(
        "AITom's rotate does not run here (%s): copies are turned by ours, which gives the same.",
        reason,
    )
