"""Bilayers of a cell: a bounding sheet, vesicles, and the complexes that sit in them."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.simulation.cell.growing import SHEET, GrowingCell
from aitom_disca.simulation.phantoms import Template

_HEADS_ANGSTROM, _HEADS_SIGMA_ANGSTROM, _HEADS = 19.0, 6.0, 1.1  # of a leaflet, from the middle
_BILAYER_HALF_ANGSTROM = 32.0


class Bilayer:
    """A bilayer given by the signed distance to its middle.

    Parameters
    ----------
    center_zyx, radii_zyx : ndarray of shape (3,)
        Å. An infinite radius makes a cylinder along that axis.
    """

    def __init__(self, center_zyx: np.ndarray, radii_zyx: np.ndarray) -> None:
        self.center_zyx, self.radii_zyx = center_zyx, radii_zyx

    def distance(self, offsets: list[np.ndarray]) -> np.ndarray:
        """Signed distance of points (z, y, x, broadcast), to first order; negative inside."""
        scaled = [
            (o - c) / r for o, c, r in zip(offsets, self.center_zyx, self.radii_zyx, strict=True)
        ]
        value = sum(s**2 for s in scaled)
        slope = sum((s / r) ** 2 for s, r in zip(scaled, self.radii_zyx, strict=True))
        return (value - np.sqrt(value)) / np.sqrt(np.maximum(slope, 1e-12))

    def random_point(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A point of the surface and the outward normal there, z, y, x."""
        finite = np.isfinite(self.radii_zyx)
        way = rng.normal(size=3) * finite
        way /= np.linalg.norm(way)
        point = self.center_zyx + way * np.where(finite, self.radii_zyx, 0)
        normal = way / self.radii_zyx
        return point, normal / np.linalg.norm(normal)


def add_sheet(cell: GrowingCell) -> Bilayer:
    """Add a bounding bilayer, a wide cylinder along the beam; its outside holds nothing."""
    nz, ny, nx = np.array(cell.shape_zyx) * cell.voxel_size_angstrom
    radius = cell.rng.uniform(1.0, 1.6) * ny
    edge = cell.rng.uniform(0.04, 0.1) * nx  # of the cell, where the sheet comes nearest
    center = np.array([nz / 2, cell.rng.uniform(0.3, 0.7) * ny, edge + radius])
    sheet = Bilayer(center, np.array([np.inf, radius, radius]))
    _add_bilayer(cell, sheet, np.array([-np.inf] * 3), np.array([np.inf] * 3))
    outside = sheet.distance(list(np.ix_(*cell.axes_angstrom()))) > 0
    cell.blocked |= outside
    return sheet


def add_vesicle(cell: GrowingCell, radius_angstrom: tuple[float, float]) -> Bilayer | None:
    """Add a vesicle of a random size where there is room; None without."""
    for _ in range(200):
        radii = cell.rng.uniform(*radius_angstrom) * cell.rng.uniform(0.85, 1.15, 3)
        center = cell.random_place() * cell.voxel_size_angstrom
        vesicle = Bilayer(center, radii)
        reach = radii + _BILAYER_HALF_ANGSTROM + 2 * cell.voxel_size_angstrom
        if _add_bilayer(cell, vesicle, center - reach, center + reach):
            return vesicle
    return None


def _add_bilayer(cell: GrowingCell, bilayer: Bilayer, low: np.ndarray, high: np.ndarray) -> bool:
    """Add what of it lies in ice, if that is free."""
    axes = cell.axes_angstrom()
    where = tuple(
        slice(*np.searchsorted(a, pair)) for a, *pair in zip(axes, low, high, strict=True)
    )
    offsets = [a[w] for a, w in zip(axes, where, strict=True)]
    ice = cell.ice[where]
    distance = np.broadcast_to(bilayer.distance(list(np.ix_(*offsets))), ice.shape)
    solid = (np.abs(distance) < _BILAYER_HALF_ANGSTROM) & ice
    if not solid.any() or (cell.blocked[where] & solid).any():
        return False
    sigma = np.hypot(_HEADS_SIGMA_ANGSTROM, cell.voxel_size_angstrom / 2)
    heads = np.exp(-(((np.abs(distance) - _HEADS_ANGSTROM) / sigma) ** 2) / 2)
    cell.add((_HEADS * heads * ice).astype(np.float32), where, solid, SHEET)
    return True


def add_membrane_complex(cell: GrowingCell, template: Template, bilayers: list[Bilayer]) -> bool:
    """Put a template into a bilayer, its centre in the middle and its z axis along the normal."""
    for _ in range(200):
        bilayer = bilayers[cell.rng.integers(len(bilayers))]
        point, normal = bilayer.random_point(cell.rng)
        if np.isinf(bilayer.radii_zyx[0]):
            point[0] = cell.random_place()[0] * cell.voxel_size_angstrom
        center = point / cell.voxel_size_angstrom
        if (center < 0).any() or (center > np.array(cell.shape_zyx) - 1).any():
            continue
        turn = _along(normal[::-1]) * Rotation.from_euler("z", cell.rng.uniform(0, 2 * np.pi))
        if cell.place_in_bilayer(template, "membrane", center, turn):
            return True
    return False


def _along(direction_xyz: np.ndarray) -> Rotation:
    """A rotation that takes the z axis to a direction."""
    x, y, z = direction_xyz
    return Rotation.from_euler("ZY", [np.arctan2(y, x), np.arctan2(np.hypot(x, y), z)])
