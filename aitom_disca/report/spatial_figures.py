"""Figures of how particles lie: their view directions, and the distances to their neighbours."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize

from aitom_disca.analysis.neighbour_pairs import NeighbourPair
from aitom_disca.analysis.orientation import OrientationPreference
from aitom_disca.analysis.view_directions import SphereBins, bin_sphere
from aitom_disca.colours import cluster_colour
from aitom_disca.number_text import counted
from aitom_disca.report.figure_style import GRID, INK, MUTED, empty_figure, new_figure, png_of

_PER_CELL = 6  # directions in a cell, on average, that bands are chosen for
_FEWEST_BANDS, _MOST_BANDS = 4, 24
_POINTS = 400  # up to which each direction is shown as well
_SIDE_POINTS = 6
_RING = "#ee7733"


def draw_orientations(
    directions_xyz: np.ndarray, preference: OrientationPreference | None = None
) -> bytes:
    """Draw from which sides particles are seen, on a map of the sphere with equal areas.

    Mollweide's projection: the reference's z axis is at the top, azimuth 0 (its x axis) in the
    middle. Colours tell how many times as many directions there are as uniform ones would give.

    Parameters
    ----------
    directions_xyz : ndarray of shape (n, 3)
        Unit vectors, see `view_directions_xyz`.
    preference : OrientationPreference, optional
        Whose axis is marked, where there is one.
    """
    figure = empty_figure(5.2, 3.2, layout="constrained")
    axes = figure.add_subplot(projection="mollweide")
    n_bands = np.sqrt(np.pi * len(directions_xyz) / (4 * _PER_CELL))
    bins = bin_sphere(directions_xyz, int(np.clip(n_bands, _FEWEST_BANDS, _MOST_BANDS)))
    shown = _draw_cells(axes, bins)
    if 0 < len(directions_xyz) <= _POINTS:
        axes.plot(*_place(directions_xyz), "o", ms=2.2, mfc="white", mec=INK, mew=0.5)
    if preference is not None and preference.kind != "none":
        ends = [preference.axis_xyz]
        if preference.kind != "one-sided":
            ends.append(-preference.axis_xyz)
        axes.plot(*_place(np.array(ends)), "o", ms=11, mfc="none", mec=_RING, mew=2, clip_on=False)
    axes.set_xticks([])
    axes.set_yticks(np.deg2rad([-60, -30, 0, 30, 60]), ["150°", "120°", "90°", "60°", "30°"])
    axes.tick_params(colors=MUTED, labelsize=8)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_ylabel("tilt", fontsize=9, color=INK)
    axes.set_xlabel("rot, from −180° to 180°", fontsize=9, color=INK)
    bar = figure.colorbar(shown, ax=axes, orientation="horizontal", shrink=0.6, pad=0.05)
    bar.set_label("density of directions, uniform = 1", fontsize=8, color=INK)
    bar.ax.tick_params(colors=MUTED, labelsize=8)
    return png_of(figure)


def draw_neighbour_distances(pair: NeighbourPair) -> bytes:
    """Draw the distances to nearest neighbours, observed and by chance.

    Parameters
    ----------
    pair : NeighbourPair
        The grey band holds 95 % of the permutations; dashed lines are at the medians.
    """
    figure, axes = new_figure(5.2, 3.0)
    edges_nm = pair.edges_angstrom / 10
    colour = cluster_colour(pair.cluster)
    low, high = (100 * s for s in (pair.null_low, pair.null_high))
    axes.stairs(
        high, edges_nm, baseline=low, fill=True, color="#dcdcd8", label="95 % of permutations"
    )
    axes.stairs(
        100 * pair.null_share, edges_nm, baseline=None, color=MUTED, linewidth=1.2,
        label="by chance",
    )  # fmt: skip
    axes.stairs(
        100 * pair.share, edges_nm, baseline=None, color=colour, linewidth=1.8, label="observed"
    )
    for median, ink in (
        (pair.null_median_angstrom, MUTED),
        (pair.median_angstrom, colour),
    ):
        if np.isfinite(median):
            axes.axvline(median / 10, color=ink, linewidth=1.1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, edges_nm[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_distance_in_words(pair))
    axes.set_ylabel(f"share of {counted(pair.members, 'member')} (%)")
    handles, names = axes.get_legend_handles_labels()
    order = (2, 1, 0)
    axes.legend(
        [handles[i] for i in order], [names[i] for i in order], frameon=False, fontsize=8,
        labelcolor=INK,
    )  # fmt: skip
    return png_of(figure)


def _draw_cells(axes: Axes, bins: SphereBins) -> ScalarMappable:
    """Colour the cells of every band; returns what the colour bar needs."""
    expected = max(bins.n, 1) / bins.n_cells
    largest = max(float(band.max()) for band in bins.counts) / expected
    shown = ScalarMappable(Normalize(0, max(largest, 2.0)), "viridis")
    latitude = np.arcsin(np.clip(bins.z_edges, -1, 1))
    outlines, values = [], []
    for band, north, south in zip(bins.counts, latitude, latitude[1:], strict=False):
        azimuth = 2 * np.pi * np.arange(len(band) + 1) / len(band)
        for count, west, east in zip(band, azimuth, azimuth[1:], strict=False):
            parts = _outlines(west, east, south, north)
            outlines += parts
            values += [count / expected] * len(parts)
    colours = shown.to_rgba(np.array(values))
    cells = PolyCollection(outlines, facecolors=colours, edgecolors=colours, linewidths=0.3)
    axes.add_collection(cells, autolim=False)
    return shown


def _outlines(west: float, east: float, south: float, north: float) -> list[np.ndarray]:
    """A cell with its curved sides; one that crosses the rim of the map is cut in two."""
    parts = []
    if west < np.pi:
        parts.append((west, min(east, np.pi)))
    if east > np.pi:
        parts.append((max(west, np.pi) - 2 * np.pi, east - 2 * np.pi))
    up = np.linspace(south, north, _SIDE_POINTS)
    along = np.concatenate([up, up[::-1]])
    return [
        np.column_stack([np.repeat([left, right], _SIDE_POINTS), along]) for left, right in parts
    ]


def _place(directions_xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude in radians."""
    x, y, z = directions_xyz.T
    return np.arctan2(y, x), np.arcsin(np.clip(z, -1, 1))


def _distance_in_words(pair: NeighbourPair) -> str:
    of = f"of cluster {pair.cluster + 1}"
    if pair.cluster == pair.neighbour:
        return f"distance to the nearest other member {of} (nm)"
    return f"from members {of} to the nearest of cluster {pair.neighbour + 1} (nm)"
