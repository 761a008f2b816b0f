"""An average and everything that says how far it can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from aitom_disca.averaging.compare import Comparison, compare_with_map
from aitom_disca.averaging.fsc import CorrectedFsc, corrected_fsc
from aitom_disca.averaging.gold_standard import ClusterAverage, average_cluster
from aitom_disca.averaging.half import FindsPoses
from aitom_disca.averaging.masks import density_mask, soft_sphere_mask
from aitom_disca.averaging.null_test import NullTest, noise_like, null_test
from aitom_disca.averaging.sharpening import guinier_fit, sharpen
from aitom_disca.config import AverageSettings
from aitom_disca.errors import InputError
from aitom_disca.progress import say

_MASK_EDGE_PX = 3.0
_GUINIER_FROM_ANGSTROM = 15.0
_DOUBTFUL_MARGIN = 0.2


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
    """

    found: ClusterAverage
    mask: np.ndarray
    fsc: CorrectedFsc
    filtered: np.ndarray
    b_factor_angstrom2: float = 0.0
    null: NullTest | None = None
    compared: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def resolution_angstrom(self) -> float:
        """Where the corrected Fourier shell correlation of the halves falls below 0.143."""
        return self.fsc.corrected.resolution_angstrom(0.143)

    @property
    def margin(self) -> float | None:
        """How much better the halves agree than those of the null test; up to 1."""
        return None if self.null is None else self.null.margin(self.fsc)

    @property
    def verdict(self) -> str:
        """In words; empty where there was no null test."""
        if self.margin is None:
            return ""
        if self.doubtful:
            return "not told from what the same procedure makes of nothing"
        return "more than the same procedure makes of nothing"

    @property
    def doubtful(self) -> bool:
        """Whether a null test gave about as much."""
        return self.margin is not None and not self.margin > _DOUBTFUL_MARGIN


def judged_average(
    volumes: np.ndarray,
    tilt_range_deg: tuple[float, float],
    voxel_size_angstrom: float,
    settings: AverageSettings | None = None,
    *,
    mask: np.ndarray | None = None,
    others: Callable[[int], np.ndarray] | None = None,
    network: FindsPoses | None = None,
    known: Mapping[str, KnownMap] | None = None,
    rescale: bool = False,
) -> JudgedAverage:
    """Average the members of a cluster, and judge what comes of it.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Protein bright.
    tilt_range_deg : tuple of 2 floats
    voxel_size_angstrom : float
    settings : AverageSettings, optional
    mask : ndarray of shape (n, n, n), optional
        In place of the one that the settings name.
    others : callable, optional
        Gives so many members of other clusters, or fewer, for the null test.
    network : callable, optional
        Finds poses, as in `average_cluster`; the null test goes without.
    known : mapping of str to KnownMap, optional
    rescale : bool
        Whether known maps of another voxel size may be resampled.

    Raises
    ------
    InputError
        As `average_cluster`, `compare_with_map` and the masks do.
    """
    settings = settings or AverageSettings()
    found = average_cluster(
        volumes,
        tilt_range_deg,
        symmetry=settings.symmetry,
        network=network,
        everywhere=settings.aligner != "gumnet",
        seed=settings.seed,
    )
    if mask is None:
        mask = _mask(settings.mask, found.average, voxel_size_angstrom)
    rng = np.random.default_rng(settings.seed)
    fsc = corrected_fsc(found.half1, found.half2, mask, voxel_size_angstrom, rng)
    resolution = fsc.corrected.resolution_angstrom(0.143)
    b_factor = _b_factor(settings, found.average, voxel_size_angstrom, resolution)
    filtered = sharpen(
        found.average,
        voxel_size_angstrom,
        b_factor_angstrom2=b_factor,
        resolution_angstrom=resolution,
        curve=fsc.corrected,
    )
    null = None
    if settings.null_test != "none":
        say("null test: the same with members of no cluster")
        made_from, instead = _of_nothing(volumes, settings, others)
        null = null_test(
            instead,
            made_from,
            mask,
            tilt_range_deg,
            voxel_size_angstrom,
            symmetry=settings.symmetry,
            noisy=found.noisy,
            seed=settings.seed,
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
    filtered = np.asarray(filtered, np.float32)
    return JudgedAverage(found, mask, fsc, filtered, b_factor, null, compared)


def _mask(kind: str, average: np.ndarray, voxel_size_angstrom: float) -> np.ndarray:
    if kind == "density":
        return density_mask(average, voxel_size_angstrom)
    box_px = average.shape[0]
    return soft_sphere_mask(box_px, box_px / 2 - _MASK_EDGE_PX, _MASK_EDGE_PX)


def _b_factor(
    settings: AverageSettings,
    average: np.ndarray,
    voxel_size_angstrom: float,
    resolution_angstrom: float,
) -> float:
    wanted = settings.b_factor_angstrom2
    if wanted != "auto":
        return float(wanted or 0.0)
    try:
        fit = guinier_fit(
            average,
            voxel_size_angstrom,
            low_resolution_angstrom=_GUINIER_FROM_ANGSTROM,
            high_resolution_angstrom=resolution_angstrom,
        )
    except InputError:
        say(
            f"not sharpened: at {resolution_angstrom:.0f} A there is nothing beyond "
            f"{_GUINIER_FROM_ANGSTROM:g} A to fit a B factor to"
        )
        return 0.0
    return fit.b_factor_angstrom2


def _of_nothing(
    volumes: np.ndarray,
    settings: AverageSettings,
    others: Callable[[int], np.ndarray] | None,
) -> tuple[str, np.ndarray]:
    if settings.null_test == "others" and others is not None:
        instead = others(len(volumes))
        if len(instead) == len(volumes):
            return "members of other clusters", instead
        say("too few members of other clusters for the null test: noise instead")
    return "noise", noise_like(volumes, np.random.default_rng(settings.seed))
