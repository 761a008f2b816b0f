"""What the report says of the number of clusters: every criterion beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aitom_disca.clustering.criteria import CRITERIA, LOWEST_IS_BEST, best_k

_TITLES = {
    "bic": "BIC",
    "bic_si": "BIC, heavier penalty",
    "aic": "AIC",
    "ch": "Calinski-Harabasz",
    "kl": "Krzanowski-Lai",
    "jump": "jump",
}


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
        cells = [{"text": _text(table.get(k)), "best": k == best} for k in ks]
        way = "lowest" if name in LOWEST_IS_BEST else "highest"
        rows.append({"title": _TITLES[name], "best": best, "way": way, "cells": cells})
    return {"ks": ks, "rows": rows} if rows else None


def _text(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
