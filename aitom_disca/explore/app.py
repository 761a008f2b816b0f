"""The page: its frame, its views, and the pictures that they ask for."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update
from flask import Response, abort, request

from aitom_disca.errors import InputError
from aitom_disca.explore import (
    clusters,
    deciding,
    feature_map,
    history,
    member_images,
    selected_particles,
    suggestions_view,
    tomogram_page,
)
from aitom_disca.explore.browser_images import surface_bytes, three_slices
from aitom_disca.explore.card_data import cards_of
from aitom_disca.explore.results import Results
from aitom_disca.explore.token import protect
from aitom_disca.number_text import counted
from aitom_disca.report.cards import STYLE_SHEET

VIEWS: dict[str, ModuleType] = {
    "clusters": clusters,
    "tomogram": tomogram_page,
    "map": feature_map,
    "particles": member_images,
    "history": history,
}
_KEPT_S = 3600  # pictures, by the browser
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
{%favicon%}
{%css%}
</head>
<body>
{%app_entry%}
<footer hidden>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def create_app(results: Results, token: str, port: int = 8050) -> Dash:
    """The page of results, for a server.

    Parameters
    ----------
    results : Results
    token : str
        Without it, nothing is answered.
    port : int
        Where it will be served.
    """
    name = results.files.path.resolve().name
    app = Dash(
        __name__,
        title=f"{name} – aitom-disca",
        update_title="",
        serve_locally=True,
        external_stylesheets=[STYLE_SHEET.name],  # served below: the cards are those of the report
        suppress_callback_exceptions=True,  # views come and go
        index_string=_PAGE,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    protect(app.server, token, port)
    app.layout = lambda: _frame(results)
    deciding.register(app, results)
    selected_particles.register(app, results)
    suggestions_view.register(app, results)
    for view in VIEWS.values():
        view.register(app, results)
    _register_views(app, results)
    _serve_pictures(app, results)
    return app


def _frame(results: Results) -> html.Div:
    try:
        results.refresh()
    except InputError as error:  # the labels were made anew since
        return html.Div(deciding.failed(error), className="top")
    return html.Div(
        [
            html.A("Skip to the content", href="#content", className="skip"),
            dcc.Location(id="place"),
            dcc.Store(id="version", data=len(results.decisions)),
            dcc.Store(id="shown", data="clusters"),
            html.Header(
                [
                    html.H1(results.files.path.resolve().name),
                    html.Span(_headline(results), id="headline", className="muted"),
                    html.Nav(_links("clusters"), id="views", **{"aria-label": "views"}),  # type: ignore[arg-type]
                ],
                className="top",
            ),
            html.Main(clusters.layout(results), id="content", tabIndex=-1),
            deciding.bar(results),
        ]
    )


def _links(shown: str) -> list[html.A]:
    current: dict[str, dict[str, Any]] = {shown: {"aria-current": "page"}}
    return [html.A(name.title(), href=f"#{name}", **current.get(name, {})) for name in VIEWS]


def _headline(results: Results) -> str:
    n, k = len(results.labels), len(results.clusters())
    none = int((results.labels < 0).sum())
    rest = f", {none:,} in none" if none else ""
    return f"{n:,} subtomograms in {counted(k, 'cluster')}{rest}"


def _register_views(app: Dash, results: Results) -> None:
    @app.callback(
        Output("content", "children"),
        Output("views", "children"),
        Output("shown", "data"),
        Input("place", "hash"),
        State("shown", "data"),
    )
    def go(hash_: str | None, shown: str) -> tuple[Any, Any, Any]:
        wanted = (hash_ or "").lstrip("#") or "clusters"
        if wanted == shown or wanted not in VIEWS:
            return no_update, no_update, no_update
        try:
            results.refresh()
            content = VIEWS[wanted].layout(results)
        except (InputError, OSError) as error:
            content = deciding.failed(error)
        return content, _links(wanted), wanted

    @app.callback(Output("headline", "children"), Input("version", "data"))
    def headline(_: Any) -> str:
        return _headline(results)


def _serve_pictures(app: Dash, results: Results) -> None:
    drawn = lru_cache(maxsize=256)(lambda draw, number, _: draw(volume_of(number)))

    def volume_of(number: int) -> Any:
        volume = next((c.volume_zyx() for c in cards_of(results) if c.number == number), None)
        return abort(404) if volume is None else volume

    @app.server.route("/slices/<int:number>.png")
    def slices(number: int) -> Response:
        return kept(drawn(three_slices, number, request.args.get("of")), "image/png")

    @app.server.route("/surface/<int:number>")
    def surface(number: int) -> Response:
        content = drawn(surface_bytes, number, request.args.get("of"))
        return kept(content, "application/octet-stream")

    @app.server.route("/drawn/<int:number>/<name>.png")
    def drawn_before(number: int, name: str) -> Response:
        card = next((card for card in cards_of(results) if card.number == number), None)
        if card is None or name not in card.pictures:
            abort(404)
        return kept(card.pictures[name].read_bytes(), "image/png")

    @app.server.route(f"/{STYLE_SHEET.name}")
    def style() -> Response:
        return Response(STYLE_SHEET.read_bytes(), mimetype="text/css")

    @app.server.errorhandler(InputError)
    def refuse(error: InputError) -> tuple[str, int]:
        return str(error), 404


def kept(content: bytes, kind: str) -> Response:
    """An answer that the browser may keep for an hour."""
    answer = Response(content, mimetype=kind)
    answer.headers["Cache-Control"] = f"private, max-age={_KEPT_S}"
    return answer
