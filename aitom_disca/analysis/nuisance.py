"""Whether clusters follow something other than structure: contrast, place, direction, tomogram."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from aitom_disca.analysis.association import (
    Association,
    associate_names,
    associate_numbers,
    holm,
)
from aitom_disca.analysis.properties import Property, measure_properties
from aitom_disca.number_text import digits
from aitom_disca.particles import ParticleSet
from aitom_disca.subtomograms.dataset import Source

_TELLS = 0.85  # share of pairs that a property alone puts in order, from which it is spoken of
_NAMES_TELL = 0.5  # Cramer's V of tomograms, the same
_FOLLOWS = 0.6  # share of the rank variance that all clusters together may take
_SIGNIFICANT = 0.01  # after Holm's correction
_IN_WORDS = {"direction": "the direction in which its members lie", "position": "position"}


@dataclass(frozen=True)
class Finding:
    """One property of one cluster.

    Parameters
    ----------
    cluster : int or None
        From 0; None for all clusters together.
    property : str
    cause : str
        What the property stands for: contrast, background, position, direction or tomogram.
    members : int
    median, median_others : float
        In the property's unit; NaN for tomograms.
    unit : str
    effect : float
        As in `Association`: Cliff's delta or Cramer's V; for all clusters eta squared or V.
    tells : float
        Of a number, the share of pairs of a member and another that it puts in the right order
        (the area under the ROC curve, 0.5 to 1); otherwise the effect itself.
    p : float
        Significance, guarded for all tests of the audit (Holm).
    large : bool
        Whether it is worth a word.
    """

    cluster: int | None
    property: str
    cause: str
    members: int
    median: float
    median_others: float
    unit: str
    effect: float
    tells: float
    p: float
    large: bool

    def row(self) -> dict[str, Any]:
        """A row of nuisance.csv: clusters from 1."""
        return {
            "cluster": "all" if self.cluster is None else self.cluster + 1,
            "property": self.property,
            "unit": self.unit,
            "members": self.members,
            "median": digits(self.median),
            "median_of_others": digits(self.median_others),
            "effect": digits(self.effect),
            "tells_apart": digits(self.tells),
            "p_adjusted": digits(self.p),
            "large": int(self.large),
        }


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Parameters
    ----------
    findings : tuple of Finding
        Cluster by cluster and property by property, the row of all clusters first.
    warnings : tuple of str
        What makes a cluster doubtful, one sentence each.
    notes : tuple of str
        What is worth knowing, but may come of the structures themselves.
    """

    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def audit(source: Source, labels: np.ndarray, particles: ParticleSet | None = None) -> Audit:
    """Ask of every cluster what else than structure tells its members from all others.

    Parameters
    ----------
    source : Source
        The subtomograms, read once in batches.
    labels : ndarray of int, shape (n,)
        Clusters from 0; subtomograms with a label below 0 take no part.
    particles : ParticleSet, optional
        For position and tomogram; by default those of a store.

    Returns
    -------
    Audit
        Empty where there are fewer than two clusters.
    """
    if len(np.unique(labels[labels >= 0])) < 2:
        return Audit()
    if particles is None and hasattr(source, "particles"):
        particles = source.particles()
    names = None if particles is None else particles.tomogram_name
    return audit_properties(measure_properties(source, particles), labels, names)


def audit_properties(
    properties: Iterable[Property], labels: np.ndarray, tomogram_name: np.ndarray | None = None
) -> Audit:
    """The audit of properties that were measured before.

    Intensities are compared by their rank within each tomogram: the grey values of two tomograms
    have no common scale, and what tells tomograms apart is a property of its own.

    Parameters
    ----------
    properties : iterable of Property
    labels : ndarray of int, shape (n,)
        Clusters from 0; those below 0 take no part.
    tomogram_name : ndarray of str, shape (n,), optional
    """
    findings: list[Finding] = []
    for measured in properties:
        findings += _compare(measured, labels, tomogram_name)
    findings.sort(key=lambda f: -1 if f.cluster is None else f.cluster)
    guarded = holm(np.array([f.p for f in findings])) if findings else ()
    findings = [_judged(f, float(p)) for f, p in zip(findings, guarded, strict=True)]
    return Audit(tuple(findings), tuple(_warnings(findings)), tuple(_notes(findings)))


# -- one property ------------------------------------------------------------------------------


def _compare(
    measured: Property, labels: np.ndarray, tomogram_name: np.ndarray | None
) -> list[Finding]:
    named = measured.cause == "tomogram"
    known = labels >= 0
    if not named:
        known = known & np.isfinite(measured.values)
    values, labels = measured.values[known], labels[known]
    if len(np.unique(labels)) < 2 or len(np.unique(values)) < 2:
        return []  # nothing to compare, or the same everywhere
    if named:
        found = associate_names(values, labels)
    else:
        compared = values
        if tomogram_name is not None and measured.cause in ("contrast", "background"):
            compared = _rank_within(values, tomogram_name[known])
        found = associate_numbers(compared, labels)
    return _findings(measured, values, labels, found)


def _findings(
    measured: Property, values: np.ndarray, labels: np.ndarray, found: Association
) -> list[Finding]:
    named, nan = measured.cause == "tomogram", float("nan")
    common = (measured.name, measured.cause)
    rows = [
        Finding(
            None, *common, len(values), nan, nan, measured.unit, found.overall, found.overall,
            found.overall_p, False,
        )
    ]  # fmt: skip
    for k in np.unique(labels):
        inside, effect = labels == k, float(found.effect[k])
        medians = (nan, nan)
        if not named:
            medians = float(np.median(values[inside])), float(np.median(values[~inside]))
        tells = effect if named else (1 + abs(effect)) / 2
        n, p = int(inside.sum()), float(found.p[k])
        rows.append(Finding(int(k), *common, n, *medians, measured.unit, effect, tells, p, False))
    return rows


def _rank_within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Ranks from 0 to 1 among the values of the same group."""
    ranks = np.empty(len(values))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        ranks[rows] = (rankdata(values[rows]) - 0.5) / len(rows)
    return ranks


def _judged(finding: Finding, p: float) -> Finding:
    least = _NAMES_TELL if finding.cause == "tomogram" else _TELLS
    if finding.cluster is None and finding.cause != "tomogram":
        least = _FOLLOWS
    large = finding.tells >= least and p < _SIGNIFICANT
    return Finding(**{**vars(finding), "p": p, "large": large})


# -- in words ----------------------------------------------------------------------------------


def _warnings(findings: list[Finding]) -> list[str]:
    said = []
    clusters = sorted({f.cluster for f in findings if f.cluster is not None})
    large = [f for f in findings if f.large]
    for k in clusters:
        own = [f for f in large if f.cluster == k]
        if any(f.cause == "background" for f in own):
            best = _strongest(own, "contrast", "background")
            said.append(f"Cluster {k + 1} is explained by contrast ({_how(best)}).")
        for cause, words in _IN_WORDS.items():
            if any(f.cause == cause for f in own):
                said.append(f"Cluster {k + 1} goes with {words} ({_how(_strongest(own, cause))}).")
        for f in own:
            if f.cause == "tomogram":
                said.append(
                    f"Cluster {k + 1} goes with the tomogram: its members come from other "
                    f"tomograms than the rest (Cramer's V {f.effect:.2f})."
                )
    said_of = {f.property for f in large if f.cluster is not None}
    for f in large:  # what no single cluster shows, such as one between two others
        if f.cluster is None and f.property not in said_of and f.cause != "contrast":
            share = f"Cramer's V {f.effect:.2f}" if f.cause == "tomogram" else _of_ranks(f)
            said.append(f"The clusters together go with the {f.property} ({share}).")
    return said


def _of_ranks(f: Finding) -> str:
    return f"{100 * f.effect:.0f} % of the variance of its ranks lies between them"


def _notes(findings: list[Finding]) -> list[str]:
    """Clusters that differ in contrast while their backgrounds do not."""
    own = [f for f in findings if f.cluster is not None]
    doubtful = {f.cluster for f in own if f.large and f.cause == "background"}
    plain = [f for f in own if f.large and f.cause == "contrast" and f.cluster not in doubtful]
    if not plain:
        return []
    numbers = sorted({f.cluster + 1 for f in plain if f.cluster is not None})
    names = list(dict.fromkeys(f.property for f in plain))
    text = (
        f"{'Clusters' if len(numbers) > 1 else 'Cluster'} {_listed(numbers)}: "
        f"{_listed(names)} alone would tell {_range(plain)} apart from the rest"
    )
    shown = {f.cluster for f in plain}
    background = [f for f in own if f.cause == "background" and f.cluster in shown]
    if background:
        return [f"{text}, but the background only {_range(background)}. {_MAY_BE_MASS}"]
    return [f"{text}. {_NOT_KNOWN}"]


_MAY_BE_MASS = "A heavier or larger structure does that, contrast need not."
_NOT_KNOWN = (
    "Structures of different size do that; whether contrast has a part in it cannot be told, "
    "as the store holds no intensities from before its normalisation."
)


def _strongest(findings: list[Finding], *causes: str) -> Finding:
    return max((f for f in findings if f.cause in causes), key=lambda f: f.tells)


def _how(f: Finding) -> str:
    return f"{f.property} alone tells it from the rest with {100 * f.tells:.0f} %"


def _range(findings: list[Finding]) -> str:
    shares = [round(100 * f.tells) for f in findings]
    low, high = min(shares), max(shares)
    return f"{low} %" if low == high else f"{low} to {high} %"


def _listed(words: Iterable[object]) -> str:
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last
