"""The missing wedge as a volume, for programs that ask for a 3D CTF of every subtomogram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import fft

from aitom_disca.errors import InputError
from aitom_disca.geometry import missing_wedge_mask
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.wedge import tilt_of_direction_deg
from aitom_disca.io.mrc import open_tomogram
from aitom_disca.io.mrc_header import read_header, tilt_range_of

_SEEN = 1e-3  # of the largest value


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


def read_tilt_range(path: str | Path) -> tuple[float, float] | None:
    """Tilt range (smallest, largest; degrees) that a CtfImage shows; None where it shows none.

    What this package wrote into the header is exact; else it is measured on the volume, to half the
    distance of neighbouring coefficients at its edge, and rounded to whole degrees.

    Raises
    ------
    InputError
        If the file is not an MRC volume.
    """
    header, extended = read_header(Path(path))
    said = tilt_range_of(header, extended)
    if said is not None:
        return said
    return measured_tilt_range(open_tomogram(path, tilt_range_deg=(-90, 90)).read())


def measured_tilt_range(wedge: np.ndarray) -> tuple[float, float] | None:
    """Tilt range (degrees) of a full cube (n, n, n) with the zero frequency at ``n // 2``.

    The tilt axis is y. None where every direction was measured, or none, or more than one sector.
    """
    if len(set(wedge.shape)) > 1:
        return None
    n = wedge.shape[0]
    middle = centre_index(n)
    plane = np.asarray(wedge[:, middle, :], float)
    axis = np.arange(n) - middle
    kz, kx = np.meshgrid(axis, axis, indexing="ij")
    radius = np.hypot(kz, kx)
    counts = (kx > 0) & (radius >= n / 4) & (radius < n / 2)
    tilt_deg = tilt_of_direction_deg(kz[counts], kx[counts])
    order = np.argsort(tilt_deg)
    tilt_deg = tilt_deg[order]
    seen = np.abs(plane[counts][order]) > _SEEN * np.abs(plane).max()
    if not seen.any() or seen.all():
        return None
    first, last = np.flatnonzero(seen)[[0, -1]]
    if not seen[first : last + 1].all():
        return None
    below = tilt_deg[first - 1] if first else -90.0
    above = tilt_deg[last + 1] if last + 1 < len(tilt_deg) else 90.0
    return round((below + tilt_deg[first]) / 2), round((tilt_deg[last] + above) / 2)
