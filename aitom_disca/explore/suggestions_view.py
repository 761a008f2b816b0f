"""What might be decided: a list with reasons, each with a button that decides so."""

from __future__ import annotations

from typing import Any

from dash import ALL, Dash, Input, Output, ctx, html, no_update

from aitom_disca.curation.suggestions import Suggestion
from aitom_disca.explore.command_lines import suggest_command
from aitom_disca.explore.deciding import BEGUN, OUTCOME, begin, decide, split, told
from aitom_disca.explore.results import Results
from aitom_disca.number_text import counted


def button() -> html.Button:
    """That asks for suggestions."""
    why = "what might be merged, dropped, named or split, and why; nothing is changed"
    return html.Button("Suggest", id={"suggest": 0}, title=why)


def layout(results: Results) -> html.Div:
    """Where the list will be."""
    return html.Div(_listed(results), id="suggestions")


def register(app: Dash, results: Results) -> None:
    """What the buttons do; the list follows the decisions."""

    @app.callback(*BEGUN, Input({"suggest": ALL}, "n_clicks"), prevent_initial_call=True)
    def ask(clicks: list[int | None]) -> tuple[Any, ...]:
        if not any(clicks):
            return no_update, no_update, no_update

        def work() -> list[Any]:
            n = results.suggest()
            said = f"{counted(n, 'suggestion')}: the list stands above the cards." if n else ""
            return told(said or "There is nothing to suggest.", suggest_command(results.files.path))

        return begin(results, "looking for what might be decided", work)

    @app.callback(OUTCOME[0], *BEGUN, Input({"apply": ALL}, "n_clicks"), prevent_initial_call=True)
    def apply(clicks: list[int | None]) -> tuple[Any, ...]:
        if not any(clicks) or not ctx.triggered_id or results.suggested is None:
            return no_update, no_update, no_update, no_update
        one = results.suggested.made.found[ctx.triggered_id["apply"]]
        if one.action == "split":
            return no_update, *split(results, one.clusters, one.reason)
        outcome = decide(results, one.action, one.clusters, name=one.name, why=one.reason)
        return *outcome, no_update, no_update

    @app.callback(
        Output("suggestions", "children"), Input("version", "data"), prevent_initial_call=True
    )
    def show(_: Any) -> list[Any]:
        return _listed(results)


def _listed(results: Results) -> list[Any]:
    """Those that still hold, and what could not be judged."""
    if results.suggested is None:
        return []
    rows = [
        html.Li([html.Button(_short(one), id={"apply": number}), html.Span(one.reason)])
        for number, one in results.suggested.holding(results.labels, results.curated.names)
    ]
    not_judged = results.suggested.made.not_judged
    return [
        html.Section(
            [
                html.H2("Suggestions"),
                html.Ul(rows) if rows else html.P("Nothing is suggested."),
                html.Details(
                    [html.Summary("What was not judged"), html.Ul(list(map(html.Li, not_judged)))],
                    hidden=not not_judged,
                ),
            ],
            className="suggestions",
        )
    ]


def _short(one: Suggestion) -> str:
    """The decision in few words, for its button."""
    numbers = (" and " if one.action == "merge" else ", ").join(map(str, one.clusters))
    name = f" {one.name}" if one.name else ""
    return f"{one.action.capitalize()} {numbers}{name}"
