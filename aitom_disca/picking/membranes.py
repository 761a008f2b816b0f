"""Membranes that another program segmented."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.file_names import versions_of
from aitom_disca.io.tomogram_names import tomogram_name
from aitom_disca.io.tomograms.mrc import read_mask
from aitom_disca.io.tomograms.tomogram import Tomogram


def read_membranes(tomogram: Tomogram, paths: Sequence[str | Path]) -> np.ndarray | None:
    """The membranes of a tomogram: True where its file is not 0; None without files.

    Parameters
    ----------
    tomogram : Tomogram
    paths : sequence of path
        One for all tomograms; or several, of which that counts whose name is the tomogram's or
        begins with it.

    Raises
    ------
    InputError
        If none of several fits, or the file is of another size.
    """
    if not paths:
        return None
    files = {tomogram_name(path): Path(path) for path in paths}
    fitting = [files[name] for name in versions_of(tomogram.name, [tomogram.name], files)]
    if len(paths) == 1:
        fitting = [Path(paths[0])]
    if not fitting:
        raise InputError(
            f"none of the {len(paths)} files of --membranes is of tomogram {tomogram.name}; "
            "the name of one must begin with that."
        )
    path = min(fitting, key=lambda p: len(p.name))
    membranes = read_mask(path)
    if membranes.shape != tomogram.shape_zyx:
        raise InputError(
            f"the membranes {path} are {membranes.shape} voxels (z, y, x), tomogram "
            f"{tomogram.name} is {tomogram.shape_zyx}; give a file of the same size."
        )
    return membranes


def near_membranes(membranes: np.ndarray, places_zyx: np.ndarray, distance_px: float) -> np.ndarray:
    """Which places (n, 3) lie so near to a membrane voxel, or nearer."""
    radius = int(np.ceil(distance_px)) + 1
    padded = np.pad(membranes, radius)
    near = np.zeros(len(places_zyx), bool)
    offsets = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * 3, indexing="ij"), -1)
    for row, place in enumerate(places_zyx):
        voxel = np.rint(place).astype(int)
        box = padded[tuple(slice(v, v + 2 * radius + 1) for v in voxel)]
        away = np.linalg.norm(offsets + voxel - place, axis=-1)
        near[row] = bool((box & (away <= distance_px)).any())
    return near
