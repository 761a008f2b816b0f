"""The files of a run: where each result lies below its folder."""

from __future__ import annotations

from pathlib import Path

from aitom_disca.io.disk.atomic import remove_unfinished


class RunFiles:
    """Places of the files of a run.

    Parameters
    ----------
    path : path
        The folder, which need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record_file = self.path / "run.json"
        self.picks = self.path / "picks.csv"
        self.picking = self.path / "picking"  # there while picking: tomograms that are done
        self.junk = self.path / "junk"  # picks that were set apart, a star file a kind
        self.first_picks = self.path / "picks_first.csv"  # where a search found more
        self.store = self.path / "subtomograms.h5"
        self.shards = self.path / "subtomograms_shards"  # where the store is an index of them
        self.model = self.path / "model.h5"
        self.labels = self.path / "labels.csv"
        self.sorted_labels = self.path / "labels_sorted.csv"  # where a person decided since
        self.curation = self.path / "curation.json"
        self.history = self.path / "history.csv"
        self.nuisance = self.path / "nuisance.csv"
        self.stability = self.path / "stability.csv"  # of several runs
        self.refinement = self.path / "refinement.csv"
        self.clusters = self.path / "clusters.npz"
        self.star = self.path / "particles.star"
        self.star_folder = self.path / "clusters"
        self.noise_star = self.junk / "noise.star"  # in no cluster
        self.decoded = self.path / "decoded"
        self.mined_labels = self.path / "labels_mined.csv"  # where they were refined
        self.averages = self.path / "averages"
        self.embedded = self.path / "embedded"
        self.report = self.path / "report.html"
        self.checkpoint = self.path / "checkpoint.h5"  # there while mining
        self.coefficients = self.path / "coefficients"  # there while workers sort

    def places(self) -> list[Path]:
        """Every place that has a name here, whether anything is there or not."""
        return [path for path in vars(self).values() if isinstance(path, Path)]

    def results(self) -> list[Path]:
        """Every file of a run that is there."""
        files = [path for path in self.places() if path.is_file()]
        files += sorted(self.star_folder.glob("cluster_*.star"))
        files += sorted(self.decoded.glob("cluster_*.mrc"))
        below = [path for folder in self._deep() for path in sorted(folder.rglob("*"))]
        return files + [path for path in below if path.is_file()]

    def remove_unfinished(self) -> None:
        """Remove the half-written files of a run that was killed."""
        wild = [self.star_folder / "cluster_*.star", self.decoded / "cluster_*.mrc"]
        for path in [*self.places(), *wild]:
            remove_unfinished(path)
        for folder in self._deep():
            for unfinished in folder.rglob(".*.part*"):
                unfinished.unlink(missing_ok=True)

    def _deep(self) -> tuple[Path, ...]:
        """Folders whose whole content belongs to the run."""
        return (
            self.picking,
            self.shards,
            self.junk,
            self.averages,
            self.embedded,
            self.coefficients,
        )
