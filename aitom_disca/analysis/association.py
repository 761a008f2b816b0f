"""How strongly clusters go with another property: effect sizes by rank, and their significance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm, rankdata


@dataclass(frozen=True)
class Association:
    """How clusters go with one property.

    Parameters
    ----------
    effect : ndarray of shape (K,)
        Of each cluster against all others. For a number Cliff's delta, -1 to 1: the chance that a
        member has the larger value, less the chance that it has the smaller one. For names
        Cramer's V, 0 to 1.
    p : ndarray of shape (K,)
        Significance of each, of this test alone.
    overall : float
        Of all clusters at once, 0 to 1: eta squared of the ranks, or Cramer's V.
    overall_p : float
    """

    effect: np.ndarray
    p: np.ndarray
    overall: float
    overall_p: float


def associate_numbers(values: np.ndarray, labels: np.ndarray) -> Association:
    """Compare the values of the clusters by rank.

    Cliff's delta is twice the area under the ROC curve less one, and its significance that of the
    Mann-Whitney test; all clusters at once are compared by the Kruskal-Wallis test. Both take ties
    into account and assume nothing about how the values are distributed.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Finite.
    labels : ndarray of int, shape (n,)
        Clusters from 0, at least two with members.

    Notes
    -----
    The effect of a cluster without members is NaN.
    """
    n, sizes = len(values), np.bincount(labels).astype(float)
    ranks = rankdata(values)
    _, ties = np.unique(values, return_counts=True)
    untied = 1 - float((ties.astype(float) ** 3 - ties).sum()) / max(n**3 - n, 1)
    others = n - sizes
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_rank = np.bincount(labels, ranks) / sizes
        effect = 2 * (mean_rank - (n + 1) / 2) / others
        z = effect / np.sqrt((n + 1) / (3 * sizes * others) * untied)
    between = np.nansum(sizes * (mean_rank - (n + 1) / 2) ** 2)
    statistic = 12 * between / (n * (n + 1)) / untied if untied > 0 else 0.0
    freedom = int((sizes > 0).sum()) - 1
    overall = max(0.0, float(statistic - freedom) / max(n - freedom - 1, 1))
    z = np.where(np.isfinite(z), z, 0.0)
    overall_p = float(chi2.sf(statistic, freedom))
    return Association(effect, 2 * norm.sf(np.abs(z)), min(overall, 1.0), overall_p)


def associate_names(names: np.ndarray, labels: np.ndarray) -> Association:
    """Compare how often each name occurs in the clusters.

    Parameters
    ----------
    names : ndarray of shape (n,)
        At least two different ones.
    labels : ndarray of int, shape (n,)
        Clusters from 0, at least two with members.
    """
    _, which = np.unique(names, return_inverse=True)
    table = np.zeros((labels.max() + 1, which.max() + 1))
    np.add.at(table, (labels, which), 1)
    total = table.sum(axis=0)
    single = [cramers_v(np.stack([row, total - row])) for row in table]
    effect, p = np.array(single).T
    return Association(effect, p, *cramers_v(table))


def cramers_v(table: np.ndarray) -> tuple[float, float]:
    """Cramer's V of a table of counts, corrected for its bias, and the chi-square test's p.

    References
    ----------
    .. [1] Bergsma (2013), Journal of the Korean Statistical Society 42, 323-328.
    """
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    (rows, columns), n = table.shape, table.sum()
    if min(rows, columns) < 2:
        return 0.0, 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    statistic = ((table - expected) ** 2 / expected).sum()
    freedom = (rows - 1) * (columns - 1)
    excess = max(0.0, statistic / n - freedom / (n - 1))
    edges = [edge - (edge - 1) ** 2 / (n - 1) for edge in (rows, columns)]
    v = float(np.sqrt(excess / max(float(min(edges)) - 1, 1e-12)))
    return min(v, 1.0), float(chi2.sf(statistic, freedom))


def holm(p: np.ndarray) -> np.ndarray:
    """Significance guarded for many tests: the chance of one false find among all of them.

    Parameters
    ----------
    p : ndarray of shape (n_tests,)

    References
    ----------
    .. [1] Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    guarded = np.empty_like(adjusted)
    guarded[order] = np.minimum(adjusted, 1.0)
    return guarded
