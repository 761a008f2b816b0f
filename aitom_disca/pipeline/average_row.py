"""What came of averaging a cluster: a row of averages.csv, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aitom_disca.averaging.fsc import resolution_in_words
from aitom_disca.averaging.validation import JudgedAverage


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
