"""Where the inputs of a run lie: in absolute terms, and as seen from the run's folder.

A folder that was moved finds its inputs again, whether they stayed or moved with it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def seen_from(folder: str | Path, paths: Sequence[str | Path]) -> list[str | None]:
    """Paths relative to a folder, with ``/``; None on another drive."""
    start = Path(folder).resolve()
    found: list[str | None] = []
    for path in paths:
        try:
            found.append(Path(os.path.relpath(Path(path).resolve(), start)).as_posix())
        except ValueError:
            found.append(None)
    return found


def as_it_is_now(folder: str | Path, path: str, relative: str | None) -> str:
    """Absolute path of an input: where it was, else where it was as seen from the folder.

    Where it was, if it is at neither.
    """
    if relative is None or os.path.lexists(path):
        return path
    moved = (Path(folder).resolve() / relative).resolve()
    return str(moved) if moved.exists() else path


def same_inputs(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two records have the same inputs, in absolute terms or from their folders."""
    seen = was.get("inputs_relative") or [None] * len(was["inputs"])
    before = list(zip(was["inputs"], seen, strict=True))
    after = list(zip(now["inputs"], now["inputs_relative"], strict=True))
    return len(before) == len(after) and all(
        old[0] == new[0] or (old[1] is not None and old[1] == new[1])
        for old, new in zip(before, after, strict=True)
    )


def alike(was: Any, now: Any) -> bool:
    """Whether plain values are the same but for the folders of paths in them."""
    if isinstance(was, dict) and isinstance(now, dict):
        return {*was} == {*now} and all(alike(was[key], now[key]) for key in was)
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(alike, was, now))
    if isinstance(was, str) and isinstance(now, str) and was and now:
        return Path(was).name == Path(now).name
    return bool(was == now)
