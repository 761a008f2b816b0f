"""What a card says of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.explore.results import Results
from aitom_disca.io.mrc import read_voxels
from aitom_disca.report.figures import cluster_colour


@dataclass(frozen=True)
class ClusterCard:
    """A cluster, its number from 1, as `aitom_disca.report` judges it."""

    number: int
    size: int
    name: str = ""
    posterior: float | None = None
    verdict: str = "not judged"
    rank: int = 1
    resolution_angstrom: float | None = None
    resolution: str = ""
    against_noise: str = ""
    volume_file: Path | None = None
    mean_zyx: np.ndarray | None = None

    @property
    def colour(self) -> str:
        """Its colour, as in ``#0077bb``."""
        return cluster_colour(self.number - 1)

    def volume_zyx(self) -> np.ndarray | None:
        """The average, read now, or the mean of the members; None where there is neither."""
        return self.mean_zyx if self.volume_file is None else read_voxels(self.volume_file)


def cards_of(results: Results) -> list[ClusterCard]:
    """A card for each cluster that there is, by number."""
    return results.of_these_labels("cards", lambda: _made(results))


def _made(results: Results) -> list[ClusterCard]:
    cards = []
    for number in results.clusters():
        members = results.members(number)
        row = results.average_rows.get(number, {})
        volume = results.files.averages / f"cluster_{number:02d}" / "filtered.mrc"
        means = results.means
        p = row.get("p_value")
        cards.append(
            ClusterCard(
                number,
                len(members),
                results.curated.names.get(number, ""),
                None if results.posterior is None else float(results.posterior[members].mean()),
                row.get("verdict") or "not judged",
                number,
                row.get("resolution_0.143_angstrom"),
                row.get("resolution", "").replace(" A", " Å"),
                "" if p is None else f"p of noise {p:.2g}",
                volume if volume.is_file() else None,
                means[number - 1] if means is not None and number <= len(means) else None,
            )
        )
    return cards
