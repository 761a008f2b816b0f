"""Tomograms that exist as two half tomograms only, as RELION 5 makes them for denoising."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class MeanOfHalves:
    """A volume (z, y, x) whose voxels are the mean of two; only what is asked for is read.

    Parameters
    ----------
    one, other : array_like
    other_path : Path
        File of the other half; that of the one is the tomogram's.
    """

    def __init__(self, one: Any, other: Any, other_path: Path) -> None:
        if one.shape != other.shape:
            raise ValueError(f"halves of different sizes, {one.shape} and {other.shape}")
        self._halves = (one, other)
        self.other_path = other_path
        self.shape: tuple[int, ...] = one.shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, slices: Any) -> np.ndarray:
        """Voxels, as of an ndarray."""
        one, other = (np.asarray(half[slices], np.float32) for half in self._halves)
        return (one + other) / 2
