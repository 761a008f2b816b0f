"""How the clusters of a particle set lie and where: tables and pictures, ready to be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.analysis.abundance import count_clusters
from aitom_disca.analysis.neighbour_pairs import NeighbourPair, compare_neighbours
from aitom_disca.analysis.orientation import OrientationPreference, preferred_orientations
from aitom_disca.analysis.view_directions import view_directions_xyz
from aitom_disca.curation.averages import with_names
from aitom_disca.curation.cluster_names_in_files import names_in
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import remove_unfinished, replacing
from aitom_disca.io.result_tables import write_rows_csv
from aitom_disca.particles import ParticleSet

_N_PERMUTATIONS = 199
_MOST_PICTURES = 12  # of distances: all pairs of many clusters would be hundreds
_TABLES = ("orientations.csv", "neighbours.csv", "counts.csv")
_PICTURES = ("orientations_*.png", "neighbours_*.png")


def orientation_rows(particles: ParticleSet) -> list[dict[str, Any]]:
    """From which sides the particles of every cluster are seen.

    Parameters
    ----------
    particles : ParticleSet
        Angles of the average of each particle's own cluster. Particles without a cluster, or whose
        angles are not numbers, take no part.

    Returns
    -------
    list of dict
        A row for every cluster: its number, from 1, the figures of `OrientationPreference`, both
        statistics, and the finding in words. Empty without angles.

    Raises
    ------
    InputError
        If the particles have no clusters.
    """
    return _orientation_rows(_preferences(particles))


def neighbour_rows(
    particles: ParticleSet, *, n_permutations: int = _N_PERMUTATIONS, seed: int = 0
) -> list[dict[str, Any]]:
    """How far clusters are from one another and from themselves, against permuted labels.

    Parameters
    ----------
    particles : ParticleSet
    n_permutations, seed : int
        As in `compare_neighbours`.

    Returns
    -------
    list of dict
        A row for every pair of clusters, numbered from 1, with the finding in words.

    Raises
    ------
    InputError
        If clusters, positions or voxel sizes are missing.
    """
    return _neighbour_rows(compare_neighbours(particles, n_permutations=n_permutations, seed=seed))


def count_rows(particles: ParticleSet) -> list[dict[str, Any]]:
    """How many particles of every cluster each tomogram holds, and by cubic micrometre.

    Raises
    ------
    InputError
        If the particles have no clusters.
    """
    return [found.row() for found in count_clusters(particles)]


def space_pictures(
    particles: ParticleSet, *, n_permutations: int = _N_PERMUTATIONS, seed: int = 0
) -> dict[str, bytes]:
    """Pictures of view directions, one a cluster, and of distances to neighbours.

    Of the distances no more than twelve are drawn: those within every cluster first, then those
    between clusters that stand out most.

    Returns
    -------
    dict of str to bytes
        PNGs by file name: ``orientations_01.png`` of the first cluster, ``neighbours_01_02.png``
        from its members to the nearest of the second.

    Raises
    ------
    InputError
        If clusters, positions or voxel sizes are missing.
    """
    pairs = compare_neighbours(particles, n_permutations=n_permutations, seed=seed)
    return _pictures(particles, _preferences(particles), pairs)


def write_space(
    particles: ParticleSet,
    out_dir: str | Path,
    *,
    n_permutations: int = _N_PERMUTATIONS,
    seed: int = 0,
) -> list[Path]:
    """Write ``orientations.csv``, ``neighbours.csv``, ``counts.csv`` and the pictures.

    Where clusters have names (`aitom_disca.curation`), the first and the last table hold them.
    Everything is computed before the first file is written. A table without rows is not written,
    and what an earlier run left under these names goes.

    Parameters
    ----------
    particles : ParticleSet
        Angles are optional.
    out_dir : path
        Made if it is not there.
    n_permutations, seed : int
        As in `compare_neighbours`.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If clusters, positions or voxel sizes are missing, or the folder cannot be written to.
    """
    out_dir = Path(out_dir)
    preferences = _preferences(particles)
    pairs = compare_neighbours(particles, n_permutations=n_permutations, seed=seed)
    names = names_in(particles)
    rows = (
        with_names(_orientation_rows(preferences), names),
        _neighbour_rows(pairs),
        with_names(count_rows(particles), names),
    )
    tables = {name: table for name, table in zip(_TABLES, rows, strict=True) if table}
    pictures = _pictures(particles, preferences, pairs)
    for name, table in tables.items():
        write_rows_csv(out_dir / name, table)
    for name, png in pictures.items():
        with replacing(out_dir / name) as temporary:
            temporary.write_bytes(png)
    written = [out_dir / name for name in (*tables, *pictures)]
    _remove_others(out_dir, written)
    return written


def space_files_there(out_dir: Path) -> list[Path]:
    """What of an earlier run `write_space` replaces or removes."""
    return [path for pattern in (*_TABLES, *_PICTURES) for path in sorted(out_dir.glob(pattern))]


def _preferences(particles: ParticleSet) -> Mapping[int, OrientationPreference]:
    """By cluster; none without angles."""
    if particles.cluster is None:
        raise InputError("The particles have no clusters; cluster them first.")
    if particles.euler_zyz_deg is None:
        return {}
    return preferred_orientations(particles.euler_zyz_deg, particles.cluster)


def _orientation_rows(preferences: Mapping[int, OrientationPreference]) -> list[dict[str, Any]]:
    return [
        {
            "cluster": cluster + 1,
            **found.row(),
            "rayleigh": f"{found.rayleigh:.4g}",
            "bingham": f"{found.bingham:.4g}",
            "finding": found.sentence,
        }
        for cluster, found in preferences.items()
        if found.n
    ]


def _neighbour_rows(pairs: Iterable[NeighbourPair]) -> list[dict[str, Any]]:
    return [{**pair.row(), "finding": pair.sentence} for pair in pairs]


def _pictures(
    particles: ParticleSet,
    preferences: Mapping[int, OrientationPreference],
    pairs: Sequence[NeighbourPair],
) -> dict[str, bytes]:
    from aitom_disca.report.spatial_figures import draw_neighbour_distances, draw_orientations

    drawn = {}
    labels, angles = np.asarray(particles.cluster), np.asarray(particles.euler_zyz_deg)
    for cluster, found in preferences.items():
        if found.n:
            directions = view_directions_xyz(angles[labels == cluster])
            drawn[f"orientations_{cluster + 1:02}.png"] = draw_orientations(directions, found)
    for pair in _most_telling(pairs):
        name = f"neighbours_{pair.cluster + 1:02}_{pair.neighbour + 1:02}.png"
        drawn[name] = draw_neighbour_distances(pair)
    return drawn


def _most_telling(pairs: Sequence[NeighbourPair]) -> list[NeighbourPair]:
    """Those to be drawn, by cluster."""

    def first(pair: NeighbourPair) -> tuple[bool, float, float]:
        return pair.cluster != pair.neighbour, pair.p_guarded, -abs(pair.effect)

    chosen = sorted((pair for pair in pairs if pair.members), key=first)[:_MOST_PICTURES]
    return sorted(chosen, key=lambda pair: (pair.cluster, pair.neighbour))


def _remove_others(out_dir: Path, written: Sequence[Path]) -> None:
    """Take away tables and pictures of an earlier run, whose clusters are no longer these."""
    for pattern in (*_TABLES, *_PICTURES):
        remove_unfinished(out_dir / pattern)
    for path in space_files_there(out_dir):
        if path not in written:
            path.unlink()
