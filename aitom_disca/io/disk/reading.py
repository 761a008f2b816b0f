"""The border at which files are read: whatever a parser throws becomes one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aitom_disca.errors import InputError

_LONGEST_REASON = 200  # characters of what a parser says


@contextmanager
def reading(
    path: str | Path, what: str, todo: str = "check which file this is, and that it is whole"
) -> Iterator[None]:
    """Turn every error of the block, in which a file is read, into an `InputError`.

    Parsers throw what they like at damaged files (`KeyError`, `struct.error`, `RecursionError`,
    `MemoryError` for a length that cannot be), and none of it helps a user.

    Parameters
    ----------
    path : path
        The file, named in the error.
    what : str
        What was expected, such as "a store of subtomograms".
    todo : str
        What to do, without a full stop.

    Raises
    ------
    InputError
        For any `Exception`; one that is an `InputError` already passes as it is.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{Path(path).name} cannot be read as {what} ({reason_of(error)}); {todo}."
        ) from error


def reason_of(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    text = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
    text = re.sub(r"[^\x20-\x7e\xa0-\U0010ffff]", "?", text)
    if isinstance(error, KeyError) and " " not in text:  # HDF5 says why with this class, too
        text = f"{text} is missing"
    return text[:_LONGEST_REASON] or type(error).__name__
