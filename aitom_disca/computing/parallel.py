"""Independent pieces of work: on the cores that are this process's own, or as tasks elsewhere."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits

from aitom_disca.computing import chosen_device
from aitom_disca.computing.cores import n_cores
from aitom_disca.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")

_local = threading.local()


def on_all_cores(
    function: Callable[[Item], Result], items: Sequence[Item], what: str | None = None
) -> list[Result]:
    """``[function(item) for item in items]``, several at a time, in order.

    NumPy and SciPy's transforms let other threads go on while they compute. Each piece gets one
    thread for its matrix products, and none of its own: what it calls in turn runs in order.

    Parameters
    ----------
    function : callable
    items : sequence
    what : str, optional
        Is being done, in a few words, where its progress is to be shown.
    """

    def shown(results: Iterable[Result]) -> list[Result]:
        return list(results if what is None else track(results, what, len(items)))

    n_threads = min(n_cores(), len(items))
    if n_threads < 2 or getattr(_local, "inside", False):
        return shown(map(function, items))
    with threadpool_limits(1, "blas"):
        with ThreadPoolExecutor(n_threads, initializer=_mark_inside) as pool:
            return shown(pool.map(function, items))


def each_on_all_cores(
    function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result]:
    """As `on_all_cores`, for results that are large: no more are held than are computed at once."""
    n_threads = 1 if getattr(_local, "inside", False) else n_cores()
    for start in range(0, len(items), n_threads):
        yield from on_all_cores(function, items[start : start + n_threads])


@dataclass(frozen=True)
class Workers:
    """Other processes that do tasks, and a folder that all of them see."""

    executor: Executor
    folder: Path


@contextmanager
def sharing(executor: Executor | None, folder: str | Path) -> Iterator[Workers | None]:
    """Workers with a folder, which is gone after the block; None without an executor."""
    if executor is None:
        yield None
        return
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    try:
        yield Workers(executor, Path(folder).absolute())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def added_in_pairs(items: Iterable[Item], add: Callable[[Item, Item], Item]) -> Item:
    """The sum of one item or more, in a tree whose order depends on their number alone.

    It is made as they come; of n items the sums of log2(n) are held at most.
    """
    waiting: list[tuple[int, Item]] = []  # depth of a tree, its sum
    for item in items:
        depth = 0
        while waiting and waiting[-1][0] == depth:
            item = add(waiting.pop()[1], item)
            depth += 1
        waiting.append((depth, item))
    total = waiting.pop()[1]
    while waiting:
        total = add(waiting.pop()[1], total)
    return total


def in_tasks(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    executor: Executor | None,
    what: str,
) -> Iterable[Result]:
    """``function`` of every item, in order: one after the other here, or as tasks of an executor.

    Parameters
    ----------
    function : callable
        Of a module, or a partial of one: it is sent to other processes, as are the items.
    items : sequence
    executor : Executor, optional
    what : str
        Is being done, in a few words, for the progress.
    """
    if executor is None:
        here = map(function, items)
        return here if len(items) == 1 else track(here, what, len(items))
    task = partial(_on_device, function, chosen_device.chosen())
    return track(executor.map(task, items), what, len(items))


def _on_device(function: Callable[[Item], Result], name: str, item: Item) -> Result:
    """``function(item)`` in another process, on the device that was chosen in the first."""
    chosen_device.use(name)
    return function(item)


def _mark_inside() -> None:
    _local.inside = True
