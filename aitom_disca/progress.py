"""Progress of long steps: bars on a terminal, plain lines elsewhere, nothing in a library."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

_console: ContextVar[Console | None] = ContextVar("console", default=None)
_bar_is_up: ContextVar[bool] = ContextVar("bar_is_up", default=False)
_PLAIN_INTERVAL_S = 10.0


@contextmanager
def shown(console: Console) -> Iterator[None]:
    """Show the progress of everything called inside the block on ``console``."""
    token = _console.set(console)
    try:
        yield
    finally:
        _console.reset(token)


@contextmanager
def muted() -> Iterator[None]:
    """Show nothing of what is called inside the block: a small part of something larger."""
    token = _console.set(None)
    try:
        yield
    finally:
        _console.reset(token)


def say(message: str) -> None:
    """Print one line, if progress is shown."""
    console = _console.get()
    if console is not None:
        console.print(message, highlight=False, markup=False)


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate and show how far along.

    Parameters
    ----------
    iterable : iterable
    description : str
        What is being done, in a few words.
    total : int, optional
        Number of items, where the iterable does not know its length.
    """
    console = _console.get()
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if console is None or _bar_is_up.get():  # one bar at a time: the outermost
        yield from iterable
    elif console.is_terminal:
        yield from _bar(console, iterable, description, total)
    else:
        yield from _lines(console, iterable, description, total)


def _bar(
    console: Console, iterable: Iterable[T], description: str, total: int | None
) -> Iterator[T]:
    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    _bar_is_up.set(True)
    try:
        with Progress(*columns, console=console) as progress:
            yield from progress.track(iterable, total=total, description=description)
    finally:
        _bar_is_up.set(False)


def _lines(
    console: Console, iterable: Iterable[T], description: str, total: int | None
) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(iterable, 1):
        yield item
        if time.monotonic() - last > _PLAIN_INTERVAL_S:
            last = time.monotonic()
            text = f"{description}: {done} of {total or '?'}"
            console.print(text, highlight=False, markup=False)
    text = f"{description}: {done} done in {time.monotonic() - start:.1f} s"
    console.print(text, highlight=False, markup=False)
