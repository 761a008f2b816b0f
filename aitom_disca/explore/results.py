"""What the files of a run give to the page: read when asked for, volumes never as a whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aitom_disca.analysis.properties import measure_properties
from aitom_disca.config import RelionVersion
from aitom_disca.curation import Curated, Curation, Decision, apply_decisions
from aitom_disca.errors import InputError
from aitom_disca.explore.background import Background
from aitom_disca.explore.suggestion_cache import Suggested
from aitom_disca.io import SubtomogramStore, Tomogram, open_store, read_labels_csv
from aitom_disca.io.disk.npz import read_npz
from aitom_disca.io.result_tables import read_rows_csv
from aitom_disca.io.text_columns import read_csv_columns
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.curate import curate, with_parts
from aitom_disca.pipeline.report import store_of, tomograms_of
from aitom_disca.pipeline.star_files import what_was_written, write_stars
from aitom_disca.runs.run_folder import RunFolder

T = TypeVar("T")
_NOT_NUMBERS = ("index", "cluster", "posterior")


class Results:
    """The results in a folder, as they are now.

    Labels and decisions are read again when another process changed them. One person at a time is
    meant to decide; two pages of one server see the same selection.

    Parameters
    ----------
    folder : path
        Of a run, or any with ``labels.csv`` beside ``subtomograms.h5``.

    Raises
    ------
    InputError
        If there are no labels, they are not of the store, or what a person decided about them
        does not fit.
    """

    def __init__(self, folder: str | Path) -> None:
        self.files = RunFolder(folder)
        self.record: dict[str, Any] = {"settings": {}, "stages": {"mine": {}}, "command": ""}
        if self.files.record_file.is_file():
            self.files = RunFolder.open(folder)
            self.record = self.files.record
        else:
            self.files.record = self.record
        self.selected = np.zeros(0, int)
        self.background = Background()
        self.suggested: Suggested | None = None
        self._lock = threading.RLock()
        self.labels_read_at = 0  # when the labels were last written, as they are held
        self.refresh()
        if self.store_path is not None and len(self.store) != len(self.labels):
            raise InputError(
                f"expected labels of the {len(self.store)} subtomograms in {self.store_path}, but "
                f"{self.files.labels} holds {len(self.labels)}; one of the two was made anew."
            )

    # -- labels and decisions ----------------------------------------------------------------

    def refresh(self) -> None:
        """Read the labels again if they have changed."""
        with self._lock:
            now = self.files.labels.stat().st_mtime_ns if self.files.labels.is_file() else 0
            if now and now == self.labels_read_at:
                return
            self.curation = Curation(self.files.path)
            self.curated: Curated = self.curation.curated()
            self._read_labels()

    def _read_labels(self) -> None:
        self._made: dict[str, Any] = {}
        self.labels, self.posterior = read_labels_csv(self.files.labels)
        self.labels_read_at = self.files.labels.stat().st_mtime_ns

    def of_these_labels(self, name: str, make: Callable[[], T]) -> T:
        """What follows from the labels: made once for as long as they stay."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def decide(self, decision: Decision) -> None:
        """Write a decision down; the labels follow, star files when they are asked for.

        Raises
        ------
        InputError
            If it does not fit; nothing is written then.
        """
        with self._lock:
            curate(self.files.path, [decision], star_files=False)
            self.refresh()

    def split(self, decision: Decision) -> Decision:
        """Sort the members of a cluster again, which takes a while, and write the decision down.

        Others may be made meanwhile.

        Raises
        ------
        InputError
            If it cannot be split, or has other members now; nothing is written then.
        """
        with self._lock:
            self.refresh()
            curated = self.curation.curated()
        decision = with_parts(curated, decision, self.store_path, self.files.path)
        with self._lock:
            self.refresh()
            every = [*self.decisions, decision]
            apply_decisions(self.curation.sorted, every, n_clusters=self.curation.n_clusters)
            self.decide(decision)
        return decision

    def suggest(self) -> int:
        """Ask what might be decided, which takes a while; how many suggestions there are.

        Raises
        ------
        InputError
            If a file cannot be read.
        """
        self.refresh()
        self.suggested = Suggested.about(self.files.path, self.store_path, self.labels)
        return len(self.suggested.made.found)

    @property
    def decisions(self) -> list[Decision]:
        """All that were made, undone ones too."""
        return self.curation.decisions

    def clusters(self) -> list[int]:
        """Their numbers, from 1."""
        return self.curated.clusters()

    def members(self, cluster: int) -> np.ndarray:
        """Rows of the store in a cluster (from 1; 0 for none)."""
        return np.flatnonzero(self.labels == cluster - 1)

    def title_of(self, cluster: int) -> str:
        """What a cluster (from 1; 0 for none) is called."""
        if cluster < 1:
            return "in no cluster"
        name = self.curated.names.get(cluster)
        return f"{cluster} {name}" if name else f"cluster {cluster}"

    # -- star files --------------------------------------------------------------------------

    @property
    def stars_are_old(self) -> bool:
        """Whether labels have changed since star files were written."""
        star, labels = self.files.star, self.files.labels
        return not star.is_file() or star.stat().st_mtime_ns < labels.stat().st_mtime_ns

    def write_stars(self, relion: RelionVersion = "3.1") -> str:
        """Write the star files that follow from the labels; what was written, in words.

        Raises
        ------
        InputError
            If there is no store, or it lacks what this RELION version needs.
        """
        if self.store_path is None:
            raise InputError("no store of subtomograms is known, so that no star file is written.")
        with self._lock:
            done = write_stars(self.store_path, self.files.labels, self.files.path, relion=relion)
        return what_was_written(done, self.files.path)

    # -- particles ---------------------------------------------------------------------------

    @cached_property
    def store_path(self) -> Path | None:
        """Where the subtomograms lie, if that is known."""
        own = self.files.store
        path = store_of(self.files) if self.record["command"] else own
        return path if path.is_file() else None

    @cached_property
    def store(self) -> SubtomogramStore:
        """The subtomograms, read row by row.

        Raises
        ------
        InputError
            If they are not there.
        """
        return open_store(self.store_path or self.files.store)

    @cached_property
    def particles(self) -> ParticleSet:
        """Where they come from, in the order of the labels."""
        return self.store.particles()

    @cached_property
    def tomograms(self) -> dict[str, Tomogram]:
        """The tomograms that are still where they were, by name; voxels stay on disk."""
        dark = bool(self.record["settings"].get("dark_protein", False))
        opened, _ = tomograms_of(self.store_path or self.files.store, dark)
        return {one.name: one for one in opened}

    @cached_property
    def embedding(self) -> np.ndarray | None:
        """Principal components (N, D) of the features; None where they were not kept."""
        found = self._kept_by_sorting.get("embedding")
        whole = found is not None and found.ndim == 2 and len(found) == len(self.labels)
        return found if whole and found is not None and found.shape[1] > 1 else None

    @cached_property
    def umap(self) -> np.ndarray:
        """The features (N, 2) by UMAP, of the package umap-learn; half a minute and more."""
        from umap import UMAP

        return np.asarray(UMAP(random_state=0, n_jobs=1).fit_transform(self.embedding))

    @cached_property
    def means(self) -> np.ndarray | None:
        """Aligned means (K, z, y, x) of the clusters as they were sorted, where they were kept."""
        found = self._kept_by_sorting.get("averages")
        return found if found is not None and found.ndim == 4 else None

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """Iterations of the sorting."""
        text = self._kept_by_sorting.get("history")
        return [] if text is None else json.loads(str(text))

    @cached_property
    def _kept_by_sorting(self) -> dict[str, np.ndarray]:
        if not self.files.clusters.is_file():
            return {}
        return read_npz(self.files.clusters, "what a sorting kept", "sort the store again")

    @cached_property
    def average_rows(self) -> dict[int, dict[str, Any]]:
        """What averaging says of each cluster, by its number from 1."""
        rows = self.record["stages"].get("average", {}).get("rows", ())
        return {int(row["cluster"]): row for row in rows}

    # -- properties of particles ---------------------------------------------------------------

    @cached_property
    def properties(self) -> dict[str, np.ndarray]:
        """Numbers that are known of every particle without reading its voxels."""
        found: dict[str, np.ndarray] = {}
        particles, store = self.particles, self.store
        if particles.score is not None:
            found["picking score"] = np.asarray(particles.score, float)
        if particles.has_positions:
            voxel = np.array(
                [particles.tomograms[n].voxel_size_angstrom for n in particles.tomogram_name]
            )
            found["height in the tomogram (nm)"] = particles.center_zyx_px[:, 0] * voxel / 10
        columns = {
            "picked diameter (Å)": store.diameter_angstrom,
            "mean intensity": store.raw_mean,
            "standard deviation": store.raw_std,
        }
        found |= {name: np.asarray(v, float) for name, v in columns.items() if v is not None}
        table = read_csv_columns(self.files.labels)
        for name in (name for name in table if name not in _NOT_NUMBERS):
            cells = [float(cell) if cell else np.nan for cell in table[name]]
            found[name] = np.array(cells)
        return {name: values for name, values in found.items() if len(values) == len(self.labels)}

    @cached_property
    def nuisance_names(self) -> list[str]:
        """Properties that the audit compared, which take a pass over the store to measure again."""
        if not self.files.nuisance.is_file():
            return []
        names = dict.fromkeys(row["property"] for row in read_rows_csv(self.files.nuisance))
        return [name for name in names if name not in (*self.properties, "tomogram")]

    @cached_property
    def nuisances(self) -> dict[str, np.ndarray]:
        """Those properties, measured."""
        found = measure_properties(self.store, self.particles)
        return {one.name: one.values for one in found if one.values.dtype.kind == "f"}
