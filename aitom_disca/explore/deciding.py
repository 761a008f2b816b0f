"""Decisions made by a click: written down, said, undone; star files written by a button."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from aitom_disca.curation import Decision
from aitom_disca.curation.decisions import Action
from aitom_disca.errors import InputError
from aitom_disca.explore.command_lines import command_of, export_command
from aitom_disca.explore.results import Results
from aitom_disca.number_text import counted

_STATUS = Output("status", "children", allow_duplicate=True)
# What a callback that decides writes to: the pages learn from `version` that labels changed.
OUTCOME = (Output("version", "data", allow_duplicate=True), _STATUS)
# And one that begins what takes long: then the page asks again and again whether it is done.
BEGUN = (
    _STATUS,
    Output("working", "disabled", allow_duplicate=True),
    Output("work", "children", allow_duplicate=True),
)
_ASK_MS = 1000


def decide(
    results: Results,
    action: Action,
    clusters: tuple[int, ...] = (),
    particles: tuple[int, ...] = (),
    name: str = "",
    why: str | None = "",
) -> tuple[Any, Any]:
    """Make a decision; the values for `OUTCOME`."""
    try:
        decision = Decision(
            action, clusters, particles, name=name, why=(why or "").strip(), who=_login()
        )
        results.decide(decision)
    except (InputError, OSError) as error:
        return no_update, failed(error)
    return len(results.decisions), told(
        f"Done: {decision}.", command_of(_folder(results), decision)
    )


def begin(results: Results, what: str, work: Callable[[], Any]) -> tuple[Any, ...]:
    """Have something done beside the page; the values for `BEGUN`.

    Parameters
    ----------
    results : Results
    what : str
        Is being done.
    work : callable
        Returns what is to be said in the end.
    """
    try:
        results.background.start(what, work)
    except InputError as error:
        return failed(error), no_update, no_update
    return "", False, results.background.now()


def split(results: Results, clusters: tuple[int, ...], why: str | None) -> tuple[Any, ...]:
    """Have the members of a cluster sorted again; the values for `BEGUN`."""
    if len(clusters) != 1:
        ticked = len(clusters) or "none"
        return failed(InputError(f"tick one cluster to split, not {ticked}.")), no_update, no_update
    wanted = Decision("split", clusters, why=(why or "").strip(), who=_login())

    def work() -> list[Any]:
        decision = results.split(wanted)
        *others, last = map(str, decision.clusters)
        parts = f"its parts are {', '.join(others)} and {last}"
        return told(f"Done: {decision}; {parts}.", command_of(_folder(results), decision))

    return begin(results, f"sorting the members of cluster {clusters[0]} again", work)


def told(sentence: str, command: str) -> list[Any]:
    """What was done, and the command that does the same."""
    return [
        html.Span(sentence, className="said"),
        html.Span("The same without a screen: ", className="muted"),
        as_command(command),
    ]


def as_command(command: str) -> html.Span:
    """A command line that can be copied; a long one is shown by its beginning."""
    return html.Span(
        [
            html.Code(command if len(command) < 300 else f"{command[:280]} …"),
            dcc.Clipboard(content=command, className="copy", title="copy the command"),
        ],
        className="command",
    )


def failed(error: Exception) -> html.Span:
    """A sentence on what could not be done."""
    text = str(error)
    return html.Span(text[:1].upper() + text[1:], className="failed", role="alert")


def bar(results: Results) -> html.Footer:
    """The bar at the bottom: what was done last, what is being done, undo, star files."""
    spoken: dict[str, Any] = {"aria-live": "polite"}
    return html.Footer(
        [
            html.Div(id="status", role="status", **spoken),
            html.Div(results.background.now(), id="work", className="muted"),
            dcc.Interval(id="working", interval=_ASK_MS, disabled=not results.background.now()),
            html.Div(
                [
                    html.Span(id="standing", className="muted"),
                    html.Button("Undo", id="undo"),
                    html.Button("Write star files", id="write", className="chief"),
                    dcc.Dropdown(
                        {"3.1": "RELION 3.1", "5": "RELION 5"},
                        "3.1",
                        id="relion",
                        clearable=False,
                        searchable=False,
                    ),
                ],
                className="actions",
            ),
        ]
    )


def register(app: Dash, results: Results) -> None:
    """What the bar does."""

    @app.callback(*OUTCOME, Input("undo", "n_clicks"), prevent_initial_call=True)
    def undo(_: int) -> tuple[Any, Any]:
        return decide(results, "undo")

    @app.callback(
        *OUTCOME,
        Input("write", "n_clicks"),
        State("relion", "value"),
        prevent_initial_call=True,
        running=[(Output("write", "disabled"), True, False)],
    )
    def write(_: int, relion: Any) -> tuple[Any, Any]:
        try:
            written = results.write_stars(relion)
        except (InputError, OSError) as error:
            return no_update, failed(error)
        command = export_command(results.store_path or "", _folder(results), relion)
        return (
            f"{len(results.decisions)}, written {ctx.triggered[0]['value']}",
            told(f"Done: {written}.", command),
        )

    @app.callback(OUTCOME[0], *BEGUN, Input("working", "n_intervals"), prevent_initial_call=True)
    def ask(_: int) -> tuple[Any, ...]:
        now = results.background.now()
        if now:
            return no_update, no_update, False, now
        outcome = results.background.outcome
        said = failed(outcome) if isinstance(outcome, Exception) else outcome
        return f"{len(results.decisions)}, done {results.background.n_done}", said, True, ""

    @app.callback(Output("standing", "children"), Input("version", "data"))
    def standing(_: Any) -> str:
        n = len(results.decisions)
        made = counted(n, "decision") if n else "no decisions yet"
        stars = "older than the labels" if results.stars_are_old else "up to date"
        return f"{made}; star files are {stars}"


def _folder(results: Results) -> str:
    return str(results.files.path)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for the user, as in some containers
        return ""
