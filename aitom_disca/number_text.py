"""Numbers in sentences and tables: how many of what, how long, how much."""

from __future__ import annotations

from math import isnan

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """``1 tomogram``, ``2 tomograms``: a number with its noun.

    Parameters
    ----------
    n : int
    noun : str
        For one.
    plural : str, optional
        For any other number; by default the noun with an s.
    """
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """How long something took: ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``, ``1 d 3 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for larger, smaller, names in ((_DAY, _HOUR, "d h"), (_HOUR, _MINUTE, "h min")):
        if whole >= larger:
            return _two(whole / smaller, larger // smaller, names)
    return f"{whole} s" if whole < _MINUTE else _two(whole, _MINUTE, "min s")


def about(seconds: float) -> str:
    """How long something will take, no finer than can be known: ``40 s``, ``5 min``, ``3 h``."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 1.5 * unit:
            return f"{round(seconds / unit)} {name}"
    return f"{max(5, round(seconds / 5) * 5)} s"


def between(least_seconds: float, most_seconds: float) -> str:
    """A range of durations: ``5 to 20 min``, ``40 s to 3 min``; one where both are the same."""
    least, most = about(least_seconds), about(most_seconds)
    if least == most:
        return f"about {most}"
    number, unit = least.split()
    return f"{number if unit == most.split()[1] else least} to {most}"


def digits(value: float) -> str:
    """A number for a table: four digits; empty for NaN."""
    return "" if isnan(value) else f"{value:.4g}"


def _two(smaller_units: float, per_larger: int, names: str) -> str:
    larger, smaller = divmod(round(smaller_units), per_larger)
    first, second = names.split()
    return f"{larger} {first}" + (f" {smaller} {second}" if smaller else "")
