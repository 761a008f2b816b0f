"""Pick particles: what stands out at their sizes, without gold, sheets and filaments."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from aitom_disca.config import PickSettings
from aitom_disca.errors import InputError
from aitom_disca.io.mrc import Tomogram
from aitom_disca.particles import ParticleSet, concatenate
from aitom_disca.picking.gold import find_gold
from aitom_disca.picking.looking import look_closely
from aitom_disca.picking.noise import expected_in_noise, peaks_in_noise_levels
from aitom_disca.picking.peaks import Peaks, apart_rows
from aitom_disca.picking.scales import Scale, ScaledPeaks, in_one_list, scales_of
from aitom_disca.picking.search import Balls, Region, level_of, n_allowed, search, where_allowed
from aitom_disca.picking.thresholds import choose_threshold, clear_gap

logger = logging.getLogger(__name__)

_BORDER_DIAMETERS = 0.8  # half the default box of a subtomogram
_NOISE_LEVELS = 4.5  # what stands so high is a particle, where particles stand clear
_GOLD_MARGIN_DIAMETERS = 0.25  # a pick so near to a bead is of the bead's making
_SAME_DIAMETERS = 0.5  # picks that are centred to one place are one

PARTICLE = "particle"


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
class Candidates:
    """What was found in a tomogram, or in several.

    Parameters
    ----------
    particles : ParticleSet
        What goes on, best first. ``score`` is the height of the peak in noise levels, ``more``
        holds ``diameter_angstrom``, the size at which it was found, and ``kind``.
    junk : mapping of str to ParticleSet
        What was set apart: gold, sheet, filament.
    heights : mapping of str to ndarray
        Of each tomogram the heights of all peaks, best first.
    thresholds : mapping of str to float
        Of each tomogram.
    reasons : mapping of str to str
        Why a tomogram has no particle.
    """

    particles: ParticleSet
    junk: Mapping[str, ParticleSet] = field(default_factory=dict)
    heights: Mapping[str, np.ndarray] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


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
    _check_size(tomogram, scales, settings, border)
    allowed = _allowed(tomogram, border, mask)
    if membranes is not None:
        check_shape(membranes, tomogram, "the membranes")
    if picker is not None:
        return _ask(picker, tomogram, settings, scales[0], allowed, block_shape_zyx)
    gold = find_gold(tomogram, block_shape_zyx)
    beads = gold.balls(tomogram.voxel_size_angstrom)
    found, threshold, clear = _peaks_and_threshold(
        tomogram, scales, settings, allowed, beads, block_shape_zyx
    )
    heights = found.peaks.height
    picked = _upper_bound(
        found.select(heights >= threshold), scales, settings.max_picks, n_allowed(allowed)
    )
    places, kinds = look_closely(
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
    particles, junk = _set_apart(every, bead_set, settings)
    logger.info("%s: %d picks of %d peaks", tomogram.name, len(particles), len(heights))
    name, reasons = tomogram.name, {}
    if not len(particles):
        reasons = {name: _reason(tomogram, settings, heights, threshold)}
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
    _check_size(tomogram, scales, settings, border)
    beads = find_gold(tomogram).balls(tomogram.voxel_size_angstrom)
    allowed = _allowed(tomogram, border, None)
    found, _, _ = _peaks_and_threshold(tomogram, scales, settings, allowed, beads, None)
    return ParticleSet(
        np.full(len(found), tomogram.name),
        found.peaks.zyx.astype(float),
        found.peaks.height.astype(float),
        tomograms={tomogram.name: tomogram.info},
    )


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """What was found in several tomograms as one."""

    def merged(name: str) -> dict:
        return {k: v for part in parts for k, v in getattr(part, name).items()}

    kinds = dict.fromkeys(kind for part in parts for kind in part.junk)
    return Candidates(
        concatenate([part.particles for part in parts]),
        {kind: concatenate([p.junk[kind] for p in parts if kind in p.junk]) for kind in kinds},
        merged("heights"),
        merged("thresholds"),
        merged("reasons"),
    )


def border_px(settings: PickSettings, voxel_size_angstrom: float) -> int:
    """How many voxels picks stay away from the faces."""
    if settings.border_px is not None:
        return settings.border_px
    return math.ceil(_BORDER_DIAMETERS * settings.largest_diameter_angstrom / voxel_size_angstrom)


def _check_size(
    tomogram: Tomogram, scales: Sequence[Scale], settings: PickSettings, border: int
) -> None:
    smallest = min(tomogram.shape_zyx)
    ball = settings.largest_diameter_angstrom / tomogram.voxel_size_angstrom
    if settings.sigma_px is not None:
        ball = 2 * math.sqrt(3) * scales[0].filter.sigma_px  # what this sigma looks for
    if ball > smallest or 2 * border >= smallest:
        raise InputError(
            f"tomogram {tomogram.name} is {tomogram.shape_zyx} voxels (z, y, x), too small for "
            f"particles of {ball:.0f} voxels with a border of {border}; give a smaller "
            "particle diameter, or sigma and border."
        )


def _allowed(tomogram: Tomogram, border: int, mask: np.ndarray | None) -> Region:
    """Where picks may lie: the inside of the border, and the mask."""
    inside = tuple(slice(border, n - border) for n in tomogram.shape_zyx)
    if mask is None:
        return inside, None
    mask = check_shape(mask, tomogram, "the mask")
    if not mask[inside].any():
        raise InputError(
            f"the mask of tomogram {tomogram.name} leaves no voxel farther than "
            f"{border} from the faces; enlarge it, or give a smaller border."
        )
    return inside, mask


def check_shape(volume: np.ndarray, tomogram: Tomogram, what: str) -> np.ndarray:
    """A volume of bool of the size of a tomogram.

    Raises
    ------
    InputError
        If it has another.
    """
    volume = np.asarray(volume, bool)
    if volume.shape != tomogram.shape_zyx:
        is_are = "are" if what.endswith("s") else "is"
        raise InputError(
            f"{what} {is_are} {volume.shape} voxels (z, y, x), tomogram {tomogram.name} is "
            f"{tomogram.shape_zyx}; give a file of the same size."
        )
    return volume


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


def _set_apart(
    picks: ParticleSet, gold: ParticleSet, settings: PickSettings
) -> tuple[ParticleSet, dict[str, ParticleSet]]:
    """What goes on, best first, and what does not, by kind."""
    every = concatenate([picks, gold])
    kind = np.asarray(every.more["kind"])
    goes_on = np.isin(kind, [PARTICLE, *settings.keep])
    order = np.argsort(-np.asarray(every.score), kind="stable")
    particles = every.select(order[goes_on[order]])
    junk = {
        name: every.select(order[(kind == name)[order]])
        for name in dict.fromkeys(kind[~goes_on].tolist())
    }
    return particles, junk


def _reason(
    tomogram: Tomogram, settings: PickSettings, heights: np.ndarray, threshold: float
) -> str:
    """Why nothing was picked."""
    if not len(heights):
        return (
            f"tomogram {tomogram.name} has no bright peak where picks may lie; check that protein "
            "is bright, and the mask."
        )
    return (
        f"no peak of tomogram {tomogram.name} reaches the threshold {threshold:.4g} of the "
        f"rule '{settings.threshold_rule}', the best is {heights[0]:.4g}; lower the "
        "threshold, or check the particle diameter and that protein is bright."
    )


def _ask(
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
    reasons = {} if len(picks) else {name: _reason(tomogram, settings, maxima.height, threshold)}
    diameter = np.full(len(picks), scale.diameter_px * tomogram.voxel_size_angstrom)
    kinds = np.full(len(picks), PARTICLE, object)
    particles = particle_set(tomogram, picks.zyx, picks.height, diameter, kinds)
    return Candidates(particles, {}, {name: maxima.height}, {name: threshold}, reasons)


def particle_set(
    tomogram: Tomogram,
    zyx: np.ndarray,
    score: np.ndarray,
    diameter_angstrom: np.ndarray,
    kind: np.ndarray,
) -> ParticleSet:
    """Picks of one tomogram."""
    return ParticleSet(
        np.full(len(score), tomogram.name),
        np.asarray(zyx, float).reshape(-1, 3),
        score=np.asarray(score, float),
        tomograms={tomogram.name: tomogram.info},
        more={
            "diameter_angstrom": np.asarray(diameter_angstrom, float),
            "kind": np.asarray(kind, object),
        },
    )
