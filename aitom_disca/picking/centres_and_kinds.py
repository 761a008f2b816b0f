"""Where the centres of picks are, and whether they are particles at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from aitom_disca.config import PickSettings
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.picking.centre import centre_of_mass, window_radius_px
from aitom_disca.picking.filter_blocks import Block, split_into_blocks
from aitom_disca.picking.membranes import near_membranes
from aitom_disca.picking.peak_search import BLOCK_SHAPE_ZYX, Balls, grey_level, map_threads
from aitom_disca.picking.scales import Scale, ScaledPeaks
from aitom_disca.picking.shapes import FARTHEST_DIAMETERS, shape_of

_LOW_PASS_DIAMETERS = 1 / 12  # sigma: what is finer says nothing about the place of a particle
_SHAPE_LOW_PASS_DIAMETERS = 1 / 6
_TRUNCATE = 4.0


def places_and_kinds(
    tomogram: Tomogram,
    picked: ScaledPeaks,
    scales: Sequence[Scale],
    beads: Balls,
    membranes: np.ndarray | None,
    settings: PickSettings,
    *,
    judge: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Centre picks, and name their kinds.

    Parameters
    ----------
    tomogram : Tomogram
    picked : ScaledPeaks
    scales : sequence of Scale
    beads : Balls
        Gold, which is painted over.
    membranes : ndarray of bool, shape (z, y, x), optional
    settings : PickSettings
    judge : bool
        Whether to look for sheets and filaments: not where particles stand clear of all else.

    Returns
    -------
    places : ndarray of shape (N, 3)
        In voxels.
    kinds : ndarray of str, shape (N,)
        "particle", "sheet" or "filament".
    """
    places = picked.peaks.zyx.astype(float)
    kinds = np.full(len(picked), "particle", object)
    if not len(picked):
        return places, kinds
    diameters = np.array([s.diameter_px for s in scales])[picked.scale]
    sigma = _LOW_PASS_DIAMETERS * min(s.diameter_px for s in scales)
    given = np.array(settings.diameters_angstrom) / tomogram.voxel_size_angstrom
    typical = float(np.sqrt(given[0] * given[-1]))
    smooth = _SHAPE_LOW_PASS_DIAMETERS * typical
    reach = np.maximum(diameters, typical)
    halo = window_radius_px(diameters.max()) + int(
        np.ceil(FARTHEST_DIAMETERS * reach.max() + _TRUNCATE * (sigma + smooth))
    )
    blocks = split_into_blocks(tomogram.shape_zyx, BLOCK_SHAPE_ZYX, halo)
    level = grey_level(tomogram)

    def work(block: Block) -> tuple[np.ndarray, np.ndarray, list[str]]:
        low, high = ([getattr(s, end) for s in block.core] for end in ("start", "stop"))
        rows = np.flatnonzero(((picked.peaks.zyx >= low) & (picked.peaks.zyx < high)).all(axis=1))
        if not len(rows):
            return rows, np.empty((0, 3)), []
        grey = tomogram.read(block.padded) - np.float32(level)
        beads.paint(grey, block.start_zyx, 0.0)
        density = ndimage.gaussian_filter(grey, sigma, mode="nearest", truncate=_TRUNCATE)
        start = np.array(block.start_zyx)
        moved = [
            start + centre_of_mass(density, picked.peaks.zyx[row] - start, diameters[row])
            for row in rows
        ]
        density = ndimage.gaussian_filter(density, smooth, mode="nearest", truncate=_TRUNCATE)
        shapes = [
            shape_of(density, place - start, reach[row])
            for row, place in zip(rows, moved, strict=True)
        ]
        return rows, np.array(moved), shapes

    for rows, moved, shapes in map_threads(work, blocks):
        places[rows] = moved
        if judge:
            kinds[rows] = shapes
    if membranes is not None:
        reach = settings.membrane_distance_angstrom / tomogram.voxel_size_angstrom
        kinds[near_membranes(membranes, places, reach)] = "sheet"
    return places, kinds
