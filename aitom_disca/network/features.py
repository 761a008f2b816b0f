"""Features of subtomograms, blind to orientation."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from aitom_disca.geometry.rotations import CubeRotation, cube_rotations, rotate_by_cube


def extract_features(
    extractor: keras.Model,
    batches: Iterable[np.ndarray],
    *,
    rotations: list[CubeRotation] | None = None,
) -> np.ndarray:
    """Features of every subtomogram, averaged over rotations of the cube.

    The mean over the 24 rotations does not change when a subtomogram is turned by any of them:
    exact invariance to that group, without interpolation.

    Parameters
    ----------
    extractor : keras.Model
        ``(batch, z, y, x, 1)`` to ``(batch, n_features)``.
    batches : iterable of ndarray, each of shape (batch, z, y, x)
    rotations : list of cube rotations, optional
        By default the identity alone: the network's features as published.

    Returns
    -------
    ndarray of float32, shape (n_subtomograms, n_features)
    """
    rotations = cube_rotations()[:1] if rotations is None else rotations
    return np.concatenate([_batch_features(extractor, batch, rotations) for batch in batches])


def _batch_features(
    extractor: keras.Model, volumes: np.ndarray, rotations: list[CubeRotation]
) -> np.ndarray:
    total: np.ndarray | float = 0.0
    for rotation in rotations:
        turned = np.ascontiguousarray(rotate_by_cube(volumes, rotation))[..., None]
        total = total + ops.convert_to_numpy(extractor.predict_on_batch(turned))
    return np.asarray(total, np.float32) / np.float32(len(rotations))
