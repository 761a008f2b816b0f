"""Picking by another program's blobs, above a threshold of our own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.picking.noise import expected_in_noise
from aitom_disca.picking.peak_search import Region, level_of, n_allowed, search, where_allowed
from aitom_disca.picking.peaks import Peaks
from aitom_disca.picking.pick_result import PARTICLE, Candidates, particle_set, why_none
from aitom_disca.picking.scales import Scale
from aitom_disca.picking.thresholds import choose_threshold


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


def ask_picker(
    picker: Picker,
    tomogram: Tomogram,
    settings: PickSettings,
    scale: Scale,
    allowed: Region,
    block_shape_zyx: tuple[int, int, int] | None,
) -> Candidates:
    """What another picker finds, with heights in grey values."""
    one = scale.filter
    response = search(tomogram, [one], allowed, block_shape_zyx=block_shape_zyx)[0]
    found = picker.extrema(tomogram.read(), one.sigma_px, one.sigma_ratio)[0]
    rule = settings.threshold_rule
    if rule != "aitom":
        found = found.select(found.height > 0)
    maxima = picker.apart(where_allowed(found, allowed), scale.min_distance_px)
    noise, share = expected_in_noise([scale], n_allowed(allowed))
    heights = found.height if rule == "aitom" else maxima.height
    middle, level = level_of(response.voxels)
    threshold = math.inf
    if len(heights):
        threshold = middle + level * choose_threshold(
            rule,
            settings.threshold,
            (heights - middle) / level,
            noise,
            share,
            response.in_noise_levels().voxels,
        )
    ulp = 1e-9 * max(abs(threshold), 1) if math.isfinite(threshold) else 0.0
    picks = maxima.select(maxima.height >= threshold - ulp)
    picks = picks.select(np.arange(len(picks))[: settings.max_picks])
    name = tomogram.name
    reasons = {} if len(picks) else {name: why_none(tomogram, settings, maxima.height, threshold)}
    diameter = np.full(len(picks), scale.diameter_px * tomogram.voxel_size_angstrom)
    kinds = np.full(len(picks), PARTICLE, object)
    particles = particle_set(tomogram, picks.zyx, picks.height, diameter, kinds)
    return Candidates(particles, {}, {name: maxima.height}, {name: threshold}, reasons)
