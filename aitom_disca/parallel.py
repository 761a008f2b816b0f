"""Independent pieces of array work, on all cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")

_local = threading.local()


def on_all_cores(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``[function(item) for item in items]``, several at a time, in order.

    NumPy and SciPy's transforms let other threads go on while they compute. Each piece gets one
    thread for its matrix products, and none of its own: what it calls in turn runs in order.
    """
    n_threads = min(os.cpu_count() or 1, len(items))
    if n_threads < 2 or getattr(_local, "inside", False):
        return [function(item) for item in items]
    with threadpool_limits(1, "blas"):
        with ThreadPoolExecutor(n_threads, initializer=_mark_inside) as pool:
            return list(pool.map(function, items))


def _mark_inside() -> None:
    _local.inside = True
