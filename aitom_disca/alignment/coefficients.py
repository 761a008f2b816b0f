"""Subtomograms as the few Fourier coefficients that count at low resolution."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import fft

from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.wedge import TiltRanges, missing_wedge_mask

_AXES = (-3, -2, -1)


def centred_fft(volumes: np.ndarray) -> np.ndarray:
    """Fourier transform of (..., z, y, x), zero frequency and box centre both at ``n // 2``."""
    shifted = fft.ifftshift(volumes, _AXES)
    return fft.fftshift(fft.fftn(shifted, axes=_AXES), _AXES)


def centred_ifft(spectrum: np.ndarray) -> np.ndarray:
    """Real part of the inverse of `centred_fft`."""
    shifted = fft.ifftshift(spectrum, _AXES)
    return fft.fftshift(fft.ifftn(shifted, axes=_AXES), _AXES).real


@dataclass(frozen=True)
class Coefficients:
    """The coefficients inside a radius, measured by the tilt series, one of each mirrored pair.

    Parameters
    ----------
    box_px : int
        Edge of the cubic volumes.
    radius : float
        Largest frequency, in steps of 1 / box.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (T, 2)
        Of all subtomograms, or the different ones; what any of them measured is counted then.
    fall_off : FallOff, optional
        Of amplitudes with tilt; none in a binary wedge.

    Attributes
    ----------
    index_zyx : ndarray of int, shape (n_coefficients, 3)
        Frequencies, zero excluded.
    shell : ndarray of int, shape (n_coefficients,)
        Distance from the zero frequency, rounded.
    noise, amplitude : ndarray of float32, shape (n_coefficients,), optional
        Amplitude of the noise, by which coefficients are divided, and that of the structure in
        units of it, which slices of a reference are multiplied by. None in a binary wedge.
    measured : ndarray of bool, shape (T, n_coefficients), optional
        Which of them each tilt range measured; the others are 0 in `of`. None where there is one
        range, which measured all.
    """

    box_px: int
    radius: float
    tilt_range_deg: TiltRanges
    fall_off: FallOff | None = None
    index_zyx: np.ndarray = field(init=False)
    shell: np.ndarray = field(init=False)
    noise: np.ndarray | None = field(init=False)
    amplitude: np.ndarray | None = field(init=False)
    measured: np.ndarray | None = field(init=False)

    def __post_init__(self) -> None:
        n = self.box_px
        kz, ky, kx = np.indices((n,) * 3) - centre_index(n)
        masks = [
            missing_wedge_mask((n,) * 3, (low, high))
            for low, high in np.reshape(self.tilt_range_deg, (-1, 2)).tolist()
        ]
        each = [np.broadcast_to(fft.fftshift(mask, (0, 2)), (n,) * 3) for mask in masks]
        measured = np.any(each, axis=0)
        half = (kx > 0) | ((kx == 0) & (ky > 0)) | ((kx == 0) & (ky == 0) & (kz > 0))
        inside = kz**2 + ky**2 + kx**2 <= self.radius**2
        chosen = np.argwhere(measured & half & inside) - centre_index(n)
        object.__setattr__(self, "index_zyx", chosen)
        shell = np.round(np.linalg.norm(chosen, axis=1)).astype(int)
        object.__setattr__(self, "shell", shell)
        noise, amplitude = self.fall_off.at(chosen) if self.fall_off else (None, None)
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "amplitude", amplitude)
        place = tuple((chosen + centre_index(n)).T)
        by_range = np.array([mask[place] for mask in each]) if len(each) > 1 else None
        object.__setattr__(self, "measured", by_range)

    def __len__(self) -> int:
        return len(self.index_zyx)

    def of(self, volumes: np.ndarray, wedge: np.ndarray | None = None) -> np.ndarray:
        """Coefficients (n, n_coefficients), complex64, of volumes (n, z, y, x).

        With a fall-off, in units of the noise of their directions. Where there are several tilt
        ranges, ``wedge`` (n,) says which of them each volume has.
        """
        place = tuple((self.index_zyx + centre_index(self.box_px)).T)
        values = centred_fft(volumes)[(slice(None), *place)].astype(np.complex64)
        if (measured := self.measured_by(wedge)) is not None:
            values[~measured] = 0
        return values if self.noise is None else values / self.noise

    def measured_by(self, wedge: np.ndarray | None) -> np.ndarray | None:
        """Which coefficients subtomograms of these tilt ranges measured, (n, n_coefficients).

        None where there is one range, which measured all.
        """
        if self.measured is None:
            return None
        if wedge is None:
            raise ValueError("there are several tilt ranges; say which one each volume has")
        return np.asarray(self.measured[wedge])

    def volumes(self, values: np.ndarray) -> np.ndarray:
        """Densities (n, z, y, x), float32, that hold these coefficients and no others."""
        n = self.box_px
        spectra = np.zeros((len(values), n, n, n), np.complex64)
        for sign, part in ((1, values), (-1, values.conj())):
            place = tuple(((sign * self.index_zyx + centre_index(n)) % n).T)
            spectra[(slice(None), *place)] = part
        return centred_ifft(spectra).astype(np.float32)

    def shift_phases(self, shifts_zyx_px: np.ndarray) -> np.ndarray:
        """Factors (n, n_coefficients) that move a volume by ``-shift`` voxels."""
        turns = np.asarray(shifts_zyx_px, np.float64) @ self.index_zyx.T / self.box_px
        return np.exp(2j * np.pi * turns).astype(np.complex64)


@dataclass(frozen=True)
class Particles:
    """Subtomograms as whitened coefficients.

    Parameters
    ----------
    coefficients : Coefficients
    values : ndarray of complex64, shape (n, n_coefficients)
        Whitened: real and imaginary part of each have about unit variance.
    offset_zyx_px : ndarray of shape (n, 3)
        Where each particle lies, from the box centre, as far as is known.
    half : ndarray of int, shape (n,)
        0 or 1: the half of the data that each belongs to.
    wedge : ndarray of int, shape (n,), optional
        Which of the tilt ranges of the coefficients each has; None where there is one range.
    """

    coefficients: Coefficients
    values: np.ndarray
    offset_zyx_px: np.ndarray
    half: np.ndarray
    wedge: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: np.ndarray) -> Particles:
        """Some of them, in that order."""
        return replace(
            self,
            values=self.values[rows],
            offset_zyx_px=self.offset_zyx_px[rows],
            half=self.half[rows],
            wedge=None if self.wedge is None else self.wedge[rows],
        )

    def moved(self, offset_zyx_px: np.ndarray) -> Particles:
        """The same with other offsets."""
        return replace(self, offset_zyx_px=offset_zyx_px)

    @property
    def measured(self) -> np.ndarray | None:
        """As `Coefficients.measured_by`."""
        return self.coefficients.measured_by(self.wedge)
