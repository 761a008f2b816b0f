"""How many members of every cluster a tomogram holds, and how densely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.number_text import digits
from aitom_disca.particles import ParticleSet

_UM3_PER_ANGSTROM3 = 1e-12


@dataclass(frozen=True)
class Abundance:
    """How many members of a cluster a tomogram holds.

    Parameters
    ----------
    tomogram : str
    cluster : int
        From 0.
    count : int
    per_um3 : float
        By cubic micrometre of the tomogram as given; NaN where its size is unknown.
    """

    tomogram: str
    cluster: int
    count: int
    per_um3: float

    def row(self) -> dict[str, Any]:
        """Plain values for a table; clusters from 1."""
        return {
            "tomogram": self.tomogram,
            "cluster": self.cluster + 1,
            "count": self.count,
            "per_um3": digits(self.per_um3),
        }


def count_clusters(particles: ParticleSet, labels: np.ndarray | None = None) -> list[Abundance]:
    """Count the members of every cluster in every tomogram.

    Parameters
    ----------
    particles : ParticleSet
    labels : ndarray of int, shape (n,), optional
        Clusters from 0, by default those of the particles; labels below 0 are not counted.

    Returns
    -------
    list of Abundance
        By tomogram and cluster, those with none too.

    Raises
    ------
    InputError
        If labels are missing.
    """
    labels = labels_or_clusters(particles, labels)
    clusters = np.unique(labels[labels >= 0])
    found = []
    for name in np.unique(particles.tomogram_name):
        info = particles.tomograms.get(str(name))
        volume = float("nan")
        if info is not None and info.shape_zyx is not None:
            voxels = float(np.prod(np.array(info.shape_zyx, float)))
            volume = voxels * info.voxel_size_angstrom**3 * _UM3_PER_ANGSTROM3
        inside = labels[particles.tomogram_name == name]
        for cluster in clusters:
            count = int((inside == cluster).sum())
            found.append(Abundance(str(name), int(cluster), count, count / volume))
    return found


def labels_or_clusters(particles: ParticleSet, labels: np.ndarray | None) -> np.ndarray:
    """The labels given, else the clusters of the particles.

    Raises
    ------
    InputError
        If there are neither, or not as many as particles.
    """
    labels = particles.cluster if labels is None else np.asarray(labels)
    if labels is None:
        raise InputError("The particles have no clusters; give labels, or cluster them first.")
    if len(labels) != len(particles):
        raise InputError(
            f"There are {len(particles)} particles but {len(labels)} labels; "
            "give one label for each particle."
        )
    return labels
