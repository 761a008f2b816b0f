"""Kinds of objects by name, for formats that number their classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aitom_disca.io.formats.copick import OBJECT
from aitom_disca.particles import ParticleSet


def numbered_objects(particles: ParticleSet) -> tuple[ParticleSet, dict[int, str]]:
    """Make objects of several names, as files of copick bring them, into clusters.

    Returns
    -------
    ParticleSet
        With a cluster for every name; of an object that had clusters, for each of them. Unchanged
        where there is one name, or none.
    dict of int to str
        The legend: what each cluster is, counted from 1; empty where nothing changed.
    """
    names = particles.more.get(OBJECT)
    if names is None or len(set(names.tolist())) < 2:
        return particles, {}
    labels = names.astype(str).astype(object)
    if particles.cluster is not None:
        own = particles.cluster >= 0
        labels[own] = [
            f"{name}-{k + 1}" for name, k in zip(labels[own], particles.cluster[own], strict=True)
        ]
    found, cluster = np.unique(labels.astype(str), return_inverse=True)
    more = {name: column for name, column in particles.more.items() if name != OBJECT}
    numbered = replace(particles, cluster=cluster, posterior=None, more=more)
    return numbered, {k: str(name) for k, name in enumerate(found, 1)}
