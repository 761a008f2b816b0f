"""The report: one HTML file that holds all its images and needs neither network nor script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from aitom_disca.io.atomic import write_text
from aitom_disca.report import figures
from aitom_disca.report.choice import criteria_table
from aitom_disca.report.trust import NuisanceTable, drawn_rows

LIMITS = (
    "A cluster is a group of subtomograms that look alike to the network. It is not yet an "
    "identified molecule: align and average its members before you name it.",
    "Different complexes of about the same size and compactness can share a cluster, and one "
    "abundant complex can be split into several. Rare complexes can be lost in large clusters.",
    "The missing wedge makes one structure look different in different orientations; a cluster "
    "whose members all lie in one orientation may be a part of another cluster.",
    "The posterior is judged by averages, or by clusters of features, that a subtomogram has no "
    "part in. It says how sure its cluster is, not that the cluster is one structure.",
    "The table of what else could explain the clusters sees what it measures. Defocus, thickness "
    "of the ice and damage by the beam show there only as far as they change intensities.",
    "Membranes, gold beads, ice and the edges of the tomogram may be picked too. Look at the "
    "pictures of the tomograms before you trust the numbers.",
)


@dataclass(frozen=True)
class CellPicture:
    """A tomogram with its particles, as PNG; wide where averages are beside it."""

    title: str
    png: bytes
    wide: bool = False


@dataclass(frozen=True)
class DecodedCluster:
    """The middle of a cluster (from 0), as `aitom-disca decode` finds it.

    Parameters
    ----------
    cluster : int
    member_row : int
        Row of the store of the member nearest to the centre.
    volumes : tuple of 3 ndarray, axes z, y, x
        That member as stored, that member decoded, and the centre decoded.
    voxel_sizes_angstrom : tuple of 3 float
    """

    cluster: int
    member_row: int
    volumes: tuple[np.ndarray, np.ndarray, np.ndarray]
    voxel_sizes_angstrom: tuple[float, float, float]


@dataclass(frozen=True)
class AveragedCluster:
    """An averaged cluster (from 0): numbers, and pictures as PNG, each with what it is."""

    cluster: int
    facts: Sequence[tuple[str, str]]
    pictures: Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class ReportData:
    """All that a report shows. Every field is optional; without it, its section is left out.

    Parameters
    ----------
    title : str
    summary : sequence of (label, value)
        The headline numbers, a few words each.
    cluster_rows : sequence of (cluster, size, mean posterior or None)
        Clusters from 0; shown counted from 1.
    cluster_means : ndarray of shape (K, z, y, x), optional
        In the order of ``cluster_rows``.
    n_in_none : int
        Subtomograms that belong to no cluster.
    cluster_found : sequence of str
        In how many runs each cluster was found, in the order of ``cluster_rows``; empty for one
        run.
    cluster_names : mapping of int to str
        What clusters are called, by their number from 1.
    curated : bool
        Whether a person decided about clusters.
    nuisance : NuisanceTable, optional
        What else than structure goes with the clusters.
    voxel_size_angstrom : float, optional
        Of the means, for their scale bars.
    means_are_aligned : bool
        Whether members were aligned before the mean was taken; the caption says so.
    decoded : sequence of DecodedCluster
    averaged : sequence of AveragedCluster
    neighbours : sequence of (text, PNG)
        Distances between clusters.
    embedding : ndarray of shape (N, 2), optional
    embedding_names : tuple of 2 str
        What the axes of the embedding are.
    labels : ndarray of int, shape (N,), optional
        Cluster of every row of the embedding, from 0, negative for none.
    bic_by_k : mapping of int to float
        BIC of the numbers of clusters tried in the iteration that was kept.
    criteria : mapping of str to mapping of number of clusters to float
        Values of criteria of `aitom_disca.clustering.criteria`, where they are defined.
    chosen_k : int, optional
        The number to mark there; the lowest BIC, unless given.
    history : sequence of mappings
        Rows as in ``figures.draw_history``, and ``k``.
    best_iteration : int, optional
        The iteration whose solution was kept.
    cells : sequence of CellPicture
    settings, versions : mapping
        Shown as they are; a mapping inside ``settings`` becomes a group.
    timings_s : mapping of str to float
        Seconds per stage.
    files : sequence of (name, what it holds)
        What to open next.
    warnings : sequence of str
    limits : sequence of str
        How the results may mislead.
    """

    title: str = "DISCA report"
    summary: Sequence[tuple[str, Any]] = ()
    cluster_rows: Sequence[tuple[int, int, float | None]] = ()
    cluster_means: np.ndarray | None = None
    n_in_none: int = 0
    cluster_found: Sequence[str] = ()
    cluster_names: Mapping[int, str] = field(default_factory=dict)
    curated: bool = False
    nuisance: NuisanceTable | None = None
    voxel_size_angstrom: float | None = None
    means_are_aligned: bool = False
    decoded: Sequence[DecodedCluster] = ()
    averaged: Sequence[AveragedCluster] = ()
    neighbours: Sequence[tuple[str, bytes]] = ()
    embedding: np.ndarray | None = None
    embedding_names: tuple[str, str] = ("component 1", "component 2")
    labels: np.ndarray | None = None
    bic_by_k: Mapping[int, float] = field(default_factory=dict)
    criteria: Mapping[str, Mapping[Any, float]] = field(default_factory=dict)
    chosen_k: int | None = None
    history: Sequence[Mapping[str, Any]] = ()
    best_iteration: int | None = None
    cells: Sequence[CellPicture] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    files: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    limits: Sequence[str] = LIMITS

    def __post_init__(self) -> None:
        means, rows = self.cluster_means, self.cluster_rows
        if means is not None and len(means) != len(rows):
            raise ValueError(f"{len(means)} cluster_means for {len(rows)} cluster_rows")
        if self.embedding is not None and self.embedding.shape[1:] != (2,):
            raise ValueError(f"embedding must have shape (N, 2); got {self.embedding.shape}")
        if self.embedding is not None and self.labels is not None:
            if len(self.embedding) != len(self.labels):
                raise ValueError(
                    f"{len(self.labels)} labels for {len(self.embedding)} rows of the embedding"
                )


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
    return _template().render(
        data=data,
        headline=_headline(data),
        clusters=_clusters(data),
        nuisance_rows=drawn_rows(data.nuisance) if data.nuisance else [],
        percent_in_none=100 * data.n_in_none / _total(data),
        decoded=[_decoded(cluster) for cluster in data.decoded],
        averaged=[_averaged(cluster) for cluster in data.averaged],
        neighbours=[(text, _uri(png)) for text, png in data.neighbours],
        feature_map=_feature_map(data),
        bic=_uri(figures.draw_bic(data.bic_by_k, data.chosen_k)) if data.bic_by_k else None,
        criteria=criteria_table(data.criteria),
        history=(
            _uri(figures.draw_history(data.history, data.best_iteration)) if data.history else None
        ),
        history_rows=_history_rows(data.history),
        cells=[(cell, _uri(cell.png)) for cell in data.cells],
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
    environment.filters["plain"] = _plain
    return environment.get_template("report.html.j2")


def _headline(data: ReportData) -> str:
    """The result in one sentence."""
    if not data.cluster_rows:
        return ""
    sizes = [size for _, size, _ in data.cluster_rows]
    k, none = len(sizes), data.n_in_none
    if k == 1 and none:
        return f"{_plain(sum(sizes))} subtomograms are in one cluster, {_plain(none)} in none."
    if k == 1:
        return f"All {_plain(sum(sizes))} subtomograms are in one cluster."
    low, high = _plain(min(sizes)), _plain(max(sizes))
    of = f"of {low} each" if low == high else f"of {low} to {high}"
    rest = f", {_plain(none)} in none" if none else ""
    return f"{_plain(sum(sizes))} subtomograms in {k} clusters {of}{rest}."


def _total(data: ReportData) -> int:
    return sum(size for _, size, _ in data.cluster_rows) + data.n_in_none or 1


def _clusters(data: ReportData) -> list[dict[str, Any]]:
    """One card per cluster."""
    total = _total(data)
    cards = []
    for i, (cluster, size, posterior) in enumerate(data.cluster_rows):
        image = None
        if data.cluster_means is not None:
            png = figures.draw_orthoslices(data.cluster_means[i], data.voxel_size_angstrom)
            image = _uri(png)
        cards.append(
            {
                "number": cluster + 1,
                "name": data.cluster_names.get(cluster + 1),
                "colour": figures.cluster_colour(cluster),
                "size": size,
                "percent": 100 * size / total,
                "posterior": None if posterior is None else f"{posterior:.2f}",
                "found": data.cluster_found[i] if data.cluster_found else None,
                "image": image,
            }
        )
    return cards


def _decoded(decoded: DecodedCluster) -> dict[str, Any]:
    """One card: the nearest member, the same decoded, the centre decoded."""
    drawn = [
        figures.draw_orthoslices(volume, size)
        for volume, size in zip(decoded.volumes, decoded.voxel_sizes_angstrom, strict=True)
    ]
    texts = (f"subtomogram {decoded.member_row}", "the same, decoded", "the centre, decoded")
    return {
        "number": decoded.cluster + 1,
        "colour": figures.cluster_colour(decoded.cluster),
        "pictures": [(text, _uri(png)) for text, png in zip(texts, drawn, strict=True)],
    }


def _averaged(averaged: AveragedCluster) -> dict[str, Any]:
    return {
        "number": averaged.cluster + 1,
        "colour": figures.cluster_colour(averaged.cluster),
        "facts": averaged.facts,
        "pictures": [(text, _uri(png)) for text, png in averaged.pictures],
    }


def _feature_map(data: ReportData) -> str | None:
    if data.embedding is None or not len(data.embedding):
        return None
    return _uri(figures.draw_feature_map(data.embedding, data.labels, data.embedding_names))


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


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode("ascii")
