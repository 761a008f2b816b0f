"""The averages put back into the tomograms, to be laid over slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aitom_disca.colours import cluster_colour
from aitom_disca.io import open_map
from aitom_disca.io.file_names import file_parts
from aitom_disca.report import pictures
from aitom_disca.report.cell_slice import MOST_PIXELS
from aitom_disca.runs.run_folder import RunFolder

_FAINT = 0.4  # density of an average put back, 1 at its surface, that is not drawn
_SOLID = 1.6  # and above that, which is drawn most strongly


def placed_maps(folder: RunFolder, names: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """Density and labels of the averages put back, by tomogram, as far as they are there."""
    found = {}
    for name, part in file_parts(names).items():
        paths = folder.embedded / f"{part}_density.mrc", folder.embedded / f"{part}_labels.mrc"
        if all(path.is_file() for path in paths):
            found[name] = paths
    return found


def placed_slice(
    paths: tuple[Path, Path] | None,
    z_px: int,
    shape_zyx: tuple[int, int, int],
    there: Sequence[int],
) -> bytes | None:
    """The averages put back in a slice of a tomogram, as PNG; None where there are none.

    Parameters
    ----------
    paths : tuple of 2 path, optional
        Density and labels.
    z_px : int
    shape_zyx : tuple of 3 int
        Of the tomogram; maps of another shape are not its own.
    there : sequence of int
        Numbers of the clusters that there are.
    """
    if paths is None:
        return None
    density, labels = (open_map(path) for path in paths)
    if density.shape_zyx != shape_zyx or labels.shape_zyx != shape_zyx:
        return None
    _, ny, nx = shape_zyx
    here = slice(z_px, z_px + 1), slice(0, ny), slice(0, nx)
    step = -(-max(ny, nx) // MOST_PIXELS)
    strength = density.read(here)[0, ::step, ::step]
    strength = (strength - _FAINT) / _SOLID
    numbers = labels.read(here)[0, ::step, ::step].astype(int)
    numbers[~np.isin(numbers, there)] = 0  # a person left these out since
    colours = [cluster_colour(k) for k in range(max(there, default=0))]
    return pictures.labels_png(numbers, strength, colours) if numbers.any() else None
