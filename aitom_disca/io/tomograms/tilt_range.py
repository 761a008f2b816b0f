"""What the tilts of a series can be, and what they hardly are: one rule for all that is read."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from aitom_disca.errors import InputError

logger = logging.getLogger(__name__)

DEFAULT_TILT_RANGE_DEG = (-60.0, 60.0)
_LARGEST_DEG = 90.0
_NARROWEST_DEG = 59.5  # 60 but for rounding


def check_tilt_range(tilt_range_deg: tuple[float, float]) -> tuple[float, float]:
    """Return a tilt range as floats.

    Raises
    ------
    InputError
        If it is not min < max within -90 and 90 degrees.
    """
    low, high = (float(t) for t in tilt_range_deg)
    if not -_LARGEST_DEG <= low < high <= _LARGEST_DEG:
        raise InputError(
            f"the tilt range must be a smaller and a larger angle within -90 and 90 degrees, got "
            f"{low:g} and {high:g}; give the measured range, such as --tilt-range -60 60."
        )
    return low, high


def check_given_range(tilt_range_deg: tuple[float, float]) -> tuple[float, float]:
    """Return the range of an option as floats, with a warning where it can hardly be one.

    Raises
    ------
    InputError
        As `check_tilt_range`.
    """
    low, high = check_tilt_range(tilt_range_deg)
    if reason := doubt((low, high)):
        logger.warning("--tilt-range %g %g is taken, but %s; check it.", low, high, reason)
    return low, high


def doubt(tilts_deg: Sequence[float] | np.ndarray) -> str:
    """Why these are hardly the tilt angles of a series, in a few words; empty where they may be.

    Parameters
    ----------
    tilts_deg : sequence of float
        All angles in any order, or the two ends of a range.

    Returns
    -------
    str
        Fewer than two angles, one beyond 90 degrees, all on one side of 0 (half a series, or
        numbers of images), or a range of less than 60 degrees.
    """
    angles = np.asarray(tilts_deg, float)
    beyond = np.flatnonzero(~(np.abs(angles) <= _LARGEST_DEG))
    if len(beyond):
        first = int(beyond[0])
        return f"angle number {first + 1} is {angles[first]:g}, which is not within -90 and 90"
    if len(np.unique(angles)) < 2:
        return f"there are {len(np.unique(angles))} different ones"
    low, high = float(angles.min()), float(angles.max())
    span = f"they go from {low:g} to {high:g}"
    if low in (0, 1) and (np.diff(np.sort(angles)) == 1).all():
        return f"{span} in steps of 1, as numbers of images do"
    if low >= 0 or high <= 0:
        return f"{span}, all on one side of 0"
    if high - low < _NARROWEST_DEG:
        return f"{span}, {high - low:.3g} degrees only"
    return ""
