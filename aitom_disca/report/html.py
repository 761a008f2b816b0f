"""The report: one HTML file that holds all its images and needs neither network nor script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from aitom_disca.colours import cluster_colour
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.report import figure_style, figures, pictures
from aitom_disca.report.cards import ClusterCard
from aitom_disca.report.cell_of_run import cropped
from aitom_disca.report.headline import counted, explained, headline
from aitom_disca.report.pictures import data_uri
from aitom_disca.report.report_data import DecodedCluster, ReportData
from aitom_disca.report.tables import criteria_table, drawn_rows


def write_report(path: str | Path, data: ReportData) -> None:
    """Write the report as one self-contained HTML file.

    Parameters
    ----------
    path : str or Path
    data : ReportData

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The report as HTML text; see ``write_report``."""
    bic = figures.draw_bic(data.bic_by_k, data.chosen_k) if len(data.bic_by_k) > 1 else None
    history = data.history
    return _template().render(
        data=data,
        headline=headline(data),
        explained=explained(data),
        cards=[_card(card, data) for card in data.cards],
        nuisance_rows=drawn_rows(data.nuisance) if data.nuisance else [],
        feature_map=_feature_map(data),
        counts=_count_table(data.counts),
        neighbours=[(text, _drawn(png)) for text, png in data.neighbours],
        decoded=[_decoded(cluster) for cluster in data.decoded],
        bic=None if bic is None else _drawn(bic),
        criteria=criteria_table(data.criteria),
        history=_drawn(figures.draw_history(history, data.best_iteration)) if history else None,
        history_rows=_history_rows(history),
        settings=_grouped(data.settings),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plain": _plain,
        "uri": data_uri,
        "counted": counted,
        "href": lambda path: quote(str(path)),
        "marks": _marks,
    }
    return environment.get_template("report.html.j2")


def _feature_map(data: ReportData) -> str | None:
    if data.embedding is None or not len(data.embedding):
        return None
    return _drawn(figures.draw_feature_map(data.embedding, data.labels))


def _drawn(png: bytes) -> str:
    """A figure, small."""
    return data_uri(pictures.smaller_png(png, 1000))


def _card(card: ClusterCard, data: ReportData) -> dict[str, Any]:
    """A card and its pictures."""
    raw, smooth = data.members.get(card.number, (None, None))
    volume = card.volume_zyx()
    seen = None if volume is None else _seen(card, volume)
    slices = [] if seen is None else pictures.orthoslices(seen)
    return {
        "card": card,
        "surface": _surface(card, volume),
        "slices": [data_uri(one) for one in slices],
        "bar": _bar(card, seen),
        "raw": None if raw is None or not len(raw) else data_uri(pictures.wall(raw)),
        "smooth": None if smooth is None or not len(smooth) else data_uri(pictures.wall(smooth)),
        "n_members": 0 if raw is None else len(raw),
        "fsc": _picture(card, "fsc"),
        "orientations": _picture(card, "orientations"),
    }


def _seen(card: ClusterCard, volume: np.ndarray) -> np.ndarray:
    """The middle of a volume, about as large as the particle."""
    if card.voxel_size_angstrom is None:
        return volume
    return cropped(volume, card.shown_px(card.voxel_size_angstrom, min(volume.shape)))


def _picture(card: ClusterCard, name: str) -> str | None:
    path = card.pictures.get(name)
    return None if path is None else data_uri(pictures.smaller_png(path.read_bytes(), 620))


def _surface(card: ClusterCard, volume: np.ndarray | None) -> str | None:
    """The surface of the average, or of a mean of aligned members."""
    if "surface" in card.pictures or volume is None or not card.mean_is_aligned:
        return _picture(card, "surface")
    if card.volume_file is not None or card.voxel_size_angstrom is None:
        return None  # halves that share nothing leave an average without a surface
    from aitom_disca.report.isosurface import draw_isosurface

    try:
        png = draw_isosurface(volume, card.voxel_size_angstrom, colour=card.colour)
    except InputError:  # it may be one value
        return None
    return data_uri(pictures.smaller_png(png, 620))


def _bar(card: ClusterCard, volume: np.ndarray | None) -> dict[str, float] | None:
    """A scale bar of the slices: its length, and which part of the width it has."""
    if volume is None or card.voxel_size_angstrom is None:
        return None
    edge_nm = max(volume.shape) * card.voxel_size_angstrom / 10
    length_nm = figure_style.scale_bar_nm(edge_nm)
    return {"nm": length_nm, "percent": 100 * length_nm / edge_nm}


def _marks(rows: np.ndarray, is_cluster: bool) -> str:
    """The particles of a kind as one SVG path: circles, or crosses for what was set apart."""
    parts = []
    for x, y, r in rows.tolist():
        if is_cluster:
            parts.append(f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0")
            parts.append(f"a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0")
        else:
            parts.append(f"M{x - 3:.1f} {y - 3:.1f}l6 6m-6 0l6-6")
    return "".join(parts)


def _count_table(rows: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    """Particles of every cluster in every tomogram."""
    if not rows:
        return None
    clusters = sorted({int(row["cluster"]) for row in rows})
    held = {(row["tomogram"], int(row["cluster"])): int(row["count"]) for row in rows}
    tomograms = list(dict.fromkeys(row["tomogram"] for row in rows))
    return {
        "clusters": [(k, cluster_colour(k - 1)) for k in clusters],
        "rows": [(name, [held.get((name, k), 0) for k in clusters]) for name in tomograms],
    }


def _decoded(decoded: DecodedCluster) -> dict[str, Any]:
    """The nearest member, the same decoded, the centre decoded."""
    texts = (f"subtomogram {decoded.member_row}", "the same, decoded", "the centre, decoded")
    drawn = [[data_uri(one) for one in pictures.orthoslices(v)] for v in decoded.volumes]
    return {
        "number": decoded.cluster + 1,
        "colour": cluster_colour(decoded.cluster),
        "pictures": list(zip(texts, drawn, strict=True)),
    }


def _history_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns that any row holds, and their values as text."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    texts = [[_plain(row.get(name)) for name in columns] for row in rows]
    return {"columns": [name.replace("_", " ") for name in columns], "rows": texts}


def _grouped(settings: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Settings as (group, rows); those without a group come first."""
    loose = [(k, _as_typed(v)) for k, v in settings.items() if not isinstance(v, Mapping)]
    groups = [
        (group, [(k, _as_typed(v)) for k, v in values.items()])
        for group, values in settings.items()
        if isinstance(values, Mapping)
    ]
    return ([("", loose)] if loose else []) + groups


def _as_typed(value: Any) -> str:
    """A setting as one would type it; nothing is rounded."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ", ".join(_as_typed(item) for item in value) or "none"
    return str(value)


def _plain(value: Any) -> str:
    """A value as a reader writes it: 12 345, 0.123, a, b."""
    if value is None or (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_plain(item) for item in value) or "–"
    return str(value)
