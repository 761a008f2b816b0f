"""The contrast transfer function of the microscope."""

from __future__ import annotations

import numpy as np


def electron_wavelength_angstrom(voltage_kv: float) -> float:
    """Relativistic wavelength of an electron: 0.0197 A at 300 kV.

    ``h / sqrt(2 m e V (1 + e V / (2 m c^2)))`` with the CODATA 2018 constants.
    """
    volts = 1e3 * voltage_kv
    return float(12.264259 / np.sqrt(volts * (1 + 9.784756e-7 * volts)))


def ctf(
    frequency_per_angstrom: np.ndarray,
    defocus_angstrom: float,
    voltage_kv: float = 300.0,
    spherical_aberration_mm: float = 2.7,
    amplitude_contrast: float = 0.1,
) -> np.ndarray:
    """Contrast transfer function of an untilted image without astigmatism.

    ``sin(pi lambda k^2 (defocus - lambda^2 k^2 Cs / 2) + arcsin(amplitude_contrast))``: the
    function of Rohou and Grigorieff, J. Struct. Biol. 192 (2015), 216, with the other sign. It is
    ``amplitude_contrast`` at zero frequency and positive up to its first zero, as befits volumes
    in which protein is bright: where it is negative, protein is dark in them.

    Parameters
    ----------
    frequency_per_angstrom : ndarray of any shape
        Spatial frequency ``k``, in 1 / A, from 0.
    defocus_angstrom : float
        Positive for underfocus.
    voltage_kv : float
    spherical_aberration_mm : float
    amplitude_contrast : float
        Share from 0 to 1 of amplitude contrast.

    Returns
    -------
    ndarray of the same shape
        From -1 to 1.
    """
    wavelength = electron_wavelength_angstrom(voltage_kv)
    squared = np.square(frequency_per_angstrom)
    aberration = 1e7 * spherical_aberration_mm * wavelength**2 * squared / 2
    phase = np.pi * wavelength * squared * (defocus_angstrom - aberration)
    return np.sin(phase + np.arcsin(amplitude_contrast))
