"""Numbers in files: what is one, and what stands for one that is missing.

A number is written in ASCII with a point, as ``12``, ``-1.5`` or ``1e-3``; anything else that fills
a place of a number is refused, with its row. A value that is missing is an empty cell or one of
`MISSING`, in any case: refused in a column that must be there, NaN in one that may.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from aitom_disca.errors import InputError

logger = logging.getLogger(__name__)

MISSING = frozenset({"", "nan", "-nan", "na", "n/a", "<na>", "none", "null"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST_WHOLE = 2.0**53
_ROUNDING = 1e-3  # of probabilities that programs write
_LARGEST_TILT_DEG, _LARGEST_TURN_DEG = 180.0, 720.0
_DEG_PER_RADIAN = 57.2958


def to_numbers(
    values: Any, path: str | Path, what: str, *, may_be_missing: bool = False
) -> np.ndarray:
    """Finite numbers from what a file holds.

    Parameters
    ----------
    values : array_like
        Numbers, or text; rows along the first axis.
    path : path
        The file, named in errors.
    what : str
        What the numbers are, for errors.
    may_be_missing : bool
        Whether a value that is not there becomes NaN in place of an error.

    Returns
    -------
    ndarray of float, of the shape of ``values``

    Raises
    ------
    InputError
        If a value is no finite number, or rows are of different lengths; with the row, from 1.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise InputError(
            f"{Path(path).name} has no number as {what} in some places: its rows are of different "
            "lengths; correct the file."
        ) from error
    if array.dtype.kind in "US" or (isinstance(values, list) and _holds_bool(values)):
        array = np.array(values, dtype=object)  # numpy drops zero bytes, and counts with True
    if array.dtype.kind in "iuf":
        numbers = array.astype(float)
    else:
        cells = [_number(value) for value in array.astype(object).ravel().tolist()]
        bad = next((i for i, cell in enumerate(cells) if cell is None), None)
        if bad is not None:
            _refuse(array, bad, path, what)
        numbers = np.array(cells, float).reshape(array.shape)
    wrong = np.isinf(numbers) if may_be_missing else ~np.isfinite(numbers)
    if wrong.any():
        _refuse(array, int(np.argmax(wrong)), path, what)
    return numbers


def to_whole_numbers(
    values: Any, path: str | Path, what: str, *, missing: int | None = None
) -> np.ndarray:
    """Whole numbers, also as ``3.0``; ``missing`` stands for those that are not there.

    Raises
    ------
    InputError
        If a value is no whole number, or is not there and ``missing`` is None.
    """
    numbers = to_numbers(values, path, what, may_be_missing=missing is not None)
    numbers = np.where(np.isnan(numbers), missing or 0, numbers)
    wrong = (numbers != np.round(numbers)) | (np.abs(numbers) > _LARGEST_WHOLE)
    if wrong.any():
        _refuse(np.asarray(values), int(np.argmax(wrong)), path, what, "whole number")
    return numbers.astype(int)


def to_probabilities(values: Any, path: str | Path, what: str) -> np.ndarray:
    """Numbers from 0 to 1, NaN where there is none.

    Raises
    ------
    InputError
        If a value is no number, or lies outside.
    """
    numbers = to_numbers(values, path, what, may_be_missing=True)
    wrong = (numbers < -_ROUNDING) | (numbers > 1 + _ROUNDING)
    if wrong.any():
        _refuse(np.asarray(values), int(np.argmax(wrong)), path, what, "probability from 0 to 1")
    return np.clip(numbers, 0, 1)


def to_clusters(values: Any, path: str | Path, what: str) -> np.ndarray:
    """Clusters from 0 of whole numbers from 1; -1 for 0, below, and those that are not there.

    Raises
    ------
    InputError
        If a value is no whole number.
    """
    return np.maximum(to_whole_numbers(values, path, what, missing=0), 0) - 1


def check_angles(path: str | Path, angles_deg: np.ndarray) -> None:
    """Warn of three Euler angles, the tilt in the middle, that no program writes.

    Parameters
    ----------
    path : path
    angles_deg : ndarray of shape (N, 3)
    """
    limits = np.array([_LARGEST_TURN_DEG, _LARGEST_TILT_DEG, _LARGEST_TURN_DEG])
    outside = (np.abs(angles_deg) > limits).any(axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        logger.warning(
            "%s has angles that no program means in %d of %d rows (row %d: %s degrees); where "
            "degrees were turned into degrees once more, divide by %g.",
            Path(path).name,
            outside.sum(),
            len(outside),
            row + 1,
            ", ".join(f"{angle:.6g}" for angle in angles_deg[row]),
            _DEG_PER_RADIAN,
        )


def is_missing(value: Any) -> bool:
    """Whether a cell of a file says that there is no value."""
    return value is None or value != value or str(value).strip().lower() in MISSING


def _holds_bool(values: list[Any]) -> bool:
    return any(type(value) is bool for value in np.array(values, dtype=object).ravel().tolist())


def _number(value: Any) -> float | None:
    """A cell as a number, NaN where it says that there is none, None if it is something else."""
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return float(text)
        return np.nan if text.lower() in MISSING else None
    if value is None:
        return np.nan
    is_number = isinstance(value, int | float | np.integer | np.floating)
    return float(value) if is_number and not isinstance(value, bool) else None


def _refuse(
    array: np.ndarray, cell: int, path: str | Path, what: str, kind: str = "number"
) -> NoReturn:
    row = np.unravel_index(cell, array.shape)[0] + 1 if array.ndim else 1
    value = array.ravel().tolist()[cell]
    found = "nothing is there" if is_missing(value) else repr(value)
    raise InputError(
        f"{Path(path).name} has no {kind} as {what} in row {row} ({found}); correct the file."
    )
