"""Whether a cluster is to be trusted, in words: the one rule of all cards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from aitom_disca.number_text import counted

Verdict = Literal["to be trusted", "look again", "not told from noise", "not judged"]
IN_ORDER: tuple[Verdict, ...] = (
    "to be trusted", "look again", "not judged", "not told from noise",
)  # fmt: skip
FEWEST_MEMBERS = 20  # of a cluster that can be judged
_ROUND = (
    "It is told from noise, but not from a density that is the same on all sides: a round particle "
    "looks so, and picks of noise do, which are bright in the middle."
)
_NOT_TESTED = "Whether its average is more than noise was not tested."
_CHANGED = "Its members are others than when it was averaged ({}): average it again."
_GATHERED = (
    "Its orientations gather about the {}: particles that prefer an orientation do so, and so does "
    "an alignment that follows the missing wedge or neighbours."
)
_OTHERS = "members of other clusters"  # which are particles, not noise
_LARGE_EFFECT = 0.2  # of orientations that gather, as where averages warn of it
_LEAST_P = 1e-6  # below which odds are not spelled out


def judge(
    average: Mapping[str, str] | None,
    size: int,
    warnings: Sequence[str] = (),
    *,
    changed: str = "",
    any_averages: bool = True,
) -> tuple[Verdict, list[str]]:
    """The verdict on a cluster, and what speaks against it.

    A cluster is **not told from noise** if the two halves of its average share nothing, or its
    members fit the average of the half that they are not in no better than noise does (at 1 %).
    It is **to be trusted** if its average passed that test, is more than a round density, rests on
    20 members or more, and no other measurement warns of it: orientations that gather about the
    beam or the tilt axis, contrast, height or tomogram that explain it (the audit of nuisances),
    fewer than half of several runs that found it, held-out data that do not tell it from others.
    Otherwise one should **look again**, and the doubts say why. Without any average it is **not
    judged**.

    A verdict says that the members share a structure, not which one, nor that there is only one.

    Parameters
    ----------
    average : mapping of str to str, optional
        Its row of averages.csv, as text.
    size : int
        Its members.
    warnings : sequence of str
        Of audit, refinement and repeated runs, as far as they are about this cluster.
    changed : str
        Why its members are others than when it was averaged; empty where they are not.
    any_averages : bool
        Whether any cluster of the run was averaged.

    Returns
    -------
    verdict : str
    doubts : list of str
        Sentences; none for a cluster that is to be trusted.
    """
    if changed:
        return "look again", [_CHANGED.format(changed), *warnings]
    if average is None:
        if not any_averages:
            return "not judged", list(warnings)
        return "look again", ["It was not averaged.", *warnings]
    against, noise = _against(average)
    few = f"It has {counted(size, 'member')}: too few to judge it."
    doubts = [*against, *([few] if size < FEWEST_MEMBERS else []), *warnings]
    if noise:
        return "not told from noise", doubts
    return ("look again" if doubts else "to be trusted"), doubts


def _against(average: Mapping[str, str]) -> tuple[list[str], bool]:
    """What an average itself says against it, and whether it is not told from noise."""
    verdict = average.get("verdict", "")
    kind, _, why = verdict.partition(": ")
    if average.get("error"):
        return [f"It could not be averaged: {average['error']}"], False
    doubts, tested = [], average.get("null_test_of") or "noise"
    nothing_shared = "share nothing" in why
    if nothing_shared:
        doubts.append("The two halves of its average share nothing.")
    elif kind == "doubtful":
        doubts.append(f"Its members fit their average no better than {tested} would.")
    elif kind == "not judged":
        doubts.append(f"It could not be tested against noise: {why}.")
    elif not verdict:
        doubts.append(_NOT_TESTED)
    elif "round density" in verdict:
        doubts.append(_ROUND)
    for about, name in (("beam", "beam"), ("tilt_axis", "tilt axis")):
        if (number_in(average, f"gathered_about_{about}") or 0.0) >= _LARGE_EFFECT:
            doubts.append(_GATHERED.format(name))
    return doubts, nothing_shared or (kind == "doubtful" and tested != _OTHERS)


def number_in(row: Mapping[str, str], column: str) -> float | None:
    """A number of a table; None where the cell is empty or missing.

    Raises
    ------
    ValueError
        If it is no number.
    """
    text = row.get(column, "")
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def noise_in_words(fit_better: float | None, p_value: float | None, tested: str) -> str:
    """How members fit beside noise, in a sentence; empty where that was not measured.

    Parameters
    ----------
    fit_better : float, optional
        Probability that a member fits better.
    p_value : float, optional
    tested : str
        What stood for noise, such as "noise" or "members of other clusters".
    """
    if fit_better is None or p_value is None:
        return ""
    cases = f"{100 * fit_better:.0f}" if not 0.995 <= fit_better < 1 else "more than 99"
    tested = tested or "noise"
    does = "does" if tested == "noise" else "do"
    return (
        f"A member fits an average made without it better than {tested} {does} in {cases} of 100 "
        f"cases (in 50 by chance); {_odds(p_value)}."
    )


def _odds(p_value: float) -> str:
    if p_value >= 0.1:
        return f"chance alone does as well {100 * p_value:.0f} times in 100"
    if p_value < _LEAST_P:
        return "chance alone would do as well less than once in a million times"
    return f"chance alone would do as well once in {float(f'{1 / p_value:.1g}'):,.0f} times"
