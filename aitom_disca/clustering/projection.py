"""Principal components of the features: the space in which clusters are Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

_PIECE = 4096  # samples projected at once


@dataclass(frozen=True)
class Projection:
    """A linear map from features to principal components.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
    axes : ndarray of shape (n_dimensions, n_features)
        Principal axes, divided by the standard deviation along them where whitened.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Components (n_samples, n_dimensions), float64, of features."""
        components = np.empty((len(features), len(self.axes)))
        for start in range(0, len(features), _PIECE):  # a float64 copy of all may not fit
            part = slice(start, start + _PIECE)
            components[part] = (features[part] - self.mean) @ self.axes.T
        return components


def fit_projection(
    features: np.ndarray, n_dimensions: int | None, *, whiten: bool = False, seed: int = 0
) -> Projection:
    """Find the leading principal components.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
    n_dimensions : int or None
        At most this many; fewer where the features have fewer. None keeps the features as they
        are (no PCA, no whitening).
    whiten : bool
        Give every component unit variance.
    seed : int
        Seed of the randomised solver, which large data use.
    """
    if n_dimensions is None:
        n_features = features.shape[1]
        return Projection(np.zeros(n_features), np.eye(n_features))
    n_dimensions = min(n_dimensions, features.shape[1], len(features) - 1)
    pca = PCA(n_dimensions, random_state=seed).fit(np.asarray(features, np.float64))
    # A component without variance carries nothing and would be divided by zero.
    kept = pca.explained_variance_ > 1e-12 * pca.explained_variance_[0]
    axes = pca.components_[kept]
    if whiten:
        axes = axes / np.sqrt(pca.explained_variance_[kept])[:, None]
    return Projection(pca.mean_, axes)
