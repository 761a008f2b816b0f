"""Averages brought to the centre of their boxes, and their members' offsets with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.pairing import turned
from aitom_disca.alignment.reference import matrices_zyx
from aitom_disca.alignment.rounds import Classes
from aitom_disca.geometry.box import centre_index

_DENSE = 0.25  # of the largest value: above it a voxel counts as the structure
_NEAR_PX = 0.3  # what lies nearer is left as it is


def centred(classes: Classes, rotations: Rotation) -> Classes:
    """Move every average to the centre of its box; its members then lie where they did.

    The shifts of subtomograms that are tried end at some distance. An average that lies off the
    centre uses up that range in one direction, and what lies on its other side cannot reach it:
    one structure then ends as several averages, each off the centre in another way.

    Parameters
    ----------
    classes : Classes
        Its rotations must be those of the search that ``rotations`` belong to.
    rotations : Rotation
        The grid that ``classes.rotation`` numbers.

    Returns
    -------
    Classes
        An average V becomes ``V'(r) = V(r + c)``; a member at offset o and rotation A, seen as
        ``V(A^-1 (r - o))``, is now ``V'(A^-1 (r - o - A c))``.
    """
    centres = np.array([dense_centre(average) for average in classes.averages])
    centres[np.linalg.norm(centres, axis=1) < _NEAR_PX] = 0
    still = Rotation.identity()
    averages = [
        turned(average, still, -centre) if centre.any() else average
        for average, centre in zip(classes.averages, centres, strict=True)
    ]
    turns = matrices_zyx(rotations[classes.rotation])
    moved = np.einsum("nij,nj->ni", turns, centres[classes.labels])
    moved[classes.labels < 0] = 0
    return replace(classes, averages=averages, offset_zyx_px=classes.offset_zyx_px + moved)


def dense_centre(volume: np.ndarray) -> np.ndarray:
    """Centre of mass of what is dense in a volume (n, n, n), from the box centre, in voxels."""
    dense = np.maximum(volume - _DENSE * volume.max(), 0)
    if not dense.any():
        return np.zeros(3)
    grid = np.indices(volume.shape).reshape(3, -1) - centre_index(volume.shape[0])
    return grid @ dense.ravel() / dense.sum()
