"""An average at poses that are known, such as those that another program has refined."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.maximisation import Averager
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.alignment.slices import Slicer, counts_of_each
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges, distinct_tilt_ranges

_AT_ONCE = 64  # slices


def average_at_poses(
    volumes: np.ndarray,
    rotations: Rotation,
    shifts_zyx_px: np.ndarray,
    tilt_range_deg: TiltRanges,
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
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (N, 2)
        Measured tilts of all, or of each.

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
    ranges, wedge = distinct_tilt_ranges(tilt_range_deg, len(volumes))
    coefficients = Coefficients(box_px, box_px / 2 - 1, ranges)
    counts = counts_of_each(wedge, np.arange(len(volumes)), len(ranges))
    total = np.zeros((2 * box_px,) * 3, complex)
    weight = np.zeros((2 * box_px,) * 3)
    for start in range(0, len(volumes), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        own = None if wedge is None else wedge[rows]
        phases = coefficients.shift_phases(shifts_zyx_px[rows])
        values = coefficients.of(volumes[rows], own) * phases
        more, heavier = Slicer(coefficients, rotations[rows]).insert(values, counts[rows])
        total += more
        weight += heavier
    one = Slicer(coefficients, rotation_grid(1))
    averager = Averager(one, int(coefficients.shell.max()) + 1)
    return averager.unfiltered((total, weight)).astype(np.float32)
