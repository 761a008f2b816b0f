"""Names of clusters in the files that are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aitom_disca.io.formats.relion.star_blocks import CLUSTER_NAME_COLUMN
from aitom_disca.particles import ParticleSet


def with_cluster_names(particles: ParticleSet, names: Mapping[int, str]) -> ParticleSet:
    """Particles with a column of their clusters' names, in one word as star files want it.

    Parameters
    ----------
    particles : ParticleSet
        With clusters.
    names : mapping of int to str
        By the number of the cluster, from 1. Without any there is no such column.
    """
    more = {key: value for key, value in particles.more.items() if key != CLUSTER_NAME_COLUMN}
    if not names:
        return replace(particles, more=more)
    numbers = (np.asarray(particles.cluster) + 1).tolist()
    words = [names.get(number, "None").replace(" ", "_") for number in numbers]
    return replace(particles, more={**more, CLUSTER_NAME_COLUMN: np.array(words)})


def names_in(particles: ParticleSet) -> dict[int, str]:
    """Names of clusters, by their number from 1, as `with_cluster_names` put them there."""
    words = particles.more.get(CLUSTER_NAME_COLUMN)
    if words is None or particles.cluster is None:
        return {}
    pairs = zip(np.asarray(particles.cluster).tolist(), words.tolist(), strict=True)
    return {k + 1: str(word) for k, word in pairs if k >= 0 and word != "None"}


def called(number: int, names: Mapping[int, str]) -> str:
    """A cluster in words: ``5 ribosome``, or ``cluster 5`` where it has no name."""
    return f"{number} {names[number]}" if number in names else f"cluster {number}"
