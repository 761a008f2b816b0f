"""Report of picking: score against rank, what was kept and why, slices with picks by kind."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from aitom_disca.config import JUNK_KINDS, PickSettings
from aitom_disca.io import Tomogram
from aitom_disca.io.atomic import write_text
from aitom_disca.picking import Candidates
from aitom_disca.report.figures import _plot, _png, cluster_colour, draw_picks

_KINDS = ("particle", *JUNK_KINDS)
_SLICES = (0.3, 0.5, 0.7)  # of the height
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#26292e}"
    "img{max-width:32%;vertical-align:top}img.wide{max-width:100%}td,th{padding:.1em 1em;"
    "text-align:left}"
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
    places, kinds = _of_one(name, found)
    heights, threshold = found.heights.get(name, np.empty(0)), found.thresholds.get(name, math.inf)
    counts = "".join(
        f"<tr><td style='color:{cluster_colour(number)}'>&#9711; {kind}</td>"
        f"<td>{int((kinds == number).sum())}</td><td>{_fate(kind, settings)}</td></tr>"
        for number, kind in enumerate(_KINDS)
    )
    above = int((heights >= threshold).sum())
    words = (
        f"{above} of {len(heights)} peaks reach the threshold {threshold:.3g} of the rule "
        f"{settings.threshold_rule}."
    )
    if name in found.reasons:
        words = found.reasons[name]
    pictures = "".join(_picture(_slice(tomogram, part, places, kinds)) for part in _SLICES)
    return (
        f"<h2>{escape(name)}</h2><p>{escape(words)}</p>"
        f"<table><tr><th>kind</th><th>number</th><th></th></tr>{counts}</table>"
        f"{_picture(_score_against_rank(heights, threshold), 'wide')}<p>{pictures}</p>"
    )


def _fate(kind: str, settings: PickSettings) -> str:
    if kind == "particle":
        return "goes on"
    return "kept, since it was asked for" if kind in settings.keep else "set apart"


def _of_one(name: str, found: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 3) of everything found in one tomogram, and the numbers of the kinds."""
    places, kinds = [np.empty((0, 3))], [np.empty(0, int)]
    for particles in (found.particles, *found.junk.values()):
        here = particles.tomogram_name == name
        kind = np.asarray(particles.more.get("kind", np.full(len(particles), "particle", object)))
        places.append(particles.center_zyx_px[here])
        kinds.append(np.array([_KINDS.index(k) for k in kind[here]], int))
    return np.concatenate(places), np.concatenate(kinds)


def _score_against_rank(heights: np.ndarray, threshold: float) -> bytes:
    figure, axes = _plot(7.5, 2.8)
    ranks = np.arange(1, len(heights) + 1)
    kept = heights >= threshold
    axes.plot(ranks[kept], heights[kept], color=cluster_colour(0), linewidth=2, label="above")
    axes.plot(ranks[~kept], heights[~kept], color=cluster_colour(-1), linewidth=2, label="below")
    if math.isfinite(threshold):
        axes.axhline(threshold, color=cluster_colour(1), linewidth=1, label="threshold")
    axes.set_xlabel("rank")
    axes.set_ylabel("height (noise levels)")
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def _slice(tomogram: Tomogram, part: float, places: np.ndarray, kinds: np.ndarray) -> bytes:
    """A mean of five slices, and the picks in them."""
    nz, ny, nx = tomogram.shape_zyx
    middle = int(part * nz)
    low, high = max(middle - 2, 0), min(middle + 3, nz)
    image = tomogram.read((slice(low, high), slice(0, ny), slice(0, nx))).mean(axis=0)
    inside = (places[:, 0] >= low - 0.5) & (places[:, 0] < high - 0.5)
    return draw_picks(
        image,
        places[inside][:, [2, 1]],
        voxel_size_angstrom=tomogram.voxel_size_angstrom,
        labels=kinds[inside],
    )


def _picture(png: bytes, css: str = "") -> str:
    return f'<img class="{css}" alt="" src="data:image/png;base64,{b64encode(png).decode()}">'
