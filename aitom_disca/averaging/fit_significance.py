"""Whether members fit the average of the other half better than noise does: a p-value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.special import ndtr

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.exhaustive_search import align
from aitom_disca.alignment.local_search import slices_at
from aitom_disca.alignment.search_grids import ball, rotation_grid
from aitom_disca.averaging.gold_standard import ClusterAverage
from aitom_disca.averaging.masks import default_diameter_px, sphere_round_particle
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.wedge import TiltRanges, common_tilt_range, distinct_tilt_ranges
from aitom_disca.progress import track

FALSE_ALARMS = 0.01  # share of averages of noise that are taken for a structure
_DETAIL = 4.0  # the diameter over the finest detail that is looked at
_FEWEST_SHELLS, _MOST_SHELLS = 3, 8
_FEWEST_UNITS = 5  # in each half, that are independent of one another
_N_ROTATIONS = 2304  # 19 degrees apart
_SHIFT_PX, _FARTHEST = 1.67, 0.125  # steps, and share of the box
_NOISE_FOR_EACH, _LEAST_NOISE, _ALL_NOISE = 19, 3, 600  # volumes of noise
_AT_ONCE = 64
_AXES = (-3, -2, -1)


@dataclass(frozen=True)
class NullTest:
    """How the members of each half fit the average of the other half, beside noise.

    Parameters
    ----------
    made_from : str
        What was in the place of the members, in words.
    n_noise : int
        Volumes of it.
    p_value : float
        Probability that noise fits so well, of both halves together; NaN where too little can be
        judged.
    fit_better : float
        Probability that a member fits better than noise does: 0.5 by chance, 1 always.
    p_round : float
        Probability that a density which is the same on all sides, in noise, fits so well. Picks of
        noise are such: all have the bright middle that they were picked for.
    withheld : str
        Why there is no p-value; empty where there is one.
    """

    made_from: str
    n_noise: int
    p_value: float
    fit_better: float
    p_round: float
    withheld: str = ""


def null_test(
    volumes: np.ndarray,
    found: ClusterAverage,
    tilt_range_deg: TiltRanges,
    *,
    null_volumes: np.ndarray | None = None,
    null_tilt_range_deg: TiltRanges | None = None,
    made_from: str = "noise",
    mask_diameter_px: float | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> NullTest:
    """Compare members with noise, laid on the average of the half that they are not in.

    If there were nothing in the members, the average of one half would be noise to the other half,
    and its members would fit it no better than noise of their own spectrum does. Every member and
    several copies of it whose phases are random are laid on that average, over all rotations, with
    every shell counting alike. The rank of the member among its copies is then uniform, whatever
    was done to make the average, and so the sum of the ranks is known.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        The members.
    found : ClusterAverage
        Their average.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (N, 2)
        Of all members, or of each.
    null_volumes : ndarray of shape (M, n, n, n), optional
        In place of the copies: empty places of the same tomograms, say, or members of other
        clusters.
    null_tilt_range_deg : tuple of 2 floats, or ndarray of shape (M, 2), optional
        Of these; that which all members measured, unless given.
    made_from : str
        What they are.
    mask_diameter_px : float, optional
        Of a sphere about the particle, in which averages are looked at; details down to a quarter
        of it count. By default they are looked at whole.
    groups : ndarray of int, shape (N,), optional
        Members with one number share voxels, and count as one.
    seed : int

    Notes
    -----
    The ranks of the two halves give a p-value each; the outcome is twice the smaller one.
    """
    n = volumes.shape[-1]
    radius = _DETAIL * n / (mask_diameter_px or default_diameter_px(n))
    radius = float(np.clip(radius, _FEWEST_SHELLS, min(_MOST_SHELLS, n / 2 - 1)))
    groups = np.arange(len(volumes)) if groups is None else np.asarray(groups)
    units = min(len(np.unique(groups[found.half == h])) for h in (0, 1))
    if units < _FEWEST_UNITS:
        why = f"fewer than {2 * _FEWEST_UNITS} members that are independent of one another"
        return NullTest(made_from, 0, np.nan, np.nan, np.nan, why)
    if not found.independent:
        why = "members so few and noisy that both halves began from one model"
        return NullTest(made_from, 0, np.nan, np.nan, np.nan, why)
    ranges, wedge = distinct_tilt_ranges(tilt_range_deg, len(volumes))
    fits = even = _Fits(n, radius, ranges, mask_diameter_px, found.fall_off)
    # Fewer coefficients correlate better by chance: others are compared over what all measured.
    theirs = ranges if null_tilt_range_deg is None else np.reshape(null_tilt_range_deg, (-1, 2))
    common = common_tilt_range(np.concatenate([ranges, theirs]))
    if null_volumes is not None and ranges.tolist() != [list(common)]:
        even = _Fits(n, radius, np.array([common]), mask_diameter_px, found.fall_off)
    rng = np.random.default_rng(seed)
    copies = _n_copies(len(volumes))
    round_part = round_densities(volumes, ranges, wedge)
    ranks, p_values, p_round = [], [], []
    for h, average, fsc in zip((1, 0), (found.half1, found.half2), found.own_fsc, strict=True):
        rows = np.flatnonzero(found.half == h)
        members, of_members = volumes[rows], groups[rows]
        wedges = None if wedge is None else wedge[rows]
        reference = fits.reference(average, fsc)
        by_round = fits.ranks_among_copies(members, reference, copies, rng, wedges, round_part)
        p_round.append(_p_among_copies(by_round, of_members, copies))
        if null_volumes is None:
            ranks.append(fits.ranks_among_copies(members, reference, copies, rng, wedges))
            p_values.append(_p_among_copies(ranks[-1], of_members, copies))
        else:
            if even is not fits:
                reference = even.reference(average, fsc)
            noise = np.sort(even(null_volumes, reference))
            ranks.append(np.searchsorted(noise, even(members, reference)) / len(noise))
            p_values.append(_p_among_all(ranks[-1], of_members, len(noise)))
    n_noise = copies * len(volumes) if null_volumes is None else len(null_volumes)
    share = float(np.concatenate(ranks).mean())
    p_value, p_of_round = (min(1.0, 2 * min(p)) for p in (p_values, p_round))
    return NullTest(made_from, n_noise, p_value, share, p_of_round)


class _Fits:
    """The best correlation of volumes with a reference, over all rotations, at low resolution."""

    def __init__(
        self,
        box_px: int,
        radius: float,
        ranges: np.ndarray,
        mask_diameter_px: float | None,
        fall_off: FallOff | None,
    ) -> None:
        self._small_px = min(box_px, 2 * int(np.ceil(radius)) + 4)
        self._mask = np.ones((box_px,) * 3, np.float32)
        if mask_diameter_px is not None:
            self._mask = sphere_round_particle(box_px, mask_diameter_px)
        self._coefficients = Coefficients(self._small_px, radius, ranges, fall_off)
        self._grid = rotation_grid(_N_ROTATIONS)
        step = _SHIFT_PX * self._small_px / 20
        self._shifts = ball(step, _FARTHEST * self._small_px)

    def reference(self, average: np.ndarray, fsc: np.ndarray) -> np.ndarray:
        """Slices of an average at all rotations, each shell weighed by how sure it is."""
        small = fourier_crop(average * self._mask, self._small_px)
        slices = self._whitened(slices_at(small, self._coefficients, self._grid))
        return slices * fsc[self._coefficients.shell].astype(np.float32)

    def __call__(
        self, volumes: np.ndarray, reference: np.ndarray, wedge: np.ndarray | None = None
    ) -> np.ndarray:
        """Correlation of each volume with the reference in the best of all poses."""

        def some(rows: slice) -> np.ndarray:
            small = fourier_crop(volumes[rows], self._small_px)
            own = None if wedge is None else wedge[rows]
            seen, nowhere = self._coefficients, np.zeros((len(small), 3))
            values = self._whitened(seen.of(small, own), seen.measured_by(own))
            return align(values, seen, reference, self._shifts, nowhere, own).score

        pieces = [slice(start, start + _AT_ONCE) for start in range(0, len(volumes), _AT_ONCE)]
        return np.concatenate(on_all_cores(some, pieces))

    def ranks_among_copies(
        self,
        members: np.ndarray,
        reference: np.ndarray,
        n_copies: int,
        rng: np.random.Generator,
        wedge: np.ndarray | None,
        kept: np.ndarray | None = None,
    ) -> np.ndarray:
        """Share of each member's copies with random phases that fit worse; 0.5 by chance."""
        scores = self(members, reference, wedge)
        if kept is not None:
            kept = kept[0 if wedge is None else wedge]
        worse = np.zeros(len(members))
        for _ in track(range(n_copies), "comparing members with noise"):
            worse += self(with_random_phases(members, rng, kept), reference, wedge) < scores
        return worse / n_copies

    def _whitened(self, values: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
        """Every shell of every volume with the same power a coefficient, and norm one in all."""
        shell = self._coefficients.shell
        is_in = (shell == np.arange(shell.max() + 1)[:, None]).astype(np.float32)
        if measured is None:
            power = (np.abs(values) ** 2) @ (is_in / np.maximum(is_in.sum(1, keepdims=True), 1)).T
            n_measured = len(shell)
        else:
            power = (np.abs(values) ** 2) @ is_in.T / np.maximum(measured @ is_in.T, 1)
            n_measured = measured.sum(axis=1, keepdims=True)
        white = values / np.sqrt(np.maximum(power, 1e-30))[:, shell]
        return (white / np.sqrt(n_measured)).astype(np.complex64)


def with_random_phases(
    volumes: np.ndarray, rng: np.random.Generator, kept: np.ndarray | None = None
) -> np.ndarray:
    """Copies of volumes (N, z, y, x) with random phases: the same amplitudes, wedge and all.

    With a density (z, y, x) to be kept, or one for each, it stays, and what the volumes hold
    beside it is random.
    """
    random = fft.rfftn(rng.standard_normal(volumes.shape, np.float32), axes=_AXES)
    random /= np.maximum(np.abs(random), 1e-12)
    beside = volumes if kept is None else volumes - kept
    spectra = np.abs(fft.rfftn(beside, axes=_AXES)) * random
    copies = np.asarray(fft.irfftn(spectra, s=volumes.shape[1:], axes=_AXES), np.float32)
    return copies if kept is None else copies + kept


def round_densities(
    volumes: np.ndarray, ranges: np.ndarray, wedge: np.ndarray | None
) -> np.ndarray:
    """What is the same on all sides in the mean of volumes (N, n, n, n), behind their wedges.

    One density for each of the T tilt ranges, shape (T, n, n, n).
    """
    n = volumes.shape[-1]
    coefficients = Coefficients(n, n / 2 - 1, ranges)
    shell = coefficients.shell
    if wedge is None or coefficients.measured is None:
        values = coefficients.of(volumes.mean(axis=0)[None])[0].real
        mean = np.bincount(shell, values) / np.maximum(np.bincount(shell), 1)
        return coefficients.volumes(mean[shell][None].astype(np.complex64))
    total, size = np.zeros(len(shell)), np.zeros(len(shell))
    for t, measured in enumerate(coefficients.measured):
        members = volumes[np.flatnonzero(wedge == t)]
        if len(members):
            total += coefficients.of(members.sum(axis=0)[None], np.array([t]))[0].real
            size += len(members) * measured
    mean = np.bincount(shell, total) / np.maximum(np.bincount(shell, size), 1)
    return coefficients.volumes((mean[shell] * coefficients.measured).astype(np.complex64))


def _n_copies(n_members: int) -> int:
    return int(np.clip(_ALL_NOISE // n_members, _LEAST_NOISE, _NOISE_FOR_EACH))


def _p_among_copies(ranks: np.ndarray, groups: np.ndarray, n_copies: int) -> float:
    """Probability that so high a sum of ranks, each among m copies, comes by chance.

    Each is one of m + 1 equally probable numbers from 0 to 1, of variance (m + 2) / (12 m); those
    of one group are taken to be the same, which is the most that they can have in common.
    """
    sizes = np.unique(groups, return_counts=True)[1]
    variance = (sizes**2).sum() * (n_copies + 2) / (12 * n_copies)
    return float(ndtr(-(ranks - 0.5).sum() / np.sqrt(variance)))


def _p_among_all(ranks: np.ndarray, groups: np.ndarray, n_noise: int) -> float:
    """The same where all are compared with the same noise: the test of Mann and Whitney.

    References
    ----------
    .. [1] Mann and Whitney (1947), Ann. Math. Statist. 18, 50-60.
    """
    sizes = np.unique(groups, return_counts=True)[1]
    n = len(ranks)
    variance = (sizes**2).sum() / 12 + n * (n + 1) / (12 * n_noise)
    return float(ndtr(-(ranks - 0.5).sum() / np.sqrt(variance)))
