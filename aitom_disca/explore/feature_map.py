"""The particles in the space of their features, coloured by what is known of them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from dash import Dash, Input, Output, State, dcc, html

from aitom_disca.colours import CLUSTER_COLOURS, UNASSIGNED_COLOUR, cluster_colour
from aitom_disca.explore import selected_particles
from aitom_disca.explore.plot_style import FILLING, SYMBOLS, empty_figure, packed, symbol_of
from aitom_disca.explore.results import Results

_MOST_DRAWN = 40_000  # of more, so many are drawn, by chance: a lasso takes all, and stays quick
_CLUSTER, _TOMOGRAM, _POSTERIOR = "cluster", "tomogram", "posterior"
_MEASURED = "measured: "
_UMAP = "UMAP"
_CONFIG: Any = {"scrollZoom": True, "displaylogo": False, "modeBarButtonsToRemove": ["autoScale2d"]}


def layout(results: Results) -> html.Div | html.P:
    """The plot, and what it is coloured by."""
    if results.embedding is None:
        return html.P("The run kept no features of its subtomograms, so that there is no map.")
    axes = {name: name for name in _axes(results)}
    across, up = list(axes)[:2]
    return html.Div(
        [
            html.Div(
                [
                    _field("colour by", _choices(results), _CLUSTER, "colour-by"),
                    _field("across", axes, across, "across"),
                    _field("up", axes, up, "up"),
                    html.Span(_how_many(len(results.labels)), className="muted"),
                ],
                className="toolbar",
            ),
            dcc.Loading(html.Div(id="legend", className="legend"), delay_show=400),
            html.Div(
                dcc.Graph(id="map", figure=empty_figure("", ""), config=_CONFIG, **FILLING),
                className="large",
            ),
            dcc.Store(id="map-shape"),
            selected_particles.bar(results),
        ]
    )


def register(app: Dash, results: Results) -> None:
    """Colours, axes and the lasso."""

    @app.callback(
        Output("map", "figure"),
        Output("legend", "children"),
        Input("colour-by", "value"),
        Input("across", "value"),
        Input("up", "value"),
        Input("version", "data"),
    )
    def draw(by: str, across: str, up: str, _: Any) -> tuple[dict[str, Any], list[Any]]:
        return figure_of(results, by, across, up), legend_of(results, by)

    selected_particles.keep_shape(app, "map", "map-shape")

    @app.callback(
        Output("selected", "children", allow_duplicate=True),
        Input("map-shape", "data"),
        State("across", "value"),
        State("up", "value"),
        prevent_initial_call=True,
    )
    def take(shape: dict[str, Any] | None, across: str, up: str) -> str:
        if shape is None:
            return selected_particles.described(results)
        x, y = along(results, across), along(results, up)
        return selected_particles.select(
            results, np.flatnonzero(selected_particles.inside(shape, x, y))
        )


def drawn_rows(n: int) -> np.ndarray:
    """The rows that are drawn of so many, ascending; the same every time."""
    if n <= _MOST_DRAWN:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, _MOST_DRAWN, replace=False))


def along(results: Results, axis: str) -> np.ndarray:
    """Places of all particles along an axis of the map."""
    assert results.embedding is not None  # noqa: S101  the view says so otherwise
    name, number = axis.split()
    of = results.umap if name == _UMAP else results.embedding
    return of[:, int(number) - 1]


def _axes(results: Results) -> list[str]:
    assert results.embedding is not None  # noqa: S101  the view says so otherwise
    umap = [f"{_UMAP} 1", f"{_UMAP} 2"] if find_spec("umap") else []
    return [*(f"component {i + 1}" for i in range(results.embedding.shape[1])), *umap]


def figure_of(results: Results, by: str, across: str, up: str) -> dict[str, Any]:
    """One trace of points, coloured by a property."""
    rows = drawn_rows(len(results.labels))
    marker: dict[str, Any] = {"size": 7 if len(rows) < 3000 else 4, "opacity": 0.8}
    kinds = _kinds(results, by)
    if kinds is not None:
        number, colours = kinds
        marker |= {"color": packed(number[rows]), "cmin": -0.5, "cmax": len(colours) - 0.5}
        marker["colorscale"] = _steps(colours)
        again = np.maximum(number[rows] - (by == _CLUSTER), 0) // len(CLUSTER_COLOURS)
        if again.any():
            marker["symbol"] = [SYMBOLS[i] for i in (again % len(SYMBOLS)).tolist()]
    else:
        values = _values(results, by)
        low, high = np.nanpercentile(values, (1, 99)) if np.isfinite(values).any() else (0, 1)
        marker |= {"color": packed(values[rows]), "colorscale": "Cividis", "showscale": True}
        marker |= {"cmin": low, "cmax": high, "colorbar": {"thickness": 12}}
    figure = empty_figure(across, up)
    x, y = along(results, across)[rows], along(results, up)[rows]
    figure["data"] = [
        {"type": "scattergl", "mode": "markers", "x": packed(x), "y": packed(y),
         "marker": marker, "hoverinfo": "skip", "unselected": {"marker": {"opacity": 0.15}}}
    ]  # fmt: skip
    figure["layout"] |= {"dragmode": "lasso", "uirevision": f"{across}/{up}"}
    return figure


def legend_of(results: Results, by: str) -> list[Any]:
    """Swatches of clusters or tomograms."""
    if by == _CLUSTER:
        shown = [(k - 1, results.title_of(k)) for k in (*results.clusters(), 0)]
    elif by == _TOMOGRAM:
        shown = list(enumerate(np.unique(results.particles.tomogram_name).tolist()))
    else:
        return []
    return [
        html.Span(
            [html.I(style={"background": cluster_colour(i)}, className=symbol_of(i)), text],
            className="swatch",
        )
        for i, text in shown
    ]


def _kinds(results: Results, by: str) -> tuple[np.ndarray, list[str]] | None:
    """For each particle the place of its colour, and the colours; None for a number."""
    if by == _CLUSTER:
        n = int(results.labels.max(initial=0)) + 1
        return results.labels + 1, [UNASSIGNED_COLOUR, *map(cluster_colour, range(n))]
    if by == _TOMOGRAM:
        names, number = np.unique(results.particles.tomogram_name, return_inverse=True)
        return number, [cluster_colour(i) for i in range(len(names))]
    return None


def _values(results: Results, by: str) -> np.ndarray:
    if by == _POSTERIOR and results.posterior is not None:
        return results.posterior
    if by.startswith(_MEASURED):
        return results.nuisances[by.removeprefix(_MEASURED)]
    return results.properties[by]


def _choices(results: Results) -> dict[str, str]:
    found = {_CLUSTER: _CLUSTER}
    if results.posterior is not None:
        found[_POSTERIOR] = _POSTERIOR
    if results.store_path is not None:
        found |= {_TOMOGRAM: _TOMOGRAM, **{name: name for name in results.properties}}
        found |= {f"{_MEASURED}{n}": f"{n} (measured now)" for n in results.nuisance_names}
    return found


def _steps(colours: list[str]) -> list[list[Any]]:
    """A colour scale of plain steps."""
    edges = np.linspace(0, 1, len(colours) + 1)
    return [[edge, c] for i, c in enumerate(colours) for edge in edges[i : i + 2].tolist()]


def _how_many(n: int) -> str:
    return f"{_MOST_DRAWN:,} of {n:,} are drawn; a lasso takes all" if n > _MOST_DRAWN else ""


def _field(text: str, options: dict[str, str], value: str, name: str) -> html.Label:
    return html.Label([text, dcc.Dropdown(options, value, id=name, clearable=False)],
                      className="field")  # fmt: skip
