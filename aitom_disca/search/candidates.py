"""Candidates: every place of a tomogram where a particle may lie, and boxes cut there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

import numpy as np

from aitom_disca.computing.parallel import in_tasks
from aitom_disca.config import PickSettings
from aitom_disca.geometry.box import box_slices
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.picking import find_peaks, without_duplicates

_SCALES = (0.7, 1.0)  # of the particle diameter: small particles in a crowd need the second
_MIN_DISTANCE_DIAMETERS = 0.45
_SAME_DIAMETERS = 0.3  # so near to one another two peaks are one candidate
_CUBE_DIAMETERS = 0.6  # one candidate in such a cube, at most


def candidates_of(
    tomogram: Tomogram, particle_diameter_angstrom: float, border_px: int = 0
) -> ParticleSet:
    """Peaks of any height of a Difference of Gaussians, so dense that particles would touch.

    Parameters
    ----------
    tomogram : Tomogram
    particle_diameter_angstrom : float
    border_px : int
        Candidates stay this far from the faces, and at least half a diameter.

    Returns
    -------
    ParticleSet
        Empty where the tomogram has no bright peak at all.
    """
    diameter_px = particle_diameter_angstrom / tomogram.voxel_size_angstrom
    settings = PickSettings(
        particle_diameter_angstrom=tuple(s * particle_diameter_angstrom for s in _SCALES),
        threshold_rule="absolute",
        threshold=0.0,
        min_distance_px=_MIN_DISTANCE_DIAMETERS * diameter_px,
        border_px=max(border_px, math.ceil(diameter_px / 2)),
    )
    peaks = find_peaks(tomogram, settings)
    apart = _SAME_DIAMETERS * particle_diameter_angstrom
    peaks = peaks.select(without_duplicates(peaks, apart))
    n_cubes = np.prod(tomogram.shape_zyx) / (_CUBE_DIAMETERS * diameter_px) ** 3
    height = np.zeros(len(peaks)) if peaks.score is None else peaks.score
    return peaks.select(np.argsort(-height, kind="stable")[: max(1, int(n_cubes))])


def candidates_in(
    tomograms: Sequence[Tomogram],
    particle_diameter_angstrom: float,
    border_px: int = 0,
    *,
    executor: Executor | None = None,
) -> list[np.ndarray]:
    """Places (n, 3) of the candidates of every tomogram, each of which is a task."""
    find = partial(_places, diameter=particle_diameter_angstrom, border_px=border_px)
    return list(in_tasks(find, tomograms, executor, "looking for candidates"))


def _places(tomogram: Tomogram, diameter: float, border_px: int) -> np.ndarray:
    return candidates_of(tomogram, diameter, border_px).center_zyx_px


def cut_boxes(tomogram: Tomogram, center_zyx_px: np.ndarray, box_px: int) -> np.ndarray:
    """Boxes (n, z, y, x) round places; beyond the faces the tomogram is mirrored.

    Parameters
    ----------
    tomogram : Tomogram
    center_zyx_px : ndarray of shape (n, 3)
        The voxel nearest to it becomes voxel ``box_px // 2``.
    box_px : int
    """
    boxes = np.empty((len(center_zyx_px), *(box_px,) * 3), np.float32)
    for box, center in zip(boxes, center_zyx_px, strict=True):
        wanted = box_slices(center, box_px)
        inside = tuple(
            slice(max(s.start, 0), min(s.stop, n))
            for s, n in zip(wanted, tomogram.shape_zyx, strict=True)
        )
        beyond = [(i.start - w.start, w.stop - i.stop) for i, w in zip(inside, wanted, strict=True)]
        box[:] = np.pad(tomogram.read(inside), beyond, mode="symmetric")
    return boxes
