"""Where the centre of a box is: one rule, used everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def centre_index(n: int) -> int:
    """Index of the centre of a box of ``n`` voxels: ``n // 2``, as in RELION and the FFT."""
    return n // 2


def box_slices(center_zyx_px: Sequence[float] | np.ndarray, box_px: int) -> tuple[slice, ...]:
    """Slices of a cubic box whose voxel ``box_px // 2`` is the voxel nearest to a point.

    Parameters
    ----------
    center_zyx_px : sequence of 3 floats
        Voxels from 0. A half rounds up, so that neighbours stay neighbours.
    box_px : int
        Edge of the box. The slices may reach outside of the volume.
    """
    nearest = np.floor(np.asarray(center_zyx_px, float) + 0.5).astype(int)
    starts = nearest - centre_index(box_px)
    return tuple(slice(int(s), int(s) + box_px) for s in starts)
