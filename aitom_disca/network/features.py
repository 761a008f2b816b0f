"""Features of subtomograms, blind to orientation."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np

from aitom_disca.computing.devices import count, predict_on_batch
from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.geometry.rotations import CubeRotation, cube_rotations, rotate_by_cube


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
        turned = (predict(extractor, rotate_by_cube(volumes, r), at_once) for r in rotations)
        total = np.add.reduce(list(turned))
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
    start, multiple = 0, count(model)
    while start < len(samples):
        piece = samples[start : start + at_once.value]
        length = -(-at_once.value // multiple) * multiple
        rows = np.minimum(np.arange(length), len(piece) - 1)
        given = np.ascontiguousarray(piece[rows].reshape(len(rows), *model.input_shape[1:]))
        try:
            output = predict_on_batch(model, given)[: len(piece)]
        except Exception as error:
            at_once.halve(error)
            continue
        found.append(output)
        start += len(piece)
    return np.concatenate(found)
