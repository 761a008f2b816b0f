"""The clusters as cards: looked at, sorted, merged, dropped, named."""

from __future__ import annotations

from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from aitom_disca.explore import suggestions_view
from aitom_disca.explore.card_data import cards_of
from aitom_disca.explore.deciding import BEGUN, OUTCOME, decide, split
from aitom_disca.explore.results import Results
from aitom_disca.report.cards import ClusterCard

_ORDERS = {
    "trust": "most to be trusted first",
    "size": "largest first",
    "resolution": "finest first",
    "posterior": "surest first",
    "number": "by number",
}
_ACTIONS = {"merge": "Merge", "drop": "Drop", "keep": "Keep only these", "junk": "Call junk"}
_SPLIT = "sort the members of the ticked cluster again; it takes a while"


def layout(results: Results) -> html.Div:
    """The toolbar and the cards."""
    return html.Div(
        [
            html.Div(
                [
                    html.Label(["order", _order()], className="field whole"),
                    html.Span("With the ticked clusters:", className="muted"),
                    *(html.Button(text, id={"do": name}) for name, text in _ACTIONS.items()),
                    html.Button("Split", id={"do": "split"}, title=_SPLIT),
                    html.Label(
                        [
                            html.Span("why", className="unseen"),
                            dcc.Input(id={"why": 0}, placeholder="why (kept with it)"),
                        ],
                        className="why",
                    ),
                    suggestions_view.button(),
                ],
                className="toolbar",
            ),
            suggestions_view.layout(results),
            html.Div(_cards(results, "trust"), id="cards", className="cards"),
        ]
    )


def register(app: Dash, results: Results) -> None:
    """What the toolbar and the cards do."""
    reasons = Output({"why": ALL}, "value", allow_duplicate=True)

    @app.callback(
        Output("cards", "children"),
        Input("order", "value"),
        Input("version", "data"),
        prevent_initial_call=True,
    )
    def show(order: str, _: Any) -> list[html.Article]:
        return _cards(results, order)

    @app.callback(
        OUTCOME[0],
        *BEGUN,
        reasons,
        Input({"do": ALL}, "n_clicks"),
        State({"tick": ALL}, "value"),
        State({"why": ALL}, "value"),
        prevent_initial_call=True,
    )
    # all as patterns: when another view takes the place of this one, they are gone
    def act(
        clicks: list[int | None], ticks: list[list[int]], why: list[str | None]
    ) -> tuple[Any, ...]:
        if not any(clicks):
            return no_update, no_update, *_nothing(why)
        ticked = tuple(sorted(number for tick in ticks for number in tick or ()))
        action = ctx.triggered_id["do"]
        if action == "split":
            return no_update, *split(results, ticked, why[0]), [no_update for _ in why]
        version, said, cleared = _cleared(decide(results, action, ticked, why=why[0]), why)
        return version, said, no_update, no_update, cleared

    @app.callback(
        *OUTCOME,
        reasons,
        Input({"drop": ALL}, "n_clicks"),
        State({"why": ALL}, "value"),
        prevent_initial_call=True,
    )
    def drop(clicks: list[int | None], why: list[str | None]) -> tuple[Any, ...]:
        if not any(clicks) or not ctx.triggered_id:
            return _nothing(why)
        return _cleared(decide(results, "drop", (ctx.triggered_id["drop"],), why=why[0]), why)

    @app.callback(
        *OUTCOME,
        reasons,
        Input({"name": ALL}, "value"),
        State({"why": ALL}, "value"),
        prevent_initial_call=True,
    )
    def rename(_: list[str | None], why: list[str | None]) -> tuple[Any, ...]:
        for triggered in ctx.triggered_prop_ids.values():
            number = triggered["name"]
            given = (ctx.inputs.get(f'{{"name":{number}}}.value') or "").strip()
            if given and given != results.curated.names.get(number, ""):
                return _cleared(decide(results, "name", (number,), name=given, why=why[0]), why)
        return _nothing(why)


def _cleared(outcome: tuple[Any, Any], why: list[str | None]) -> tuple[Any, ...]:
    """With an empty field for the reason: the next decision has another one."""
    return (*outcome, [no_update if outcome[0] is no_update else "" for _ in why])


def _nothing(why: list[str | None]) -> tuple[Any, ...]:
    return no_update, no_update, [no_update for _ in why]


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
    spoken: dict[str, Any] = {"aria-label": f"cluster {number}"}
    return html.Article(
        [
            html.Div(
                [
                    dcc.Checklist(
                        [{"label": f"cluster {number}", "value": number}],
                        [],
                        id={"tick": number},
                        className="tick",
                    ),
                    html.Span(card.verdict, className=f"verdict {card.verdict.replace(' ', '-')}"),
                ],
                className="card-head",
            ),
            html.Div([_name(card), _drop(card)], className="card-name"),
            *_pictures(results, card),
            html.Dl(
                [html.Div([html.Dt(name), html.Dd(text)]) for name, text in _facts(card)],
                className="card-facts",
            ),
            *(
                [html.Ul(list(map(html.Li, card.doubts)), className="card-doubts")]
                * bool(card.doubts)
            ),
            html.Details([html.Summary("What this rests on"), *_grounds(results, card)]),
        ],
        className="card",
        style={"--cluster": card.colour},
        **spoken,
    )


def _name(card: ClusterCard) -> html.Label:
    field = dcc.Input(
        value=card.name,
        id={"name": card.number},
        debounce=True,
        placeholder="name it",
        maxLength=60,
    )
    return html.Label([html.Span(f"name of cluster {card.number}", className="unseen"), field])


def _drop(card: ClusterCard) -> html.Button:
    return html.Button("Drop", id={"drop": card.number}, title=f"leave cluster {card.number} out")


def _pictures(results: Results, card: ClusterCard) -> list[Any]:
    number, volume = card.number, card.volume_file
    made = results.labels_read_at if volume is None else volume.stat().st_mtime_ns
    if volume is None and card.mean_zyx is None:
        return []
    surface: dict[str, Any] = {
        "data-mesh": f"surface/{number}?of={made}",
        "data-colour": card.colour,
        "aria-label": f"surface of cluster {number}",
    }
    how = "drag, or use the arrow keys, to turn it"
    return [
        html.Canvas(className="turning", tabIndex=0, role="img", title=how, **surface),
        html.Img(
            src=f"slices/{number}.png?of={made}",
            alt=f"central slices of cluster {number}: x–y, x–z, y–z",
            className="slices",
        ),
    ]


def _facts(card: ClusterCard) -> list[tuple[str, str]]:
    rows = [("particles", f"{card.size:,} ({100 * card.share:.0f} %)")]
    if card.resolution:
        rows.append(("resolution", card.resolution))
    if card.found:
        rows.append(("found again in", card.found))
    if card.posterior is not None:
        rows.append(("mean posterior", f"{card.posterior:.2f}"))
    return rows


def _doubts(card: ClusterCard) -> list[html.Ul]:
    if not card.doubts:
        return []
    return [html.Ul([html.Li(text) for text in card.doubts], className="card-doubts")]


def _grounds(results: Results, card: ClusterCard) -> list[Any]:
    """Sentences and pictures on which the verdict rests."""
    said = [text for text in (card.against_noise, card.orientations) if text]
    if card.volume_file is None and card.mean_zyx is not None:
        how = "aligned by the sorting" if card.mean_is_aligned else "not aligned to one another"
        said.append(f"There is no average in two halves; shown is the mean of members {how}.")
    texts = {
        "fsc": f"Fourier shell correlation of the halves of cluster {card.number}",
        "orientations": f"sphere of the sides from which cluster {card.number} is seen",
    }
    drawn = [
        html.Img(src=f"drawn/{card.number}/{name}.png", alt=text, className="drawn")
        for name, text in texts.items()
        if name in card.pictures
    ]
    return [*map(html.P, said), *drawn] or [html.P("Nothing was averaged or tested yet.")]
