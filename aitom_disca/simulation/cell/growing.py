"""A cell that grows: what is put in finds a free place by its shape, voxel by voxel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.geometry import centre_index, random_rotations
from aitom_disca.simulation.phantoms import Template

SHEET, FILAMENT = 1, 2  # what is noted of the surroundings
SHAPE_LEVEL = 0.2  # voxels above this part of the maximum are a particle's shape
_PLACES = 400  # tried with one pose
_POSES = 25
_FEW = 40  # voxels of a shape that rule most places out
_MASS = 0.99


@dataclass(frozen=True)
class Placed:
    """One particle of the truth.

    Parameters
    ----------
    kind, role : str
    center_zyx_px : ndarray of shape (3,)
        Voxels of the tomogram from 0.
    rotation : Rotation
        Of (x, y, z) vectors, template to tomogram.
    radius_px : float
        Sphere round the centre that holds 99 % of the mass.
    """

    kind: str
    role: str
    center_zyx_px: np.ndarray
    rotation: Rotation
    radius_px: float


class GrowingCell:
    """Density of a cell and what is free in it.

    Parameters
    ----------
    shape_zyx : tuple of 3 int
    voxel_size_angstrom : float
    rng : Generator
    margin_px : int
        Grown beyond the tomogram on every side, so that no box needs to be cut: more than the
        largest particle's radius.

    Attributes
    ----------
    density : ndarray of float32
        Mean of protein 1, with the margin on every side.
    blocked : ndarray of bool, same shape
        Where nothing more can be put.
    ice : ndarray of bool, same shape
        The rest is vacuum.
    surroundings : ndarray of uint8, same shape
        `SHEET` in bilayers, `FILAMENT` in filaments, 0 elsewhere.
    placed : list of Placed
    """

    def __init__(
        self,
        shape_zyx: tuple[int, int, int],
        voxel_size_angstrom: float,
        rng: np.random.Generator,
        margin_px: int,
    ) -> None:
        self.shape_zyx = shape_zyx
        self.voxel_size_angstrom = voxel_size_angstrom
        self.rng = rng
        self.margin_px = margin_px
        full = tuple(n + 2 * self.margin_px for n in shape_zyx)
        self.density = np.zeros(full, np.float32)
        self.blocked = np.zeros(full, bool)
        self.ice = np.ones(full, bool)
        self.surroundings = np.zeros(full, np.uint8)
        self.placed: list[Placed] = []

    @property
    def inside(self) -> tuple[slice, ...]:
        """The tomogram within the arrays."""
        return tuple(slice(self.margin_px, self.margin_px + n) for n in self.shape_zyx)

    def axes_angstrom(self) -> list[np.ndarray]:
        """Positions of the voxels of the arrays along z, y and x; 0 is voxel 0 of the tomogram."""
        return [
            (np.arange(n) - self.margin_px) * self.voxel_size_angstrom for n in self.density.shape
        ]

    def free_px(self) -> int:
        """Voxels of the tomogram in which there is nothing yet."""
        return int(np.count_nonzero(~self.blocked[self.inside]))

    def random_place(self) -> np.ndarray:
        """A random point of the tomogram, z, y, x in voxels."""
        return self.rng.uniform(0, np.array(self.shape_zyx) - 1)

    def place(self, template: Template, role: str) -> bool:
        """Put a template in at a random pose where its shape is free; whether there was room."""
        for _ in range(_POSES):
            turn = random_rotations(1, self.rng)[0]
            part = self.rng.uniform(-0.5, 0.5, 3)
            drawn = self.draw(template, turn, part)
            for center in self.free_places(drawn > SHAPE_LEVEL, _PLACES):
                self.put(template, role, drawn, center + part, turn)
                return True
        return False

    def place_in_bilayer(
        self, template: Template, role: str, center_zyx_px: np.ndarray, turn: Rotation
    ) -> bool:
        """Put a template in at a pose, if nothing but bilayer is there, which gives way."""
        whole = np.floor(center_zyx_px + 0.5)
        drawn = self.draw(template, turn, center_zyx_px - whole)
        box, shape = self._box(whole, len(drawn)), drawn > SHAPE_LEVEL
        if (self.blocked[box] & (self.surroundings[box] != SHEET))[shape].any():
            return False
        self.density[box][shape] = 0
        self.surroundings[box][shape] = 0
        self.put(template, role, drawn, center_zyx_px, turn)
        return True

    def draw(self, template: Template, turn: Rotation, part_zyx_px: np.ndarray) -> np.ndarray:
        """A template's density at a pose and a part of a voxel, its maximum near 1."""
        box_px = 2 * reach_px(template, self.voxel_size_angstrom) + 1
        drawn = template.density(box_px, self.voxel_size_angstrom, turn, part_zyx_px)
        return np.maximum(drawn, 0) / drawn.max()

    def put(
        self,
        template: Template,
        role: str,
        drawn: np.ndarray,
        center_zyx_px: np.ndarray,
        turn: Rotation,
    ) -> None:
        """Add a drawn template and note it."""
        box = self._box(np.floor(center_zyx_px + 0.5), len(drawn))
        shape = drawn > SHAPE_LEVEL
        self.density[box] += drawn / drawn[shape].mean()
        self.blocked[box] |= shape
        radius = mass_radius_px(drawn, center_zyx_px - np.floor(center_zyx_px + 0.5))
        self.placed.append(Placed(template.name, role, center_zyx_px, turn, radius))

    def add(
        self, drawn: np.ndarray, where: tuple[slice, ...], solid: np.ndarray, what: int = 0
    ) -> None:
        """Add density of anything else, block its solid part, and say what it is."""
        self.density[where] += drawn
        self.blocked[where] |= solid
        self.surroundings[where][solid] = what

    def free_places(self, shape: np.ndarray, n: int) -> Iterator[np.ndarray]:
        """Of n random voxels of the tomogram, those (3,) where a shape (odd box) is free.

        Each is looked at only when it is asked for, so that the last one may have been filled.
        """
        centers = self.rng.integers(0, self.shape_zyx, (n, 3))
        strides = np.array(self.blocked.strides)
        flat = self.blocked.ravel()  # a view
        offsets = (np.argwhere(shape) - np.array(shape.shape) // 2) @ strides
        start = (centers + self.margin_px) @ strides
        few = self.rng.choice(offsets, min(_FEW, len(offsets)), replace=False)
        for i in np.flatnonzero(~flat[start[:, None] + few].any(axis=1)):
            if not flat[start[i] + offsets].any():
                yield centers[i]

    def _box(self, center: np.ndarray, box_px: int) -> tuple[slice, ...]:
        start = center.astype(int) + self.margin_px - box_px // 2
        return tuple(slice(s, s + box_px) for s in start)


def reach_px(template: Template, voxel_size_angstrom: float) -> int:
    """Voxels from a template's centre to beyond its surface."""
    return int(np.ceil(template.radius_angstrom / voxel_size_angstrom)) + 2


def mass_radius_px(drawn: np.ndarray, center_zyx_px: Any = (0, 0, 0)) -> float:
    """Radius round a point, from the box centre, that holds 99 % of the mass."""
    grid = np.indices(drawn.shape).reshape(3, -1).T - centre_index(len(drawn))
    distance = np.linalg.norm(grid - np.asarray(center_zyx_px), axis=1)
    order = np.argsort(distance)
    mass = np.cumsum(drawn.ravel()[order])
    return float(distance[order][np.searchsorted(mass, _MASS * mass[-1])])
