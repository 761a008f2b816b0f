"""Files of averages put back into tomograms: what they are called, and what was there before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LEGEND = "legend.csv"
_DENSITY, _LABELS, _SCRIPT = "_density.mrc", "_labels.mrc", ".cxc"


@dataclass(frozen=True)
class EmbeddedTomogram:
    """The files of one tomogram.

    Parameters
    ----------
    name : str
        Of the tomogram.
    n_particles : int
    density, labels, script : Path
    clusters : mapping of int to Path
        Density of each cluster, by number from 1, where these were asked for.
    n_voxels : int
    """

    name: str
    n_particles: int
    density: Path
    labels: Path
    script: Path
    clusters: Mapping[int, Path]
    n_voxels: int = 0

    @classmethod
    def planned(
        cls, start: Path, name: str, n_particles: int, words: Mapping[int, str], n_voxels: int
    ) -> EmbeddedTomogram:
        """What will be written.

        Parameters
        ----------
        start : Path
            With which all names begin.
        name : str
        n_particles : int
        words : mapping of int to str
            Clusters that get a map of their own, by number from 1, and how its name ends.
        n_voxels : int
        """
        density, labels, script = _names(start)
        clusters = {k: _named(start, f"_cluster_{k:02d}{end}.mrc") for k, end in words.items()}
        return cls(name, n_particles, density, labels, script, clusters, n_voxels)

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [self.density, self.labels, *self.clusters.values(), self.script]


def files_of_earlier(starts: Iterable[Path]) -> Iterator[Path]:
    """What an earlier embedding of tomograms left, whose files' names begin so.

    Its scripts tell: what a person put beside them, also under a like name, is none of it.
    """
    for start in starts:
        density, labels, script = _names(start)
        if not script.is_file():
            continue
        text = script.read_text(encoding="utf-8", errors="replace")
        own = rf'^open "({re.escape(start.name)}_cluster_\d\d+(?:_[^"/]*)?\.mrc)" name'
        clusters = [script.with_name(name) for name in re.findall(own, text, re.MULTILINE)]
        yield from (path for path in (density, labels, *clusters, script) if path.is_file())


def bytes_of_maps(n_voxels: int, n_clusters: int = 0) -> int:
    """Of one tomogram: densities, also of so many clusters alone, of 4 bytes a voxel; labels of 2.

    Parameters
    ----------
    n_voxels : int
        Of the tomogram.
    n_clusters : int
    """
    return n_voxels * (4 + 2 + 4 * n_clusters)


def _names(start: Path) -> tuple[Path, Path, Path]:
    return _named(start, _DENSITY), _named(start, _LABELS), _named(start, _SCRIPT)


def _named(start: Path, end: str) -> Path:
    return start.with_name(start.name + end)
