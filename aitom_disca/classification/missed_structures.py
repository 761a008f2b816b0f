"""Structures that were missed among all subtomograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.coarse_and_fine import starts_of_tries
from aitom_disca.classification.noise_clusters import is_structure, noise_limit
from aitom_disca.classification.rounds_over_all import AllParticles, Group
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.config.sorting import MissedSettings, SortingSettings
from aitom_disca.progress import muted


@dataclass(frozen=True)
class Missed:
    """Structures that were missed.

    Parameters
    ----------
    groups : list of (rows, average)
    replaced : ndarray of int
        Clusters that some of them are the parts of.
    offset_zyx_px : ndarray of shape (n, 3)
        Where all subtomograms lie, these in their own averages.
    """

    groups: list[Group]
    replaced: np.ndarray
    offset_zyx_px: np.ndarray


def missed(
    everything: AllParticles,
    standing: Standing,
    mask_radius_px: float,
    rng: np.random.Generator,
) -> Missed:
    """Look for structures in every cluster that is new, and among what fits worst.

    What fits no better than noise does would be all of that, where much is noise: it is looked
    into by itself.

    Parameters
    ----------
    everything : AllParticles
    standing : Standing
    mask_radius_px : float
        Of the sphere through which subtomograms are seen.
    rng : numpy.random.Generator
        Draws noise and first references.
    """
    classes, fine, settings = standing.classes, everything.levels.fine, everything.settings
    limit = noise_limit(fine, classes, mask_radius_px, rng, everything.wedge)
    worst = _worst(classes, limit, rng, settings)
    clusters = np.flatnonzero(standing.found_in == standing.found_in.max()).tolist()
    of_clusters = _members(classes, clusters, worst, rng, settings.missed.members)
    looked_into = [*zip(clusters, of_clusters, strict=True), *((None, rows) for rows in worst)]
    splitting = settings.splitting
    looked_into = [(k, rows) for k, rows in looked_into if len(rows) >= splitting.fewest]
    jobs = [(rows, starts_of_tries(len(rows), rng, splitting)) for _, rows in looked_into]

    def look(job: tuple[np.ndarray, list[np.ndarray]]) -> tuple[list[Group], np.ndarray]:
        rows, tries = job
        seen = everything.load(rows)
        with muted():
            parts, offset = seen.structures(classes.offset_zyx_px[rows], tries)
        particles = seen.particles.moved(offset)
        real = [
            (rows[part], average)
            for part, average in parts
            if is_structure(fine, particles.select(part), average)
        ]
        return real, offset

    found = on_all_cores(look, jobs, "looking for missed structures")
    offset, groups, replaced = classes.offset_zyx_px.copy(), [], []
    for (cluster, rows), (parts, own) in zip(looked_into, found, strict=True):
        if cluster is not None and len(parts) < 2:
            continue
        if cluster is not None:
            replaced.append(cluster)
        offset[rows] = own
        groups += parts
    taken = np.concatenate([rows for rows, _ in groups]) if groups else np.zeros(0, int)
    known = [
        (np.setdiff1d(rows, taken), average)
        for k, (rows, average) in enumerate(zip(classes.members(), classes.averages, strict=True))
        if k not in replaced
    ]
    stay = of_their_own(everything, offset, known, groups)
    return Missed(stay, np.array(replaced, int), offset)


def _members(
    classes: Classes,
    clusters: list[int],
    others: list[np.ndarray],
    rng: np.random.Generator,
    most: int,
) -> list[np.ndarray]:
    """Some members of clusters, none of which are among others."""
    taken = np.concatenate([np.zeros(0, int), *others])
    members = classes.members()
    left = (np.setdiff1d(members[k], taken) for k in clusters)
    return [np.sort(rng.permutation(rows)[:most]) for rows in left]


def of_their_own(
    everything: AllParticles, offset_zyx_px: np.ndarray, known: list[Group], found: list[Group]
) -> list[Group]:
    """Those of the clusters found that are none of the known, nor one another.

    Parameters
    ----------
    everything : AllParticles
    offset_zyx_px : ndarray of shape (n, 3)
        Where all subtomograms lie.
    known, found : list of (rows, average)
    """
    if not found:
        return []
    averages = [average for _, average in (*known, *found)]
    similar = everything.pairs.similarity(averages)[len(known) :, : len(known)]
    neighbours = everything.settings.merging.neighbours

    def is_new(number: int) -> bool:
        nearest = np.argsort(-similar[number])[:neighbours]
        pairs = ([found[number], known[k]] for k in nearest if len(known[k][0]))
        return all(len(_merged(everything, offset_zyx_px, pair)) == 2 for pair in pairs)

    with muted():
        new = on_all_cores(is_new, range(len(found)))
        left = [group for group, alone in zip(found, new, strict=True) if alone]
        return _merged(everything, offset_zyx_px, left) if left else []


def _merged(
    everything: AllParticles, offset_zyx_px: np.ndarray, groups: Sequence[Group]
) -> list[Group]:
    """Some members of clusters, those merged that are one structure."""
    settings = everything.settings
    some = [some_of(rows, settings.missed) for rows, _ in groups]
    rows, ends = np.concatenate(some), np.cumsum([len(own) for own in some])
    merger = everything.load(rows).merger(offset_zyx_px[rows])
    members = np.split(np.arange(len(rows)), ends[:-1])
    averages = [average for _, average in groups]
    merged = merger.merge(members, averages, least_z=settings.merging.one_z)
    return [(rows[own], average) for own, average in merged]


def _worst(
    classes: Classes, limit: float, rng: np.random.Generator, settings: SortingSettings
) -> list[np.ndarray]:
    """Rows of what fits worst, in bands of rank, and some of what is below the limit of noise."""
    fits = classes.log_likelihood > limit
    above, below = np.flatnonzero(fits), np.flatnonzero(~fits)
    some = replace(
        classes, labels=classes.labels[above], log_likelihood=classes.log_likelihood[above]
    )
    ranks, share = settings.missed.bands, settings.splitting.misfits
    bands, before = [], np.zeros(0, int)
    for rank in ranks:
        rows = some.misfits(min(rank / max(len(above), 1) + 1e-9, share))
        bands.append(above[np.setdiff1d(rows, before)])
        before = rows
    bands.append(np.sort(rng.permutation(below)[: ranks[-1]]))
    return [band for band in bands if len(band) >= settings.splitting.fewest]


def some_of(rows: np.ndarray, settings: MissedSettings) -> np.ndarray:
    """At most so many of a cluster, spread evenly."""
    n = min(len(rows), settings.tested)
    return rows[np.linspace(0, len(rows) - 1, n).astype(int)]
