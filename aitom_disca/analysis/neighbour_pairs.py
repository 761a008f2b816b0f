"""Where clusters lie to each other: distances of nearest neighbours against chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aitom_disca.analysis.abundance import labels_or_clusters
from aitom_disca.analysis.nearest import Neighbours, nearest_of_each, tomograms_of
from aitom_disca.errors import InputError
from aitom_disca.number_text import digits
from aitom_disca.particles import ParticleSet

_N_BINS = 40
_SIGNIFICANT = 0.01


@dataclass(frozen=True)
class NeighbourPair:
    """How far the members of one cluster are from the nearest of another, and by chance.

    Parameters
    ----------
    cluster, neighbour : int
        From 0. The same where a cluster's members are compared with each other.
    members : int
        Members with such a neighbour in their tomogram.
    median_angstrom, null_median_angstrom : float
        Observed, and the median of those of permuted labels. NaN without members.
    effect : float
        Share by which the distance is shorter than by chance: 0 none, 1 all at one place,
        below 0 further apart.
    p : float
        Of this pair alone: the share of permutations whose median is as far from their mean.
    p_guarded : float
        The chance that any of the pairs would stand out as much.
    edges_angstrom : ndarray of shape (n_bins + 1,)
        Of the histograms; the last bin holds all that is further as well.
    share, null_share, null_low, null_high : ndarray of shape (n_bins,)
        Shares of the members by distance: observed, the mean by chance, and the range of 95 % of
        the permutations.
    """

    cluster: int
    neighbour: int
    members: int
    median_angstrom: float
    null_median_angstrom: float
    effect: float
    p: float
    p_guarded: float
    edges_angstrom: np.ndarray
    share: np.ndarray
    null_share: np.ndarray
    null_low: np.ndarray
    null_high: np.ndarray

    @property
    def sentence(self) -> str:
        """The finding in plain words; clusters from 1."""
        a, b = f"cluster {self.cluster + 1}", f"cluster {self.neighbour + 1}"
        other = "each other" if self.cluster == self.neighbour else f"members of {b}"
        if not self.members:
            return f"No tomogram holds members of {a} with {other} near them."
        how = "nearer to" if self.effect > 0 else "further from"
        if self.p_guarded >= _SIGNIFICANT:
            how = "neither nearer to nor further from"
        return (
            f"Members of {a} are {how} {other} than by chance (median "
            f"{self.median_angstrom / 10:.1f} nm, by chance {self.null_median_angstrom / 10:.1f} "
            f"nm, p = {self.p_guarded:.2g})."
        )

    def row(self) -> dict[str, Any]:
        """Plain values for a table; clusters from 1."""
        return {
            "cluster": self.cluster + 1,
            "neighbour": self.neighbour + 1,
            "members": self.members,
            "median_angstrom": digits(self.median_angstrom),
            "median_by_chance_angstrom": digits(self.null_median_angstrom),
            "effect": digits(self.effect),
            "p": digits(self.p),
            "p_adjusted": digits(self.p_guarded),
        }


def compare_neighbours(
    particles: ParticleSet,
    labels: np.ndarray | None = None,
    *,
    n_permutations: int = 199,
    seed: int = 0,
) -> list[NeighbourPair]:
    """Compare the distances to nearest neighbours with those of permuted labels.

    Labels are permuted among the particles of each tomogram, so that places, the spacing that
    picking keeps, and the counts of every tomogram stay as they are. The statistic of a pair is the
    median distance over all tomograms; neighbours are always of the same tomogram.

    Parameters
    ----------
    particles : ParticleSet
    labels : ndarray of int, shape (n,), optional
        Clusters from 0, by default those of the particles; particles with a label below 0 take no
        part.
    n_permutations : int, default 199
        The smallest p is ``1 / (n_permutations + 1)``.
    seed : int, default 0

    Returns
    -------
    list of NeighbourPair
        All pairs (cluster, neighbour) of the clusters that have members, by cluster.

    Raises
    ------
    InputError
        If positions, labels or voxel sizes are missing, or there is no permutation.

    Notes
    -----
    Memory grows with particles times clusters. ``p_guarded`` compares each standardised median
    with the largest of all pairs in every permutation [1]_. Where one cluster crowds together, the
    others stand out as further from it and from each other: read the largest effect first.

    References
    ----------
    .. [1] Westfall & Young (1993), Resampling-based multiple testing, chapter 2.
    """
    if n_permutations < 1:
        raise InputError(
            f"n_permutations must be 1 or more, but is {n_permutations}; 199 is a usual number."
        )
    labels = labels_or_clusters(particles, labels)
    kept = np.flatnonzero(labels >= 0)
    clusters, labels = np.unique(labels[kept], return_inverse=True)
    if not len(clusters):
        return []
    by_tomogram = [Neighbours(rows, places) for rows, places in tomograms_of(particles, kept)]
    k, rng = len(clusters), np.random.default_rng(seed)
    observed = _by_pair(by_tomogram, labels, k)
    medians, shares = [_medians(observed)], []
    edges: list[np.ndarray] = []
    for _ in range(n_permutations):
        drawn = _by_pair(by_tomogram, _permuted(labels, by_tomogram, rng), k)
        if not edges:  # bins that hold what is observed and what comes by chance
            edges = [_edges(np.append(*both)) for both in zip(observed, drawn, strict=True)]
            shares.append(_shares(observed, edges))
        medians.append(_medians(drawn))
        shares.append(_shares(drawn, edges))
    p, guarded = _significance(np.array(medians))
    columns = zip(observed, np.transpose(medians), p, guarded, edges, strict=True)
    by_pair = np.swapaxes(shares, 0, 1)
    return [_pair(clusters, j, *column, by_pair[j]) for j, column in enumerate(columns)]


# -- pairs --------------------------------------------------------------------------------------


def _by_pair(by_tomogram: list[Neighbours], labels: np.ndarray, k: int) -> list[np.ndarray]:
    """The finite distances of every pair of clusters, (0, 0), (0, 1), ..."""
    nearest = nearest_of_each(by_tomogram, labels, k)
    columns = (column for a in range(k) for column in nearest[labels == a].T)
    return [column[np.isfinite(column)] for column in columns]


def _permuted(
    labels: np.ndarray, by_tomogram: list[Neighbours], rng: np.random.Generator
) -> np.ndarray:
    permuted = labels.copy()
    for one in by_tomogram:
        permuted[one.rows] = rng.permutation(labels[one.rows])
    return permuted


def _medians(distances: list[np.ndarray]) -> list[float]:
    return [float(np.median(d)) if len(d) else float("nan") for d in distances]


def _edges(distances: np.ndarray) -> np.ndarray:
    """Bins up to the furthest but a few."""
    furthest = float(np.quantile(distances, 0.98)) if len(distances) else 0.0
    return np.linspace(0, 1.2 * furthest or 1.0, _N_BINS + 1)


def _shares(distances: list[np.ndarray], edges: list[np.ndarray]) -> list[np.ndarray]:
    return [_share(d, e) for d, e in zip(distances, edges, strict=True)]


def _share(distances: np.ndarray, edges: np.ndarray) -> np.ndarray:
    bins = np.clip(np.searchsorted(edges, distances, side="right") - 1, 0, _N_BINS - 1)
    return np.bincount(bins, minlength=_N_BINS) / max(len(distances), 1)


# -- significance ------------------------------------------------------------------------------


def _significance(medians: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p of every pair, alone and guarded; row 0 was observed, the others permuted.

    All rows give the mean and the spread, so that the observed one is like any other.
    """
    medians = np.where(np.isfinite(medians[0]), medians, 0.0)
    spread = medians.std(axis=0)
    flat = spread <= 1e-9 * np.abs(medians).max(axis=0)  # a tomogram of one cluster, or no member
    scores = np.abs(medians - medians.mean(axis=0)) / np.where(flat, np.inf, spread)
    largest = scores.max(axis=1)
    least = scores[0] - 1e-9  # equal medians may differ in the last digit
    return (scores >= least).mean(axis=0), (largest[:, None] >= least).mean(axis=0)


def _pair(
    clusters: np.ndarray, pair: int, observed: np.ndarray, medians: np.ndarray,
    p: float, guarded: float, edges: np.ndarray, shares: np.ndarray,
) -> NeighbourPair:  # fmt: skip
    a, b = divmod(pair, len(clusters))
    null = float(np.median(medians[1:]))
    effect = 1 - float(medians[0]) / null if null != 0 else 0.0
    low, high = np.quantile(shares[1:], (0.025, 0.975), axis=0)
    return NeighbourPair(
        int(clusters[a]), int(clusters[b]), len(observed), float(medians[0]), null, effect,
        float(p), float(guarded), edges, shares[0], shares[1:].mean(axis=0), low, high,
    )  # fmt: skip
