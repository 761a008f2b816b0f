"""What a report shows, gathered and not yet drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aitom_disca.report.cards import ClusterCard
from aitom_disca.report.run_checks import Looked
from aitom_disca.report.tables import NuisanceTable
from aitom_disca.report.tomogram_view import TomogramView

LIMITS = (
    "“To be trusted” means that the halves of an average agree, that its members fit it better "
    "than noise does, and that it is more than a round density; that it rests on 20 members or "
    "more; and that nothing else that was measured (contrast, height, tomogram, orientations, "
    "other runs) explains the cluster. It does not say which molecule it is, nor that it is only "
    "one.",
    "“Look again” means that one of these is missing: the card says which. “Not told from noise” "
    "means that its halves share nothing, or that its members fit it no better than noise does "
    "(at 1 %).",
    "An abundant complex can be split into several clusters, and rare complexes can be lost in "
    "large ones.",
    "The missing wedge makes one structure look different in different orientations; a cluster "
    "whose members all lie in one orientation may be a part of another.",
    "How sure a particle is of its cluster (its posterior) is measured against averages that it "
    "has no part in, or clusters of features. It does not say that the cluster is one structure.",
    "The audit of what else could explain the clusters sees what it measures. Defocus, thickness "
    "of the ice and damage by the beam show there only as far as they change intensities.",
    "Membranes, gold beads, ice and the edges of the tomogram may be picked too: look at the "
    "slices of the tomogram.",
)


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
    """

    cluster: int
    member_row: int
    volumes: tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ReportData:
    """All that a report shows. Every field is optional; without it, its section is left out.

    Parameters
    ----------
    title : str
    cards : sequence of ClusterCard
        The most to be trusted first.
    members : mapping of int to tuple of 2 ndarray of shape (n, y, x)
        Slices of members, raw and low-passed, by the number of their cluster.
    n_in_none : int
        Subtomograms that belong to no cluster.
    curated : bool
        Whether a person decided about the clusters.
    n_tomograms : int, optional
    problems : sequence of str
        What is wrong with the whole run, and comes first.
    remarks : sequence of str
        What else should be known.
    tomograms : sequence of TomogramView
    looked : sequence of Looked
        What was checked.
    nuisance : NuisanceTable, optional
        What else than structure goes with the clusters.
    embedding : ndarray of shape (N, 2), optional
    labels : ndarray of int, shape (N,), optional
        Cluster of every row of the embedding, from 0, negative for none.
    counts : sequence of mapping
        Rows ``tomogram``, ``cluster``, ``count``, ``per_um3``, as text.
    neighbours : sequence of (text, PNG)
        Distances between clusters.
    neighbour_findings : sequence of str
        What these say that is not by chance.
    decoded : sequence of DecodedCluster
    bic_by_k : mapping of int to float
        BIC of the numbers of clusters tried in the iteration that was kept.
    criteria : mapping of str to mapping of number of clusters to float
        Values of criteria of `aitom_disca.clustering.criteria_for_k`, where they are defined.
    chosen_k : int, optional
        The number to mark there; the lowest BIC, unless given.
    by_alignment : bool
        Whether the clusters were sorted by alignment after that.
    history : sequence of mappings
        Rows as in ``figures.draw_history``, and ``k``.
    best_iteration : int, optional
        The iteration whose solution was kept.
    command_line : str
    settings, versions : mapping
        Shown as they are; a mapping inside ``settings`` becomes a group.
    timings_s : mapping of str to float
        Seconds per stage.
    files : sequence of (path from the report, what it holds)
    limits : sequence of str
        How the results may mislead.
    """

    title: str = "DISCA report"
    cards: Sequence[ClusterCard] = ()
    members: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    n_in_none: int = 0
    curated: bool = False
    n_tomograms: int | None = None
    problems: Sequence[str] = ()
    remarks: Sequence[str] = ()
    tomograms: Sequence[TomogramView] = ()
    looked: Sequence[Looked] = ()
    nuisance: NuisanceTable | None = None
    embedding: np.ndarray | None = None
    labels: np.ndarray | None = None
    counts: Sequence[Mapping[str, str]] = ()
    neighbours: Sequence[tuple[str, bytes]] = ()
    neighbour_findings: Sequence[str] = ()
    decoded: Sequence[DecodedCluster] = ()
    bic_by_k: Mapping[int, float] = field(default_factory=dict)
    criteria: Mapping[str, Mapping[Any, float]] = field(default_factory=dict)
    chosen_k: int | None = None
    by_alignment: bool = False
    history: Sequence[Mapping[str, Any]] = ()
    best_iteration: int | None = None
    command_line: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    files: Sequence[tuple[str, str]] = ()
    limits: Sequence[str] = LIMITS

    def __post_init__(self) -> None:
        if self.embedding is not None and self.embedding.shape[1:] != (2,):
            raise ValueError(f"embedding must have shape (N, 2); got {self.embedding.shape}")
        if self.embedding is not None and self.labels is not None:
            if len(self.embedding) != len(self.labels):
                raise ValueError(
                    f"{len(self.labels)} labels for {len(self.embedding)} rows of the embedding"
                )

    @property
    def n_subtomograms(self) -> int:
        """That were sorted."""
        return sum(card.size for card in self.cards) + self.n_in_none

    @property
    def names(self) -> dict[int, str]:
        """What clusters are called, by their number from 1."""
        return {card.number: card.name for card in self.cards if card.name}
