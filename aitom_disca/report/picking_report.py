"""Report of picking: score against rank, what was kept and why, slices with picks by kind."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from aitom_disca.colours import cluster_colour
from aitom_disca.config import JUNK_KINDS, PickSettings
from aitom_disca.io import Tomogram
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.number_text import counted
from aitom_disca.picking import Candidates
from aitom_disca.report.cell_figure import draw_cell
from aitom_disca.report.cell_slice import Kind, slice_with_most
from aitom_disca.report.figure_style import new_figure, png_of

_KINDS = ("particle", *JUNK_KINDS)
_SLICES = (0.3, 0.5, 0.7)  # of the height
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#26292e}"
    "img{max-width:49%;margin:0 .5% .5em 0;vertical-align:top}img.wide{max-width:100%}"
    "td,th{padding:.1em 1em;text-align:left}"
)


def write_pick_report(
    path: str | Path, tomograms: Sequence[Tomogram], found: Candidates, settings: PickSettings
) -> None:
    """Write one HTML file about what was picked in tomograms.

    Parameters
    ----------
    path : path
    tomograms : sequence of Tomogram
    found : Candidates
    settings : PickSettings
    """
    parts = [_of_tomogram(tomogram, found, settings) for tomogram in tomograms]
    write_text(
        path,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Picks</title>'
        f"<style>{_STYLE}</style><h1>Picks</h1>{''.join(parts)}</html>\n",
    )


def _of_tomogram(tomogram: Tomogram, found: Candidates, settings: PickSettings) -> str:
    name = tomogram.name
    diameter = settings.largest_diameter_angstrom
    kinds = _kinds(tomogram, found, diameter)
    heights, threshold = found.heights.get(name, np.empty(0)), found.thresholds.get(name, math.inf)
    counts = "".join(
        f"<tr><td>{kind}</td><td>{_count(kinds, kind)}</td><td>{_fate(kind, settings)}</td></tr>"
        for kind in _KINDS
    )
    above = int((heights >= threshold).sum())
    words = (
        f"{above} of {counted(len(heights), 'peak')} reach the threshold {threshold:.3g} of the "
        f"rule {settings.threshold_rule}."
    )
    if name in found.reasons:
        words = found.reasons[name]
    pictures = "".join(_picture(_slice(tomogram, part, kinds, diameter)) for part in _SLICES)
    return (
        f"<h2>{escape(name)}</h2><p>{escape(words)}</p>"
        f"<table><tr><th>kind</th><th>number</th><th></th></tr>{counts}</table>"
        f"{_picture(_score_against_rank(heights, threshold), 'wide')}<p>{pictures}</p>"
    )


def _fate(kind: str, settings: PickSettings) -> str:
    if kind == "particle":
        return "goes on"
    return "kept, since it was asked for" if kind in settings.keep else "set apart"


def _kinds(tomogram: Tomogram, found: Candidates, diameter_angstrom: float) -> list[Kind]:
    """What goes on, by kind, and what was set apart, in one tomogram."""
    goes_on = found.particles.select(found.particles.tomogram_name == tomogram.name)
    n = len(goes_on)
    kind = np.asarray(goes_on.more.get("kind", np.full(n, "particle", object)))
    size_px = np.asarray(
        goes_on.more.get("diameter_angstrom", np.full(n, diameter_angstrom)), float
    )
    size_px = size_px / tomogram.voxel_size_angstrom
    kinds = [
        Kind(name, goes_on.center_zyx_px[kind == name], cluster_colour(k), size_px[kind == name])
        for k, name in enumerate(_KINDS)
        if (kind == name).any()
    ]
    for name, particles in found.junk.items():
        here = particles.tomogram_name == tomogram.name
        kinds.append(Kind(name, particles.center_zyx_px[here]))
    return kinds


def _score_against_rank(heights: np.ndarray, threshold: float) -> bytes:
    figure, axes = new_figure(7.5, 2.8)
    ranks = np.arange(1, len(heights) + 1)
    kept = heights >= threshold
    axes.plot(ranks[kept], heights[kept], color=cluster_colour(0), linewidth=2, label="above")
    axes.plot(ranks[~kept], heights[~kept], color=cluster_colour(-1), linewidth=2, label="below")
    if math.isfinite(threshold):
        axes.axhline(threshold, color=cluster_colour(1), linewidth=1, label="threshold")
    axes.set_xlabel("rank")
    axes.set_ylabel("height (noise levels)")
    axes.legend(frameon=False, fontsize=8)
    return png_of(figure)


def _count(kinds: Sequence[Kind], name: str) -> int:
    return sum(len(kind.center_zyx_px) for kind in kinds if kind.name == name)


def _slice(
    tomogram: Tomogram, part: float, kinds: Sequence[Kind], diameter_angstrom: float
) -> bytes:
    middle_px = int(part * tomogram.shape_zyx[0])
    return draw_cell([slice_with_most(tomogram, kinds, diameter_angstrom, middle_px)])


def _picture(png: bytes, css: str = "") -> str:
    return f'<img class="{css}" alt="" src="data:image/png;base64,{b64encode(png).decode()}">'
