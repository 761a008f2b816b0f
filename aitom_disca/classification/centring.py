"""Averages brought to the centre of their boxes, and their members' offsets with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.align_averages import turned
from aitom_disca.alignment.slices import matrices_zyx
from aitom_disca.classification.classes import Classes
from aitom_disca.config.sorting import SORTING, CentringSettings
from aitom_disca.geometry.box import centre_index

_MOST_MOVES, _STILL_PX = 30, 0.02  # when the sphere is taken to stand still


def centred(
    classes: Classes, rotations: Rotation, settings: CentringSettings = SORTING.centring
) -> Classes:
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
    settings : CentringSettings

    Returns
    -------
    Classes
        An average V becomes ``V'(r) = V(r + c)``; a member at offset o and rotation A, seen as
        ``V(A^-1 (r - o))``, is now ``V'(A^-1 (r - o - A c))``.
    """
    centres = np.array([dense_centre(average, settings=settings) for average in classes.averages])
    centres[np.linalg.norm(centres, axis=1) < settings.near_px] = 0
    still = Rotation.identity()
    averages = [
        turned(average, still, -centre) if centre.any() else average
        for average, centre in zip(classes.averages, centres, strict=True)
    ]
    turns = matrices_zyx(rotations[classes.rotation])
    moved = np.einsum("nij,nj->ni", turns, centres[classes.labels])
    moved[classes.labels < 0] = 0
    return replace(classes, averages=averages, offset_zyx_px=classes.offset_zyx_px + moved)


def dense_centre(
    volume: np.ndarray,
    *,
    diameter_px: float | None = None,
    settings: CentringSettings = SORTING.centring,
) -> np.ndarray:
    """Centre of the positive mass of a volume, from the box centre, in voxels.

    The volume is smoothed, and its mass above the background is looked at in a sphere of the
    particle's size, which moves to the centre of what it holds until it is still. A hollow particle
    counts as a whole, and neighbours beyond the sphere not at all.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
        Protein bright.
    diameter_px : float, optional
        Of the sphere; by default the box over 1.6, with a margin of 15 %.
    settings : CentringSettings

    Returns
    -------
    ndarray of shape (3,)
        z, y, x; within a quarter of the box. Zeros where nothing stands out.
    """
    n = volume.shape[0]
    radius_px = (diameter_px or settings.window * n) / 2
    smooth = ndimage.gaussian_filter(np.asarray(volume, float), settings.smooth * n)
    grid = np.indices(volume.shape).reshape(3, -1) - centre_index(n)
    in_box = (grid**2).sum(axis=0) <= (n / 2 - 1) ** 2  # averages hold nothing beyond
    mass = np.where(in_box, np.maximum(smooth.ravel() - np.median(smooth.ravel()[in_box]), 0), 0)
    centre = np.zeros(3)
    for _ in range(_MOST_MOVES):
        distance = np.linalg.norm(grid - centre[:, None], axis=0)
        inside = mass * np.clip(radius_px + 0.5 - distance, 0, 1)
        if not inside.sum() > 0:
            return np.zeros(3)
        moved = np.clip(grid @ inside / inside.sum(), -n / 4, n / 4)
        still = np.linalg.norm(moved - centre) < _STILL_PX
        centre = moved
        if still:
            break
    return centre
