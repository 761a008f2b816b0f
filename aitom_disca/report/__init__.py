"""The report of a run: figures and one self-contained HTML page."""

from aitom_disca.report.figures import (
    cluster_colour,
    draw_bic,
    draw_feature_map,
    draw_history,
    draw_orthoslices,
    draw_picks,
)
from aitom_disca.report.html import PickOverlay, ReportData, render_report, write_report
from aitom_disca.report.space_figures import draw_neighbour_distances, draw_orientations

__all__ = [
    "PickOverlay",
    "ReportData",
    "cluster_colour",
    "draw_bic",
    "draw_feature_map",
    "draw_history",
    "draw_neighbour_distances",
    "draw_orientations",
    "draw_orthoslices",
    "draw_picks",
    "render_report",
    "write_report",
]
