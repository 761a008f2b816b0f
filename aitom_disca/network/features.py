"""Features of subtomograms, blind to orientation."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from aitom_disca.geometry.rotations import CubeRotation, cube_rotations, rotate_by_cube
from aitom_disca.network.backend import BatchSize


def extract_features(
    extractor: keras.Model,
    batches: Iterable[np.ndarray],
    *,
    rotations: list[CubeRotation] | None = None,
) -> np.ndarray:
    """Features of every subtomogram, averaged over rotations of the cube.

    The mean over the 24 rotations does not change when a subtomogram is turned by any of them:
    exact invariance to that group, without interpolation. Where the device runs out of memory,
    fewer volumes than a batch go through the network at once.

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
    found: list[np.ndarray] = []
    at_once: BatchSize | None = None
    for volumes in batches:
        at_once = at_once or BatchSize(len(volumes))
        total = np.float32(0)
        for rotation in rotations:
            total = total + predict(extractor, rotate_by_cube(volumes, rotation), at_once)
        found.append(total / np.float32(len(rotations)))
    return np.concatenate(found)


def predict(model: keras.Model, samples: np.ndarray, at_once: BatchSize) -> np.ndarray:
    """Output of a network in pieces of one length, the last one filled up: one compiled function.

    Parameters
    ----------
    model : keras.Model
    samples : ndarray of shape (n, ...)
        Volumes (n, z, y, x) without the axis of channels, or features (n, n_features).
    at_once : BatchSize

    Returns
    -------
    ndarray of float32, shape (n, ...)
    """
    found: list[np.ndarray] = []
    start = 0
    while start < len(samples):
        piece = samples[start : start + at_once.value]
        rows = np.minimum(np.arange(at_once.value), len(piece) - 1)
        given = np.ascontiguousarray(piece[rows].reshape(len(rows), *model.input_shape[1:]))
        try:
            output = ops.convert_to_numpy(model.predict_on_batch(given))[: len(piece)]
        except Exception as error:
            at_once.halve(error)
            continue
        found.append(np.asarray(output, np.float32))
        start += len(piece)
    return np.concatenate(found)
