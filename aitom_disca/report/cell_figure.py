"""One picture of a cell: a slice with what lies in it, coloured by kind, and averages beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from PIL import Image

from aitom_disca.geometry import centre_index
from aitom_disca.report.cell_slice import CellSlice, Kind
from aitom_disca.report.figure_style import INK, MUTED, draw_scale_bar

MARKERS = {"gold": "o", "sheet": "s", "filament": "^", "noise": "x", "filler": "."}
_OTHER_MARKER = "P"
_JUNK_COLOUR = "#dededa"
_SLICE_INCH, _WIDEST_INCH = 5.4, 7.6
_GAP, _TITLE, _LEGEND_ROW, _LEGEND_ITEM = 0.12, 0.3, 0.22, 1.3
_ROWS, _LABEL, _HEADING, _ROW_GAP = 6, 0.2, 0.2, 0.05  # of averages, at most 6 in a column
_LARGEST_TILE, _TILE_STEP, _TEMPLATE_GAP = 1.15, 1.015, 0.06  # the last two in tiles
_GREYS = 24  # as many show a slice, and the file stays small
_MIXTURES = [(share, grey) for share in (0.66, 0.33) for grey in (1.0, 0.5, 0.0)]  # at edges


@dataclass(frozen=True)
class AverageView:
    """An average (z, y, x) to be shown, and what it should look like, if that is known.

    Parameters
    ----------
    name, colour : str
    volume_zyx : ndarray of shape (z, y, x)
        Protein bright.
    template_zyx : ndarray of the same shape, optional
    note : str
    voxel_size_angstrom : float, optional
        For a scale bar.
    """

    name: str
    colour: str
    volume_zyx: np.ndarray
    template_zyx: np.ndarray | None = None
    note: str = ""
    voxel_size_angstrom: float | None = None


def draw_cell(
    slices: Sequence[CellSlice], averages: Sequence[AverageView] = (), *, dpi: int = 130
) -> bytes:
    """Draw slices side by side, each with its particles and a legend, and averages beside them.

    Parameters
    ----------
    slices : sequence of CellSlice
        At least one; those of one tomogram are drawn in one size.
    averages : sequence of AverageView
        Central slices x–y and x–z of each, beside those of its template.
    dpi : int
        Pixels per inch; a slice is about 5.4 inches high.

    Returns
    -------
    bytes
        A PNG.
    """
    sizes = [_size_inch(one.shape_yx) for one in slices]
    columns = [max(1, int(width / _LEGEND_ITEM)) for width, _ in sizes]
    legend_rows = max(-(-len(_shown(one)) // n) for one, n in zip(slices, columns, strict=True))
    below = _LEGEND_ROW * legend_rows + 0.1
    height = _TITLE + max(h for _, h in sizes) + below
    tile, n_columns = _tile_inch(averages, height - _HEADING)
    beside = n_columns * (_row_inch(tile, _has_template(averages)) + 2 * _GAP)
    width = sum(w + _GAP for w, _ in sizes) - _GAP + beside
    figure = Figure(figsize=(width, height), dpi=dpi)
    left = 0.0
    for one, (w, h), n in zip(slices, sizes, columns, strict=True):
        axes = _axes(figure, left, height - _TITLE - h, w, h)
        _draw_slice(axes, one)
        _draw_legend(figure, one, (left, height - _TITLE - h - 0.04), n)
        left += w + _GAP
    _draw_averages(figure, averages, left + _GAP, tile, n_columns)
    colours = [kind.colour for one in slices for kind in one.kinds if kind.colour]
    return _small_png(figure, [*colours, *(one.colour for one in averages)])


def _size_inch(shape_yx: tuple[int, int]) -> tuple[float, float]:
    """Width and height of a slice."""
    ny, nx = shape_yx
    width = _SLICE_INCH * nx / ny
    return (width, _SLICE_INCH) if width <= _WIDEST_INCH else (_WIDEST_INCH, _WIDEST_INCH * ny / nx)


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, bottom / h, width / w, height / h))
    axes.set_axis_off()
    return axes


def _draw_slice(axes: Axes, one: CellSlice) -> None:
    ny, nx = one.shape_yx
    low, high = np.percentile(one.image_yx, (1, 99.7))
    shown = np.round(np.clip((one.image_yx - low) / max(high - low, 1e-9), 0, 1) * (_GREYS - 1))
    axes.imshow(
        shown, cmap="gray", vmin=0, vmax=_GREYS - 1, origin="lower", interpolation="bilinear",
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5), aspect="auto",
    )  # fmt: skip
    axes.set_xlim(-0.5, nx - 0.5)
    axes.set_ylim(-0.5, ny - 0.5)
    for kind in one.kinds:
        xy = kind.center_zyx_px[:, [2, 1]]
        if kind.colour is None:
            axes.plot(*xy.T, linestyle="none", clip_on=True, **_marker(kind.name))
            continue
        diameter = np.broadcast_to(kind.diameter_px, len(xy))
        line = np.clip(diameter / nx * _size_inch(one.shape_yx)[0] * 72 / 8, 0.7, 1.8)
        circles = EllipseCollection(
            diameter, diameter, np.zeros(len(xy)), units="xy", offsets=xy,
            offset_transform=axes.transData, facecolors="none", edgecolors=kind.colour,
            linewidths=line, linestyles="dashed" if kind.dashed else "solid",
            path_effects=[withStroke(linewidth=line.min(initial=1.8) + 1.2, foreground="white")],
        )  # fmt: skip
        axes.add_collection(circles)
    if one.title:
        axes.set_title(one.title, fontsize=9.5, color=INK, loc="left", x=0.008, pad=5)
    draw_scale_bar(axes, nx, one.voxel_size_angstrom, fontsize=11)


def _marker(name: str) -> dict[str, Any]:
    marker = MARKERS.get(name, _OTHER_MARKER)
    if marker == "x":
        halo = [withStroke(linewidth=2.6, foreground="#4a4d52")]
        return {"marker": "x", "ms": 5, "mec": _JUNK_COLOUR, "mew": 1.3, "path_effects": halo}
    return {"marker": marker, "ms": 6.5, "mfc": _JUNK_COLOUR, "mec": "#33363b", "mew": 1.0}


def _shown(one: CellSlice) -> list[Kind]:
    """Kinds that a legend names: those that lie in the slice."""
    return [kind for kind in one.kinds if len(kind.center_zyx_px)]


def _draw_legend(
    figure: Figure, one: CellSlice, upper_left: tuple[float, float], columns: int
) -> None:
    handles = []
    for kind in _shown(one):
        look: dict[str, Any] = {"marker": "o", "mfc": "none", "mec": kind.colour, "mew": 1.8}
        look |= {"ms": 8} if kind.colour else _marker(kind.name)
        label = f"{kind.name} ({len(kind.center_zyx_px)})"
        handles.append(Line2D([], [], linestyle="none", label=label, **look))
    if handles:
        corner = tuple(np.array(upper_left) / figure.get_size_inches())
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=corner,
            ncols=columns, frameon=False, fontsize=8.5, labelcolor=INK, borderpad=0,
            borderaxespad=0, handletextpad=0.2, columnspacing=1.0, labelspacing=0.35,
        )  # fmt: skip


def _has_template(averages: Sequence[AverageView]) -> bool:
    return any(one.template_zyx is not None for one in averages)


def _tile_inch(averages: Sequence[AverageView], height: float) -> tuple[float, int]:
    """Edge of a central slice, and the number of columns of averages."""
    n_columns = -(-len(averages) // _ROWS)
    rows = -(-len(averages) // max(n_columns, 1))
    return min(_LARGEST_TILE, height / max(rows, 1) - _LABEL - _ROW_GAP), n_columns


def _row_inch(tile: float, with_template: bool) -> float:
    """Width of an average, with its template."""
    return tile * (4 * _TILE_STEP + _TEMPLATE_GAP if with_template else 2 * _TILE_STEP)


def _draw_averages(
    figure: Figure, averages: Sequence[AverageView], left: float, tile: float, n_columns: int
) -> None:
    """From the top, column by column."""
    _, height = figure.get_size_inches()
    rows = -(-len(averages) // max(n_columns, 1))
    with_template = _has_template(averages)
    wide = _row_inch(tile, with_template)
    for number, one in enumerate(averages):
        x = left + number // rows * (wide + 2 * _GAP)
        if number % rows == 0:
            _draw_headings(figure, x, tile, with_template)
        top = height - _HEADING - number % rows * (tile + _LABEL + _ROW_GAP)
        label = _axes(figure, x, top - _LABEL, wide, _LABEL)
        label.set(xlim=(0, wide), ylim=(0, _LABEL))
        label.plot(0.06, _LABEL / 2, "o", ms=6, mfc="none", mec=one.colour, mew=1.8)
        words: dict[str, Any] = {"va": "center", "fontsize": 8}
        label.text(0.17, _LABEL / 2, one.name, color=INK, fontweight="bold", **words)
        label.text(wide - 0.03, _LABEL / 2, one.note, color=MUTED, ha="right", **words)
        template = [] if one.template_zyx is None else _planes(one.template_zyx)
        for place, plane in enumerate([*_planes(one.volume_zyx), *template]):
            axes = _axes(figure, x + _tile_left(place, tile), top - _LABEL - tile, tile, tile)
            low, high = np.percentile(plane, (1, 99.8))
            axes.imshow(
                plane, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="bicubic"
            )
            if number == place == 0 and one.voxel_size_angstrom:
                draw_scale_bar(axes, plane.shape[1], one.voxel_size_angstrom, fontsize=7)


def _tile_left(place: int, tile: float) -> float:
    return tile * (place * _TILE_STEP + (_TEMPLATE_GAP if place > 1 else 0))


def _draw_headings(figure: Figure, left: float, tile: float, with_template: bool) -> None:
    width, height = figure.get_size_inches()
    names = ("average, x–y", "x–z", "template, x–y", "x–z")
    for place, name in enumerate(names[: 4 if with_template else 2]):
        x = left + _tile_left(place, tile) + tile / 2
        figure.text(
            x / width, 1 - _HEADING / 2 / height, name, fontsize=7.5, color=MUTED,
            ha="center", va="center",
        )  # fmt: skip


def _planes(volume_zyx: np.ndarray) -> list[np.ndarray]:
    """Central slices x–y and x–z."""
    return [volume_zyx.take(centre_index(volume_zyx.shape[axis]), axis=axis) for axis in (0, 1)]


def _small_png(figure: Figure, colours: Sequence[str]) -> bytes:
    """The figure as PNG of greys and a few colours, the same bytes for the same content."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette(colours).ravel().tolist())
    buffer = BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _palette(colours: Sequence[str]) -> np.ndarray:
    """Greys, and every colour with what lies between it and black, grey and white, as uint8."""
    greys = np.repeat(np.linspace(0, 1, _GREYS)[:, None], 3, axis=1)
    pure = np.array([to_rgb(colour) for colour in dict.fromkeys(colours)]).reshape(-1, 3)
    mixed = [share * pure + (1 - share) * grey for share, grey in _MIXTURES]
    return np.rint(255 * np.concatenate([greys, pure, *mixed])[:256]).astype(np.uint8)
