"""What else than structure could explain the clusters: the table of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_hex, to_rgb

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
