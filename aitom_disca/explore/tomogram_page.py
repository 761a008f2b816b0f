"""Tomograms slice by slice, with their particles by cluster."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from dash import Dash, Input, Output, State, dcc, html
from flask import Response, abort, request

from aitom_disca.colours import cluster_colour
from aitom_disca.explore import selected_particles
from aitom_disca.explore.feature_map import legend_of
from aitom_disca.explore.member_images import tiles
from aitom_disca.explore.plot_style import FILLING, empty_figure, packed, symbol_of
from aitom_disca.explore.results import Results
from aitom_disca.explore.tomogram_slices import (
    AXES,
    PLANES,
    contrast_of,
    diameter_px,
    diameters_px,
    placed_file,
    slice_png,
)

_CONTRAST = [2, 99]  # per cent of the voxels that are black, and not yet white
_CORNERS = {"circle": 32, "square": 4, "diamond": 4, "triangle-up": 3}  # of outlines
_NEAR_DIAMETERS = 1 / 2  # particles nearer to the slice are drawn
_ALONG = {"0": "along z", "1": "along y", "2": "along x"}
_CONFIG: Any = {"displaylogo": False, "modeBarButtonsToRemove": ["autoScale2d"]}


def layout(results: Results) -> html.Div | html.P:
    """The slice, its controls, and the particle that was clicked."""
    names = list(results.tomograms) if results.store_path is not None else []
    if not names:
        return html.P("The tomograms of this run are not where they were.")
    first = next(iter(results.tomograms.values()))
    at = _middle(results, first.name, 0)
    tick = [{"label": "averages put back", "value": "placed"}]
    has_placed = any(placed_file(results, name) for name in names)
    return html.Div(
        [
            html.Div(
                [
                    html.Label(
                        ["tomogram", dcc.Dropdown(names, names[0], id="tomogram", clearable=False)],
                        className="field",
                    ),
                    dcc.RadioItems(_ALONG, "0", id="axis", inline=True),
                    dcc.Checklist(tick if has_placed else [], [], id="placed"),
                    html.Label(["contrast", _contrast()], className="field slider"),
                ],
                className="toolbar",
            ),
            html.Div(legend_of(results, "cluster"), className="legend"),
            html.Div(
                dcc.Slider(0, first.shape_zyx[0] - 1, 1, value=at, id="slice-at", marks=None,
                           updatemode="drag", tooltip={"placement": "bottom"}),
                className="slider wide",
            ),
            html.Div(
                [
                    html.Div(
                        dcc.Graph(
                            id="slice",
                            figure=_figure(results, first.name, 0, at, _CONTRAST, []),
                            config=_CONFIG,
                            **FILLING,
                        ),
                        className="large",
                    ),
                    html.Div("Click a particle to see it.", id="particle", className="particle"),
                ],
                className="beside",
            ),
            dcc.Store(id="slice-shape"),
            selected_particles.bar(results),
        ]
    )  # fmt: skip


def _contrast() -> dcc.RangeSlider:
    return dcc.RangeSlider(0, 100, 1, value=_CONTRAST, id="contrast", marks=None,
                           allowCross=False)  # fmt: skip


def register(app: Dash, results: Results) -> None:
    """Slices, clicks and boxes; and the pictures of slices."""

    @app.callback(
        Output("slice-at", "max"),
        Output("slice-at", "value"),
        Input("tomogram", "value"),
        Input("axis", "value"),
        prevent_initial_call=True,
    )
    def along(name: str, axis: str) -> tuple[int, int]:
        n = results.tomograms[name].shape_zyx[int(axis)]
        return n - 1, _middle(results, name, int(axis))

    @app.callback(
        Output("slice", "figure"),
        Input("slice-at", "value"),
        Input("contrast", "value"),
        Input("placed", "value"),
        Input("version", "data"),
        State("tomogram", "value"),
        State("axis", "value"),
        prevent_initial_call=True,
    )
    def draw(
        at: int, contrast: list[int], placed: list[str], _: Any, name: str, axis: str
    ) -> dict[str, Any]:
        return _figure(results, name, int(axis), at, contrast, placed)

    selected_particles.keep_shape(app, "slice", "slice-shape")

    @app.callback(
        Output("selected", "children", allow_duplicate=True),
        Input("slice-shape", "data"),
        State("slice-at", "value"),
        State("tomogram", "value"),
        State("axis", "value"),
        prevent_initial_call=True,
    )
    def take(shape: dict[str, Any] | None, at: int, name: str, axis: str) -> str:
        if shape is None:
            return selected_particles.described(results)
        rows = rows_near(results, name, int(axis), at)
        across, up = PLANES[int(axis)]
        places = results.particles.center_zyx_px[rows]
        return selected_particles.select(
            results, rows[selected_particles.inside(shape, places[:, across], places[:, up])]
        )

    @app.callback(
        Output("particle", "children"),
        Output("selected", "children", allow_duplicate=True),
        Input("slice", "clickData"),
        prevent_initial_call=True,
    )
    def look(click: dict[str, Any]) -> tuple[Any, str]:
        row = int(click["points"][0]["customdata"])
        return _particle(results, row), selected_particles.select(results, np.array([row]))

    values = lru_cache(maxsize=64)(lambda name: contrast_of(results, results.tomograms[name]))

    @app.server.route("/slice/<int:number>/<int:axis>/<int:at>.png")
    def picture(number: int, axis: int, at: int) -> Response:
        tomograms = list(results.tomograms.values())
        if number >= len(tomograms) or axis > 2 or at >= tomograms[number].shape_zyx[axis]:
            abort(404)
        tomogram = tomograms[number]
        scale = values(tomogram.name)
        low, high = (
            scale[min(max(request.args.get(word, type=int, default=other), 0), 100)]
            for word, other in zip(("low", "high"), _CONTRAST, strict=True)
        )
        placed = "placed" in request.args
        png = slice_png(results, tomogram, axis, at, float(low), float(high), placed)
        answer = Response(png, mimetype="image/png")
        answer.headers["Cache-Control"] = "private, max-age=3600"
        return answer


def rows_near(results: Results, name: str, axis: int, at: int) -> np.ndarray:
    """Rows of the particles whose centres are within half a diameter of a slice."""
    near = _NEAR_DIAMETERS * diameter_px(results, results.tomograms[name])
    here = results.particles.tomogram_name == name
    apart = np.abs(results.particles.center_zyx_px[:, axis] - at)
    return np.flatnonzero(here & (apart <= max(near, 1)))


def _figure(
    results: Results, name: str, axis: int, at: int, contrast: list[int], placed: list[str]
) -> dict[str, Any]:
    tomogram = results.tomograms[name]
    across, up = PLANES[axis]
    width, height = tomogram.shape_zyx[across], tomogram.shape_zyx[up]
    rows = rows_near(results, name, axis, at)
    places = results.particles.center_zyx_px[rows]
    number = list(results.tomograms).index(name)
    source = f"slice/{number}/{axis}/{at}.png?low={contrast[0]}&high={contrast[1]}"
    labels = results.labels[rows]
    figure = empty_figure(f"{AXES[across]} (voxels)", f"{AXES[up]} (voxels)")
    diameter = diameters_px(results, tomogram, rows)
    figure["data"] = [
        *_outlines(places[:, across], places[:, up], diameter, labels),
        {
            "type": "scatter", "mode": "markers",
            "x": places[:, across].tolist(), "y": places[:, up].tolist(),
            "customdata": rows.tolist(),
            "text": [results.title_of(int(label) + 1) for label in labels],
            "hovertemplate": "%{text}, particle %{customdata}<extra></extra>",
            # dots in the middle: for the pointer, and seen where they are selected
            "marker": {
                "size": 8, "opacity": 0, "color": [cluster_colour(int(label)) for label in labels]
            },
            "selected": {"marker": {"opacity": 1}},
            "unselected": {"marker": {"opacity": 0}},
        }
    ]  # fmt: skip
    more = "&placed=1" if placed else ""
    figure["layout"]["images"] = [
        {"source": source + more, "xref": "x", "yref": "y", "x": -0.5, "y": height - 0.5,
         "sizex": width, "sizey": height, "sizing": "stretch", "layer": "below"}
    ]  # fmt: skip
    figure["layout"]["xaxis"] |= {"range": [-0.5, width - 0.5], "showgrid": False,
                                  "constrain": "domain"}  # fmt: skip
    figure["layout"]["yaxis"] |= {"range": [-0.5, height - 0.5], "showgrid": False,
                                  "constrain": "domain", "scaleanchor": "x"}  # fmt: skip
    figure["layout"] |= {
        "dragmode": "select", "uirevision": f"{name}/{axis}", "showlegend": False
    }  # fmt: skip
    return figure


def _outlines(
    x: np.ndarray, y: np.ndarray, diameter: np.ndarray, labels: np.ndarray
) -> list[dict[str, Any]]:
    """A line a cluster round its particles, as large as they are, in voxels; NaN between them."""
    traces = []
    for label in np.unique(labels).tolist():
        own = labels == label
        corners = _CORNERS[symbol_of(label)]
        turned = 0.0 if symbol_of(label) == "diamond" else np.pi / corners
        angle = turned - np.pi / 2 + np.linspace(0, 2 * np.pi, corners + 1)
        reach = diameter[own, None] / 2 / np.cos(np.pi / corners)  # the sides touch the particle
        lines = [
            np.pad(at[own, None] + reach * turn(angle), ((0, 0), (0, 1)), constant_values=np.nan)
            for at, turn in ((x, np.cos), (y, np.sin))
        ]
        traces.append(
            {"type": "scatter", "mode": "lines", "hoverinfo": "skip",
             "x": packed(lines[0].ravel()), "y": packed(lines[1].ravel()),
             "line": {"color": cluster_colour(label), "width": 2}}
        )  # fmt: skip
    return traces


def _middle(results: Results, name: str, axis: int) -> int:
    """A slice where many particles are: the median of their places."""
    here = results.particles.center_zyx_px[results.particles.tomogram_name == name, axis]
    n = results.tomograms[name].shape_zyx[axis]
    return int(np.clip(np.median(here) if len(here) else n // 2, 0, n - 1))


def _particle(results: Results, row: int) -> list[Any]:
    z, y, x = results.particles.center_zyx_px[row]
    rows = [("particle", str(row)), ("in", results.title_of(int(results.labels[row]) + 1))]
    rows.append(("at x, y, z", f"{x:.0f}, {y:.0f}, {z:.0f}"))
    if results.posterior is not None:
        rows.append(("posterior", f"{results.posterior[row]:.2f}"))
    rows += [(name, f"{values[row]:.4g}") for name, values in results.properties.items()]
    return [
        tiles(results, np.array([row]))[0]["label"],
        html.Dl([one for name, text in rows for one in (html.Dt(name), html.Dd(text))]),
    ]
