"""Progress of long steps: bars on a terminal and in a notebook, plain lines in a log.

A library that is called from a script shows nothing; commands show what is inside `shown`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from aitom_disca.number_text import about, duration

T = TypeVar("T")

SHORT_S = 2.0  # steps that take less are not shown
_FIRST_LINE_S = 60.0  # of a long step in a log; the next ones come after twice the time each
_NOTEBOOK_S = 0.5
_now = time.monotonic


class Step:
    """A piece of work that goes on; this one shows nothing.

    Parameters
    ----------
    description : str
        What is being done, in a few words.
    total : int, optional
        Number of pieces that it has, where that is known.
    """

    def __init__(self, description: str, total: int | None = None) -> None:
        self.description, self.total, self.done = description, total, 0
        self.outcome = ""  # in a few words, for the line at the end
        self.began = _now()
        self._lock = threading.Lock()

    def advance(self, n: int = 1) -> None:
        """Count pieces as done; from any thread."""
        with self._lock:
            self.done += n
            self._shown()

    def inside(self, description: str, total: int | None) -> Step:
        """A step that is a part of this one."""
        return Step(description, total)

    def stop(self) -> None:
        """Take away what is drawn."""

    def end(self) -> None:
        """Say that it is over, and how long it took."""
        self.stop()

    def leave(self) -> None:
        """Take away all that is drawn of this and of what it is a part of."""

    def _shown(self) -> None:
        """Show how far it is."""

    @property
    def seconds(self) -> float:
        """Since it began."""
        return _now() - self.began

    def _at_the_end(self) -> str:
        took = duration(self.seconds) if self.seconds > SHORT_S else ""
        known = " in ".join(part for part in (self.outcome, took) if part)
        return known and f"{self.description}: {known}"

    def _so_far(self) -> str:
        left = _time_left(self.seconds, self.done, self.total)
        return f"{self.description}: {self.done} of {self.total or '?'}" + (left and f", {left}")


class _Line(Step):
    """A step in a log: a line when it ends, and some on the way where that takes minutes."""

    def __init__(self, console: Console, description: str, total: int | None) -> None:
        super().__init__(description, total)
        self._console, self._next_line_s = console, _FIRST_LINE_S

    def _shown(self) -> None:
        if self.seconds > self._next_line_s and self.done != self.total:
            self._next_line_s = 2 * self.seconds
            _print(self._console, self._so_far())

    def end(self) -> None:
        if text := self._at_the_end():
            _print(self._console, text)


class _InNotebook(_Line):
    """A step in a notebook: a bar of the browser's own that is drawn again, then a line."""

    _handle: Any = None
    _drawn_s = SHORT_S - _NOTEBOOK_S

    def _shown(self) -> None:
        if self.seconds > self._drawn_s + _NOTEBOOK_S:
            self._drawn_s = self.seconds
            at = f' value="{self.done}" max="{self.total}"' if self.total else ""
            self._draw(f"<progress{at}></progress> {self._so_far()}")

    def end(self) -> None:
        if self._handle is None:
            super().end()
        else:
            self._draw(self._at_the_end())

    def _draw(self, html: str) -> None:
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))


class _TimeLeft(ProgressColumn):
    """How long a step will still take, at the pace that it had so far."""

    def render(self, task: Task) -> Text:
        """The words, or none before the first piece is done."""
        return Text(_time_left(task.elapsed or 0.0, int(task.completed), task.total))


class _Bars(Progress):
    """Bars of the steps that have taken long enough to be looked at."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Leave out what has only begun."""
        return super().make_tasks_table([t for t in tasks if (t.elapsed or 0) > SHORT_S])


class _Bar(_Line):
    """A step on a terminal: a bar until it ends, with those of its parts below it, then a line."""

    def __init__(
        self, console: Console, description: str, total: int | None, bars: _Bars | None = None
    ) -> None:
        super().__init__(console, description, total)
        self._is_first = bars is None
        self._bars = bars or _Bars(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(20),
            MofNCompleteColumn(),
            _TimeLeft(),
            console=console,
            transient=True,
            get_time=_now,
        )
        self._task = self._bars.add_task(description, total=total)
        if self._is_first:
            self._bars.start()

    def inside(self, description: str, total: int | None) -> Step:
        return _Bar(self._console, description, total, self._bars)

    def _shown(self) -> None:
        self._bars.update(self._task, completed=self.done)

    def stop(self) -> None:
        self._bars.remove_task(self._task)
        if self._is_first:
            self._bars.stop()

    def end(self) -> None:
        self.stop()
        if self._is_first:
            super().end()

    def leave(self) -> None:
        self._bars.stop()


_NOT_SAID = Console(quiet=True)
_console: ContextVar[Console | None] = ContextVar("console", default=_NOT_SAID)
_step: ContextVar[Step | None] = ContextVar("step", default=None)


@contextmanager
def shown(console: Console) -> Iterator[None]:
    """Show the progress of everything called inside the block on ``console``."""
    token = _console.set(console)
    try:
        yield
    finally:
        going_on = _step.get()
        if going_on is not None:  # an error left it; what is printed next must not meet its bar
            going_on.leave()
            _step.set(None)
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
    console = _current()
    if console is not None:
        _print(console, message)


@contextmanager
def step(description: str, total: int | None = None) -> Iterator[Step]:
    """Show how far a piece of work is, whose parts are told to `Step.advance`.

    Steps inside of others are shown on terminals alone. `Step.outcome` goes into the line at the
    end.

    Parameters
    ----------
    description : str
        What is being done, in a few words.
    total : int, optional
        Number of pieces, where that is known.
    """
    outer = _step.get()
    own = _begun(outer, description, total)
    _step.set(own)
    try:
        yield own
    except BaseException:
        own.stop()
        raise
    else:
        own.end()
    finally:
        if _step.get() is own:
            _step.set(outer)


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate and show how far along; parameters as in `step`."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with step(description, total) as own:
        for item in iterable:
            yield item
            own.advance()


def _begun(outer: Step | None, description: str, total: int | None) -> Step:
    console = _current()
    if console is None:
        return Step(description, total)
    if outer is not None:
        return outer.inside(description, total)
    if console.is_jupyter:
        return _InNotebook(console, description, total)
    kind = _Bar if console.is_terminal else _Line
    return kind(console, description, total)


def _current() -> Console | None:
    """Where progress is shown; where nobody said, in a notebook, if this is one."""
    console = _console.get()
    if console is not _NOT_SAID:
        return console
    if "IPython" not in sys.modules or threading.current_thread() is not threading.main_thread():
        return None
    mine = Console(soft_wrap=True)
    return mine if mine.is_jupyter else None


def _time_left(seconds: float, done: int, total: float | None) -> str:
    if not total or not 0 < done < total:
        return ""
    return f"about {about(seconds * (total / done - 1))} left"


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, emoji=False)
