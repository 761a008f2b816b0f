"""Search a tomogram for peaks of several filters, block by block, in threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from aitom_disca.computing.cores import n_cores
from aitom_disca.errors import InputError
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.picking.dog import difference_of_gaussians, kernel_radius_px
from aitom_disca.picking.filter_blocks import Block, split_into_blocks
from aitom_disca.picking.peaks import Peaks, join, local_extrema, merge_plateaus
from aitom_disca.progress import track

BLOCK_SHAPE_ZYX = (128, 256, 256)  # about 0.5 GB per thread at a sigma of 5
_MOST_THREADS = 8  # bounds the memory
_SAMPLE_SIZE = 400_000  # voxels from which the noise level is taken, at most
_MAD_TO_STD = 1.4826  # standard deviation of a Gaussian over its median absolute deviation

Region = tuple[tuple[slice, ...], np.ndarray | None]  # inside of the border, and a mask
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Filter:
    """A Difference of Gaussians: its narrow sigma in voxels, and wide over narrow."""

    sigma_px: float
    sigma_ratio: float = 1.1


@dataclass(frozen=True)
class Response:
    """Where a filter answers.

    Parameters
    ----------
    maxima : Peaks
        Bright ones, where picks may lie.
    voxels : ndarray of shape (N,)
        A fair sample of the filtered volume.
    voxels_zyx : ndarray of int, shape (N, 3)
        Where they are.
    """

    maxima: Peaks
    voxels: np.ndarray
    voxels_zyx: np.ndarray

    def in_noise_levels(self, rows: np.ndarray | None = None) -> Response:
        """The same response, counted from its median in noise levels.

        Parameters
        ----------
        rows : ndarray, optional
            The voxels that median and noise level are taken of.
        """
        middle, noise = level_of(self.voxels if rows is None else self.voxels[rows])
        maxima = replace(self.maxima, height=(self.maxima.height - middle) / noise)
        return replace(self, maxima=maxima, voxels=(self.voxels - middle) / noise)


def level_of(voxels: np.ndarray) -> tuple[float, float]:
    """Median, and the standard deviation that the median absolute deviation gives.

    A few particles do not change it.
    """
    middle = float(np.median(voxels))
    return middle, _MAD_TO_STD * float(np.median(np.abs(voxels - middle))) or 1.0


@dataclass(frozen=True)
class Balls:
    """Balls that are painted over before a volume is filtered, such as gold beads.

    Parameters
    ----------
    zyx : ndarray of shape (N, 3)
    radius_px : ndarray of shape (N,)
    """

    zyx: np.ndarray
    radius_px: np.ndarray

    def inside(self, places_zyx: np.ndarray, margin_px: float | np.ndarray = 0.0) -> np.ndarray:
        """Which places (n, 3) lie in a ball, or nearer to it than a margin."""
        inside = np.zeros(len(places_zyx), bool)
        for centre, radius in zip(self.zyx, self.radius_px, strict=True):
            inside |= np.linalg.norm(places_zyx - centre, axis=1) <= radius + margin_px
        return inside

    def paint(self, grey: np.ndarray, start_zyx: Sequence[int], value: float) -> None:
        """Set the voxels of a block, which begins at ``start_zyx``, in place."""
        for centre, radius in zip(self.zyx - np.array(start_zyx), self.radius_px, strict=True):
            low = np.maximum(np.floor(centre - radius), 0).astype(int)
            high = np.minimum(np.ceil(centre + radius) + 1, grey.shape).astype(int)
            if (low >= high).any():
                continue
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            axes = np.ogrid[box]
            off = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
            grey[box][off <= radius**2] = value


NO_BALLS = Balls(np.empty((0, 3)), np.empty(0))


@dataclass(frozen=True)
class _Found:
    """What one block contributes, filter by filter."""

    maxima: list[Peaks]
    samples: list[np.ndarray]
    sample_place: tuple[slice, ...]
    lowest: float
    highest: float


def search(
    tomogram: Tomogram,
    filters: Sequence[Filter],
    allowed: Region,
    *,
    without: Balls = NO_BALLS,
    block_shape_zyx: tuple[int, int, int] | None = None,
    what: str = "picking",
) -> list[Response]:
    """Filter a tomogram; of each filter the maxima and a sample of its voxels.

    Parameters
    ----------
    tomogram : Tomogram
    filters : sequence of Filter
    allowed : Region
        Where maxima may lie.
    without : Balls
        What is replaced by a typical grey value first, and left out of the sample.
    block_shape_zyx : tuple of 3 int, optional
        Size in voxels of the blocks, without their halo. The result does not depend on it.
    what : str
        What the progress bar says.

    Raises
    ------
    InputError
        If every voxel of the tomogram is the same.
    """
    halo = 1 + max(kernel_radius_px(f.sigma_px, f.sigma_ratio) for f in filters)  # 1: neighbours
    blocks = split_into_blocks(tomogram.shape_zyx, block_shape_zyx or BLOCK_SHAPE_ZYX, halo)
    stride = _sample_stride(tomogram.shape_zyx, min(f.sigma_px for f in filters))
    grid = np.empty((len(filters), *(-(-n // stride) for n in tomogram.shape_zyx)), np.float32)
    level = grey_level(tomogram)
    maxima: list[list[Peaks]] = [[] for _ in filters]
    extremes: list[float] = []

    def work(block: Block) -> _Found:
        return _search_block(tomogram, block, filters, level, stride, without)

    for found in track(map_threads(work, blocks), f"{what} {tomogram.name}", len(blocks)):
        grid[(slice(None), *found.sample_place)] = found.samples
        for parts, peaks in zip(maxima, found.maxima, strict=True):
            parts.append(where_allowed(peaks, allowed))
        extremes += [found.lowest, found.highest]
    if min(extremes) == max(extremes):
        raise InputError(
            f"every voxel of tomogram {tomogram.name} is {extremes[0] + level:g}: there is "
            "nothing to pick; check the file."
        )
    places = _sample_allowed(grid[0], stride, allowed)
    at = (slice(None), *(places // stride).T)
    return [
        Response(merge_plateaus(join(parts)), voxels, places)
        for parts, voxels in zip(maxima, grid[at], strict=True)
    ]


def _search_block(
    tomogram: Tomogram,
    block: Block,
    filters: Sequence[Filter],
    level: float,
    stride: int,
    without: Balls,
) -> _Found:
    """Filter one block and find the peaks of its core."""
    grey = tomogram.read(block.padded)
    grey -= np.float32(level)  # small numbers keep their digits in float32
    core = block.core_in_padded
    lowest, highest = float(grey[core].min()), float(grey[core].max())
    without.paint(grey, block.start_zyx, 0.0)
    near = tuple(slice(max(c.start - 1, 0), c.stop + 1) for c in core)
    start = tuple(n.start + s for n, s in zip(near, block.start_zyx, strict=True))
    place, rows, unlike = _sample_places(grey, block, stride)
    maxima, samples = [], []
    for one in filters:
        filtered = difference_of_gaussians(grey, one.sigma_px, one.sigma_ratio)
        peaks = local_extrema(filtered[near])[0].moved(start)
        maxima.append(peaks.select(_within(peaks.zyx, block.core)))
        samples.append(np.where(unlike, filtered[rows], np.nan))
    return _Found(maxima, samples, place, lowest, highest)


def _sample_places(
    grey: np.ndarray, block: Block, stride: int
) -> tuple[tuple[slice, ...], tuple[np.ndarray, ...], np.ndarray]:
    """Every stride-th voxel of the tomogram in the core: where it goes, where it is, if it counts.

    It does not where its grey value equals the next one along x: in padding, and in what was
    painted over, which have no noise, all do, and elsewhere that is chance.
    """
    first = [-(-c.start // stride) for c in block.core]
    place = tuple(slice(f, -(-c.stop // stride)) for f, c in zip(first, block.core, strict=True))
    z, y, x = (
        np.arange(f * stride, c.stop, stride) - b
        for f, c, b in zip(first, block.core, block.start_zyx, strict=True)
    )
    rows = np.ix_(z, y, x)
    beside = grey[np.ix_(z, y, np.minimum(x + 1, grey.shape[2] - 1))]
    return place, rows, grey[rows] != beside


def where_allowed(peaks: Peaks, allowed: Region) -> Peaks:
    """Peaks inside of the border and of the mask."""
    inside, mask = allowed
    peaks = peaks.select(_within(peaks.zyx, inside))
    return peaks if mask is None else peaks.select(mask[tuple(peaks.zyx.T)])


def _within(zyx: np.ndarray, region: tuple[slice, ...]) -> np.ndarray:
    low, high = [s.start for s in region], [s.stop for s in region]
    return np.all((zyx >= low) & (zyx < high), axis=1)


def n_allowed(allowed: Region) -> int:
    """How many voxels a region has."""
    inside, mask = allowed
    if mask is not None:
        return int(mask[inside].sum())
    return math.prod(s.stop - s.start for s in inside)


def _sample_stride(shape_zyx: tuple[int, int, int], sigma_px: float) -> int:
    """Every how many voxels to sample: neighbours within sigma say the same."""
    fewest = math.ceil((math.prod(shape_zyx) / _SAMPLE_SIZE) ** (1 / 3))
    return max(1, int(sigma_px / 2), fewest)


def _sample_allowed(grid: np.ndarray, stride: int, allowed: Region) -> np.ndarray:
    """Voxels (n, 3) of the sample where picks may lie, or all where a small mask holds none."""
    places = np.argwhere(np.isfinite(grid)) * stride
    inside, mask = allowed
    here = _within(places, inside)
    if mask is not None:
        here &= mask[tuple(places.T)]
    if not len(places):
        return np.zeros((1, 3), int)
    return places[here] if here.any() else places


def grey_level(tomogram: Tomogram) -> float:
    """A typical grey value: the median of the middle slice."""
    nz, ny, nx = tomogram.shape_zyx
    return float(np.median(tomogram.read((slice(nz // 2, nz // 2 + 1), slice(ny), slice(nx)))))


def map_threads(work: Callable[[Block], _Result], blocks: list[Block]) -> Iterator[_Result]:
    """Work on the blocks in threads (the filters release the GIL), results in order."""
    with ThreadPoolExecutor(min(n_cores(), _MOST_THREADS, len(blocks))) as pool:
        yield from pool.map(work, blocks)
