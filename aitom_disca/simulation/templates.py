"""Templates: density maps from MRC files, drawn at any pose and scale by cubic splines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import mrcfile
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index
from aitom_disca.io.disk.reading import reading

_RADIUS_LEVEL = 0.05  # voxels above this part of the maximum belong to the molecule


class MapTemplate:
    """A density map that can be drawn at any pose and voxel size.

    Parameters
    ----------
    name : str
    map_zyx : ndarray of shape (n, n, n)
        Protein bright, the molecule's centre at voxel ``n // 2``, zero outside.
    voxel_size_angstrom : float

    Raises
    ------
    InputError
        If the map is not cubic, not finite or empty, or its voxel size is not positive.
    """

    def __init__(self, name: str, map_zyx: np.ndarray, voxel_size_angstrom: float) -> None:
        if map_zyx.ndim != 3 or len(set(map_zyx.shape)) != 1:
            raise InputError(
                f"template {name} must be a cubic map; it has shape {map_zyx.shape}: pad it."
            )
        if not np.isfinite(map_zyx).all() or map_zyx.max() <= 0:
            raise InputError(
                f"template {name} must be finite with protein bright (positive); "
                "replace NaN values, or invert the map."
            )
        if not voxel_size_angstrom > 0:
            raise InputError(
                f"template {name} must have a positive voxel size; its header says "
                f"{voxel_size_angstrom:g}: set it in the file."
            )
        self.name = name
        self.map_zyx = np.asarray(map_zyx, np.float64)
        self.voxel_size_angstrom = float(voxel_size_angstrom)
        self._coefficients = lru_cache(maxsize=2)(self._filtered)

    @cached_property
    def radius_angstrom(self) -> float:
        """Largest distance from the centre of a voxel above 5 % of the maximum."""
        dense = np.argwhere(self.map_zyx > _RADIUS_LEVEL * self.map_zyx.max())
        offsets = dense - centre_index(self.map_zyx.shape[0])
        return float(np.linalg.norm(offsets, axis=1).max() * self.voxel_size_angstrom)

    def _filtered(self, voxel_size_angstrom: float) -> np.ndarray:
        """Spline coefficients, low-passed where the new voxels are larger than the map's."""
        step = voxel_size_angstrom / self.voxel_size_angstrom
        density = self.map_zyx
        if step > 1:
            density = gaussian_filter(density, 0.5 * np.sqrt(step**2 - 1))
        return spline_filter(density)

    def density(
        self,
        box_px: int,
        voxel_size_angstrom: float,
        rotation: Rotation | None = None,
        shift_zyx_px: Sequence[float] | np.ndarray = (0, 0, 0),
    ) -> np.ndarray:
        """Draw the map; parameters and conventions as in ``Phantom.density``.

        Returns
        -------
        ndarray of float32, shape (box_px, box_px, box_px)
        """
        turn = Rotation.identity() if rotation is None else rotation
        indices = np.indices((box_px,) * 3).reshape(3, -1).T - centre_index(box_px)
        offsets_zyx = indices - np.asarray(shift_zyx_px, float)
        source_zyx = turn.inv().apply(offsets_zyx[:, ::-1])[:, ::-1]
        source_zyx = source_zyx * (voxel_size_angstrom / self.voxel_size_angstrom)
        source_zyx += centre_index(self.map_zyx.shape[0])
        coefficients = self._coefficients(float(voxel_size_angstrom))
        values = map_coordinates(coefficients, source_zyx.T, prefilter=False)
        return values.reshape((box_px,) * 3).astype(np.float32)


def read_template(path: str | Path, name: str | None = None) -> MapTemplate:
    """Read a cubic density map (``.mrc``, ``.map``, also gzipped) as a template.

    Parameters
    ----------
    path : str or Path
    name : str, optional
        The file's name up to its first dot, unless given.

    Raises
    ------
    InputError
        If the file cannot be read as a map that serves as a template.
    """
    path = Path(path)
    todo = "give a density map in MRC format"
    with reading(path, "an MRC map", todo), mrcfile.open(path) as handle:
        map_zyx = np.array(handle.data, np.float32)
        voxel_size = float(handle.voxel_size.x)
    return MapTemplate(name or path.name.split(".")[0], map_zyx, voxel_size)
