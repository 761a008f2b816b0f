"""The clusters as cards: looked at, sorted, merged, dropped, named."""

from __future__ import annotations

from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from aitom_disca.explore.cards import ClusterCard, cards_of
from aitom_disca.explore.deciding import OUTCOME, decide
from aitom_disca.explore.results import Results

_ORDERS = {
    "trust": "most to be trusted first",
    "size": "largest first",
    "resolution": "finest first",
    "posterior": "surest first",
    "number": "by number",
}
_ACTIONS = {"merge": "Merge", "drop": "Drop", "keep": "Keep only these", "junk": "Call junk"}


def layout(results: Results) -> html.Div:
    """The toolbar and the cards."""
    return html.Div(
        [
            html.Div(
                [
                    html.Label(["Order", _order()], className="field"),
                    html.Span("With the ticked clusters:", className="muted"),
                    *(html.Button(text, id={"do": name}) for name, text in _ACTIONS.items()),
                    html.Label(
                        [
                            html.Span("why", className="unseen"),
                            dcc.Input(id={"why": 0}, placeholder="why (kept with the decision)"),
                        ],
                        className="why",
                    ),
                ],
                className="toolbar",
            ),
            html.Div(_cards(results, "trust"), id="cards", className="cards"),
        ]
    )


def register(app: Dash, results: Results) -> None:
    """What the toolbar and the cards do."""

    @app.callback(
        Output("cards", "children"),
        Input("order", "value"),
        Input("version", "data"),
        prevent_initial_call=True,
    )
    def show(order: str, _: Any) -> list[html.Article]:
        return _cards(results, order)

    @app.callback(
        *OUTCOME,
        Input({"do": ALL}, "n_clicks"),
        State({"tick": ALL}, "value"),
        State({"why": ALL}, "value"),
        prevent_initial_call=True,
    )
    # all as patterns: when another view takes the place of this one, they are gone
    def act(
        clicks: list[int | None], ticks: list[list[int]], why: list[str | None]
    ) -> tuple[Any, Any]:
        if not any(clicks):
            return no_update, no_update
        ticked = tuple(sorted(number for tick in ticks for number in tick or ()))
        return decide(results, ctx.triggered_id["do"], ticked, why=why[0])

    @app.callback(*OUTCOME, Input({"drop": ALL}, "n_clicks"), prevent_initial_call=True)
    def drop(clicks: list[int | None]) -> tuple[Any, Any]:
        if not any(clicks) or not ctx.triggered_id:
            return no_update, no_update
        return decide(results, "drop", (ctx.triggered_id["drop"],))

    @app.callback(*OUTCOME, Input({"name": ALL}, "value"), prevent_initial_call=True)
    def rename(_: list[str | None]) -> tuple[Any, Any]:
        for triggered in ctx.triggered_prop_ids.values():
            number = triggered["name"]
            given = (ctx.inputs.get(f'{{"name":{number}}}.value') or "").strip()
            if given and given != results.curated.names.get(number, ""):
                return decide(results, "name", (number,), name=given)
        return no_update, no_update


def _order() -> dcc.Dropdown:
    return dcc.Dropdown(_ORDERS, "trust", id="order", clearable=False, searchable=False)


def _cards(results: Results, order: str) -> list[html.Article]:
    found = sorted(cards_of(results), key=_KEYS[order])
    return [_card(results, card) for card in found]


_KEYS = {
    "trust": lambda card: card.rank,
    "size": lambda card: -card.size,
    "resolution": lambda card: card.resolution_angstrom or float("inf"),
    "posterior": lambda card: -(card.posterior or 0),
    "number": lambda card: card.number,
}


def _card(results: Results, card: ClusterCard) -> html.Article:
    number = card.number
    return html.Article(
        [
            html.Header(
                [
                    dcc.Checklist(
                        [{"label": f"cluster {number}", "value": number}],
                        [],
                        id={"tick": number},
                        className="tick",
                    ),
                    html.Label(
                        [
                            html.Span(f"name of cluster {number}", className="unseen"),
                            dcc.Input(
                                value=card.name,
                                id={"name": number},
                                debounce=True,
                                placeholder="name it",
                                maxLength=60,
                            ),
                        ],
                        className="name",
                    ),
                    html.Button("Drop", id={"drop": number}, title=f"leave cluster {number} out"),
                ]
            ),
            *_pictures(results, card),
            html.Dl([one for row in _facts(card) for one in (html.Dt(row[0]), html.Dd(row[1]))]),
            *_directions(results, card),
        ],
        className="card",
        style={"--cluster": card.colour},
        **{"aria-label": f"cluster {number}"},  # type: ignore[arg-type]
    )


def _pictures(results: Results, card: ClusterCard) -> list[Any]:
    number, volume = card.number, card.volume_file
    made = results.labels_read_at if volume is None else volume.stat().st_mtime_ns
    if card.volume_file is None and card.mean_zyx is None:
        return [html.P("No average yet: aitom-disca average makes one.", className="muted")]
    return [
        html.Canvas(
            className="surface",
            tabIndex=0,
            role="img",
            title="drag, or use the arrow keys, to turn it",
            **{
                "data-mesh": f"surface/{number}?of={made}",
                "data-colour": card.colour,
                "aria-label": f"surface of cluster {number}",
            },  # type: ignore[arg-type]
        ),
        html.Img(
            src=f"slices/{number}.png?of={made}",
            alt=f"central slices of cluster {number}: x–y, x–z, y–z",
            className="slices",
        ),
    ]


def _facts(card: ClusterCard) -> list[tuple[str, str]]:
    rows = [("particles", f"{card.size:,}"), ("verdict", card.verdict)]
    if card.resolution:
        rows.append(("resolution", card.resolution))
    if card.against_noise:
        rows.append(("against noise", card.against_noise))
    if card.posterior is not None:
        rows.append(("mean posterior", f"{card.posterior:.2f}"))
    return rows


def _directions(results: Results, card: ClusterCard) -> list[Any]:
    drawn = results.files.averages / "space" / f"orientations_{card.number:02d}.png"
    if not drawn.is_file():
        return []
    picture = html.Img(
        src=f"directions/{card.number}.png",
        alt=f"sphere of the sides from which cluster {card.number} is seen",
    )
    return [html.Details([html.Summary("from which sides it is seen"), picture])]
