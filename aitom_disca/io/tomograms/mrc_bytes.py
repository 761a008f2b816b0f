"""Whether the bytes of an MRC file (mode 0) mean -128 to 127 or 0 to 255.

MRC2014 says signed, but many programs have written unsigned bytes. IMOD says which in a flag; the
extremes in the header give it away where they are set; elsewhere the voxels do: neighbours differ
little, and where bytes are read the wrong way, those about the wrap differ by about 256.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from aitom_disca.progress import say

logger = logging.getLogger(__name__)

_IMOD_STAMP = 1146047817  # "IMOD", bytes 152-155 of the header
_LARGEST_WORD = 32767  # of two bytes with a sign
_N_SLICES, _N_ROWS = 16, 512  # that are looked at
_CLEAR = 1.25  # ratio of the steps between neighbours from which one reading is right


def bytes_are_unsigned(header: np.recarray) -> bool | None:
    """What the header says; None where it says nothing.

    IMOD sets bit 0 of bytes 156-159 for signed bytes since its version 4.2.23, and wrote unsigned
    ones before it.
    """
    word = np.dtype("i4").newbyteorder(header.mode.dtype.byteorder)
    stamp, flags = np.frombuffer(header.extra2.tobytes()[40:48], word)
    if stamp == _IMOD_STAMP:
        return not flags & 1
    low, high = float(header.dmin), float(header.dmax)
    if not low < high:  # of MRC2014: not set
        return None
    if low >= 0 and 127 < high <= 255:
        return True
    return False if -128 <= low < 0 and high <= 127 else None


def words_are_unsigned(header: np.recarray) -> bool:
    """Whether the extremes say that mode 1, signed by MRC2014, holds 0 to 65535."""
    return bool(header.dmin >= 0 and _LARGEST_WORD < header.dmax <= 2 * _LARGEST_WORD + 1)


def neighbours_are_unsigned(path: Path, voxels: np.ndarray) -> bool:
    """What the voxels (z, y, x) of type int8 say; signed, with a warning, where they say nothing.

    Parameters
    ----------
    path : path
        Of the file, for messages.
    voxels : ndarray of int8
        Of which some slices are read.
    """
    depth, height, _ = voxels.shape
    z = np.unique(np.linspace(0, depth - 1, _N_SLICES).astype(int))
    y = np.unique(np.linspace(0, height - 1, _N_ROWS).astype(int))
    some = [np.asarray(voxels[i][y]) for i in z.tolist()]
    if min(part.min() for part in some) >= 0 or max(part.max() for part in some) < 0:
        # One sort of byte only: look where both are. Nowhere: the readings differ by a constant.
        some = [np.asarray(part) for part in voxels if part.min() < 0 <= part.max()][:_N_SLICES]
        if not some:
            return False
    signed, unsigned = (sum(_steps(part, t) for part in some) for t in (np.int8, np.uint8))
    if signed > _CLEAR * unsigned:
        say(f"{path.name}: bytes are read as 0 to 255, as its voxels say")
        return True
    if unsigned <= _CLEAR * signed:
        logger.warning(
            "%s does not say whether its bytes mean -128 to 127 or 0 to 255, and its voxels do not "
            "tell; the first is taken: convert it to mode 2 (float) if that is wrong.",
            path.name,
        )
    return False


def _steps(values: np.ndarray, dtype: type) -> float:
    """Sum of the differences between neighbours along y and x, read as this type."""
    whole = values.view(dtype).astype(np.int16)
    steps = [np.abs(np.diff(whole, axis=axis)) for axis in (0, 1)]
    return float(sum(step.sum(dtype=np.int64) for step in steps))
