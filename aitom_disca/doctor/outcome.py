"""What a check finds, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Check:
    """One row of the doctor's table.

    Parameters
    ----------
    name : str
        What was looked at.
    state : {"ok", "warning", "error"}
        An error ends a run, or makes it useless; a warning may.
    found : str
    remedy : str
        What to do; nothing where all is well.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def judged(name: str, well: bool, found: str, remedy: str, *, else_: State = "warning") -> Check:
    """A check that is ok, or else a warning (or an error) with its remedy."""
    return Check(name, "ok", found) if well else Check(name, else_, found, remedy)
