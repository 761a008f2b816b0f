"""Figures of the report, each as the bytes of a PNG.

Drawn on figures of their own: nothing here touches ``pyplot`` or its global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from aitom_disca.colours import CLUSTER_COLOURS, cluster_colour
from aitom_disca.colours import UNASSIGNED_COLOUR as UNASSIGNED_COLOUR
from aitom_disca.geometry import centre_index
from aitom_disca.report.figure_style import (
    ACCENT,
    INK,
    MUTED,
    draw_scale_bar,
    empty_figure,
    new_figure,
    png_of,
    style_axes,
)

_MARKERS = "os^Dv"  # a new shape when the colours begin again


def draw_orthoslices(volume_zyx: np.ndarray, voxel_size_angstrom: float | None = None) -> bytes:
    """Draw the three central slices of a volume side by side, protein bright.

    Parameters
    ----------
    volume_zyx : ndarray of shape (z, y, x)
        The slices go through voxel ``n // 2``.
    voxel_size_angstrom : float, optional
        For the scale bar, which is left out without it.
    """
    low, high = np.percentile(volume_zyx, (1, 99.8))
    figure = empty_figure(4.5, 1.72)
    panels = figure.subplots(
        1, 3, gridspec_kw={"left": 0, "right": 1, "top": 0.87, "bottom": 0, "wspace": 0.03}
    )
    for axis, (axes, name) in enumerate(zip(panels, ("x–y", "x–z", "y–z"), strict=True)):
        plane = volume_zyx.take(centre_index(volume_zyx.shape[axis]), axis=axis)
        axes.imshow(
            plane, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="bicubic"
        )
        axes.set_axis_off()
        axes.set_title(name, fontsize=11, color=MUTED, pad=4)
    if voxel_size_angstrom:
        draw_scale_bar(panels[0], volume_zyx.shape[2], voxel_size_angstrom, fontsize=10)
    return png_of(figure)


def draw_feature_map(
    embedding: np.ndarray,
    labels: np.ndarray | None = None,
    axis_names: tuple[str, str] = ("component 1", "component 2"),
) -> bytes:
    """Draw the subtomograms in two dimensions, coloured and numbered by cluster.

    Parameters
    ----------
    embedding : ndarray of shape (N, 2)
    labels : ndarray of int, shape (N,), optional
        Clusters from 0, negative for none; shown counted from 1.
    axis_names : tuple of 2 str
    """
    figure, axes = new_figure(5.2, 4.4)
    labels = np.zeros(len(embedding), int) if labels is None else np.asarray(labels)
    size = float(np.clip(6000 / max(len(embedding), 1), 1.5, 16))
    for cluster in np.unique(labels):
        points = embedding[labels == cluster]
        marker = _MARKERS[max(cluster, 0) // len(CLUSTER_COLOURS) % len(_MARKERS)]
        axes.scatter(
            points[:, 0], points[:, 1], s=size, marker=marker, color=cluster_colour(cluster),
            alpha=0.75, linewidths=0,
        )  # fmt: skip
    for cluster in np.unique(labels[labels >= 0]) if np.ptp(labels) else ():
        x, y = np.median(embedding[labels == cluster], axis=0)
        text = axes.text(
            x, y, str(cluster + 1), ha="center", va="center", fontsize=11, fontweight="bold",
            color=INK,
        )  # fmt: skip
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.set_xticks([])
    axes.set_yticks([])
    return png_of(figure)


def draw_bic(bic_by_k: Mapping[int, float], chosen_k: int | None = None) -> bytes:
    """Draw BIC against the number of clusters; lower is better.

    Parameters
    ----------
    bic_by_k : mapping of int to float
        Any numbers of clusters that were tried.
    chosen_k : int, optional
        The one to mark; the lowest BIC, unless given.
    """
    finite = {k: v for k, v in sorted(bic_by_k.items()) if np.isfinite(v)}
    figure, axes = new_figure(5.2, 3.0)
    axes.plot(list(finite), list(finite.values()), "o-", color=ACCENT, markersize=4, linewidth=1.5)
    chosen = min(finite, key=lambda k: finite[k]) if chosen_k is None and finite else chosen_k
    if chosen in finite:
        axes.plot(chosen, finite[chosen], "o", markersize=10, mfc="none", mec=INK, mew=1.4)
        axes.annotate(
            f"K = {chosen}", (chosen, finite[chosen]), xytext=(0, 11), textcoords="offset points",
            ha="center", fontsize=9, color=INK,
        )  # fmt: skip
    axes.margins(x=0.06, y=0.16)
    axes.set_xlabel("number of clusters K")
    axes.set_ylabel("BIC (lower is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=True)
    axes.yaxis.get_offset_text().set(fontsize=8, color=MUTED)
    return png_of(figure)


def draw_history(rows: Sequence[Mapping[str, Any]], best_iteration: int | None = None) -> bytes:
    """Draw DDBI, change of labels and cluster sizes per iteration, as far as the rows hold them.

    Parameters
    ----------
    rows : sequence of mappings
        Keys ``iteration``, ``ddbi`` (lower is better), ``label_change`` (0 to 1) and ``sizes``
        (subtomograms per cluster); all but the first optional.
    best_iteration : int, optional
        The iteration whose solution was kept, to mark it.
    """
    wanted = {"ddbi": _draw_ddbi, "label_change": _draw_label_change, "sizes": _draw_sizes}
    present = [name for name in wanted if any(row.get(name) is not None for row in rows)]
    figure = empty_figure(9.6, 2.9, layout="constrained")
    panels = figure.subplots(1, max(len(present), 1), squeeze=False)[0]
    for axes, name in zip(panels, present, strict=False):
        held = [row for row in rows if row.get(name) is not None]
        style_axes(axes)
        wanted[name](axes, np.array([row["iteration"] for row in held]), [r[name] for r in held])
        if best_iteration is not None:
            axes.axvline(best_iteration, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
        axes.set_xlabel("iteration")
        axes.set_xlim(rows[0]["iteration"] - 0.6, rows[-1]["iteration"] + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    return png_of(figure)


def _draw_ddbi(axes: Axes, iterations: np.ndarray, values: list[Any]) -> None:
    axes.plot(iterations, values, "o-", color=ACCENT, markersize=3.5, linewidth=1.5)
    axes.set_title("DDBI (lower is better)", fontsize=9, color=INK)


def _draw_label_change(axes: Axes, iterations: np.ndarray, values: list[Any]) -> None:
    percent = 100 * np.asarray(values, float)
    axes.plot(iterations, percent, "o-", color=ACCENT, markersize=3.5, linewidth=1.5)
    axes.set_ylim(bottom=0)
    axes.set_title("labels that changed (%)", fontsize=9, color=INK)


def _draw_sizes(axes: Axes, iterations: np.ndarray, values: list[Any]) -> None:
    """Stacked bars: colours as in the rest of the report."""
    for x, sizes in zip(iterations, values, strict=True):
        bottoms = np.concatenate([[0], np.cumsum(sizes)])
        for cluster, size in enumerate(sizes):
            axes.bar(
                x, size, 0.84, bottom=bottoms[cluster], color=cluster_colour(cluster),
                edgecolor="white", linewidth=0.5,
            )  # fmt: skip
    axes.set_title("cluster sizes", fontsize=9, color=INK)
