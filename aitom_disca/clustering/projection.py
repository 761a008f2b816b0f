"""Principal components of the features: the space in which clusters are Gaussian."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_PIECE = 4096  # samples taken to float64 at once


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

    They are the eigenvectors of the covariance, which is summed up piece by piece in double
    precision: beside the features themselves it takes memory for n_features^2 numbers only. Every
    axis points to where its largest entry is positive.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
    n_dimensions : int or None
        At most this many; fewer where the features have fewer. None keeps the features as they
        are (no PCA, no whitening).
    whiten : bool
        Give every component unit variance.
    seed : int
        Not used: nothing is random here.
    """
    n_samples, n_features = features.shape
    if n_dimensions is None:
        return Projection(np.zeros(n_features), np.eye(n_features))
    n_dimensions = min(n_dimensions, n_features, n_samples - 1)
    mean, scatter = mean_and_scatter(features)
    variances, vectors = np.linalg.eigh(scatter / (n_samples - 1))
    variances, axes = variances[::-1][:n_dimensions], vectors.T[::-1][:n_dimensions]
    # A component without variance carries nothing and would be divided by zero.
    kept = variances > 1e-12 * variances[0]
    variances, axes = variances[kept], axes[kept]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    if whiten:
        axes = axes / np.sqrt(variances)[:, None]
    return Projection(mean, axes)


def mean_and_scatter(
    features: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n_features,) and scatter (n_features, n_features), the sum of (x - mean)(x - mean)^T.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
    rows : ndarray of int, optional
        The samples that count; by default all.
    """
    n_samples, n_features = len(features) if rows is None else len(rows), features.shape[1]
    mean = np.zeros(n_features)
    for piece in _pieces(features, rows):
        mean += piece.sum(axis=0) / n_samples
    scatter = np.zeros((n_features, n_features))
    for piece in _pieces(features, rows):
        piece -= mean
        scatter += piece.T @ piece
    return mean, scatter


def _pieces(features: np.ndarray, rows: np.ndarray | None) -> Iterator[np.ndarray]:
    """Copies of some samples at a time, float64."""
    for start in range(0, len(features) if rows is None else len(rows), _PIECE):
        part = slice(start, start + _PIECE)
        yield features[part if rows is None else rows[part]].astype(np.float64)
