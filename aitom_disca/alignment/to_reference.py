"""Align subtomograms to a reference: everywhere first, then round the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.exhaustive_search import real_view, shares_of_norm
from aitom_disca.alignment.local_search import correlations, refine_poses, slices_at
from aitom_disca.alignment.search_grids import ball, rotation_grid
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.config.alignment import TO_REFERENCE, ToReferenceSettings
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.wedge import TiltRanges, distinct_tilt_ranges

_ROTATIONS_AT_ONCE = 4096  # of slices, on each core
_SCORES_AT_ONCE = 2**24  # bounds the memory: 64 MB of scores a thread


@dataclass(frozen=True)
class AlignedPoses:
    """How n subtomograms lie.

    Parameters
    ----------
    rotations : Rotation of n rotations
        Of (x, y, z) vectors, from the reference to the subtomogram.
    shifts_zyx_px : ndarray of shape (n, 3)
        Where each particle lies, from the box centre.
    score : ndarray of shape (n,)
        Constrained correlation with the reference, -1 to 1.
    """

    rotations: Rotation
    shifts_zyx_px: np.ndarray
    score: np.ndarray


def align_to_reference(
    volumes: np.ndarray,
    reference: np.ndarray,
    tilt_range_deg: TiltRanges,
    *,
    first_step_deg: float = 7.5,
    largest_frequency: float | None = None,
    largest_shift_px: float | None = None,
    finest_deg: float = 1.0,
    fall_off: FallOff | None = None,
    settings: ToReferenceSettings = TO_REFERENCE,
) -> AlignedPoses:
    """Find the rotation and shift of highest constrained correlation with a reference.

    Only Fourier coefficients that the subtomogram measured count. At low frequencies every
    rotation of a grid over SO(3) and every shift within a ball is tried, as matrix products; from
    the best, and from two others far from it, the pose climbs in ever smaller steps at ever higher
    frequencies; which of the three is right, these decide early.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Protein bright.
    reference : ndarray of shape (n, n, n)
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (N, 2)
        Of all subtomograms, or of each.
    first_step_deg : float
        Between neighbours of the grid of rotations, 36,864 of them for 7.5 degrees.
    largest_frequency : float, optional
        In steps of 1 / box; by default four fifths of Nyquist.
    largest_shift_px : float, optional
        Of the first search; by default an eighth of the box.
    finest_deg : float
        Last step of rotation.
    fall_off : FallOff, optional
        Of amplitudes with tilt, as `measure_fall_off` gives it; none in a binary wedge.
    settings : ToReferenceSettings
    """
    box_px = volumes.shape[-1]
    small = min(box_px, settings.box_px)
    scale = box_px / small
    ranges, wedge = distinct_tilt_ranges(tilt_range_deg, len(volumes))
    largest_shift = (box_px / 8 if largest_shift_px is None else largest_shift_px) / scale
    leads = _everywhere(
        fourier_crop(volumes, small),
        fourier_crop(reference[None], small)[0],
        tilt_range_deg,
        rotation_grid(n_rotations(first_step_deg)),
        ball(settings.shift_step_px, largest_shift),
        fall_off,
        settings,
    )
    steps = _steps(first_step_deg / 2, finest_deg, settings.shift_step_px / 2 * scale)
    largest = min(largest_frequency or settings.largest * box_px / 2, box_px / 2 - 1)
    # A step moves the shell of such a radius by about a quarter of its own width.
    radii = [min(largest, max(np.rad2deg(settings.turned / step[0]), 1.0)) for step in steps]
    seen = [Coefficients(box_px, radius, ranges, fall_off) for radius in radii]
    values = [coefficients.of(volumes, wedge) for coefficients in seen]
    tried = [
        refine_poses(
            values[0], seen[0], reference, turn, shift * scale, steps[:1], wedge, settings.passes
        )
        for turn, shift in leads
    ]
    judge = min(1, len(seen) - 1)  # finer than the step itself
    fits = [correlations(values[judge], seen[judge], reference, *pose[:2], wedge) for pose in tried]
    found = _best_of(tried, np.argmax(fits, axis=0))
    for i, step in list(enumerate(steps))[1:]:
        found = refine_poses(
            values[i], seen[i], reference, found[0], found[1], [step], wedge, settings.passes
        )
    return AlignedPoses(*found)


def n_rotations(step_deg: float) -> int:
    """Rotations of an even grid over SO(3) whose neighbours are about so far apart."""
    return round(36864 * (7.5 / step_deg) ** 3)


def _steps(first_deg: float, last_deg: float, first_px: float) -> list[tuple[float, float]]:
    steps, factor = [], 1.0
    while True:
        steps.append((first_deg * factor, first_px * factor))
        if first_deg * factor <= last_deg * 1.01:
            return steps
        factor = max(factor / 2, last_deg / first_deg)


def _everywhere(
    volumes: np.ndarray,
    reference: np.ndarray,
    tilt_range_deg: TiltRanges,
    rotations: Rotation,
    shifts_zyx_px: np.ndarray,
    fall_off: FallOff | None = None,
    settings: ToReferenceSettings = TO_REFERENCE,
) -> list[tuple[Rotation, np.ndarray]]:
    """The best rotation and shift of each volume, and the best far from those before."""
    radius = min(settings.radius, reference.shape[0] / 2 - 1)
    ranges, wedge = distinct_tilt_ranges(tilt_range_deg, len(volumes))
    coefficients = Coefficients(reference.shape[0], radius, ranges, fall_off)
    values = coefficients.of(volumes, wedge)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    columns, share = _columns(reference, coefficients, rotations)
    phases = coefficients.shift_phases(shifts_zyx_px)
    block = max(1, _SCORES_AT_ONCE // (columns.shape[1] * len(shifts_zyx_px)))
    pieces = [slice(start, start + block) for start in range(0, len(values), block)]

    quaternions = rotations.as_quat().astype(np.float32)
    near = np.cos(np.deg2rad(settings.apart_deg) / 2)  # of quaternions

    def best(rows: slice) -> np.ndarray:
        shifted = (values[rows, None] * phases).reshape(-1, len(coefficients))
        score = (real_view(shifted) @ columns).reshape(-1, len(phases), columns.shape[1])
        if share is not None and wedge is not None:
            score /= share[wedge[rows], None]
        by_rotation = score.max(axis=1)
        number = np.arange(len(score))
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for lead in range(settings.leads):
            if lead:
                last = quaternions[found[-1][0]]
                by_rotation[np.abs(last @ quaternions.T) > near] = -2
            rotation = by_rotation.argmax(axis=1)
            found.append((rotation, score[number, :, rotation].argmax(axis=1)))
        return np.array(found)  # leads, rotation or shift, volumes

    found = np.concatenate(on_all_cores(best, pieces), axis=2)
    return [(rotations[rotation], shifts_zyx_px[shift]) for rotation, shift in found]


def _best_of(
    tried: list[tuple[Rotation, np.ndarray, np.ndarray]], which: np.ndarray
) -> tuple[Rotation, np.ndarray, np.ndarray]:
    rows = np.arange(len(which))
    quaternions, shifts, scores = (
        np.stack(parts)[which, rows]
        for parts in zip(*((r.as_quat(), s, c) for r, s, c in tried), strict=True)
    )
    return Rotation.from_quat(quaternions), shifts, scores


def _columns(
    reference: np.ndarray, coefficients: Coefficients, rotations: Rotation
) -> tuple[np.ndarray, np.ndarray | None]:
    """Slices of the reference as real columns of norm one, and `shares_of_norm` of them.

    The columns have the shape (2 n_coefficients, m).
    """
    pieces = [
        slice(start, start + _ROTATIONS_AT_ONCE)
        for start in range(0, len(rotations), _ROTATIONS_AT_ONCE)
    ]

    def some(rows: slice) -> tuple[np.ndarray, np.ndarray | None]:
        turned = slices_at(reference, coefficients, rotations[rows])
        slices = real_view(turned)
        norm = np.maximum(np.linalg.norm(slices, axis=1, keepdims=True), 1e-12)
        return slices / norm, shares_of_norm(turned, coefficients)

    columns, shares = zip(*on_all_cores(some, pieces), strict=True)
    share = None if shares[0] is None else np.concatenate(shares, axis=1)
    return np.ascontiguousarray(np.concatenate(columns).T), share
