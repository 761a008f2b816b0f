"""The members of a cluster side by side, as they are and low-passed; false ones are ticked away."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
from dash import Dash, Input, Output, dcc, html

from aitom_disca.explore import selected_particles
from aitom_disca.explore.browser_images import as_png, to_grey
from aitom_disca.explore.card_data import cards_of
from aitom_disca.explore.results import Results
from aitom_disca.report.cards import ClusterCard, member_slices

_PER_PAGE = 60
_SELECTED = -1  # in place of the number of a cluster
_ORDERS = {"best": "best first", "worst": "worst first", "store": "in the order of the store"}


def layout(results: Results) -> html.Div | html.P:
    """What is shown, and the wall."""
    if results.store_path is None:
        return html.P("The store of the subtomograms is not where it was.")
    first = _SELECTED if len(results.selected) else (results.clusters() or [0])[0]
    return html.Div(
        [
            html.Div(
                [
                    html.Label(["of", _whose(results, first)], className="field"),
                    html.Label(
                        [
                            "order",
                            dcc.Dropdown(_ORDERS, "best", id="wall-order", clearable=False,
                                         searchable=False),
                        ],
                        className="field",
                    ),
                    html.Button("Earlier", id="wall-back"),
                    html.Button("Later", id="wall-on"),
                    html.Span(id="wall-page", className="muted"),
                ],
                className="toolbar",
            ),
            selected_particles.bar(results, look=False),
            html.P(
                "Each particle twice: as it is, and low-passed. Tick the false ones, then move "
                "them to no cluster, or to another.",
                className="muted",
            ),
            dcc.Store(id="wall-start", data=0),
            dcc.Loading(dcc.Checklist([], [], id="wall", className="wall"), delay_show=400),
        ]
    )  # fmt: skip


def register(app: Dash, results: Results) -> None:
    """Pages, order and ticks."""

    @app.callback(
        Output("wall-start", "data"),
        Input("wall-back", "n_clicks"),
        Input("wall-on", "n_clicks"),
        Input("wall-whose", "value"),
        Input("wall-order", "value"),
        prevent_initial_call=True,
    )
    def turn(back: int | None, on: int | None, whose: int, order: str) -> int:
        return _PER_PAGE * max(0, (on or 0) - (back or 0))

    @app.callback(
        Output("wall", "options"),
        Output("wall", "value"),
        Output("wall-page", "children"),
        Input("wall-start", "data"),
        Input("wall-whose", "value"),
        Input("wall-order", "value"),
        Input("version", "data"),
    )
    def show(start: int, whose: int, order: str, _: Any) -> tuple[list[Any], list[int], str]:
        rows = ordered(results, whose, order)
        start = min(start, max(0, (len(rows) - 1) // _PER_PAGE * _PER_PAGE))
        page = rows[start : start + _PER_PAGE]
        said = f"{start + 1} to {start + len(page)} of {len(rows):,}" if len(page) else "none"
        return tiles(results, page), [], said

    @app.callback(
        Output("selected", "children", allow_duplicate=True),
        Input("wall", "value"),
        prevent_initial_call=True,
    )
    def tick(rows: list[int]) -> str:
        if not rows:
            return selected_particles.described(results)
        return selected_particles.select(results, np.array(rows, int))


def ordered(results: Results, whose: int, order: str) -> np.ndarray:
    """Rows of a cluster (from 1; 0: of none; -1: the selected), by posterior, else by score."""
    rows = results.selected if whose == _SELECTED else results.members(whose)
    worth = results.posterior if results.posterior is not None else results.particles.score
    if order == "store" or worth is None:
        return rows
    sign = -1 if order == "best" else 1
    return rows[np.argsort(sign * np.asarray(worth)[rows], kind="stable")]


def tiles(results: Results, rows: np.ndarray) -> list[dict[str, Any]]:
    """The particles as options of a list: two pictures and a line each."""
    if not len(rows):
        return []
    cards = {card.number: card for card in cards_of(results)}
    first = int(results.labels[rows[0]]) + 1  # whose diameter says how much of the box is shown
    card = cards.get(first) or ClusterCard(first, len(rows), 0.0)
    raw, smooth = member_slices(results.store, card, rows.tolist())
    return [
        {"value": int(row), "label": _tile(results, int(row), one, other)}
        for row, one, other in zip(rows, raw, smooth, strict=True)
    ]


def _tile(results: Results, row: int, raw: np.ndarray, smooth: np.ndarray) -> html.Span:
    sure = "" if results.posterior is None else f" · {results.posterior[row]:.2f}"
    return html.Span(
        [
            html.Img(src=_uri(raw), alt=f"particle {row}"),
            html.Img(src=_uri(smooth), alt="low-passed"),
            html.Span(f"{row}{sure}", className="muted"),
        ],
        className="tile",
    )


def _uri(plane: np.ndarray) -> str:
    low, high = np.percentile(plane, (1, 99.5))
    png = as_png(to_grey(plane[::-1], float(low), float(high)))
    return "data:image/png;base64," + b64encode(png).decode("ascii")


def _whose(results: Results, first: int) -> dcc.Dropdown:
    numbers = [_SELECTED, *results.clusters(), 0]
    names = [
        {"label": "what is selected" if k == _SELECTED else results.title_of(k), "value": k}
        for k in numbers
    ]
    return dcc.Dropdown(names, first, id="wall-whose", clearable=False)
