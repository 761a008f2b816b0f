"""Distances between particles: of each to the nearest other of every cluster in its tomogram."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from aitom_disca.errors import InputError
from aitom_disca.particles import ParticleSet

_NEAR = 24  # neighbours looked at before a search among one cluster alone


class Neighbours:
    """The particles of one tomogram and their nearest neighbours, whatever their labels.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
        Which of the labels are theirs.
    places_angstrom : ndarray of shape (m, 3)
    """

    def __init__(self, rows: np.ndarray, places_angstrom: np.ndarray) -> None:
        self.rows, self.places = rows, places_angstrom
        m = len(rows)
        ranks = np.arange(1, min(_NEAR + 1, m) + 1)
        self._distance, near = cKDTree(self.places).query(self.places, ranks)
        self._near = np.where(near == np.arange(m)[:, None], m, near)  # m: the particle itself

    def nearest(self, labels: np.ndarray, k: int) -> np.ndarray:
        """Distance to the nearest other of each cluster, (m, k); infinite where there is none."""
        found = np.full((len(labels), k), np.inf)
        named = np.append(labels, -1)[self._near]
        for b in range(k):
            hit = named == b
            first = hit.argmax(axis=1)[:, None]
            known = np.take_along_axis(hit, first, axis=1)[:, 0]
            near = np.take_along_axis(self._distance, first, axis=1)[:, 0]
            found[known, b] = near[known]
            self._search(found[:, b], np.flatnonzero(~known), labels == b)
        return found

    def _search(self, found: np.ndarray, rows: np.ndarray, members: np.ndarray) -> None:
        """Fill in those that have no member among the near ones, in place."""
        if not len(rows) or not members.any():
            return
        two, _ = cKDTree(self.places[members]).query(self.places[rows], [1, 2])
        found[rows] = np.where(members[rows], two[:, 1], two[:, 0])  # the first is itself


def nearest_of_each(by_tomogram: list[Neighbours], labels: np.ndarray, k: int) -> np.ndarray:
    """Distance of every particle to the nearest other of each cluster in its tomogram, (n, k)."""
    found = np.full((len(labels), k), np.inf)
    for one in by_tomogram:
        found[one.rows] = one.nearest(labels[one.rows], k)
    return found


def tomograms_of(
    particles: ParticleSet, kept: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of every tomogram: which of the kept particles it holds, and where, z, y, x in Angstrom."""
    names = particles.tomogram_name[kept]
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        yield rows, _places_angstrom(particles, kept[rows], str(name))


def _places_angstrom(particles: ParticleSet, rows: np.ndarray, name: str) -> np.ndarray:
    places = particles.center_zyx_px[rows]
    if np.isfinite(places).all():
        if name not in particles.tomograms:
            raise InputError(
                f"Distances need the voxel size of tomogram {name!r}, which is not known; "
                "list the tomogram with its voxel size."
            )
        return places * particles.tomograms[name].voxel_size_angstrom
    if particles.centered_xyz_angstrom is not None:
        places = particles.centered_xyz_angstrom[rows, ::-1]
    if not np.isfinite(places).all():
        raise InputError(
            f"Distances need the position of every particle, but tomogram {name!r} holds "
            "some without; give positions, or leave those particles out."
        )
    return places
