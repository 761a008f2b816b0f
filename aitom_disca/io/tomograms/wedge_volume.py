"""The missing wedge as a volume, for programs that ask for a 3D CTF of every subtomogram."""

from __future__ import annotations

import numpy as np
from scipy import fft

from aitom_disca.errors import InputError
from aitom_disca.geometry import missing_wedge_mask
from aitom_disca.geometry.wedge import tilt_of_direction_deg
from aitom_disca.io.tomograms.tilt_range import doubt

_OUTER = 0.6  # of Nyquist: farther in, the images of a tilt series overlap
_MOST = 0.25  # of the plane across the tilt axis: there are gaps between images, and CTF zeros
_NOTHING = 1e-3  # of the largest value


def wedge_volume(box_px: int, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """RELION's CtfImage of a single-axis tilt series: which Fourier coefficients it measured.

    A full cube with the zero frequency at index ``box_px // 2``. It is point-symmetric, since
    RELION reads one half of it and takes the other for its mirror image.

    Parameters
    ----------
    box_px : int
        Edge of the subtomogram, an even number.
    tilt_range_deg : tuple of 2 floats
        Smallest and largest measured tilt; tilt axis y, beam z.

    Returns
    -------
    ndarray of float32, shape (box_px, box_px, box_px), axes z, y, x
        1 where measured, 0 where missing.

    Raises
    ------
    InputError
        If the edge is odd or the range cannot be.
    """
    if box_px < 2 or box_px % 2:
        raise InputError(
            f"RELION reads 3D CTFs of an even edge only, got {box_px}; cut the subtomograms again "
            "with an even --box-px."
        )
    try:
        measured = missing_wedge_mask((box_px,) * 3, tilt_range_deg)
    except ValueError as error:
        raise InputError(f"{error}; give the measured tilts with --tilt-range.") from error
    # Frequency -1/2 is its own partner along an axis, so a plane may disagree with its mirror.
    mirrored = np.roll(measured[::-1, :, ::-1], 1, axis=(0, 2))
    cube = np.broadcast_to(measured | mirrored, (box_px,) * 3)
    return fft.fftshift(cube).astype(np.float32)


def tilt_range_of_wedge(volume: np.ndarray) -> tuple[float, float] | None:
    """The outermost tilts of a CtfImage, to about a degree; None where it shows no tilt range.

    It shows none where the beam is measured, or most of the plane across the tilt axis is not: its
    wedge lies about other axes, or its zero frequency elsewhere.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n), axes z, y, x
        Zero frequency at index ``n // 2``; tilt axis y, beam z.
    """
    n = volume.shape[-1]
    kz, ky, kx = np.indices(volume.shape) - n // 2
    radius = np.hypot(kz, kx)
    outer = (np.abs(ky) <= n / 4) & (radius > _OUTER * n / 2) & (radius < n / 2) & (kx != 0)
    tilt = tilt_of_direction_deg(kz, kx)[outer]
    measured = np.abs(volume[outer]) > _NOTHING * np.abs(volume).max()
    if not measured.any() or measured.all():
        return None
    ends = []
    for sign in (-1, 1):
        last = (sign * tilt[measured]).max()
        beyond = sign * tilt[sign * tilt > last + 1e-6]
        ends.append(sign * float(last + beyond.min()) / 2 if len(beyond) else sign * 90.0)
    across = (ky[outer] == 0) & (tilt > ends[0]) & (tilt < ends[1])
    if min(-ends[0], ends[1]) == 90.0 or doubt(ends) or measured[across].mean() < _MOST:
        return None
    return ends[0], ends[1]
