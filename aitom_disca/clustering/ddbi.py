"""Distortion-based Davies-Bouldin index: how compact and how far apart clusters are."""

from __future__ import annotations

import numpy as np

from aitom_disca.clustering.projection import mean_and_scatter


def ddbi(features: np.ndarray, labels: np.ndarray, *, reg_covar: float = 1e-6) -> float:
    """Compute the distortion-based Davies-Bouldin index (lower is better, 0 the ideal).

    With the mean m_k and the inverse covariance P_k of cluster k, the distortion of a cluster is
    ``T_k = mean over its members of (x - m_k)^T P_k (x - m_k)``, the distance of two clusters is
    ``D_kl = (m_k - m_l)^T P_k (m_k - m_l)``, and the index is the mean over k of the largest
    ``(T_k + T_l) / (D_kl + D_lk)``. Time and memory grow linearly with the number of samples.

    Clusters of one member count with a distortion of zero and the covariance ``reg_covar * I``.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_dimensions)
    labels : ndarray of int, shape (n_samples,)
        Any integers; renaming them changes nothing. Negative labels are left out.
    reg_covar : float
        Added to the diagonal of every covariance.

    Returns
    -------
    float
        Infinite where two clusters have the same mean; NaN for fewer than two clusters, for
        which the index is not defined.

    References
    ----------
    .. [1] Zeng et al. (2023), PNAS 120(15) e2213149120, SI Eq. 1-3.
    """
    names = np.unique(labels[labels >= 0])
    if names.size < 2:
        return float("nan")
    means, precisions, distortions = [], [], []
    for name in names:
        rows = np.flatnonzero(labels == name)
        mean, scatter = mean_and_scatter(features, rows)
        covariance = scatter / max(len(rows) - 1, 1)
        precision = np.linalg.inv(covariance + reg_covar * np.eye(features.shape[1]))
        # The mean of (x - m)^T P (x - m) over the members is the trace of P times their scatter.
        distortions.append((precision * scatter).sum() / len(rows))
        means.append(mean)
        precisions.append(precision)
    difference = np.array(means)[:, None] - np.array(means)[None]
    distance = np.einsum("kli,kij,klj->kl", difference, np.array(precisions), difference)
    spread = np.add.outer(distortions, distortions)
    both = distance + distance.T
    ratio = np.divide(spread, both, out=np.full_like(both, np.inf), where=both > 0)
    np.fill_diagonal(ratio, -np.inf)
    return float(ratio.max(axis=1).mean())
