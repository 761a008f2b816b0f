"""Pick particles: what stands out at their sizes, without gold, sheets and filaments."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.picking.centres_and_kinds import places_and_kinds
from aitom_disca.picking.gold import find_gold
from aitom_disca.picking.noise import expected_in_noise, peaks_in_noise_levels
from aitom_disca.picking.other_picker import Picker, ask_picker
from aitom_disca.picking.peak_search import Balls, Region, n_allowed, search
from aitom_disca.picking.peaks import Peaks, apart_rows
from aitom_disca.picking.pick_result import Candidates, particle_set, set_apart, why_none
from aitom_disca.picking.region import border_px, check_shape, check_size, region_of
from aitom_disca.picking.scales import Scale, ScaledPeaks, in_one_list, scales_of
from aitom_disca.picking.thresholds import choose_threshold, clear_gap

logger = logging.getLogger(__name__)

_NOISE_LEVELS = 4.5  # what stands so high is a particle, where particles stand clear
_GOLD_MARGIN_DIAMETERS = 0.25  # a pick so near to a bead is of the bead's making
_SAME_DIAMETERS = 0.5  # picks that are centred to one place are one


def pick_particles(
    tomogram: Tomogram,
    settings: PickSettings | None = None,
    *,
    mask: np.ndarray | None = None,
    membranes: np.ndarray | None = None,
    block_shape_zyx: tuple[int, int, int] | None = None,
    picker: Picker | None = None,
) -> ParticleSet:
    """Find everything that stands out at the size of the particles and is no junk.

    Parameters and errors as in `find_candidates`, whose ``particles`` these are; empty where
    there are none.
    """
    return find_candidates(
        tomogram,
        settings,
        mask=mask,
        membranes=membranes,
        block_shape_zyx=block_shape_zyx,
        picker=picker,
    ).particles


def find_candidates(
    tomogram: Tomogram,
    settings: PickSettings | None = None,
    *,
    mask: np.ndarray | None = None,
    membranes: np.ndarray | None = None,
    block_shape_zyx: tuple[int, int, int] | None = None,
    picker: Picker | None = None,
) -> Candidates:
    """Find what may be a particle, and what is gold, a sheet or a filament.

    Gold comes first and is painted over. Then Difference of Gaussians (Zeng et al. 2023, SI Eq. 6)
    at several scales, each counted in its own noise levels; of maxima that are too near to each
    other the highest; those above a threshold; each moved to the centre of its mass. Blocks bound
    the memory; the result does not depend on them.

    Parameters
    ----------
    tomogram : Tomogram
    settings : PickSettings, optional
    mask : ndarray of bool, shape (z, y, x), optional
        True where picks may lie.
    membranes : ndarray of bool, shape (z, y, x), optional
        True where a membrane is.
    block_shape_zyx : tuple of 3 int, optional
        Size in voxels of the blocks, without their halo.
    picker : Picker, optional
        What finds peaks and chooses among close ones instead, at one scale: no gold, sheets or
        filaments, and peaks stay where they are. The noise level of the threshold is that of our
        own filter, scores are grey values; the rule "aitom" counts all peaks of the picker, as
        AITom does.

    Raises
    ------
    InputError
        If the tomogram is too small for the particle, constant, or not finite; if the mask or the
        membranes do not fit.
    """
    settings = settings or PickSettings()
    scales = scales_of(settings, tomogram.voxel_size_angstrom, alone=picker is not None)
    border = border_px(settings, tomogram.voxel_size_angstrom)
    check_size(tomogram, scales, settings, border)
    allowed = region_of(tomogram, border, mask)
    if membranes is not None:
        check_shape(membranes, tomogram, "the membranes")
    if picker is not None:
        return ask_picker(picker, tomogram, settings, scales[0], allowed, block_shape_zyx)
    gold = find_gold(tomogram, block_shape_zyx)
    beads = gold.balls(tomogram.voxel_size_angstrom)
    found, threshold, clear = _peaks_and_threshold(
        tomogram, scales, settings, allowed, beads, block_shape_zyx
    )
    heights = found.peaks.height
    picked = _upper_bound(
        found.select(heights >= threshold), scales, settings.max_picks, n_allowed(allowed)
    )
    places, kinds = places_and_kinds(
        tomogram, picked, scales, beads, membranes, settings, judge=not clear
    )
    rows = _one_each(picked, places, scales, settings.min_distance_px)
    picked, places, kinds = picked.select(rows), places[rows], kinds[rows]
    places = _back_inside(places, picked.peaks.zyx, allowed)
    diameter = np.array([s.diameter_px for s in scales]) * tomogram.voxel_size_angstrom
    every = particle_set(tomogram, places, picked.peaks.height, diameter[picked.scale], kinds)
    bead_set = particle_set(
        tomogram,
        gold.peaks.zyx,
        gold.peaks.height,
        gold.diameter_angstrom,
        np.full(len(gold), "gold", object),
    )
    particles, junk = set_apart(every, bead_set, settings)
    logger.info("%s: %d picks of %d peaks", tomogram.name, len(particles), len(heights))
    name, reasons = tomogram.name, {}
    if not len(particles):
        reasons = {name: why_none(tomogram, settings, heights, threshold)}
    return Candidates(particles, junk, {name: heights}, {name: threshold}, reasons)


def find_peaks(tomogram: Tomogram, settings: PickSettings) -> ParticleSet:
    """Every peak of every height at all scales, away from gold; not moved, and not judged.

    Parameters
    ----------
    tomogram : Tomogram
    settings : PickSettings
        Its diameters, distances and border count.

    Returns
    -------
    ParticleSet
        Best first; ``score`` in noise levels.
    """
    scales = scales_of(settings, tomogram.voxel_size_angstrom)
    border = border_px(settings, tomogram.voxel_size_angstrom)
    check_size(tomogram, scales, settings, border)
    beads = find_gold(tomogram).balls(tomogram.voxel_size_angstrom)
    allowed = region_of(tomogram, border, None)
    found, _, _ = _peaks_and_threshold(tomogram, scales, settings, allowed, beads, None)
    return ParticleSet(
        np.full(len(found), tomogram.name),
        found.peaks.zyx.astype(float),
        found.peaks.height.astype(float),
        tomograms={tomogram.name: tomogram.info},
    )


def _peaks_and_threshold(
    tomogram: Tomogram,
    scales: Sequence[Scale],
    settings: PickSettings,
    allowed: Region,
    beads: Balls,
    block_shape_zyx: tuple[int, int, int] | None,
) -> tuple[ScaledPeaks, float, bool]:
    """Peaks in noise levels, away from gold, best first; how high they must be; if that is a gap.

    Where particles stand clear at the one diameter that was given, no other is looked for.
    """
    filters = [s.filter for s in scales]
    responses = []
    for response, scale in zip(
        search(tomogram, filters, allowed, without=beads, block_shape_zyx=block_shape_zyx),
        scales,
        strict=True,
    ):
        near = beads.inside(response.maxima.zyx, _GOLD_MARGIN_DIAMETERS * scale.diameter_px)
        responses.append(replace(response, maxima=response.maxima.select(~near)))
    rule, c = settings.threshold_rule, settings.threshold
    if rule == "auto" and len(settings.diameters_angstrom) == 1:
        own = len(scales) // 2
        alone = in_one_list([responses[own].in_noise_levels().maxima], [scales[own]])
        gap = clear_gap(alone.peaks.height)
        if math.isfinite(gap):
            alone = ScaledPeaks(alone.peaks, np.full(len(alone), own))
            return alone, min(gap, c or _NOISE_LEVELS), True
    found, voxels = peaks_in_noise_levels(responses, scales, n_allowed(allowed))
    if not len(found):
        return found, math.inf, False
    noise, share = expected_in_noise(scales, n_allowed(allowed))
    return found, choose_threshold(rule, c, found.peaks.height, noise, share, voxels), False


def _upper_bound(
    picked: ScaledPeaks, scales: Sequence[Scale], most: int | None, n_voxels: int
) -> ScaledPeaks:
    """The best: as many as are wanted, at most as many as fill the tomogram with their cubes."""
    if most is None:
        volume = np.cumsum(np.array([s.diameter_px**3 for s in scales])[picked.scale])
        most = max(int((volume <= n_voxels).sum()), 1)
    return picked.select(np.arange(len(picked))[:most])


def _one_each(
    picked: ScaledPeaks, places: np.ndarray, scales: Sequence[Scale], given_px: float | None
) -> np.ndarray:
    """Rows, best first, without those that were centred to the place of a better one."""
    apart: float | np.ndarray | None = given_px
    if apart is None:
        apart = _SAME_DIAMETERS * np.array([s.diameter_px for s in scales])[picked.scale]
    return np.sort(apart_rows(Peaks(places, picked.peaks.height), apart))


def _back_inside(places: np.ndarray, peaks_zyx: np.ndarray, allowed: Region) -> np.ndarray:
    """Places; where one left the border or the mask, the peak that it came from."""
    inside, mask = allowed
    low, high = np.array([s.start for s in inside]), np.array([s.stop - 1 for s in inside])
    stays = np.asarray(((places >= low) & (places <= high)).all(axis=1), bool)
    if mask is not None:
        rows = np.flatnonzero(stays)
        stays[rows] = mask[tuple(np.rint(places[rows]).astype(int).T)]
    return np.where(stays[:, None], places, peaks_zyx)
