"""How well clusters agree with the truth."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import adjusted_rand_score, completeness_score, homogeneity_score

from aitom_disca.bench.cases import Kind


def score_labels(truth: np.ndarray, labels: np.ndarray, kind: Kind) -> dict[str, float]:
    """All scores of one run, 0 to 1 (the ARI from -0.5).

    Parameters
    ----------
    truth : ndarray of int, shape (N,)
        True class; -1 for noise alone.
    labels : ndarray of int, shape (N,)
        Cluster; -1 for none of them.
    kind : {"ari", "rare", "noise", "single"}
        Decides which of them is called ``score``.

    Returns
    -------
    dict of str to float
        ``ari``, ``homogeneity`` and ``completeness`` of what has a true class (label -1 is one
        more cluster), ``score``, and what the kind adds.
    """
    real = truth >= 0
    scores = {
        "ari": float(adjusted_rand_score(truth[real], labels[real])),
        "homogeneity": float(homogeneity_score(truth[real], labels[real])),
        "completeness": float(completeness_score(truth[real], labels[real])),
    }
    if kind == "rare":
        recall, purity = rare_class(truth, labels)
        return {**scores, "score": recall if purity > 0.5 else 0.0, "purity": purity}
    if kind == "noise":
        scores |= false_picks(truth, labels)
        return {**scores, "score": scores["precision"]}
    if kind == "single":
        return {**scores, "score": float(n_clusters(labels) == 1)}
    return {**scores, "score": scores["ari"]}


def n_clusters(labels: np.ndarray) -> int:
    """Clusters that have members; -1 is none."""
    return len(np.unique(labels[labels >= 0]))


def rare_class(truth: np.ndarray, labels: np.ndarray, rare: int = 0) -> tuple[float, float]:
    """Recall and purity of one class in the cluster that it matches best (largest F1).

    A recall in a cluster that is mostly something else is no find: `score_labels` counts it as 0.
    """
    wanted, best = truth == rare, (0.0, 0.0, 0.0)
    for cluster in np.unique(labels[labels >= 0]):
        inside = labels == cluster
        both = float((inside & wanted).sum())
        f1 = 2 * both / (inside.sum() + wanted.sum())
        best = max(best, (f1, both / wanted.sum(), both / inside.sum()))
    return best[1], best[2]


def false_picks(truth: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well noise is kept apart from particles.

    Returns
    -------
    dict of str to float
        ``precision``: share of particles among everything in a cluster, whatever the cluster;
        ``recall``: share of the particles that are in a cluster; ``precision_of_structures`` and
        ``recall_of_structures``: the same for those clusters alone that hold more particles than
        noise, as if someone had thrown away the others by eye.
    """
    real, kept = truth >= 0, labels >= 0
    mostly_real = [k for k in np.unique(labels[kept]) if real[labels == k].mean() > 0.5]
    good = np.isin(labels, mostly_real)
    return {
        "precision": _share(real, kept),
        "recall": _share(kept, real),
        "precision_of_structures": _share(real, good),
        "recall_of_structures": _share(good, real),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """Share of ``whole`` that is also ``part``; 0 where there is nothing."""
    return float((part & whole).sum() / whole.sum()) if whole.any() else 0.0
