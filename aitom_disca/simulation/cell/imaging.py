"""Image a cell: contrast transfer, dose damping, counted electrons, alignment errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.constants import c, e, h, m_e

from aitom_disca.simulation.cell.projecting import back_project, project
from aitom_disca.simulation.cell.recipe import Imaging

_COPIES = 1  # beyond the tomogram the sample goes on; two tilts of 70 degrees see three of it
_PADDED = 1.25  # images are padded by mirroring before they are filtered


def wavelength_angstrom(voltage_kv: float) -> float:
    """Relativistic wavelength of electrons."""
    energy = voltage_kv * 1e3 * e
    return float(h / np.sqrt(2 * m_e * energy * (1 + energy / (2 * m_e * c**2))) * 1e10)


def interaction_rad_per_volt_angstrom(voltage_kv: float) -> float:
    """Phase shift of an electron per volt of potential and angstrom of path."""
    energy = voltage_kv * 1e3 * e
    rest = m_e * c**2
    per_metre = 2 * np.pi / (wavelength_angstrom(voltage_kv) * 1e-10 * energy)
    return float(per_metre * (rest + energy) / (2 * rest + energy) * e * 1e-10)


def contrast_transfer(frequency: np.ndarray, imaging: Imaging) -> np.ndarray:
    """Contrast transfer of a weak phase object; negative where what is dense is dark.

    ``-(sqrt(1 - A^2) sin(chi) + A cos(chi))`` with ``chi = pi lambda dz k^2 - pi/2 Cs lambda^3
    k^4``, ``dz`` positive for underfocus (Rohou and Grigorieff 2015, equations 1 to 3).

    Parameters
    ----------
    frequency : ndarray
        1 / Å.
    imaging : Imaging
    """
    wave = wavelength_angstrom(imaging.voltage_kv)
    cs = imaging.cs_mm * 1e7
    squared = np.asarray(frequency, float) ** 2
    chi = np.pi * wave * imaging.defocus_angstrom * squared
    chi -= np.pi / 2 * cs * wave**3 * squared**2
    amplitude = imaging.amplitude_contrast
    return -(np.sqrt(1 - amplitude**2) * np.sin(chi) + amplitude * np.cos(chi))


def dose_damping(frequency: np.ndarray, dose: float) -> np.ndarray:
    """What is left of an amplitude after a dose in electrons per square angstrom, at 300 kV.

    ``exp(-dose / (2 N_c))`` with the critical dose ``N_c = 0.245 k^-1.665 + 2.81`` (Grant and
    Grigorieff 2015, equation 3).
    """
    frequency = np.maximum(np.asarray(frequency, float), 1e-6)
    return np.exp(-dose / (2 * (0.245 * frequency**-1.665 + 2.81)))


@dataclass(frozen=True)
class CleanSeries:
    """Images of a cell before electrons are counted.

    Parameters
    ----------
    contrast : ndarray of float32, shape (T, y, x)
        Relative to a mean of 1.
    passed : ndarray of float32, shape (T, y, x)
        Part of the electrons that the ice lets pass.
    imaging : Imaging
    pixel_angstrom : float
    """

    contrast: np.ndarray
    passed: np.ndarray
    imaging: Imaging
    pixel_angstrom: float

    def counted(self, electrons: float, rng: np.random.Generator) -> np.ndarray:
        """Images with so many electrons counted per square angstrom and tilt, mean 0.

        Relative to the mean of each image, as a reconstruction takes them.
        """
        mean = electrons * self.pixel_angstrom**2
        images = np.empty_like(self.contrast)
        for i, (contrast, passed) in enumerate(zip(self.contrast, self.passed, strict=True)):
            counts = rng.poisson(mean * passed * np.maximum(contrast, 0))
            images[i] = counts / counts.mean() - 1
        return images


def tilt_series(
    density_zyx: np.ndarray,
    ice_zyx: np.ndarray,
    pixel_angstrom: float,
    imaging: Imaging,
    rng: np.random.Generator,
) -> CleanSeries:
    """Image a cell at every tilt; defocus is that of its middle everywhere.

    Parameters
    ----------
    density_zyx : ndarray of shape (z, y, x)
        Protein 1.
    ice_zyx : ndarray of bool, same shape
    pixel_angstrom : float
    imaging : Imaging
    rng : Generator
        Of the alignment errors.
    """
    tilts = np.array(imaging.tilts_deg)
    true_tilts = tilts + rng.normal(0, imaging.tilt_error_deg, len(tilts))
    shifts = rng.normal(0, imaging.shift_error_px, (len(tilts), 2))
    phase = project(density_zyx, true_tilts, copies=_COPIES)
    phase *= interaction_rad_per_volt_angstrom(imaging.voltage_kv)
    phase *= imaging.protein_volt * pixel_angstrom
    path = project(ice_zyx, true_tilts, copies=_COPIES) * pixel_angstrom
    order = np.argsort(np.argsort(np.abs(tilts), kind="stable"))
    for i, rank in enumerate(order):
        phase[i] = 1 + 2 * _filtered(phase[i], pixel_angstrom, imaging, rank, shifts[i])
    passed = np.exp(-path / imaging.free_path_angstrom)
    return CleanSeries(phase, passed, imaging, pixel_angstrom)


def _filtered(
    image: np.ndarray, pixel_angstrom: float, imaging: Imaging, rank: int, shift_yx: np.ndarray
) -> np.ndarray:
    """Contrast transfer, dose damping and a shift, in Fourier space, away from the image's edge."""
    shape = image.shape
    pad = [int((_PADDED - 1) / 2 * n) + 8 for n in shape]
    padded = np.pad(image, [(p, p) for p in pad], mode="symmetric")
    ky = fft.fftfreq(padded.shape[0])[:, None]
    kx = fft.rfftfreq(padded.shape[1])
    frequency = np.hypot(ky, kx) / pixel_angstrom
    transfer = contrast_transfer(frequency, imaging)
    transfer = transfer / np.sinc(kx) ** 2  # `project` shares a voxel between two pixels
    transfer = transfer * dose_damping(frequency, imaging.exposure * (rank + 0.5))
    transfer = transfer * np.exp(-2j * np.pi * (ky * shift_yx[0] + kx * shift_yx[1]))
    done = fft.irfft2(fft.rfft2(padded) * transfer, padded.shape)
    return done[tuple(slice(p, p + n) for p, n in zip(pad, shape, strict=True))].astype(np.float32)


def reconstruct(images: np.ndarray, imaging: Imaging, depth_px: int) -> np.ndarray:
    """Weighted back-projection of images whose contrast is that of electrons: protein dark."""
    return back_project(images, imaging.tilts_deg, depth_px)
