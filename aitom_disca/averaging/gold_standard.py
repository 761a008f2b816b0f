"""The average of a cluster, from two halves of its members that never see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.graded_wedge import measure_fall_off
from aitom_disca.averaging.half_set_refinement import (
    LAST_ROUNDS,
    PIECES,
    SMALLEST_STEPS,
    FindsPoses,
    Half,
)
from aitom_disca.averaging.half_sets import balanced_halves
from aitom_disca.averaging.initial_model import initial_model
from aitom_disca.averaging.symmetrise import CLEARLY, SymmetryAxes, find_axes
from aitom_disca.classification.centring import dense_centre
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.errors import InputError
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.symmetry import point_group
from aitom_disca.geometry.wedge import TiltRanges, tilt_ranges_of
from aitom_disca.progress import muted, say, step

FEWEST_MEMBERS = 4
FEW = 100  # noisy members: so few have one initial model for both halves
# Mean log likelihood over noise of noisy members: noise has 0.4 to 2.4, ribosomes in cells have 6,
# SNR 0.03 on the benchmark has 34 or more.
NOISY = (3.0, 20.0)


@dataclass(frozen=True)
class ClusterAverage:
    """An average, its halves, and the poses of its N members.

    Parameters
    ----------
    average, half1, half2 : ndarrays of float32, shape (n, n, n)
        Wedge compensated; not filtered.
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from the average to the tomogram.
    shifts_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre.
    half : ndarray of int, shape (N,)
        0 or 1.
    score : ndarray of shape (N,)
        Constrained correlation with the average of the member's own half, -1 to 1.
    own_fsc : ndarray of shape (2, n_shells)
        Fourier shell correlation of two parts of each half, which the other half knows nothing of.
    symmetry : str
        That was imposed.
    axes : SymmetryAxes, optional
        How well the symmetry that was asked for fits.
    noisy : bool
        Whether members said so little that it began from initial models.
    independent : bool
        Whether the halves began apart from one another, not from one model of all members.
    fall_off : FallOff, optional
        How noise and signal of the members fall off with tilt, where they clearly do.
    """

    average: np.ndarray
    half1: np.ndarray
    half2: np.ndarray
    rotations: Rotation
    shifts_zyx_px: np.ndarray
    half: np.ndarray
    score: np.ndarray
    own_fsc: np.ndarray
    symmetry: str = "C1"
    axes: SymmetryAxes | None = None
    noisy: bool = False
    independent: bool = True
    fall_off: FallOff | None = None

    def poses_of(self, rows: np.ndarray) -> ClusterAverage | None:
        """What was found, with the poses of some members (a mask) alone; averages stay.

        None where a half would be left without two members.
        """
        half = self.half[rows]
        if np.bincount(half, minlength=2).min() < 2:
            return None
        return replace(
            self,
            rotations=self.rotations[rows],
            shifts_zyx_px=self.shifts_zyx_px[rows],
            half=half,
            score=self.score[rows],
        )


def average_cluster(
    volumes: np.ndarray,
    tilt_range_deg: TiltRanges,
    *,
    largest_frequency: float | None = None,
    symmetry: str = "C1",
    network: FindsPoses | None = None,
    everywhere: bool = True,
    noisy: bool | None = None,
    mask_diameter_px: float | None = None,
    groups: np.ndarray | None = None,
    fall_off: FallOff | Literal["measured"] | None = "measured",
    begin: ClusterAverage | None = None,
    seed: int = 0,
) -> ClusterAverage:
    """Align the members of a cluster to one another and average them, each half by itself.

    In each half single members are the first references; the likeliest of several tries is gone
    on with, over all rotations, then from the poses found to ever finer ones. The second half is
    then laid on the first, and takes nothing else from it. With a symmetry, its axes are found in
    the first half, every member enters the averages in all poses that the symmetry makes equal,
    and the last steps are taken again. A symmetry that is not clearly above chance is refused, in
    words, and the average stays in C1.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Protein bright.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (N, 2)
        Of all members, or of each.
    largest_frequency : float, optional
        Up to which members are aligned, in steps of 1 / box; by default what the halves of each
        half still share.
    symmetry : str
        A point group on the axes of RELION, such as C4 or D7.
    network : callable, optional
        Finds poses of volumes in a target. If it was trained on these volumes, the halves have
        seen each other through it.
    everywhere : bool
        Whether all rotations are searched; without, the network alone decides.
    noisy : bool, optional
        Whether to begin from initial models; as the members fit, unless given.
    mask_diameter_px : float, optional
        Of a soft sphere in which averages are looked at when members are aligned to them, so that
        neighbours are not; by default the whole box is.
    groups : ndarray of int, shape (N,), optional
        Members with one number go into one half, since their boxes share voxels; see
        `neighbour_groups`.
    fall_off : FallOff, "measured" or None
        Of noise and signal with tilt; by default as measured on the members, where it is clear.
        None for a binary wedge.
    begin : ClusterAverage, optional
        Halves and poses of these members that are known already: finer poses are looked for round
        them, and nothing over all rotations.
    seed : int

    Raises
    ------
    InputError
        If there are fewer than 4 members, all are the same, the wedge has no width, or there is
        no such symmetry.
    """
    _check(volumes, tilt_range_deg)
    group = point_group(symmetry)
    rng = np.random.default_rng(seed)
    if begin is not None:
        half = begin.half
    else:
        half = balanced_halves(np.arange(len(volumes)) if groups is None else groups, rng)
    say(f"averaging two halves of {int((half == 0).sum())} and {int((half == 1).sum())}")
    if fall_off == "measured":
        fall_off = measure_fall_off(volumes, tilt_range_deg)
    first, second = halves = [
        Half(
            volumes[half == h],
            tilt_ranges_of(tilt_range_deg, half == h),
            own,
            mask_diameter_px,
            fall_off,
        )
        for h, own in zip((0, 1), rng.spawn(2), strict=True)
    ]
    if begin is not None:
        noisy = begin.noisy
        for h, part in enumerate(halves):
            part.go_on_from(begin.rotations[half == h], begin.shifts_zyx_px[half == h])
        if noisy:
            _climb(halves, largest_frequency, SMALLEST_STEPS)
    else:
        _search(halves, largest_frequency, network, everywhere)
    if noisy is None:
        fit = float(np.mean([part.fit for part in halves]))
        noisy = network is None and NOISY[0] < fit < NOISY[1]
    if noisy and begin is None:
        _begin_again(volumes, half, halves, tilt_range_deg, fall_off, largest_frequency, rng)
    one_model = noisy and len(volumes) < FEW if begin is None else not begin.independent
    if begin is None and not one_model:
        second.lay_on(first)
    middle = dense_centre(first.average().volume, diameter_px=mask_diameter_px)
    for part in (first, second):
        part.centre_on(middle)
    if not noisy:  # noisy members would follow one another's noise in larger steps
        _climb(halves, largest_frequency)
    axes = None
    if len(group) > 1:
        radius_px = None if mask_diameter_px is None else mask_diameter_px / 2
        axes = find_axes(first.average().volume, symmetry, radius_px=radius_px, seed=seed)
        say(f"{symmetry}: score {axes.score:.2f}, by chance up to {axes.by_chance:.2f}")
        if not axes.clear:
            say(f"{symmetry} is refused: a score above {axes.by_chance + CLEARLY:.2f} is needed")
    if axes is not None and axes.clear:
        for part in (first, second):
            part.impose(group, axes)
        _climb(halves, largest_frequency)
    quaternions = np.empty((len(volumes), 4))
    shifts, score = np.empty((len(volumes), 3)), np.empty(len(volumes))
    totals = []
    for h, part in enumerate((first, second)):
        rows = half == h
        quaternions[rows] = part.rotations.as_quat()
        shifts[rows], score[rows] = part.offset_zyx_px, part.score
        totals.append(part.totals(np.arange(len(part.volumes))))
    unfiltered = first.averager.unfiltered
    whole = tuple(a + b for a, b in zip(*totals, strict=True))
    return ClusterAverage(
        unfiltered((whole[0], whole[1])),
        unfiltered(totals[0]),
        unfiltered(totals[1]),
        Rotation.from_quat(quaternions),
        shifts,
        half,
        score,
        np.array([part.average().correlation for part in (first, second)]),
        "C1" if axes is None or not axes.clear else symmetry,
        axes,
        noisy=bool(noisy),
        independent=not one_model,
        fall_off=fall_off,
    )


def _search(
    halves: list[Half],
    largest_frequency: float | None,
    network: FindsPoses | None,
    everywhere: bool,
) -> None:
    """Find the poses of both halves, each by itself."""
    with step("finding the poses of both halves", len(halves) * PIECES) as going_on, muted():
        if network is None:
            done = going_on.advance
            on_all_cores(lambda part: part.refined(largest_frequency, done=done), halves)
            return
        for part in halves:  # the network uses all cores itself
            part.refined(largest_frequency, network, everywhere=everywhere, done=going_on.advance)


def _climb(
    halves: list[Half],
    largest_frequency: float | None,
    rounds: Sequence[Sequence[tuple[float, float]]] = LAST_ROUNDS,
) -> None:
    """Find finer poses of both halves round those that they have, each by itself."""
    with step("finer poses of both halves", len(halves) * len(rounds)) as going_on:
        done = going_on.advance
        on_all_cores(lambda part: part.climb_on(largest_frequency, rounds, done), halves)


def _begin_again(
    volumes: np.ndarray,
    half: np.ndarray,
    halves: list[Half],
    tilt_range_deg: TiltRanges,
    fall_off: FallOff | None,
    largest_frequency: float | None,
    rng: np.random.Generator,
) -> None:
    """Begin both halves from initial models: one for each, or for few members one for both."""
    if len(volumes) < FEW:
        model = initial_model(volumes, tilt_range_deg, rng, fall_off)
        for h, part in enumerate(halves):
            poses = model.rotations[half == h], model.offset_zyx_px[half == h]
            part.begin_again(*poses, largest_frequency)
        return
    for h, part in enumerate(halves):
        tilts = tilt_ranges_of(tilt_range_deg, half == h)
        model = initial_model(part.volumes, tilts, rng, fall_off)
        part.begin_again(model.rotations, model.offset_zyx_px, largest_frequency)


def _check(volumes: np.ndarray, tilt_range_deg: TiltRanges) -> None:
    if len(volumes) < FEWEST_MEMBERS:
        raise InputError(
            f"an average needs at least {FEWEST_MEMBERS} members, but there are {len(volumes)}; "
            "leave this cluster out or merge it with another."
        )
    if not np.ptp(volumes, axis=0).any():
        raise InputError(
            "all members are the same volume, so that halves would say nothing; look at the store."
        )
    empty = [ends for ends in np.reshape(tilt_range_deg, (-1, 2)).tolist() if ends[1] <= ends[0]]
    if empty:
        raise InputError(
            f"the tilt range {empty[0]} has no width; give the smallest and largest tilt."
        )
