"""An average at poses that are known, such as those that another program has refined."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.averages import Averager
from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.reference import Slicer, rotation_grid
from aitom_disca.errors import InputError

_AT_ONCE = 64  # slices


def average_at_poses(
    volumes: np.ndarray,
    rotations: Rotation,
    shifts_zyx_px: np.ndarray,
    tilt_range_deg: tuple[float, float],
) -> np.ndarray:
    """Average subtomograms at given poses; nothing is aligned.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Protein bright.
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from the average to the subtomogram.
    shifts_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre ``n // 2``.
    tilt_range_deg : tuple of 2 floats
        Measured tilts.

    Returns
    -------
    ndarray of float32, shape (n, n, n)
        Wedge compensated, inside of a soft sphere; not filtered.

    Raises
    ------
    InputError
        If there is not one pose for every volume, or there are none.
    """
    shifts_zyx_px = np.asarray(shifts_zyx_px, float)
    n_poses = len(np.atleast_2d(rotations.as_quat()))
    if not len(volumes) or n_poses != len(volumes) or shifts_zyx_px.shape != (len(volumes), 3):
        raise InputError(
            f"expected one pose for every subtomogram, but there are {len(volumes)} subtomograms, "
            f"{n_poses} rotations and {len(shifts_zyx_px)} shifts."
        )
    box_px = volumes.shape[-1]
    coefficients = Coefficients(box_px, box_px / 2 - 1, tilt_range_deg)
    total = np.zeros((2 * box_px,) * 3, complex)
    weight = np.zeros((2 * box_px,) * 3)
    for start in range(0, len(volumes), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        values = coefficients.of(volumes[rows]) * coefficients.shift_phases(shifts_zyx_px[rows])
        more, heavier = Slicer(coefficients, rotations[rows]).insert(values, np.ones(len(values)))
        total += more
        weight += heavier
    one = Slicer(coefficients, rotation_grid(1))
    averager = Averager(one, int(coefficients.shell.max()) + 1)
    return averager.unfiltered((total, weight)).astype(np.float32)
