"""Pick particles: filter a tomogram block by block, find its peaks, keep the good ones."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.errors import InputError, NoPicksError
from aitom_disca.io.mrc import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.picking.blocks import Block, split_into_blocks
from aitom_disca.picking.dog import difference_of_gaussians, kernel_radius_px, sigma_from_diameter
from aitom_disca.picking.peaks import Peaks, join, keep_apart, local_extrema, merge_plateaus
from aitom_disca.picking.thresholds import choose_threshold
from aitom_disca.progress import track

logger = logging.getLogger(__name__)

_BLOCK_SHAPE_ZYX = (128, 256, 256)  # about 0.5 GB per thread at a sigma of 5
_MOST_THREADS = 8  # bounds the memory
_SAMPLE_SIZE = 4_000_000  # voxels from which the noise level is taken, at most
_MIN_DISTANCE_DIAMETERS = 0.75
_BORDER_DIAMETERS = 0.8  # half the default box of a subtomogram


Region = tuple[tuple[slice, ...], np.ndarray | None]  # inside of the border, and a mask


@dataclass(frozen=True)
class Picker:
    """Another program's way to find blobs, in a whole volume at once.

    Parameters
    ----------
    extrema : callable
        Volume (z, y, x) with protein bright, sigma of the narrow Gaussian in voxels and the ratio
        of the sigmas, to maxima and minima, best first; those below zero too.
    apart : callable
        Peaks, best first, and a distance in voxels to those that stay.
    """

    extrema: Callable[[np.ndarray, float, float], tuple[Peaks, Peaks]]
    apart: Callable[[Peaks, float], Peaks]


@dataclass(frozen=True)
class _Lengths:
    """The settings' lengths in voxels of one tomogram."""

    sigma: float
    sigma_ratio: float
    min_distance: float
    border: int


@dataclass(frozen=True)
class _Found:
    """What one block contributes."""

    maxima: Peaks
    minima: Peaks
    sample: np.ndarray
    sample_place: tuple[slice, ...]
    lowest: float
    highest: float


def pick_particles(
    tomogram: Tomogram,
    settings: PickSettings | None = None,
    *,
    mask: np.ndarray | None = None,
    block_shape_zyx: tuple[int, int, int] | None = None,
    picker: Picker | None = None,
) -> ParticleSet:
    """Find everything that stands out at the size of the particles.

    Difference of Gaussians (Zeng et al. 2023, SI Eq. 6), its maxima above a threshold, and of
    maxima that are too near to each other the highest. Blocks bound the memory; the result does
    not depend on them.

    Parameters
    ----------
    tomogram : Tomogram
    settings : PickSettings, optional
    mask : ndarray of bool, shape (z, y, x), optional
        True where picks may lie.
    block_shape_zyx : tuple of 3 int, optional
        Size in voxels of the blocks, without their halo.
    picker : Picker, optional
        What finds peaks and chooses among close ones instead. The noise level of the threshold
        stays that of our own filter; the rule "aitom" counts all peaks of the picker, as AITom
        does.

    Returns
    -------
    ParticleSet
        Best first; ``score`` is the height of the peak in grey values of the tomogram.

    Raises
    ------
    InputError
        If the tomogram is too small for the particle, constant, or not finite; if the mask does
        not fit; if no peak is high enough.
    """
    settings = settings or PickSettings()
    lengths = _lengths(settings, tomogram.voxel_size_angstrom)
    _check_size(tomogram, lengths)
    allowed = _allowed(tomogram, lengths, mask)
    maxima, minima, voxels = _filter(tomogram, lengths, allowed, block_shape_zyx)
    counted = maxima.height
    if picker is not None:
        signed = settings.threshold_rule == "aitom"
        maxima, minima, counted = _ask(picker, tomogram, lengths, allowed, signed)
    if not len(maxima):
        raise NoPicksError(
            f"tomogram {tomogram.name} has no bright peak where picks may lie; check that protein "
            "is bright, and the mask."
        )
    threshold = choose_threshold(
        settings.threshold_rule, settings.threshold, counted, minima.height, voxels
    )
    picks = maxima.select(maxima.height >= threshold)
    if not len(picks):
        raise NoPicksError(
            f"no peak of tomogram {tomogram.name} reaches the threshold {threshold:.4g} of the "
            f"rule '{settings.threshold_rule}', the best is {maxima.height[0]:.4g}; lower the "
            "threshold, or check the particle diameter and that protein is bright."
        )
    logger.info("%s: %d picks of %d peaks", tomogram.name, len(picks), len(maxima))
    return _particles(tomogram, picks.select(np.arange(len(picks))[: settings.max_picks]))


def _lengths(settings: PickSettings, voxel_size_angstrom: float) -> _Lengths:
    diameter = settings.particle_diameter_angstrom
    sigma, apart, border = settings.sigma_px, settings.min_distance_px, settings.border_px
    if sigma is None:
        sigma = sigma_from_diameter(diameter, voxel_size_angstrom)
    diameter_px = diameter / voxel_size_angstrom
    if apart is None:
        apart = _MIN_DISTANCE_DIAMETERS * diameter_px
    if border is None:
        border = math.ceil(_BORDER_DIAMETERS * diameter_px)
    return _Lengths(sigma, settings.sigma_ratio, apart, border)


def _check_size(tomogram: Tomogram, lengths: _Lengths) -> None:
    smallest = min(tomogram.shape_zyx)
    ball = 2 * math.sqrt(3) * lengths.sigma  # the diameter that this sigma looks for
    if ball > smallest or 2 * lengths.border >= smallest:
        raise InputError(
            f"tomogram {tomogram.name} is {tomogram.shape_zyx} voxels (z, y, x), too small for "
            f"particles of {ball:.0f} voxels with a border of {lengths.border}; give a smaller "
            "particle diameter, or sigma and border."
        )


def _allowed(tomogram: Tomogram, lengths: _Lengths, mask: np.ndarray | None) -> Region:
    """Where picks may lie: the inside of the border, and the mask."""
    inside = tuple(slice(lengths.border, n - lengths.border) for n in tomogram.shape_zyx)
    if mask is None:
        return inside, None
    mask = np.asarray(mask, bool)
    if mask.shape != tomogram.shape_zyx:
        raise InputError(
            f"the mask is {mask.shape} voxels (z, y, x), tomogram {tomogram.name} is "
            f"{tomogram.shape_zyx}; give a mask of the same size."
        )
    if not mask[inside].any():
        raise InputError(
            f"the mask of tomogram {tomogram.name} leaves no voxel farther than "
            f"{lengths.border} from the faces; enlarge it, or give a smaller border."
        )
    return inside, mask


def _filter(
    tomogram: Tomogram,
    lengths: _Lengths,
    allowed: Region,
    block_shape_zyx: tuple[int, int, int] | None,
) -> tuple[Peaks, Peaks, np.ndarray]:
    """Maxima and minima, thinned out and best first, and a sample of the filtered voxels."""
    halo = kernel_radius_px(lengths.sigma, lengths.sigma_ratio) + 1  # 1: a peak's neighbours
    blocks = split_into_blocks(tomogram.shape_zyx, block_shape_zyx or _BLOCK_SHAPE_ZYX, halo)
    stride = _sample_stride(tomogram.shape_zyx, lengths.sigma)
    grid = np.empty([-(-n // stride) for n in tomogram.shape_zyx], np.float32)
    level = _grey_level(tomogram)
    maxima, minima, extremes = [], [], []

    def search(block: Block) -> _Found:
        return _search_block(tomogram, block, lengths, level, stride)

    for found in track(_map_threads(search, blocks), f"picking {tomogram.name}", len(blocks)):
        grid[found.sample_place] = found.sample
        maxima.append(_where_allowed(found.maxima, allowed))
        minima.append(_where_allowed(found.minima, allowed))
        extremes += [found.lowest, found.highest]
    if min(extremes) == max(extremes):
        raise InputError(
            f"every voxel of tomogram {tomogram.name} is {extremes[0] + level:g}: there is "
            "nothing to pick; check the file."
        )
    thinned = [keep_apart(merge_plateaus(join(p)), lengths.min_distance) for p in (maxima, minima)]
    return thinned[0], thinned[1], _sample_allowed(grid, stride, allowed)


def _ask(
    picker: Picker, tomogram: Tomogram, lengths: _Lengths, allowed: Region, signed: bool
) -> tuple[Peaks, Peaks, np.ndarray]:
    """Maxima and minima of a picker, thinned out, and the heights that a threshold is taken of."""
    found = picker.extrema(tomogram.read(), lengths.sigma, lengths.sigma_ratio)
    if not signed:
        found = found[0].select(found[0].height > 0), found[1].select(found[1].height > 0)
    maxima, minima = (
        picker.apart(_where_allowed(peaks, allowed), lengths.min_distance) for peaks in found
    )
    return maxima, minima, found[0].height if signed else maxima.height


def _search_block(
    tomogram: Tomogram, block: Block, lengths: _Lengths, level: float, stride: int
) -> _Found:
    """Filter one block and find the peaks of its core."""
    grey = tomogram.read(block.padded)
    grey -= np.float32(level)  # small numbers keep their digits in float32
    core = block.core_in_padded
    lowest, highest = float(grey[core].min()), float(grey[core].max())
    filtered = difference_of_gaussians(grey, lengths.sigma, lengths.sigma_ratio)
    near = tuple(slice(max(c.start - 1, 0), c.stop + 1) for c in core)
    start = tuple(n.start + s for n, s in zip(near, block.start_zyx, strict=True))
    maxima, minima = (_in_core(p.moved(start), block) for p in local_extrema(filtered[near]))
    place, sample = _sample(grey, filtered, block, stride)
    return _Found(maxima, minima, sample, place, lowest, highest)


def _sample(
    grey: np.ndarray, filtered: np.ndarray, block: Block, stride: int
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Every stride-th filtered voxel of the tomogram that lies in the core, and where it goes.

    NaN where a grey value equals the next one along x: in padding, which has no noise, all do,
    and elsewhere that is chance.
    """
    first = [-(-c.start // stride) for c in block.core]
    place = tuple(slice(f, -(-c.stop // stride)) for f, c in zip(first, block.core, strict=True))
    z, y, x = (
        np.arange(f * stride, c.stop, stride) - b
        for f, c, b in zip(first, block.core, block.start_zyx, strict=True)
    )
    sample = filtered[np.ix_(z, y, x)]
    beside = grey[np.ix_(z, y, np.minimum(x + 1, grey.shape[2] - 1))]
    sample[grey[np.ix_(z, y, x)] == beside] = np.nan
    return place, sample


def _in_core(peaks: Peaks, block: Block) -> Peaks:
    return peaks.select(_within(peaks.zyx, block.core))


def _where_allowed(peaks: Peaks, allowed: Region) -> Peaks:
    inside, mask = allowed
    peaks = peaks.select(_within(peaks.zyx, inside))
    return peaks if mask is None else peaks.select(mask[tuple(peaks.zyx.T)])


def _within(zyx: np.ndarray, region: tuple[slice, ...]) -> np.ndarray:
    low, high = [s.start for s in region], [s.stop for s in region]
    return np.all((zyx >= low) & (zyx < high), axis=1)


def _sample_stride(shape_zyx: tuple[int, int, int], sigma_px: float) -> int:
    """Every how many voxels to sample: neighbours within sigma say the same."""
    fewest = math.ceil((math.prod(shape_zyx) / _SAMPLE_SIZE) ** (1 / 3))
    return max(1, int(sigma_px / 2), fewest)


def _sample_allowed(grid: np.ndarray, stride: int, allowed: Region) -> np.ndarray:
    inside, mask = allowed
    region = tuple(slice(-(-s.start // stride), -(-s.stop // stride)) for s in inside)
    sample = grid[region]
    if mask is not None:
        sample = sample[mask[::stride, ::stride, ::stride][region]]
    for candidate in (sample, grid):  # a small mask may hold no sample
        finite = candidate[np.isfinite(candidate)]
        if finite.size:
            return finite
    return np.zeros(1)


def _grey_level(tomogram: Tomogram) -> float:
    """A typical grey value: the median of the middle slice."""
    nz, ny, nx = tomogram.shape_zyx
    return float(np.median(tomogram.read((slice(nz // 2, nz // 2 + 1), slice(ny), slice(nx)))))


def _map_threads(search: Callable[[Block], _Found], blocks: list[Block]) -> Iterator[_Found]:
    """Search the blocks in threads (the filters release the GIL), results in order."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(min(cores or 1, _MOST_THREADS, len(blocks))) as pool:
        yield from pool.map(search, blocks)


def _particles(tomogram: Tomogram, picks: Peaks) -> ParticleSet:
    return ParticleSet(
        np.full(len(picks), tomogram.name),
        picks.zyx.astype(float),
        score=picks.height.astype(float),
        tomograms={tomogram.name: tomogram.info},
    )
