"""Slices taken from volumes, and put into one, on what Keras' backend computes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from keras import device, ops

from aitom_disca.computing import devices

_PLACES_AT_ONCE = 2**17  # in slices


class SlicesOnDevice:
    """What `aitom_disca.alignment.slices.Slicer` does, on a device.

    Parameters
    ----------
    name : str
        Keras' name of the device, such as ``gpu:0``.
    index : ndarray of int32, shape (m, n_coefficients, 8)
        The voxels round each place, in the flat padded transform.
    weight : ndarray of float32, same shape
    n_voxels : int
        Of the padded transform.
    """

    def __init__(self, name: str, index: np.ndarray, weight: np.ndarray, n_voxels: int) -> None:
        self._name, self._shape = name, index.shape[:2]
        step = max(1, _PLACES_AT_ONCE // index.shape[1])
        self._rotations = [slice(start, start + step) for start in range(0, len(index), step)]
        self._take, self._add = _compiled(name, n_voxels)
        with device(name):
            self._pieces = [
                tuple(ops.convert_to_tensor(one[some].reshape(-1, 8)) for one in (index, weight))
                for some in self._rotations
            ]

    def take(self, spectra: np.ndarray) -> np.ndarray:
        """Slices (V, m, n_coefficients) of padded transforms (n_voxels, V), complex64."""
        slices = np.empty((spectra.shape[1], *self._shape), np.complex64)
        with device(self._name):
            columns = ops.convert_to_tensor(np.ascontiguousarray(spectra).view(np.float32))
            for rotations, piece in zip(self._rotations, self._pieces, strict=True):
                taken = np.ascontiguousarray(ops.convert_to_numpy(self._take(columns, *piece)))
                into = slices[:, rotations]
                into[:] = taken.view(np.complex64).reshape(into.shape)
        return slices

    def add(self, parts: np.ndarray) -> np.ndarray:
        """The sum (n_voxels, 3) of what is put where slices are, (m, n_coefficients, 3)."""
        total: Any = 0.0
        with device(self._name):
            for rotations, piece in zip(self._rotations, self._pieces, strict=True):
                some = ops.convert_to_tensor(parts[rotations].reshape(-1, 3))
                total = total + self._add(some, *piece)
            return np.asarray(ops.convert_to_numpy(total))


@lru_cache
def _compiled(name: str, n_voxels: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    add = partial(_add, n_voxels=n_voxels)
    return devices.compiled(_take, name), devices.compiled(add, name)


def _take(columns: Any, index: Any, weight: Any) -> Any:
    """From columns (n_voxels, 2 V) what lies at places, (V, n_places, 2)."""
    n_places, n_volumes = index.shape[0], columns.shape[1] // 2
    corners = ops.take(columns, ops.reshape(index, (8 * n_places,)), axis=0)
    corners = ops.reshape(corners, (n_places, 8, 2 * n_volumes))
    taken = ops.sum(corners * weight[:, :, None], axis=1)
    return ops.transpose(ops.reshape(taken, (n_places, n_volumes, 2)), (1, 0, 2))


def _add(parts: Any, index: Any, weight: Any, *, n_voxels: int) -> Any:
    """The adjoint: parts (n_places, 3) shared out among the voxels round their places."""
    n = index.shape[0]
    shares = ops.reshape(parts[:, None] * weight[:, :, None], (8 * n, 3))
    return ops.segment_sum(shares, ops.reshape(index, (8 * n,)), num_segments=n_voxels)
