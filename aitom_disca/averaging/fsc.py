"""Fourier shell correlation of two half maps, and what a mask alone contributes to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from aitom_disca.averaging.check_maps import as_cube, as_mask, check_positive
from aitom_disca.averaging.phase_randomisation import RelionNumbers, randomise_phases
from aitom_disca.errors import InputError

GOLD_STANDARD = 0.143
_RANDOMISE_BELOW = 0.8  # of the unmasked correlation, as RELION
_SHELLS_LATER = 2  # the correction starts this far beyond the first randomised shell, as RELION


@dataclass(frozen=True)
class FscCurve:
    """How well two maps agree, shell by shell.

    Parameters
    ----------
    frequency_per_angstrom : ndarray of shape (box // 2 + 1,)
        Of the middle of every shell, from 0 in steps of 1 / (box * voxel size).
    correlation : ndarray of same shape
        -1 to 1, 1 is perfect agreement.
    """

    frequency_per_angstrom: np.ndarray
    correlation: np.ndarray

    def resolution_angstrom(self, threshold: float = GOLD_STANDARD) -> float:
        """Where the curve first falls below a threshold; see `resolution_angstrom`."""
        return resolution_angstrom(self, threshold)

    def measured_angstrom(self, threshold: float = GOLD_STANDARD) -> float:
        """The same, but NaN where the curve stays above the threshold up to its last shells.

        It then says nothing but that the voxels are too large to show the resolution.
        """
        below = np.flatnonzero(self.correlation[1:] < threshold)
        n_shells = len(self.correlation) - 1
        if len(below) == 0 or (below[0] >= n_shells - 1 and n_shells > 1):
            return float("nan")
        return resolution_angstrom(self, threshold)


@dataclass(frozen=True)
class CorrectedFsc:
    """The four curves of two half maps in a mask.

    Parameters
    ----------
    unmasked, masked : FscCurve
    randomised : FscCurve
        Of the masked halves whose phases were made random: what the mask alone contributes.
    corrected : FscCurve
        The masked curve without that.
    randomised_from_shell : int
        First shell with random phases; the number of shells if there is none.
    """

    unmasked: FscCurve
    masked: FscCurve
    randomised: FscCurve
    corrected: FscCurve
    randomised_from_shell: int


def fourier_shell_correlation(
    half1: np.ndarray, half2: np.ndarray, voxel_size_angstrom: float
) -> FscCurve:
    """Correlate two maps in shells of Fourier space.

    A coefficient belongs to the shell nearest to its distance from zero, in steps of 1 / box.
    The corners beyond shell ``box // 2`` are left out. The zero frequency says nothing and
    counts as 1; a shell in which a map has no power counts as 0.

    Parameters
    ----------
    half1, half2 : ndarray of shape (n, n, n)
        Axes z, y, x.
    voxel_size_angstrom : float

    Raises
    ------
    InputError
        If the maps are not finite cubes of one size, or the voxel size is not positive.

    References
    ----------
    .. [1] Harauz and van Heel (1986), Optik 73, 146-156.
    """
    half1, half2 = _pair(half1, half2)
    check_positive(voxel_size_angstrom, "the voxel size")
    box_px = half1.shape[0]
    shell, weight = half_shells(box_px)
    first, second = fft.rfftn(half1), fft.rfftn(half2)

    def over_shells(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell.ravel(), (weight * values).ravel())[: box_px // 2 + 1]

    power = over_shells(np.abs(first) ** 2) * over_shells(np.abs(second) ** 2)
    shared = over_shells((first * second.conj()).real)
    norm = np.sqrt(np.where(power > 0, power, 1))
    correlation = np.clip(np.where(power > 0, shared / norm, 0), -1, 1)
    correlation[0] = 1
    frequency = np.arange(box_px // 2 + 1) / (box_px * voxel_size_angstrom)
    return FscCurve(frequency, correlation)


def resolution_angstrom(curve: FscCurve, threshold: float = GOLD_STANDARD) -> float:
    """Resolution at which a curve first falls below a threshold.

    Linear between the last shell above and the first below. The zero frequency takes no part.

    Parameters
    ----------
    curve : FscCurve
    threshold : float
        0.143 for independent halves, 0.5 against a known map.

    Returns
    -------
    float
        In Angstrom, smaller is finer. A curve that never falls below the threshold has the
        resolution of its last shell, Nyquist; one that is below it from the first shell has
        resolved nothing: infinity.

    Raises
    ------
    InputError
        If the threshold is not between 0 and 1.

    References
    ----------
    .. [1] Rosenthal and Henderson (2003), J. Mol. Biol. 333, 721-745, for 0.143.
    """
    if not 0 < threshold < 1:
        raise InputError(f"the threshold of an FSC must lie between 0 and 1; got {threshold}.")
    frequency, value = curve.frequency_per_angstrom[1:], curve.correlation[1:]
    below = np.flatnonzero(value < threshold)
    if len(below) == 0:
        return float(1 / frequency[-1]) if len(frequency) else np.inf
    j = int(below[0])
    if j == 0:
        return np.inf
    share = (value[j - 1] - threshold) / (value[j - 1] - value[j])
    return float(1 / (frequency[j - 1] + share * (frequency[j] - frequency[j - 1])))


def resolution_in_words(measured_angstrom: float, voxel_size_angstrom: float) -> str:
    """What `FscCurve.measured_angstrom` gave, for people."""
    if np.isnan(measured_angstrom):
        return f"beyond what voxels of {voxel_size_angstrom:.4g} A can show"
    if np.isinf(measured_angstrom):
        return "none, the halves share nothing"
    return f"{measured_angstrom:.1f} A"


def corrected_fsc(
    half1: np.ndarray,
    half2: np.ndarray,
    mask: np.ndarray,
    voxel_size_angstrom: float,
    rng: np.random.Generator | None = None,
) -> CorrectedFsc:
    """Fourier shell correlation inside a mask, without what the mask itself contributes.

    Phases are made random, in each half alone, from the first shell whose unmasked correlation
    is below 0.8. What then correlates behind the mask is its own doing. Two shells further on
    the corrected curve is ``(masked - randomised) / (1 - randomised)``, which scatters about 0
    where nothing is shared; before that it is the masked curve. So does RELION's postprocess,
    but that it stops where the unmasked curve never falls below 0.8: here there is nothing to
    correct then.

    Parameters
    ----------
    half1, half2 : ndarray of shape (n, n, n)
        Not filtered, and averaged independently.
    mask : ndarray of same shape
        Values from 0 to 1.
    voxel_size_angstrom : float
    rng : numpy Generator, optional
        Of the random phases; by default RELION's own numbers, see `RelionNumbers`.

    Raises
    ------
    InputError
        If the maps are not finite cubes of one size, or the mask is empty, of another size or
        leaves 0 to 1.

    References
    ----------
    .. [1] Chen et al. (2013), Ultramicroscopy 135, 24-35, equation 4.
    """
    half1, half2 = _pair(half1, half2)
    mask = as_mask(mask, half1.shape)
    unmasked = fourier_shell_correlation(half1, half2, voxel_size_angstrom)
    masked = fourier_shell_correlation(half1 * mask, half2 * mask, voxel_size_angstrom)
    n_shells = len(unmasked.correlation)
    low = np.flatnonzero(unmasked.correlation < _RANDOMISE_BELOW)
    start = int(low[0]) if len(low) else n_shells
    randomised = masked
    if start < n_shells:
        drawn = RelionNumbers() if rng is None else rng
        first, second = (randomise_phases(half, start, drawn) for half in (half1, half2))
        randomised = fourier_shell_correlation(first * mask, second * mask, voxel_size_angstrom)
    corrected = _without_mask(masked.correlation, randomised.correlation, start + _SHELLS_LATER)
    curve = FscCurve(unmasked.frequency_per_angstrom, corrected)
    return CorrectedFsc(unmasked, masked, randomised, curve, start)


def half_shells(box_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Shell and weight of every coefficient of ``rfftn`` of a cube, zero frequency first.

    Returns
    -------
    shell : ndarray of int, shape (n, n, n // 2 + 1)
        Distance from zero in steps of 1 / box, rounded.
    weight : ndarray of shape (n // 2 + 1,)
        2 where the coefficient also stands for its mirror image, which ``rfftn`` leaves out.
    """
    whole, half = fft.fftfreq(box_px, 1 / box_px), fft.rfftfreq(box_px, 1 / box_px)
    squared = whole[:, None, None] ** 2 + whole[:, None] ** 2 + half**2
    alone = (half == 0) | (2 * half == box_px)
    return np.rint(np.sqrt(squared)).astype(int), np.where(alone, 1.0, 2.0)


def _without_mask(masked: np.ndarray, randomised: np.ndarray, start: int) -> np.ndarray:
    """The masked curve, corrected from one shell on."""
    corrected = masked.copy()
    above, noise = masked[start:], randomised[start:]
    true = (above - noise) / np.maximum(1 - noise, 1e-6)
    corrected[start:] = np.clip(true, -1, 1)
    return corrected


def _pair(half1: np.ndarray, half2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half1, half2 = as_cube(half1, "the first map"), as_cube(half2, "the second map")
    if half1.shape != half2.shape:
        raise InputError(
            f"both maps must have one box; the first has the shape {half1.shape} and the second "
            f"{half2.shape}."
        )
    return half1, half2
