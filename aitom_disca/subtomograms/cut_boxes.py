"""Boxes cut from tomograms and written, normalised, to a store or to a shard of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aitom_disca.geometry import box_slices, fourier_crop
from aitom_disca.io.stores.read_store import open_store
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import track
from aitom_disca.subtomograms.box_plan import BoxPlan
from aitom_disca.subtomograms.preprocess import is_constant, normalise

_BATCH_VOXELS = 2**23  # voxels cut before they are written: bounds the memory
_NORMALISATION = "zero mean and unit variance per subtomogram"
_AXES = (1, 2, 3)


class ShardTask(NamedTuple):
    """A tomogram, its particles, which of all these are, and the shard for them."""

    tomogram: Tomogram
    particles: ParticleSet
    rows: np.ndarray
    path: Path


@dataclass(frozen=True)
class BoxCutter:
    """How boxes are cut and stored."""

    plan: BoxPlan
    particle_diameter_angstrom: float
    overwrite: bool

    def shard(self, task: ShardTask, keep: bool = False) -> int:
        """Cut from one tomogram, unless its shard is there and may be kept."""
        if keep and task.path.exists():
            with open_store(task.path) as there:
                return len(there)
        name, here = task.tomogram.name, np.arange(len(task.rows))
        return self.store(task.path, {name: task.tomogram}, task.particles, here, row=task.rows)

    def store(
        self,
        path: str | Path,
        used: dict[str, Tomogram],
        particles: ParticleSet,
        rows: np.ndarray,
        row: np.ndarray | None = None,
    ) -> int:
        """Cut some of the particles into a store; return how many had no constant box.

        ``row`` (n_particles,) is kept with each. Where none is left, there is no store.
        """
        plan = self.plan
        pieces = _cut(used, particles, rows, plan)
        first = next(pieces, None)
        if first is None:
            return 0
        n_extracted = 0
        with StoreWriter.create(
            path,
            (plan.box_px,) * 3,
            plan.voxel_size_angstrom,
            {name: tomogram.tilt_range_deg for name, tomogram in used.items()},
            {name: tomogram.info for name, tomogram in used.items()},
            normalisation=_NORMALISATION,
            source=", ".join(used),
            overwrite=self.overwrite,
            particle_diameter_angstrom=self.particle_diameter_angstrom,
        ) as store:
            for here, raw in chain([first], pieces):
                store.append(
                    normalise(raw),
                    particles.select(here),
                    raw_mean=raw.mean(_AXES, dtype=float),
                    raw_std=raw.std(_AXES, dtype=float),
                    row=None if row is None else row[here],
                )
                n_extracted += len(here)
        return n_extracted


def _cut(
    used: dict[str, Tomogram], particles: ParticleSet, rows: np.ndarray, plan: BoxPlan
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of row numbers and boxes of the size to store, constant ones left out."""
    size = max(1, _BATCH_VOXELS // plan.cut_px**3)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    for batch in track(batches, "extracting subtomograms"):
        boxes = np.stack(
            [
                used[particles.tomogram_name[row]].read(
                    box_slices(particles.center_zyx_px[row], plan.cut_px)
                )
                for row in batch
            ]
        )
        varied = ~is_constant(boxes)
        if varied.any():
            yield batch[varied], fourier_crop(boxes[varied], plan.box_px)
