"""What surrounds the particles of a cell: ice, filaments, gold and globules."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.geometry import random_rotations
from aitom_disca.simulation.cell.growing import FILAMENT, GrowingCell, Placed
from aitom_disca.simulation.phantoms import draw_rod

_EDGE_ANGSTROM = 7.0  # softness of drawn edges
_GOLD_RADIUS_ANGSTROM, _GOLD = 50.0, 9.0  # density of gold against that of protein
_TUBE_RADIUS_ANGSTROM, _PROTOFILAMENTS = 105.0, 13
_ACTIN_RISE_ANGSTROM, _ACTIN_TURN_DEG, _ACTIN_OFFSET_ANGSTROM = 27.5, -166.7, 18.0
_KINDS_OF_GLOBULE = 60
_GLOBULES_AT_ONCE = 400


def fill_ice(cell: GrowingCell, thickness_angstrom: float, change: float) -> None:
    """Leave ice between two smooth surfaces, and block the vacuum on either side."""
    z, y, x = np.ix_(*cell.axes_angstrom())
    phases = cell.rng.uniform(0, 2 * np.pi, 4)
    length = 2.0 * cell.shape_zyx[2] * cell.voxel_size_angstrom
    wave = [np.sin(2 * np.pi * a / length + p) for a, p in zip((x, y, x, y), phases, strict=True)]
    middle = (cell.shape_zyx[0] // 2) * cell.voxel_size_angstrom
    half = thickness_angstrom / 2
    top = middle + half * (1 + change * (wave[0] + wave[1]))
    bottom = middle - half * (1 + change * (wave[2] + wave[3]))
    cell.ice = (z < top) & (z > bottom)
    cell.blocked |= ~cell.ice


def add_microtubule(cell: GrowingCell) -> bool:
    """Add thirteen protofilaments round an axis as long as there is room."""
    line = _free_line(cell, _TUBE_RADIUS_ANGSTROM + 30)
    if line is None:
        return False
    start, end, across = line
    angles = 2 * np.pi * np.arange(_PROTOFILAMENTS) / _PROTOFILAMENTS
    ring = _TUBE_RADIUS_ANGSTROM * np.stack([np.cos(angles), np.sin(angles)], 1) @ across
    pieces = np.linspace(start, end, max(2, int(np.linalg.norm(end - start) / 300) + 1))
    _add_rods(
        cell, [(a + r, b + r, 20.0) for a, b in pairwise(pieces) for r in ring], what=FILAMENT
    )
    return True


def add_actin(cell: GrowingCell) -> bool:
    """Add a filament of actin, a helix of single subunits, as long as there is room."""
    line = _free_line(cell, _ACTIN_OFFSET_ANGSTROM + 30)
    if line is None:
        return False
    start, end, across = line
    length = np.linalg.norm(end - start)
    along = np.arange(0, length, _ACTIN_RISE_ANGSTROM)
    angles = np.deg2rad(_ACTIN_TURN_DEG) * np.arange(len(along))
    helix = _ACTIN_OFFSET_ANGSTROM * np.stack([np.cos(angles), np.sin(angles)], 1) @ across
    centers = start + along[:, None] / length * (end - start) + helix
    _add_rods(cell, [(c, c, 22.0) for c in centers], what=FILAMENT)
    return True


def _free_line(
    cell: GrowingCell, radius_angstrom: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Ends of a line (z, y, x, Å) with free room about it, and two directions across (2, 3)."""
    size = cell.voxel_size_angstrom
    reach = int(np.ceil(radius_angstrom / size))
    grid = np.indices((2 * reach + 1,) * 3) - reach
    ball = (grid**2).sum(axis=0) <= (radius_angstrom / size) ** 2
    shortest = 0.25 * cell.shape_zyx[2]
    for _ in range(20):
        for center in cell.free_places(ball, 200):
            way = cell.rng.normal(size=3) * (0.15, 1, 1)  # filaments lie flat in thin ice
            way /= np.linalg.norm(way)
            ends = [_walk(cell, ball, center.astype(float), s * way) for s in (-1, 1)]
            if np.linalg.norm(ends[1] - ends[0]) >= shortest:
                one = np.cross(way, (1.0, 0.0, 0.0))
                one /= np.linalg.norm(one)
                return ends[0] * size, ends[1] * size, np.stack([one, np.cross(way, one)])
    return None


def _walk(cell: GrowingCell, ball: np.ndarray, start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The last point of a straight walk from which a ball is free and inside the arrays."""
    reach = len(ball) // 2
    step = max(1.0, reach / 2)
    place = start
    while True:
        low = np.round(place + step * way).astype(int) + cell.margin_px - reach
        if (low < 0).any() or (low + len(ball) > cell.blocked.shape).any():
            return place
        if cell.blocked[tuple(slice(s, s + len(ball)) for s in low)][ball].any():
            return place
        place = place + step * way


def _add_rods(
    cell: GrowingCell,
    rods: list[tuple[np.ndarray, np.ndarray, float]],
    density: float = 1.0,
    what: int = 0,
) -> None:
    """Add the union of rods: start and end (z, y, x) and radius, in Å."""
    points = np.array([end for rod in rods for end in rod[:2]])
    reach = max(rod[2] for rod in rods) + 5 * _EDGE_ANGSTROM + cell.voxel_size_angstrom
    axes = cell.axes_angstrom()
    where = tuple(
        slice(*np.searchsorted(a, (p.min() - reach, p.max() + reach)))
        for a, p in zip(axes, points.T, strict=True)
    )
    drawn = np.zeros(cell.density[where].shape, np.float32)
    sigma = np.hypot(_EDGE_ANGSTROM, cell.voxel_size_angstrom / 2)
    inner = [a[w] for a, w in zip(axes, where, strict=True)]
    for start, end, radius in rods:
        draw_rod(drawn, inner, start, end, radius, sigma)
    cell.add(density * drawn, where, drawn > 0.5, what)


def add_gold(cell: GrowingCell) -> bool:
    """Add one bead of 10 nm, and note its place."""
    room = _GOLD_RADIUS_ANGSTROM / cell.voxel_size_angstrom + 2  # its edge is soft
    reach = int(np.ceil(room))
    grid = np.indices((2 * reach + 1,) * 3) - reach
    ball = (grid**2).sum(axis=0) <= room**2
    for center in cell.free_places(ball, 400):
        place = center * cell.voxel_size_angstrom
        _add_rods(cell, [(place, place, _GOLD_RADIUS_ANGSTROM)], _GOLD)
        radius = _GOLD_RADIUS_ANGSTROM / cell.voxel_size_angstrom
        cell.placed.append(
            Placed("gold", "gold", center.astype(float), Rotation.identity(), radius)
        )
        return True
    return False


def add_globules(cell: GrowingCell, until_free_px: int) -> int:
    """Add small proteins of one short rod each until so few voxels are free; how many there are."""
    kinds = [_globule(cell) for _ in range(_KINDS_OF_GLOBULE)]
    count, misses, free = 0, 0, cell.free_px()
    while misses < 3 * len(kinds) and free > until_free_px:
        before = count
        drawn = kinds[cell.rng.integers(len(kinds))]
        solid = drawn > 0.5
        for center in cell.free_places(solid, _GLOBULES_AT_ONCE):
            if free <= until_free_px:
                break
            low = center + cell.margin_px - len(drawn) // 2
            cell.add(drawn, tuple(slice(s, s + len(drawn)) for s in low), solid)
            count += 1
            free -= int(solid.sum())  # a little more where a face cuts it
        misses = misses + 1 if count == before else 0
        if free <= until_free_px:
            free = cell.free_px()
    return count


def _globule(cell: GrowingCell) -> np.ndarray:
    """A rod with round ends of 30 to 200 kDa, at a random pose, in an odd box."""
    size = cell.voxel_size_angstrom
    radius = cell.rng.uniform(18, 32)
    half = cell.rng.uniform(0, 25) * random_rotations(1, cell.rng)[0].apply([0, 0, 1])
    reach = int(np.ceil((radius + 25 + 3 * _EDGE_ANGSTROM) / size)) + 1
    axis = np.arange(-reach, reach + 1) * size
    drawn = np.zeros((2 * reach + 1,) * 3, np.float32)
    sigma = np.hypot(_EDGE_ANGSTROM, size / 2)
    draw_rod(
        drawn,
        [axis + s for s in cell.rng.uniform(-size / 2, size / 2, 3)],
        -half,
        half,
        radius,
        sigma,
    )
    return drawn
