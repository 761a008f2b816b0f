"""Figures of the report, each as the bytes of a PNG.

Drawn on figures of their own: nothing here touches ``pyplot`` or its global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import MaxNLocator

from aitom_disca.colours import CLUSTER_COLOURS, cluster_colour
from aitom_disca.colours import UNASSIGNED_COLOUR as UNASSIGNED_COLOUR
from aitom_disca.geometry import centre_index

_MARKERS = "os^Dv"  # a new shape when the colours begin again
_INK, _MUTED, _GRID, _ACCENT = "#26292e", "#6a6f76", "#e6e6e2", "#0077bb"
_DPI = 180


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
    figure = Figure(figsize=(4.5, 1.72), dpi=_DPI)
    panels = figure.subplots(
        1, 3, gridspec_kw={"left": 0, "right": 1, "top": 0.87, "bottom": 0, "wspace": 0.03}
    )
    for axis, (axes, name) in enumerate(zip(panels, ("x–y", "x–z", "y–z"), strict=True)):
        plane = volume_zyx.take(centre_index(volume_zyx.shape[axis]), axis=axis)
        axes.imshow(
            plane, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="bicubic"
        )
        axes.set_axis_off()
        axes.set_title(name, fontsize=11, color=_MUTED, pad=4)
    if voxel_size_angstrom:
        _draw_scale_bar(panels[0], volume_zyx.shape[2], voxel_size_angstrom, fontsize=10)
    return _png(figure)


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
    figure, axes = _plot(5.2, 4.4)
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
            color=_INK,
        )  # fmt: skip
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.set_xticks([])
    axes.set_yticks([])
    return _png(figure)


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
    figure, axes = _plot(5.2, 3.0)
    axes.plot(list(finite), list(finite.values()), "o-", color=_ACCENT, markersize=4, linewidth=1.5)
    chosen = min(finite, key=lambda k: finite[k]) if chosen_k is None and finite else chosen_k
    if chosen in finite:
        axes.plot(chosen, finite[chosen], "o", markersize=10, mfc="none", mec=_INK, mew=1.4)
        axes.annotate(
            f"K = {chosen}", (chosen, finite[chosen]), xytext=(0, 11), textcoords="offset points",
            ha="center", fontsize=9, color=_INK,
        )  # fmt: skip
    axes.margins(x=0.06, y=0.16)
    axes.set_xlabel("number of clusters K")
    axes.set_ylabel("BIC (lower is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=True)
    axes.yaxis.get_offset_text().set(fontsize=8, color=_MUTED)
    return _png(figure)


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
    figure = Figure(figsize=(9.6, 2.9), dpi=_DPI, layout="constrained")
    panels = figure.subplots(1, max(len(present), 1), squeeze=False)[0]
    for axes, name in zip(panels, present, strict=False):
        held = [row for row in rows if row.get(name) is not None]
        _style(axes)
        wanted[name](axes, np.array([row["iteration"] for row in held]), [r[name] for r in held])
        if best_iteration is not None:
            axes.axvline(best_iteration, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
        axes.set_xlabel("iteration")
        axes.set_xlim(rows[0]["iteration"] - 0.6, rows[-1]["iteration"] + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    return _png(figure)


def _draw_ddbi(axes: Axes, iterations: np.ndarray, values: list[Any]) -> None:
    axes.plot(iterations, values, "o-", color=_ACCENT, markersize=3.5, linewidth=1.5)
    axes.set_title("DDBI (lower is better)", fontsize=9, color=_INK)


def _draw_label_change(axes: Axes, iterations: np.ndarray, values: list[Any]) -> None:
    percent = 100 * np.asarray(values, float)
    axes.plot(iterations, percent, "o-", color=_ACCENT, markersize=3.5, linewidth=1.5)
    axes.set_ylim(bottom=0)
    axes.set_title("labels that changed (%)", fontsize=9, color=_INK)


def _draw_sizes(axes: Axes, iterations: np.ndarray, values: list[Any]) -> None:
    """Stacked bars: colours as in the rest of the report."""
    for x, sizes in zip(iterations, values, strict=True):
        bottoms = np.concatenate([[0], np.cumsum(sizes)])
        for cluster, size in enumerate(sizes):
            axes.bar(
                x, size, 0.84, bottom=bottoms[cluster], color=cluster_colour(cluster),
                edgecolor="white", linewidth=0.5,
            )  # fmt: skip
    axes.set_title("cluster sizes", fontsize=9, color=_INK)


def _plot(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    """Quiet axes: a light grid, no box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c4c0")
    axes.tick_params(colors=_MUTED, labelsize=8, length=3)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_INK, fontsize=9)


def scale_bar_nm(width_nm: float) -> float:
    """A round length (1, 2 or 5 times a power of ten, in nm) of about a quarter of a width."""
    target = width_nm / 4
    power = 10 ** np.floor(np.log10(target))
    return float(max(step * power for step in (1, 2, 5) if step * power <= target * (1 + 1e-9)))


def _draw_scale_bar(
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


def _png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same content."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
