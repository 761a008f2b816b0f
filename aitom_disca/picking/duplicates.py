"""Particles that were found twice."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from aitom_disca.particles import ParticleSet


def without_duplicates(particles: ParticleSet, min_distance_angstrom: float) -> np.ndarray:
    """Which particles stay when of any two that lie too near to one another one goes.

    Best score first, a particle stays unless a better one of its tomogram that stayed is too
    near; without scores, or at the same score, the first stays. Where a voxel size or a position
    is unknown all stay.

    Parameters
    ----------
    particles : ParticleSet
    min_distance_angstrom : float
        Particles exactly this far apart both stay.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    stays = np.ones(len(particles), bool)
    reach = np.nextafter(min_distance_angstrom, 0)
    score = np.zeros(len(particles)) if particles.score is None else particles.score
    for name, info in particles.tomograms.items():
        rows = np.flatnonzero(particles.tomogram_name == name)
        rows = rows[np.isfinite(particles.center_zyx_px[rows]).all(axis=1)]
        rows = rows[np.argsort(-score[rows], kind="stable")]
        if not len(rows) or not info.voxel_size_angstrom > 0 or min_distance_angstrom <= 0:
            continue
        place = particles.center_zyx_px[rows] * info.voxel_size_angstrom
        tree = cKDTree(place)
        for i, row in enumerate(rows):
            if stays[row]:
                near = np.array(tree.query_ball_point(place[i], reach))
                stays[rows[near[near > i]]] = False
    return stays
