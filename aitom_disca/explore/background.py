"""What takes long, done beside the page: one at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from aitom_disca.errors import InputError

logger = logging.getLogger(__name__)


class Background:
    """A thread for one piece of work, and what came of the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._what, self._began = "", 0.0
        self.outcome: Any = None  # an exception where the work ended in one
        self.n_done = 0

    def start(self, what: str, work: Callable[[], Any]) -> None:
        """Begin, unless something is being done.

        Parameters
        ----------
        what : str
            Is being done, such as "splitting cluster 4".
        work : callable
            What it returns, or raises, becomes the ``outcome``.

        Raises
        ------
        InputError
            If something is being done already.
        """
        with self._lock:
            if self._what:
                raise InputError(f"the page is still {self.now()}; wait until that is done.")
            self._what, self._began = what, time.monotonic()
        threading.Thread(target=self._do, args=(work,), daemon=True).start()

    def now(self) -> str:
        """What is being done, and for how long; empty where nothing is."""
        what = self._what
        return what and f"{what} ({time.monotonic() - self._began:.0f} s)"

    def _do(self, work: Callable[[], Any]) -> None:
        try:
            self.outcome = work()
        except Exception as error:  # whatever it is, the page says it and goes on
            self.outcome = error
            if not isinstance(error, InputError):
                logger.exception("%s ended in an error", self._what)
        self.n_done += 1
        self._what = ""
