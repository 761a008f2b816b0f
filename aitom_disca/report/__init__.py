"""The report of a run: figures and one self-contained HTML page."""

from aitom_disca.report.cell_figure import draw_cell
from aitom_disca.report.figures import (
    cluster_colour,
    draw_bic,
    draw_feature_map,
    draw_history,
    draw_orthoslices,
)
from aitom_disca.report.html import CellPicture, ReportData, render_report, write_report
from aitom_disca.report.space_figures import draw_neighbour_distances, draw_orientations

__all__ = [
    "CellPicture",
    "ReportData",
    "cluster_colour",
    "draw_bic",
    "draw_cell",
    "draw_feature_map",
    "draw_history",
    "draw_neighbour_distances",
    "draw_orientations",
    "draw_orthoslices",
    "render_report",
    "write_report",
]
