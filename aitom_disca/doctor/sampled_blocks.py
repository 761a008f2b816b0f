"""Pieces of a tomogram that stand for the whole: read quickly, empty slices left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aitom_disca.io import Tomogram

_SLAB_VOXELS = 2**25
_SAMPLE = 200_000
_EDGE_PX = 64
_MOST_BLOCKS = 24
_ALONG = 4  # blocks along an axis, at most
_PROBES = 64
_PROBED_PX = 256  # edge of what is looked at in a slice
_EMPTY = 0.05  # of the standard deviation of a filled slice


def filled_slices(tomogram: Tomogram) -> slice:
    """The slices along z between those, at top and bottom, that hold one value or nearly so.

    Looked at in the middle of the plane and in steps of a 64th of the thickness; all slices where
    every one is empty.
    """
    nz, ny, nx = tomogram.shape_zyx
    rows, columns = (_middle(n) for n in (ny, nx))
    probes = np.unique(np.linspace(0, nz - 1, min(nz, _PROBES)).astype(int))
    parts = [np.asarray(tomogram.data[z : z + 1, rows, columns], np.float32) for z in probes]
    finite = [part[np.isfinite(part)] for part in parts]
    spread = np.array([part.std() if part.size else 0.0 for part in finite])
    full = np.flatnonzero(spread > _EMPTY * np.quantile(spread, 0.9))  # most may be empty
    if not len(full):
        return slice(0, nz)
    return slice(int(probes[full[0]]), int(probes[full[-1]]) + 1)


def slabs(tomogram: Tomogram) -> Iterator[tuple[int, np.ndarray]]:
    """All slices, some at a time, with the sign of the file: number of the first, and float32."""
    nz, ny, nx = tomogram.shape_zyx
    n_slices = max(1, _SLAB_VOXELS // (ny * nx))
    for start in range(0, nz, n_slices):
        yield start, np.asarray(tomogram.data[start : start + n_slices], np.float32)


def level_and_spread(tomogram: Tomogram) -> tuple[float, float]:
    """Median and robust standard deviation of a sample of the slices that are not empty."""
    _, ny, nx = tomogram.shape_zyx
    filled = filled_slices(tomogram)
    rows = np.unique(np.linspace(filled.start, filled.stop - 1, 9).astype(int))
    step = max(1, ny * nx * len(rows) // _SAMPLE)
    parts = [np.asarray(tomogram.data[z : z + 1], np.float32).ravel()[::step] for z in rows]
    sample = np.concatenate(parts)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    median = float(np.median(sample))
    spread = 1.4826 * float(np.median(np.abs(sample - median)))
    return median, spread or float(sample.std()) or 1.0


def _middle(n: int) -> slice:
    edge = min(n, _PROBED_PX)
    return slice((n - edge) // 2, (n - edge) // 2 + edge)


def sample_blocks(
    tomogram: Tomogram, edge_px: int = _EDGE_PX, *, cubes: bool = True
) -> list[np.ndarray]:
    """Blocks spread over a tomogram, with the sign of the file; those with NaN left out.

    Parameters
    ----------
    tomogram : Tomogram
    edge_px : int
        Edge of a block, less in a tomogram that is smaller.
    cubes : bool
        Whether all edges must be the same. If not they are chosen, near ``edge_px``, so that blocks
        cover a tomogram of up to four of them along an axis.

    Returns
    -------
    list of ndarray, axes z, y, x
        At most 24.
    """
    filled = filled_slices(tomogram)
    _, ny, nx = tomogram.shape_zyx
    lengths = (filled.stop - filled.start, ny, nx)
    sizes = [min(n, edge_px) for n in lengths]
    if cubes:
        sizes = [min(sizes)] * 3
    else:
        pieces = [max(1, round(n / edge_px)) for n in lengths]
        sizes = [n // k if k <= _ALONG else edge_px for n, k in zip(lengths, pieces, strict=True)]
    ends = [(filled.start, filled.stop), (0, ny), (0, nx)]
    starts = [_spread(*end, size) for end, size in zip(ends, sizes, strict=True)]
    depth, height, width = sizes
    places = [(z, y, x) for z in starts[0] for y in starts[1] for x in starts[2]]
    chosen = np.random.default_rng(0).permutation(len(places))[:_MOST_BLOCKS]
    blocks = []
    for z, y, x in (places[i] for i in sorted(chosen)):
        region = tomogram.data[z : z + depth, y : y + height, x : x + width]
        block = np.asarray(region, np.float32)
        if np.isfinite(block).all() and np.ptp(block) > 0:
            blocks.append(block)
    return blocks


def _spread(start: int, stop: int, edge: int) -> list[int]:
    """Starts of at most four windows between two ends; of one, in the middle."""
    count = min(_ALONG, max(1, (stop - start) // edge))
    if count == 1:
        return [(start + stop - edge) // 2]
    return np.linspace(start, stop - edge, count).astype(int).tolist()
