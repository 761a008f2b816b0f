"""Sharpen a map: how fast its amplitudes fall, and what is done against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from aitom_disca.averaging.check_maps import as_cube, check_positive
from aitom_disca.averaging.fsc import FscCurve, half_shells
from aitom_disca.config import AverageSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.fourier import frequency_grid_zyx
from aitom_disca.progress import say
from aitom_disca.subtomograms.preprocess import low_pass

_GUINIER_FROM_ANGSTROM = 15.0
_COARSE = 4.0  # steps of 1 / box: finest detail of an average whose halves share nothing
_SIGMA_PX = np.sqrt(np.log(2) / 2) / np.pi  # of a Gaussian that halves detail of one voxel

_FEWEST_SHELLS = 3  # two would fit a line whatever they are
_EDGE_SHELLS = 2.0  # width of the low-pass edge, half of it on either side


@dataclass(frozen=True)
class GuinierFit:
    """A line through the logarithm of a map's amplitudes.

    Parameters
    ----------
    b_factor_angstrom2 : float
        Four times the slope. Negative where amplitudes fall, as RELION gives it: it is the B
        factor that `sharpen` applies to make them level.
    intercept : float
        Logarithm of the amplitude at frequency 0.
    inverse_resolution_squared : ndarray of shape (n_shells,)
        1 / d^2 of every shell with power, in Angstrom^-2; mean of its coefficients.
    log_amplitude : ndarray of same shape
        Logarithm of the mean amplitude of every shell.
    fitted : ndarray of bool, same shape
        Shells that the line was put through.
    correlation : float
        Of the line with those shells, 0 to 1; near 1 if the B factor is to be trusted.
    """

    b_factor_angstrom2: float
    intercept: float
    inverse_resolution_squared: np.ndarray
    log_amplitude: np.ndarray
    fitted: np.ndarray
    correlation: float


def guinier_fit(
    volume: np.ndarray,
    voxel_size_angstrom: float,
    *,
    low_resolution_angstrom: float,
    high_resolution_angstrom: float,
) -> GuinierFit:
    """Fit the fall of a map's amplitudes between two resolutions.

    ``ln F = intercept + B / 4 * 1 / d^2``. Every shell counts once.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
    voxel_size_angstrom : float
    low_resolution_angstrom : float
        The larger number. For proteins a line is expected beyond about 10 Angstrom only.
    high_resolution_angstrom : float
        The smaller number, no finer than the map's resolution.

    Raises
    ------
    InputError
        If fewer than three shells with power lie between the two resolutions.

    References
    ----------
    .. [1] Rosenthal and Henderson (2003), J. Mol. Biol. 333, 721-745.
    """
    volume = as_cube(volume, "the map")
    check_positive(voxel_size_angstrom, "the voxel size")
    check_positive(low_resolution_angstrom, "the low resolution of the fit")
    check_positive(high_resolution_angstrom, "the high resolution of the fit")
    squared, amplitude = _amplitudes(volume, voxel_size_angstrom)
    squared, log_amplitude = squared[amplitude > 0], np.log(amplitude[amplitude > 0])
    fitted = squared >= low_resolution_angstrom**-2
    fitted &= squared <= high_resolution_angstrom**-2
    if fitted.sum() < _FEWEST_SHELLS:
        raise InputError(
            f"the B factor needs at least {_FEWEST_SHELLS} shells with power; between "
            f"{low_resolution_angstrom:g} and {high_resolution_angstrom:g} Angstrom there are "
            f"{int(fitted.sum())}: give a wider range, the larger number as the low resolution."
        )
    x, y = squared[fitted], log_amplitude[fitted]
    slope, intercept = np.polyfit(x, y, 1)
    spread = x.std() * y.std()
    correlation = abs(np.mean((x - x.mean()) * (y - y.mean()))) / spread if spread > 0 else 0.0
    return GuinierFit(
        4 * float(slope), float(intercept), squared, log_amplitude, fitted, float(correlation)
    )


def fsc_weights(curve: FscCurve) -> np.ndarray:
    """What each shell of the average of two halves is worth: ``sqrt(2 FSC / (1 + FSC))``.

    It is the correlation expected with a map without noise; 0 where the FSC is negative.

    Parameters
    ----------
    curve : FscCurve

    Returns
    -------
    ndarray of shape (n_shells,)

    References
    ----------
    .. [1] Rosenthal and Henderson (2003), J. Mol. Biol. 333, 721-745, equation 15.
    """
    positive = np.clip(curve.correlation, 0, 1)
    return np.asarray(np.sqrt(2 * positive / (1 + positive)))


def sharpen(
    volume: np.ndarray,
    voxel_size_angstrom: float,
    *,
    b_factor_angstrom2: float,
    resolution_angstrom: float,
    curve: FscCurve | None = None,
) -> np.ndarray:
    """Raise the fine detail of a map and cut it off at the resolution.

    Every coefficient is multiplied by ``exp(-B / 4 * s^2)``, s its frequency in 1 / Angstrom, by
    the weight of its shell where a curve is given, and by a low-pass whose cosine edge is two
    shells wide with its middle at the resolution. Corners beyond the last shell are set to zero.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
        Average of both halves, not filtered.
    voxel_size_angstrom : float
    b_factor_angstrom2 : float
        Negative sharpens, positive smooths; see `guinier_fit`.
    resolution_angstrom : float
    curve : FscCurve, optional
        Of the halves, of the same box and voxel size.

    Returns
    -------
    ndarray of float, same shape

    Raises
    ------
    InputError
        If a number makes no sense, or the curve is of another box or voxel size.
    """
    volume = as_cube(volume, "the map")
    check_positive(voxel_size_angstrom, "the voxel size")
    check_positive(resolution_angstrom, "the resolution")
    if not np.isfinite(b_factor_angstrom2):
        raise InputError(f"the B factor must be a finite number; got {b_factor_angstrom2}.")
    n = volume.shape[0]
    frequency = np.sqrt(_frequency_squared(n, voxel_size_angstrom))
    shell = frequency * (n * voxel_size_angstrom)
    beyond = (shell - n * voxel_size_angstrom / resolution_angstrom) / _EDGE_SHELLS + 0.5
    factor = (1 + np.cos(np.pi * np.clip(beyond, 0, 1))) / 2
    factor[np.rint(shell) > n // 2] = 0
    exponent = np.where(factor > 0, -b_factor_angstrom2 / 4 * frequency**2, 0)
    factor *= np.exp(exponent)
    if curve is not None:
        _check_curve(curve, n, voxel_size_angstrom)
        factor *= np.interp(shell, np.arange(n // 2 + 1), fsc_weights(curve))
    return np.asarray(fft.irfftn(fft.rfftn(volume) * factor, s=volume.shape), volume.dtype)


def _amplitudes(volume: np.ndarray, voxel_size_angstrom: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean 1 / d^2 and mean amplitude of every shell but that of frequency 0."""
    n = volume.shape[0]
    shell, weight = half_shells(n)

    def over_shells(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell.ravel(), (weight * values).ravel())[1 : n // 2 + 1]

    count = over_shells(np.ones(shell.shape))
    squared = over_shells(_frequency_squared(n, voxel_size_angstrom)) / count
    return squared, over_shells(np.abs(fft.rfftn(volume))) / count


def _frequency_squared(box_px: int, voxel_size_angstrom: float) -> np.ndarray:
    """s^2 of every coefficient of ``rfftn``, in Angstrom^-2."""
    kz, ky, kx = frequency_grid_zyx((box_px,) * 3, half=True)
    return np.asarray(kz**2 + ky**2 + kx**2) / voxel_size_angstrom**2


def _check_curve(curve: FscCurve, box_px: int, voxel_size_angstrom: float) -> None:
    expected = np.arange(box_px // 2 + 1) / (box_px * voxel_size_angstrom)
    given = curve.frequency_per_angstrom
    if given.shape != expected.shape or not np.allclose(given, expected, rtol=1e-3):
        raise InputError(
            f"the curve must have the {len(expected)} shells of this map's box and voxel size, "
            f"up to {expected[-1]:g} per Angstrom; it has {len(given)}, up to {given[-1]:g}."
        )


def filtered_by_halves(
    average: np.ndarray, curve: FscCurve, voxel_size_angstrom: float, settings: AverageSettings
) -> tuple[np.ndarray, float]:
    """The average as far as its halves agree, and the B factor that was applied."""
    resolution = curve.resolution_angstrom(0.143)
    if np.isinf(resolution):  # only to be looked at
        coarse = average.shape[0] * voxel_size_angstrom / _COARSE
        return low_pass(average, _SIGMA_PX * coarse / voxel_size_angstrom), 0.0
    b_factor = b_factor_of(settings, average, voxel_size_angstrom, resolution)
    filtered = sharpen(
        average,
        voxel_size_angstrom,
        b_factor_angstrom2=b_factor,
        resolution_angstrom=resolution,
        curve=curve,
    )
    return np.asarray(filtered, np.float32), b_factor


def b_factor_of(
    settings: AverageSettings,
    average: np.ndarray,
    voxel_size_angstrom: float,
    resolution_angstrom: float,
) -> float:
    """The B factor that was asked for, or that the fall of the amplitudes shows; 0 if none can."""
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
