"""Tomograms that exist as two half tomograms only, as RELION 5 makes them for denoising."""

from __future__ import annotations

from typing import Any

import numpy as np


class MeanOfHalves:
    """A volume (z, y, x) whose voxels are the mean of two; only what is asked for is read."""

    def __init__(self, one: Any, other: Any) -> None:
        if one.shape != other.shape:
            raise ValueError(f"halves of different sizes, {one.shape} and {other.shape}")
        self._halves = (one, other)
        self.shape: tuple[int, ...] = one.shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, slices: Any) -> np.ndarray:
        """Voxels, as of an ndarray."""
        one, other = (np.asarray(half[slices], np.float32) for half in self._halves)
        return (one + other) / 2
