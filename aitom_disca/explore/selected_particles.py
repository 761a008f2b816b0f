"""Particles selected in any view, and what is done with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from matplotlib.path import Path as Polygon

from aitom_disca.explore.deciding import OUTCOME, decide
from aitom_disca.explore.results import Results

_NONE = 0  # where particles go that are in no cluster


def bar(results: Results, *, look: bool = True) -> html.Div:
    """How many are selected, and where they may go; with a link to the wall of them."""
    return html.Div(
        [
            html.Span(described(results), id="selected", role="status"),
            html.Label(["move to", _target(results)], className="field"),
            html.Button("Move", id={"selected": "move"}),
            html.Button("Clear", id={"selected": "clear"}),
            *([html.A("look at them", href="#particles")] if look else []),
        ],
        className="toolbar selection",
    )


def described(results: Results) -> str:
    """How many are selected, of which clusters."""
    rows = results.selected
    if not len(rows):
        return "Nothing is selected."
    number, count = np.unique(results.labels[rows] + 1, return_counts=True)
    order = np.argsort(-count)[:3]
    parts = [f"{count[i]:,} {results.title_of(int(number[i]))}" for i in order]
    more = " and others" if len(number) > len(parts) else ""
    return f"{len(rows):,} selected: {', '.join(parts)}{more}."


def select(results: Results, rows: np.ndarray) -> str:
    """Take rows of the store for the selection; what is to be said of it."""
    results.selected = np.unique(rows)
    return described(results)


def inside(shape: dict[str, list[float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points lie within what was drawn: a lasso or a box.

    Parameters
    ----------
    shape : dict
        ``x`` and ``y`` of the corners of a lasso; two of each for a box.
    x, y : ndarray of shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    corners = np.column_stack([shape["x"], shape["y"]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    found = (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])
    if len(corners) > 2:
        near = np.flatnonzero(found)
        found[near] = Polygon(corners).contains_points(np.column_stack([x[near], y[near]]))
    return found


# The shape alone is sent, not the points: a lasso of a million is as quick as one of ten.
_SHAPE_OF_SELECTION = """
function (selected) {
  if (!selected) return window.dash_clientside.no_update;
  const drawn = selected.lassoPoints || selected.range;
  if (!drawn) return window.dash_clientside.no_update;
  const [x, y] = Object.keys(drawn).sort();
  return {x: drawn[x], y: drawn[y], at: Date.now()};
}
"""


def keep_shape(app: Dash, graph: str, store: str) -> None:
    """Keep what is drawn on a graph, a lasso or a box, in a store of the page."""
    app.clientside_callback(
        _SHAPE_OF_SELECTION,
        Output(store, "data"),
        Input(graph, "selectedData"),
        prevent_initial_call=True,
    )


def register(app: Dash, results: Results) -> None:
    """What the bar does."""

    @app.callback(
        *OUTCOME,
        Output("selected", "children", allow_duplicate=True),
        Input({"selected": ALL}, "n_clicks"),
        State({"target": ALL}, "value"),
        prevent_initial_call=True,
    )
    def act(clicks: list[int | None], target: list[int | None]) -> tuple[Any, Any, Any]:
        if not any(clicks):
            return no_update, no_update, no_update
        if ctx.triggered_id["selected"] == "clear":
            return no_update, no_update, select(results, np.zeros(0, int))
        to = (target[0],) if target[0] else ()
        outcome = decide(results, "move", to, tuple(results.selected.tolist()))
        return *outcome, described(results)


def _target(results: Results) -> dcc.Dropdown:
    names = [{"label": results.title_of(k), "value": k} for k in (_NONE, *results.clusters())]
    return dcc.Dropdown(names, _NONE, id={"target": 0}, clearable=False)
