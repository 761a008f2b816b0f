"""The one place that knows Keras' backend by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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


def import_keras() -> None:
    """Import Keras and its backend without their start-up messages."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_native_stderr():
        import keras

        # The first operation makes the backend look for devices, which prints as well.
        keras.ops.zeros(1)
