"""How the clusters came about, and what was decided about them since."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, dcc, html

from aitom_disca.colours import cluster_colour
from aitom_disca.curation.replay import in_force
from aitom_disca.explore.command_lines import command_of, replay_command
from aitom_disca.explore.deciding import as_command
from aitom_disca.explore.plot_style import empty_figure
from aitom_disca.explore.results import Results

_ACCENT = "#0077bb"
_NO_BAR = {"displayModeBar": False}


def layout(results: Results) -> html.Div:
    """Decisions, then the iterations of the sorting."""
    return html.Div(
        [
            html.Section([html.H2("Decisions"), html.Div(_decisions(results), id="decisions")]),
            html.Section([html.H2("Sorting"), html.Div(_sorting(results), className="charts")]),
        ],
        className="page",
    )


def register(app: Dash, results: Results) -> None:
    """The list follows the decisions."""

    @app.callback(
        Output("decisions", "children"), Input("version", "data"), prevent_initial_call=True
    )
    def show(_: Any) -> list[Any]:
        return _decisions(results)


def _decisions(results: Results) -> list[Any]:
    if not results.decisions:
        return [html.P("None yet. Merge, drop and name clusters on their cards.")]
    counting = {number for number, _ in in_force(results.decisions)}
    rows = []
    for number, one in enumerate(results.decisions, 1):
        undone = number not in counting and one.action != "undo"
        decided = html.Del(str(one)) if undone else str(one)
        said = [decided, " ", html.Span(one.why, className="muted")]
        when = f"{one.date[:16].replace('T', ' ')} {one.who}"
        command = as_command(command_of(results.files.path, one))
        rows.append(html.Li([*said, html.Span(when, className="muted when"), command]))
    return [
        html.Ol(rows, className="decisions"),
        html.P(
            [
                "All of them again, on another run of the same seed: ",
                as_command(replay_command(results.files.path)),
            ]
        ),
    ]


def _sorting(results: Results) -> list[Any]:
    rows = results.history
    if not rows:
        return [html.P("The run kept no history of its sorting.")]
    return [
        dcc.Graph(
            figure=figure, config={"displayModeBar": False}, responsive=True, style={"height": 320}
        )
        for figure in (_criterion(rows), _sizes(rows), _index(rows))
    ]


def _criterion(rows: list[dict[str, Any]]) -> dict[str, Any]:
    kept = next((row for row in rows if row.get("kept")), rows[-1])
    bic = {int(k): value for k, value in kept.get("bic", {}).items()}
    chosen = kept["k"]
    figure = empty_figure("number of clusters K", "BIC (lower is better)")
    figure["data"] = [
        {"x": list(bic), "y": list(bic.values()), "mode": "lines+markers", "name": "BIC",
         "line": {"color": _ACCENT}},
    ]  # fmt: skip
    if chosen in bic:
        ring = {"size": 14, "symbol": "circle-open", "color": _ACCENT, "line": {"width": 2}}
        figure["data"].append(
            {"x": [chosen], "y": [bic[chosen]], "mode": "markers", "name": f"K = {chosen}",
             "marker": ring}
        )  # fmt: skip
    return figure


def _sizes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    figure = empty_figure("iteration", "subtomograms by cluster")
    iterations = [row["iteration"] for row in rows]
    ordered = [sorted(row["sizes"], reverse=True) for row in rows]
    figure["data"] = [
        {"type": "bar", "x": iterations, "y": [s[k] if k < len(s) else 0 for s in ordered],
         "name": f"cluster {k + 1}", "marker": {"color": cluster_colour(k)}}
        for k in range(max(map(len, ordered)))
    ]  # fmt: skip
    figure["layout"] |= {"barmode": "stack", "showlegend": False}
    figure["layout"]["xaxis"] |= _whole(iterations)
    return figure


def _index(rows: list[dict[str, Any]]) -> dict[str, Any]:
    figure = empty_figure("iteration", "")
    iterations = [row["iteration"] for row in rows]
    figure["data"] = [
        {"x": iterations, "y": [row.get(name) for row in rows], "name": text,
         "mode": "lines+markers", "line": {"color": colour, "dash": dash}}
        for name, text, colour, dash in (
            ("ddbi", "DDBI (lower is better)", _ACCENT, "solid"),
            ("label_change", "labels that changed", "#ee7733", "dash"),
        )
    ]  # fmt: skip
    figure["layout"]["xaxis"] |= _whole(iterations)
    return figure


def _whole(iterations: list[int]) -> dict[str, Any]:
    """Ticks at whole numbers."""
    return {"dtick": max(1, len(iterations) // 8)}
