"""Tables of the report: criteria for K, and what else than structure could explain the clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_hex, to_rgb

from aitom_disca.clustering.criteria_for_k import CRITERIA, LOWEST_IS_BEST, best_k

_TITLES = {
    "bic": "BIC",
    "bic_si": "BIC, heavier penalty",
    "aic": "AIC",
    "ch": "Calinski-Harabasz",
    "kl": "Krzanowski-Lai",
    "jump": "jump",
}

_HIGHER, _LOWER = "#ee7733", "#0077bb"  # the same blue and orange as the clusters'
_STRONGEST = 0.75  # of the colour: the figures on it stay legible


@dataclass(frozen=True)
class NuisanceTable:
    """How far properties other than structure differ between clusters.

    Parameters
    ----------
    properties : tuple of str
    clusters : tuple of int or None
        From 0; None for all together.
    effects : ndarray of shape (n_clusters, n_properties)
        -1 to 1; NaN where there is none.
    large : ndarray of bool, same shape
    notes : tuple of str
    """

    properties: tuple[str, ...]
    clusters: tuple[int | None, ...]
    effects: np.ndarray
    large: np.ndarray
    notes: tuple[str, ...] = ()


def table_of_rows(rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> NuisanceTable:
    """The table of the rows of nuisance.csv.

    Raises
    ------
    KeyError, ValueError
        If a column or number is missing, or lies outside of its range.
    """
    properties = tuple(dict.fromkeys(row["property"] for row in rows))
    names = sorted({row["cluster"] for row in rows}, key=lambda c: 0 if c == "all" else int(c))
    shape = (len(names), len(properties))
    effects, large = np.full(shape, np.nan), np.zeros(shape, bool)
    for row in rows:
        place = names.index(row["cluster"]), properties.index(row["property"])
        effects[place] = float(row["effect"] or "nan")
        if abs(effects[place]) > 1 or row["large"] not in ("0", "1"):
            raise ValueError(f"effect {row['effect']}, large {row['large']}")
        large[place] = row["large"] == "1"
    clusters = tuple(None if name == "all" else int(name) - 1 for name in names)
    return NuisanceTable(properties, clusters, effects, large, tuple(notes))


def drawn_rows(table: NuisanceTable) -> list[dict[str, Any]]:
    """Rows of cells, each with its text and its colour."""
    return [
        {
            "number": None if cluster is None else cluster + 1,
            "cells": [
                {"text": _text(effect, cluster), "colour": _colour(effect), "large": bool(large)}
                for effect, large in zip(effects, larges, strict=True)
            ],
        }
        for cluster, effects, larges in zip(table.clusters, table.effects, table.large, strict=True)
    ]


def _text(effect: float, cluster: int | None) -> str:
    if np.isnan(effect):
        return "–"
    if cluster is None:
        return f"{effect:.2f}"
    return f"{effect:+.2f}".replace("-", "\u2212")


def _colour(effect: float) -> str:
    """White for no effect, orange for higher values, blue for lower ones."""
    share = 0.0 if np.isnan(effect) else _STRONGEST * min(abs(effect), 1.0)
    colour = np.array(to_rgb(_HIGHER if effect > 0 else _LOWER))
    red, green, blue = (1 - share) + share * colour
    return to_hex((red, green, blue))


def criteria_table(criteria: Mapping[str, Mapping[Any, float]]) -> dict[str, Any] | None:
    """Rows of cells, one row a criterion, one cell a number of clusters; the best one is marked.

    Parameters
    ----------
    criteria : mapping of str to mapping of K to float
        K may be a text, as JSON has it.

    Returns
    -------
    dict or None
        ``ks`` and ``rows``; None where there is nothing to show.
    """
    tables = {
        name: {int(k): float(v) for k, v in criteria[name].items()}
        for name in CRITERIA
        if criteria.get(name)
    }
    ks = sorted(set().union(*tables.values()))
    rows = []
    for name, table in tables.items():
        if all(np.isnan(value) for value in table.values()):
            continue
        best = best_k(table, name)  # type: ignore[arg-type]
        cells = [{"text": _criterion_text(table.get(k)), "best": k == best} for k in ks]
        way = "lowest" if name in LOWEST_IS_BEST else "highest"
        rows.append({"title": _TITLES[name], "best": best, "way": way, "cells": cells})
    return {"ks": ks, "rows": rows} if rows else None


def _criterion_text(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
