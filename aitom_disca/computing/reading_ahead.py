"""What is needed next is read while something is computed from what was read before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Every item and what is read for it, in order; the next is read by a thread meanwhile.

    Two results are held at once. An error of ``read`` is raised where its item would come.
    """
    with ThreadPoolExecutor(1) as reader:
        before = None
        for item in items:
            coming = item, reader.submit(read, item)
            if before is not None:
                yield before[0], before[1].result()
            before = coming
        if before is not None:
            yield before[0], before[1].result()
