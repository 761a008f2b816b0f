"""What the plots of the page have in common; ink and grid follow the style sheet."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np

from aitom_disca.colours import CLUSTER_COLOURS

FILLING: Any = {"responsive": True, "style": {"height": "100%"}}  # of a graph in its frame
_STANDOFF_PX = 10  # of titles from the numbers of their axes
SYMBOLS = ("circle", "square", "diamond", "triangle-up")  # when colours begin again


def symbol_of(cluster: int) -> str:
    """Shape of the marks of a cluster (from 0; negative: none)."""
    return SYMBOLS[max(cluster, 0) // len(CLUSTER_COLOURS) % len(SYMBOLS)]


def empty_figure(x_title: str, y_title: str) -> dict[str, Any]:
    """A figure without data, on the ground of the page."""
    axis = {"zeroline": False, "automargin": True, "gridcolor": "rgba(128,128,128,0.25)"}
    return {
        "data": [],
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 50, "r": 12, "t": 12, "b": 54},
            "xaxis": {**axis, "title": {"text": x_title, "standoff": _STANDOFF_PX}},
            "yaxis": {**axis, "title": {"text": y_title, "standoff": _STANDOFF_PX}},
            "legend": {"orientation": "h", "y": 1.12},
            "font": {"family": "system-ui, sans-serif"},
        },
    }


def packed(values: np.ndarray) -> dict[str, str]:
    """An array as Plotly takes it in few bytes."""
    kind = "f4" if values.dtype.kind == "f" else "i4"
    return {"dtype": kind, "bdata": b64encode(values.astype(f"<{kind}").tobytes()).decode()}
