"""An average and everything that says how far it can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from aitom_disca.analysis.wedge_bias import PoseGathering, pose_gathering
from aitom_disca.averaging.compare_maps import Comparison, compare_with_map
from aitom_disca.averaging.directional_fsc import along_and_across
from aitom_disca.averaging.fit_significance import FALSE_ALARMS, NullTest, null_test
from aitom_disca.averaging.fsc import CorrectedFsc, FscCurve, corrected_fsc
from aitom_disca.averaging.gold_standard import ClusterAverage, average_cluster
from aitom_disca.averaging.half_set_refinement import FindsPoses
from aitom_disca.averaging.masks import (
    density_mask,
    mask_diameter_px,
    sphere_round_particle,
)
from aitom_disca.averaging.sharpening import filtered_by_halves
from aitom_disca.config import AverageSettings
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.symmetry import point_group
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.progress import say

_FEWEST_NULL, _MOST_OTHERS = 20, 300  # volumes in place of noise
GivesOthers = Callable[[int], tuple[np.ndarray, TiltRanges]]


@dataclass(frozen=True)
class KnownMap:
    """A map that averages are compared with."""

    volume: np.ndarray
    voxel_size_angstrom: float


@dataclass(frozen=True)
class JudgedAverage:
    """An averaged cluster.

    Parameters
    ----------
    found : ClusterAverage
    mask : ndarray of shape (n, n, n)
        In which the correlation of the halves was measured.
    fsc : CorrectedFsc
    filtered : ndarray of shape (n, n, n)
        The average weighted by what the halves share, cut off at the resolution, and sharpened
        where that was asked for.
    b_factor_angstrom2 : float
        That was applied; 0 for none.
    null : NullTest, optional
    compared : mapping of str to Comparison
        With known maps, by their names.
    gathering : PoseGathering
    along, across : FscCurve
        Masked correlation of the halves along the axis about which the beam gathers most, and
        across it: equal in an average that is isotropic.
    mask_diameter_px : float
        Of the sphere in which averages were looked at.
    """

    found: ClusterAverage
    mask: np.ndarray
    fsc: CorrectedFsc
    filtered: np.ndarray
    gathering: PoseGathering
    along: FscCurve
    across: FscCurve
    mask_diameter_px: float
    b_factor_angstrom2: float = 0.0
    null: NullTest | None = None
    compared: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def resolution_angstrom(self) -> float:
        """Where the corrected Fourier shell correlation of the halves falls below 0.143.

        Infinite where they share nothing, NaN where the voxels are too large to show it.
        """
        return self.fsc.corrected.measured_angstrom(0.143)

    @property
    def doubtful(self) -> bool:
        """Whether the halves share nothing, or the members fit no better than noise."""
        no_better = self.null is not None and self.null.p_value >= FALSE_ALARMS
        return bool(np.isinf(self.resolution_angstrom) or no_better)

    @property
    def round(self) -> bool:
        """Whether nothing but a density that is the same on all sides is told from noise."""
        return bool(self.null is not None and self.null.p_round >= FALSE_ALARMS)

    @property
    def verdict(self) -> str:
        """In words; empty where nothing was tested."""
        if np.isinf(self.resolution_angstrom):
            return "doubtful: its halves share nothing"
        if self.null is None:
            return ""
        if self.null.withheld:
            return f"not judged: {self.null.withheld}"
        name = self.null.made_from
        if self.doubtful:
            return f"doubtful: not told from {name}"
        return f"more than {name}" + (", but no more than a round density" if self.round else "")


def judged_average(
    volumes: np.ndarray,
    tilt_range_deg: TiltRanges,
    voxel_size_angstrom: float,
    settings: AverageSettings | None = None,
    *,
    mask: np.ndarray | None = None,
    others: GivesOthers | None = None,
    null_volumes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    fall_off: FallOff | Literal["measured"] | None = "measured",
    network: FindsPoses | None = None,
    known: Mapping[str, KnownMap] | None = None,
    rescale: bool = False,
    begin: ClusterAverage | None = None,
    test: bool = True,
) -> JudgedAverage:
    """Average the members of a cluster, and judge what comes of it.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Protein bright.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (N, 2)
        Of all members, or of each.
    voxel_size_angstrom : float
    settings : AverageSettings, optional
    mask : ndarray of shape (n, n, n), optional
        In place of the one that the settings name.
    others : callable, optional
        Gives so many members of other clusters, or fewer, for the null test, and their tilt ranges.
    null_volumes : ndarray of shape (M, n, n, n), optional
        Empty places of the same tomograms, for the null test.
    groups : ndarray of int, shape (N,), optional
        Members whose boxes share voxels; see `neighbour_groups`.
    fall_off : FallOff, "measured" or None
        As in `average_cluster`; None where the settings want a binary wedge.
    network : callable, optional
        Finds poses, as in `average_cluster`.
    known : mapping of str to KnownMap, optional
    rescale : bool
        Whether known maps of another voxel size may be resampled.
    begin : ClusterAverage, optional
        As in `average_cluster`.
    test : bool
        Whether the null test that the settings name is wanted now; `tested` makes up for it.

    Raises
    ------
    InputError
        As `average_cluster`, `compare_with_map` and the masks do.
    """
    settings = settings or AverageSettings()
    box_px = volumes.shape[-1]
    diameter_px = mask_diameter_px(settings, box_px, voxel_size_angstrom)
    found = average_cluster(
        volumes,
        tilt_range_deg,
        symmetry=settings.symmetry,
        network=network,
        everywhere=settings.aligner != "gumnet",
        mask_diameter_px=diameter_px,
        groups=groups,
        fall_off=fall_off if settings.graded_wedge else None,
        begin=begin,
        seed=settings.seed,
    )
    sphere = sphere_round_particle(box_px, diameter_px)
    if mask is None:
        is_sphere = settings.mask == "sphere"
        mask = sphere if is_sphere else density_mask(found.average, voxel_size_angstrom)
    fsc = corrected_fsc(found.half1, found.half2, mask, voxel_size_angstrom)
    filtered, b_factor = filtered_by_halves(
        found.average, fsc.corrected, voxel_size_angstrom, settings
    )
    gathering = pose_gathering(found.rotations, point_group(found.symmetry), seed=settings.seed)
    along, across = along_and_across(
        found.half1 * mask, found.half2 * mask, gathering.beam_axis_xyz, voxel_size_angstrom
    )
    compared = {
        name: compare_with_map(
            found.average,
            one.volume,
            voxel_size_angstrom=voxel_size_angstrom,
            known_voxel_size_angstrom=one.voxel_size_angstrom,
            rescale=rescale,
        )
        for name, one in (known or {}).items()
    }
    judged = JudgedAverage(
        found, mask, fsc, filtered, gathering, along, across, diameter_px, b_factor, None, compared
    )
    if not test:
        return judged
    return tested(
        judged,
        volumes,
        tilt_range_deg,
        settings,
        others=others,
        null_volumes=null_volumes,
        groups=groups,
    )


def tested(
    judged: JudgedAverage,
    volumes: np.ndarray,
    tilt_range_deg: TiltRanges,
    settings: AverageSettings,
    *,
    others: GivesOthers | None = None,
    null_volumes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> JudgedAverage:
    """With the null test that the settings name; the other parameters as in `judged_average`."""
    if settings.null_test == "none":
        return judged
    say("null test: do members fit the average of the other half better than noise does?")
    made_from, instead, their_tilts = _of_nothing(settings, others, null_volumes)
    null = null_test(
        volumes,
        judged.found,
        tilt_range_deg,
        null_volumes=instead,
        null_tilt_range_deg=their_tilts,
        made_from=made_from,
        mask_diameter_px=judged.mask_diameter_px,
        groups=groups,
        seed=settings.seed,
    )
    return replace(judged, null=null)


def _of_nothing(
    settings: AverageSettings,
    others: GivesOthers | None,
    null_volumes: np.ndarray | None,
) -> tuple[str, np.ndarray | None, TiltRanges | None]:
    """What members are compared with, in words; None for copies of theirs with random phases."""
    if null_volumes is not None and len(null_volumes) >= _FEWEST_NULL:
        return "empty places", null_volumes, None
    if null_volumes is not None:
        say("too few empty places for the null test: noise instead")
    elif settings.null_test == "others" and others is not None:
        instead, their_tilts = others(_MOST_OTHERS)
        if len(instead) >= _FEWEST_NULL:
            return "members of other clusters", instead, their_tilts
        say("too few members of other clusters for the null test: noise instead")
    return "noise", None, None
