"""What came of averaging: a row for each cluster, the members of all, and how they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.averaging.fsc import resolution_in_words
from aitom_disca.averaging.validation import JudgedAverage
from aitom_disca.config import RelionVersion
from aitom_disca.curation.averages import (
    AVERAGES_TABLE,
    remove_others,
    shown_averages,
    with_names,
    write_made_of,
)
from aitom_disca.curation.cluster_names_in_files import with_cluster_names
from aitom_disca.curation.curation_file import decided
from aitom_disca.io import read_particles_star, write_rows_csv
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.average_files import write_all


def write_together(
    out: Path,
    source: SubtomogramStore,
    done: Sequence[Averaged | NotAveraged],
    members: Sequence[ParticleSet | None],
    cluster: np.ndarray,
    labels: str | Path | None,
    *,
    relion: RelionVersion,
    of_all: bool,
) -> None:
    """Write ``averages.csv``, ``particles.star``, ``space`` and what the averages were made of.

    Parameters
    ----------
    out : path
    source : SubtomogramStore
    done : sequence of Averaged or NotAveraged
    members : sequence of ParticleSet or None
        Of what could be averaged; None where their places are not known.
    cluster : ndarray of int, shape (N,)
        Of every subtomogram, from 0, -1 for none.
    labels : path, optional
        File that the clusters come from.
    relion : {"3.1", "5"}
    of_all : bool
        Whether all clusters were asked for. Otherwise averages of others that are there stay, as
        far as these clusters have the same members still.
    """
    numbers = [one.cluster + 1 for one in done]
    names = {} if labels is None else decided(labels)[0]
    kept: list[dict[str, Any]] = []
    if not of_all:
        kept = [row for row in shown_averages(out)[0] if int(row["cluster"]) not in numbers]
    stay = [int(row["cluster"]) for row in kept]
    remove_others(out, [*(one.cluster + 1 for one in done if isinstance(one, Averaged)), *stay])
    every = [*(one for one in members if one is not None), *_of_others(out, stay, source)]
    every = [with_cluster_names(one, names) for one in every]
    every.sort(key=lambda one: int(np.asarray(one.cluster)[0]))
    write_all(out, every, relion)
    rows = sorted([*kept, *(one.row() for one in done)], key=lambda row: int(row["cluster"]))
    write_rows_csv(out / AVERAGES_TABLE, with_names(rows, names))
    write_made_of(out, labels, cluster, numbers, kept=stay)


def _of_others(out: Path, numbers: Sequence[int], source: SubtomogramStore) -> list[ParticleSet]:
    """Members of averages that stay, as they were before they were written."""
    known = source.particles().tomograms
    stars = [out / f"cluster_{number:02d}" / "particles.star" for number in numbers]
    found = [read_particles_star(star, tomograms=known) for star in stars if star.is_file()]
    return [
        replace(one, box_center_zyx_px=one.center_zyx_px)
        if one.box_center_zyx_px is None and one.has_positions
        else one
        for one in found
    ]


@dataclass(frozen=True)
class Averaged:
    """An averaged cluster: its number from 0, its rows of the store, and what came of it."""

    cluster: int
    rows: np.ndarray
    judged: JudgedAverage

    @property
    def warnings(self) -> list[str]:
        """What is to be known before this average is trusted."""
        judged, found = self.judged, []
        of_it = f"The average of cluster {self.cluster + 1}"
        if judged.doubtful:
            p_value = np.nan if judged.null is None else judged.null.p_value
            in_words = f" (p = {p_value:.2g})" if np.isfinite(p_value) else ""
            found.append(f"{of_it} is {judged.verdict}{in_words}.")
        elif judged.round:
            found.append(
                f"{of_it} is no more than a round density in noise: a particle that looks round, "
                "or picks of noise, which are bright in the middle."
            )
        if judged.gathering.warning:
            found.append(f"{of_it}: {judged.gathering.warning}.")
        axes = judged.found.axes
        if axes is not None and not axes.clear:
            found.append(
                f"{of_it} stays in C1: the symmetry that was asked for scores {axes.score:.2f}, "
                f"and noise up to {axes.by_chance:.2f}."
            )
        return found

    def row(self) -> dict[str, Any]:
        """As in ``averages.csv``; what was not measured is empty."""
        judged = self.judged
        row: dict[str, Any] = {"cluster": self.cluster + 1, "members": len(self.rows)}
        row["resolution_0.143_angstrom"] = _number(judged.resolution_angstrom)
        row["resolution_0.5_angstrom"] = _number(judged.fsc.corrected.measured_angstrom(0.5))
        voxel = 1 / (2 * judged.along.frequency_per_angstrom[-1])
        row["resolution"] = resolution_in_words(judged.resolution_angstrom, voxel)
        row["mean_score"] = round(float(judged.found.score.mean()), 4)
        if judged.verdict:
            row["verdict"] = judged.verdict
        if judged.null is not None:
            row["null_test_of"] = judged.null.made_from
            row["p_value"] = _number(judged.null.p_value, 3)
            row["fit_better_than_null"] = _number(judged.null.fit_better, 3)
            row["p_round"] = _number(judged.null.p_round, 3)
        row |= judged.gathering.row()
        for name, curve in (("along", judged.along), ("across", judged.across)):
            row[f"resolution_{name}_angstrom"] = _number(curve.measured_angstrom(0.143))
        if judged.found.axes is not None:
            row["symmetry"] = judged.found.symmetry
            row["symmetry_score"] = round(judged.found.axes.score, 3)
            row["symmetry_by_chance"] = round(judged.found.axes.by_chance, 3)
        for name, one in judged.compared.items():
            row[f"correlation_{name}"] = round(one.correlation, 4)
            row[f"fsc_0.5_{name}_angstrom"] = _number(one.curve.measured_angstrom(0.5))
        return row


@dataclass(frozen=True)
class NotAveraged:
    """A cluster that could not be averaged, and why."""

    cluster: int
    rows: np.ndarray
    reason: str

    @property
    def warnings(self) -> list[str]:
        """In a sentence."""
        return [f"Cluster {self.cluster + 1} could not be averaged: {self.reason}"]

    def row(self) -> dict[str, Any]:
        """As in ``averages.csv``."""
        return {
            "cluster": self.cluster + 1,
            "members": len(self.rows),
            "verdict": "could not be averaged",
            "error": self.reason,
        }


def _number(value: float, digits: int = 4) -> float | None:
    """Of so many digits; None where there is none."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None
