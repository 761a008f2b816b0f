"""How all figures of the report look: colours, axes, scale bars; and the bytes of their PNG."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke

INK, MUTED, GRID, ACCENT = "#26292e", "#6a6f76", "#e6e6e2", "#0077bb"
DPI = 180


def empty_figure(width: float, height: float, **options: Any) -> Figure:
    """A figure of this size in inches; options as of Matplotlib's ``Figure``."""
    return Figure(figsize=(width, height), dpi=DPI, **options)


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches with one pair of quiet axes."""
    figure = empty_figure(width, height, layout="constrained")
    axes = figure.add_subplot()
    style_axes(axes)
    return figure, axes


def style_axes(axes: Axes) -> None:
    """Quiet axes: a light grid, no box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c4c0")
    axes.tick_params(colors=MUTED, labelsize=8, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=9)


def scale_bar_nm(width_nm: float) -> float:
    """A round length (1, 2 or 5 times a power of ten, in nm) of about a quarter of a width."""
    target = width_nm / 4
    power = 10 ** np.floor(np.log10(target))
    return float(max(step * power for step in (1, 2, 5) if step * power <= target * (1 + 1e-9)))


def draw_scale_bar(
    axes: Axes, width_px: int, voxel_size_angstrom: float, *, fontsize: float
) -> None:
    """A bar with its length, at the lower left, legible on any ground."""
    length_nm = scale_bar_nm(width_px * voxel_size_angstrom / 10)
    length_px = length_nm * 10 / voxel_size_angstrom
    low_x, low_y = (min(limits) for limits in (axes.get_xlim(), axes.get_ylim()))
    margin = 0.045 * width_px
    thickness = 0.018 * width_px
    halo: list[AbstractPathEffect] = [withStroke(linewidth=2, foreground="black")]
    bar = Rectangle((low_x + margin, low_y + margin), length_px, thickness, color="white", zorder=4)
    bar.set_path_effects(halo)
    axes.add_patch(bar)
    text = axes.text(
        low_x + margin, low_y + margin + 1.8 * thickness, f"{length_nm:g} nm", color="white",
        fontsize=fontsize, fontweight="bold", va="bottom", ha="left", zorder=4,
    )  # fmt: skip
    text.set_path_effects(halo)


def png_of(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same content."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
