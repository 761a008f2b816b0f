"""Align averages to one another: no wedge, little noise, so that the pose comes out fine."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.exhaustive_search import Poses, align
from aitom_disca.alignment.search_grids import ball, rotation_grid
from aitom_disca.alignment.slices import Slicer
from aitom_disca.config.alignment import PairSettings
from aitom_disca.config.sorting import SORTING
from aitom_disca.geometry.box import centre_index

# One step of rotation or shift, or none, along each axis.
_SMALL = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))


class AveragePairs:
    """Finds how one average is to be turned and moved to lie on another.

    Parameters
    ----------
    box_px : int
    settings : PairSettings
    """

    def __init__(self, box_px: int, settings: PairSettings = SORTING.pairs) -> None:
        radius = min(settings.radius, box_px / 2 - 1)
        self._coefficients = Coefficients(box_px, radius, (-90.0, 90.0))
        self._grid = rotation_grid(settings.n_rotations)
        self._slicer = Slicer(self._coefficients, self._grid)
        self._shifts_zyx_px = ball(settings.shift_step_px, settings.range_px)
        self._finer_px_deg = settings.finer_px_deg

    def similarity(self, averages: list[np.ndarray]) -> np.ndarray:
        """Correlation (K, K) of averages at their best coarse poses; 1 on the diagonal."""
        values = self._values(averages)
        found = np.array([self._coarse(average, values).score for average in averages])
        np.fill_diagonal(found, 1)
        return np.maximum(found, found.T)

    def brought_onto(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """One average (n, n, n), turned and moved to fit another best."""
        return turned(moving, *self.pose_on(moving, fixed))

    def pose_on(self, moving: np.ndarray, fixed: np.ndarray) -> tuple[Rotation, np.ndarray]:
        """Rotation and shift (voxels) by which an average (n, n, n) fits another best."""
        values = self._values([fixed])
        poses = self._coarse(moving, values)
        rotation = self._grid[poses.rotation[0]]
        for step_px, step_deg in self._finer_px_deg:
            near = rotation * Rotation.from_rotvec(np.deg2rad(step_deg) * _SMALL)
            slices = Slicer(self._coefficients, near)(moving)
            offsets, shifts = poses.shift_zyx_px, step_px * _SMALL
            poses = align(values, self._coefficients, slices, shifts, offsets)
            rotation = near[poses.rotation[0]]
        return rotation, poses.shift_zyx_px[0]

    def _values(self, averages: list[np.ndarray]) -> np.ndarray:
        values = self._coefficients.of(np.array(averages))
        return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)

    def _coarse(self, moving: np.ndarray, values: np.ndarray) -> Poses:
        still = np.zeros((len(values), 3))
        slices = self._slicer(moving)
        return align(values, self._coefficients, slices, self._shifts_zyx_px, still)


def turned(volume: np.ndarray, rotation: Rotation, shift_zyx_px: np.ndarray) -> np.ndarray:
    """A volume (n, n, n) turned about its centre voxel, then moved; zero where nothing was."""
    n = volume.shape[0]
    grid = np.indices(volume.shape).reshape(3, -1).T - centre_index(n) - shift_zyx_px
    source = grid @ rotation.as_matrix()[::-1, ::-1]  # the inverse, of rows
    place = (source + centre_index(n)).T
    return ndimage.map_coordinates(volume, place, order=3).reshape(volume.shape)
