"""Slices of tomograms as pictures, read from the files where they lie."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from aitom_disca.colours import cluster_colour
from aitom_disca.explore.browser_images import as_png, to_grey
from aitom_disca.explore.results import Results
from aitom_disca.io import Tomogram, open_map
from aitom_disca.io.file_names import file_parts
from aitom_disca.report.cell_of_run import largest_diameter_angstrom

# Across and up of the slices along each axis (0: z, 1: y, 2: x).
PLANES = {0: (2, 1), 1: (2, 0), 2: (1, 0)}
AXES = "zyx"
_MOST_PIXELS = 1000  # along an edge of a slice
_THICK_DIAMETERS = 1 / 3
_SMOOTH_DIAMETERS = 1 / 25
_OVERLAY = 140  # opacity of averages, of 255
_N_SAMPLED = 5  # slices from which the contrast is taken


def diameter_px(results: Results, tomogram: Tomogram) -> float:
    """Of the largest particles that were picked."""
    return largest_diameter_angstrom(results.files) / tomogram.voxel_size_angstrom


def diameters_px(results: Results, tomogram: Tomogram, rows: np.ndarray) -> np.ndarray:
    """Of particles as they were picked, in voxels of the tomogram; the run's where not known."""
    picked = results.store.diameter_angstrom
    found = np.full(len(rows), np.nan) if picked is None else np.asarray(picked, float)[rows]
    known = np.isfinite(found) & (found > 0)
    return np.where(known, found, largest_diameter_angstrom(results.files)) / (
        tomogram.voxel_size_angstrom
    )


def slab(results: Results, tomogram: Tomogram, axis: int, at: int) -> np.ndarray:
    """The mean (up, across) of a third of a diameter about a slice, smoothed; protein bright."""
    size = diameter_px(results, tomogram)
    half = int(size * _THICK_DIAMETERS / 2)
    part = [slice(0, n) for n in tomogram.shape_zyx]
    part[axis] = slice(max(0, at - half), min(tomogram.shape_zyx[axis], at + half + 1))
    mean = tomogram.read(tuple(part)).mean(axis=axis)
    step = -(-max(mean.shape) // _MOST_PIXELS)
    return gaussian_filter(mean, size * _SMOOTH_DIAMETERS)[::step, ::step]


def contrast_of(results: Results, tomogram: Tomogram) -> np.ndarray:
    """Values at 0, 1 … 100 per cent of the voxels, from a few slices along z."""
    n = tomogram.shape_zyx[0]
    places = np.unique(np.linspace(0.2 * n, 0.8 * n, _N_SAMPLED).astype(int))
    sampled = [slab(results, tomogram, 0, int(at))[::2, ::2].ravel() for at in places]
    return np.percentile(np.concatenate(sampled), np.arange(101))


def slice_png(
    results: Results, tomogram: Tomogram, axis: int, at: int, low: float, high: float, placed: bool
) -> bytes:
    """A slice with values from ``low`` to ``high``; ``placed``: with the averages put back."""
    plane = slab(results, tomogram, axis, at)
    grey = to_grey(plane, low, high)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    file = placed_file(results, tomogram.name)
    if placed and file is not None:
        part: list[slice | int] = [slice(None)] * 3
        part[axis] = at
        number = np.asarray(open_map(file).data[tuple(part)])
        step = -(-max(number.shape) // _MOST_PIXELS)
        picture = _overlaid(picture, number[::step, ::step])
    return as_png(picture[::-1])  # up is up


def placed_file(results: Results, name: str) -> str | None:
    """The map of averages put back into a tomogram, if it was made."""
    part = file_parts(results.particles.tomograms).get(name, name)
    path = results.files.embedded / f"{part}_labels.mrc"
    return str(path) if path.is_file() else None


def _overlaid(picture: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Colours of clusters, by their number from 1, over a picture."""
    found = picture.astype(np.float32)
    for one in np.unique(number[number > 0]).tolist():
        colour = cluster_colour(int(one) - 1)
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
        inside = number == one
        found[inside] += (rgb - found[inside]) * (_OVERLAY / 255)
    return found.astype(np.uint8)
