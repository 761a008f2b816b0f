"""What differs between Keras' backends while they load and fail; devices are in `devices`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from aitom_disca.progress import say

# TensorFlow, JAX (XlaRuntimeError) and PyTorch, told by name so that none has to be imported.
_OUT_OF_MEMORY_TYPES = ("ResourceExhaustedError", "OutOfMemoryError")
_OUT_OF_MEMORY_TEXT = "RESOURCE_EXHAUSTED"


@contextmanager
def _without_native_stderr() -> Iterator[None]:
    """Silence what compiled libraries print while they load; Python's errors still come."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@cache
def import_keras() -> None:
    """Import Keras and its backend without their start-up messages; once is enough."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_native_stderr():
        import keras

        # The first operation makes the backend look for devices, which prints as well.
        keras.ops.zeros(1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device has no memory left, in any backend's words."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return any(name in _OUT_OF_MEMORY_TYPES for name in names) or _OUT_OF_MEMORY_TEXT in str(error)


class BatchSize:
    """A batch size that gives way where the device has too little memory.

    Parameters
    ----------
    value : int
        Subtomograms at once, at most.
    """

    def __init__(self, value: int) -> None:
        self.value = value
        self._said = False

    def halve(self, error: Exception) -> None:
        """Halve the size after an error, and say so the first time.

        Raises
        ------
        Exception
            The error itself, if it is of another kind or the size is 1 already.
        """
        if not is_out_of_memory(error) or self.value == 1:
            raise error
        self.value = self.value // 2
        if not self._said:
            say(f"the device is out of memory: going on with batches of {self.value} or fewer")
        self._said = True
