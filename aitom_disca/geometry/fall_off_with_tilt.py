"""Power and signal that fall off with tilt: what a graded missing wedge is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.signal.windows import hann

from aitom_disca.geometry.fourier import frequency_grid_zyx
from aitom_disca.geometry.wedge import tilt_of_direction_deg

BIN_DEG = 3.0
TILTS_DEG = np.arange(-90, 90, BIN_DEG) + BIN_DEG / 2  # middles of 60 bins of tilt
_BAND = (0.15, 0.42)  # frequencies, of 1 / voxel, in which power is compared


@dataclass(frozen=True)
class FallOff:
    """How amplitudes of Fourier coefficients depend on the tilt that measured them.

    A coefficient of tilt t is ``noise(t) (signal(t) S + N)``: S as the structure has it, N noise
    that is the same in all directions. Divided by ``noise`` it is white, and what it says of the
    structure is then weighed by ``signal``.

    Parameters
    ----------
    noise : ndarray of shape (60,)
        Amplitude at each of `TILTS_DEG`, the largest 1.
    signal : ndarray of shape (60,)
        Amplitude of the structure in units of the noise, the largest 1. All 1 where noise and
        structure are damped alike, as by a weighting of the images.
    """

    noise: np.ndarray
    signal: np.ndarray

    def at(self, index_zyx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``noise`` and ``signal`` at frequencies (n, 3), float32 of shape (n,) each."""
        tilt_deg = tilt_of_direction_deg(index_zyx[:, 0], index_zyx[:, 2])
        noise, signal = (np.interp(tilt_deg, TILTS_DEG, part) for part in (self.noise, self.signal))
        return noise.astype(np.float32), signal.astype(np.float32)

    def as_array(self) -> np.ndarray:
        """Noise and signal, shape (2, 60)."""
        return np.stack([self.noise, self.signal])

    def in_words(self, tilt_range_deg: tuple[float, float]) -> str:
        """What falls off, at the ends of the tilt range and where it is least."""
        first, last = (int(np.abs(TILTS_DEG - tilt).argmin()) for tilt in tilt_range_deg)
        low, high = tilt_range_deg
        parts = [
            f"{name} {part[first]:.2f} at {low:g} and {part[last]:.2f} at {high:g} degrees, at "
            f"least {part.min():.2f}"
            for name, part in (("amplitudes", self.noise), ("signal over noise", self.signal))
            if part.min() < 1
        ]
        return "beside the best tilts, " + "; ".join(parts)


def weighed_by_tilt(volumes: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Volumes (..., z, y, x) whose coefficients are multiplied by an amplitude at `TILTS_DEG`."""
    axes, shape = (-3, -2, -1), volumes.shape[-3:]
    kz, _, kx = frequency_grid_zyx(shape, half=True)
    factor = np.interp(tilt_of_direction_deg(kz, kx), TILTS_DEG, amplitude)
    spectra = fft.rfftn(volumes, axes=axes) * factor
    return np.asarray(fft.irfftn(spectra, s=shape, axes=axes), np.float32)


def mean_power(volumes: Iterable[np.ndarray]) -> np.ndarray:
    """Mean power spectrum of cubes, their faces faded out; zero frequency first."""
    volumes = list(volumes)
    window = _window(volumes[0].shape[0])
    spectra = (fft.fftn((v - v.mean()) / v.std() * window) for v in volumes)
    return np.asarray(sum(np.abs(s) ** 2 for s in spectra) / len(volumes))


def seen_through_window(power: np.ndarray) -> np.ndarray:
    """What `mean_power` gives of noise of a power spectrum (n, n, n), zero frequency first."""
    leak = fft.fftn(np.abs(fft.fftn(_window(power.shape[0]))) ** 2)
    return np.asarray(fft.ifftn(fft.fftn(power) * leak).real)


def by_direction(power: np.ndarray, tilt_axis: str) -> np.ndarray:
    """Mean power, shell by shell made equal, by the angle to the plane of zero tilt.

    Returns
    -------
    ndarray of shape (60,)
        At `TILTS_DEG`, of directions ``(cos t, sin t)`` in x (or y) and z.
    """
    n = power.shape[0]
    f = fft.fftfreq(n)
    kz, ky, kx = np.meshgrid(f, f, f, indexing="ij")
    across = kx if tilt_axis == "y" else ky
    flat = np.hypot(kz, across)
    angle = tilt_of_direction_deg(kz, across)
    inside = (flat > _BAND[0]) & (flat < _BAND[1])
    shell = np.round(np.sqrt(kz**2 + ky**2 + kx**2) * n).astype(int)
    mean = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    even = (power / np.maximum(mean[shell], 1e-30))[inside]
    bins = np.minimum((angle[inside] + 90) // BIN_DEG, 180 / BIN_DEG - 1).astype(int)
    size = np.bincount(bins, minlength=len(TILTS_DEG))
    mean = np.bincount(bins, even, minlength=len(size)) / np.maximum(size, 1)
    return np.interp(TILTS_DEG, TILTS_DEG[size > 0], mean[size > 0])  # small boxes leave gaps


def _window(n: int) -> np.ndarray:
    edge = hann(n, sym=False)
    return np.asarray(edge[:, None, None] * edge[:, None] * edge)
