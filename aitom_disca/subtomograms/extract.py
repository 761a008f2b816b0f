"""Cut subtomograms out of tomograms into a store."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aitom_disca.computing.parallel import in_tasks
from aitom_disca.config import ExtractSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry import box_slices, fourier_crop
from aitom_disca.io.disk.room import need_room
from aitom_disca.io.formats.relion.particle_columns import cut_anew
from aitom_disca.io.stores.read_store import open_store
from aitom_disca.io.stores.shards import remove_index, shard_files, write_index
from aitom_disca.io.stores.write_store import StoreWriter, existing_store
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import track
from aitom_disca.subtomograms.preprocess import is_constant, normalise
from aitom_disca.words import counted

logger = logging.getLogger(__name__)

_BOX_DIAMETERS = 1.6
_SMALLEST_BOX_PX = 12  # what the network of the preset fast needs
_BATCH_VOXELS = 2**23  # voxels cut before they are written: bounds the memory
_NORMALISATION = "zero mean and unit variance per subtomogram"
_SAME_VOXEL_SIZE = 1e-3  # headers round
_AXES = (1, 2, 3)


@dataclass(frozen=True)
class ExtractSummary:
    """What extraction did.

    Parameters
    ----------
    path : Path
        The store.
    n_extracted : int
    n_dropped_border : int
        Particles whose box reaches outside of their tomogram.
    n_dropped_constant : int
        Particles whose box holds one value only.
    box_px : int
        Edge of the subtomograms.
    voxel_size_angstrom : float
        Of the subtomograms.
    """

    path: Path
    n_extracted: int
    n_dropped_border: int
    n_dropped_constant: int
    box_px: int
    voxel_size_angstrom: float


@dataclass(frozen=True)
class BoxPlan:
    """Sizes of a box: as cut from the tomogram, and as stored.

    Parameters
    ----------
    cut_px : int
        Edge in voxels of the tomogram.
    box_px : int
        Edge in voxels of the subtomogram.
    voxel_size_angstrom : float
        Of the subtomogram; near the one asked for, since both edges are whole numbers.
    """

    cut_px: int
    box_px: int
    voxel_size_angstrom: float


def plan_box(settings: ExtractSettings, voxel_size_angstrom: float) -> BoxPlan:
    """Choose the size of the boxes.

    Parameters
    ----------
    settings : ExtractSettings
    voxel_size_angstrom : float
        Of the tomogram.

    Raises
    ------
    InputError
        If the working voxel size is smaller than the tomogram's.
    """
    working = settings.working_voxel_size_angstrom or voxel_size_angstrom
    if working < voxel_size_angstrom * (1 - _SAME_VOXEL_SIZE):
        raise InputError(
            f"the working voxel size {working:g} A is smaller than the tomogram's "
            f"{voxel_size_angstrom:g} A; choose that or a larger one."
        )
    half = _BOX_DIAMETERS / 2 * settings.particle_diameter_angstrom / working
    box = settings.box_px or max(_SMALLEST_BOX_PX, 2 * math.ceil(half))
    cut = max(box, round(box * working / voxel_size_angstrom))
    return BoxPlan(cut, box, voxel_size_angstrom * cut / box)


def extract_subtomograms(
    tomograms: Sequence[Tomogram],
    particles: ParticleSet,
    path: str | Path,
    settings: ExtractSettings | None = None,
    *,
    overwrite: bool = False,
    executor: Executor | None = None,
    keep_shards: bool = False,
) -> ExtractSummary:
    """Cut a normalised subtomogram for every particle and write them to a store.

    The voxel nearest to the particle's centre becomes voxel n // 2 of the box; the store keeps
    the centre as it was given. With a working voxel size the box is resampled by cropping its
    Fourier transform. Mean and standard deviation before normalisation are kept as columns of the
    store (``raw_mean``, ``raw_std``). Particles too near to a face, and constant boxes, are left
    out and counted.

    Parameters
    ----------
    tomograms : sequence of Tomogram
        All of one voxel size. Those without particles are not read.
    particles : ParticleSet
        In the order of the store.
    path : path
        The store to write.
    settings : ExtractSettings, optional
    overwrite : bool
        Whether an existing store may be replaced.
    executor : Executor, optional
        Computes tomograms as its tasks, each of which writes a shard of the store, see
        `aitom_disca.io.stores.shards`; the rows of the store are the same.
    keep_shards : bool
        Whether shards that are there are of these particles and settings, and not made again.

    Returns
    -------
    ExtractSummary

    Raises
    ------
    InputError
        If there are no particles, a particle's tomogram or position is missing, voxel sizes
        differ, the box is larger than a tomogram, a box holds NaN, or nothing is left.
    """
    settings = settings or ExtractSettings()
    particles, used, plan, fits = _planned(tomograms, particles, settings)
    if not fits.any():
        raise InputError(
            f"none of the {len(particles)} particles lies far enough from the faces for a box of "
            f"{plan.cut_px} voxels; choose a smaller box, or check the coordinates' unit and order."
        )
    n_bytes = 4 * plan.box_px**3 * int(fits.sum())
    need_room(
        Path(path).parent, n_bytes, f"{Path(path).name}, {counted(int(fits.sum()), 'subtomogram')}"
    )
    rows = np.flatnonzero(fits)
    cut = _Cutting(plan, settings.particle_diameter_angstrom, overwrite)
    if executor is None:
        n_extracted = cut.store(path, used, particles, rows)
    else:
        n_extracted = _in_shards(path, used, particles, rows, cut, executor, keep_shards)
    if n_extracted == 0:
        raise InputError("every box is constant; check the tomograms and the coordinates.")
    summary = ExtractSummary(
        Path(path),
        n_extracted,
        int((~fits).sum()),
        int(fits.sum()) - n_extracted,
        plan.box_px,
        plan.voxel_size_angstrom,
    )
    _warn_of_losses(summary)
    return summary


def extract_shards(
    tomograms: Sequence[Tomogram],
    particles: ParticleSet,
    path: str | Path,
    settings: ExtractSettings,
    names: Sequence[str],
) -> int:
    """Cut the particles of some of the tomograms only, into shards; return how many there are.

    Parameters and errors as in `extract_subtomograms`, of which this is a part: the shards of all
    tomograms are made one store by `aitom_disca.io.stores.shards.write_index`.

    Parameters
    ----------
    tomograms, particles, path, settings
        Of the whole: boxes and rows are those of one store.
    names : sequence of str
        Of the tomograms to cut from, whose shards are replaced.
    """
    particles, used, plan, fits = _planned(tomograms, particles, settings)
    rows = np.flatnonzero(fits & np.isin(particles.tomogram_name, list(names)))
    cut = _Cutting(plan, settings.particle_diameter_angstrom, overwrite=True)
    return sum(cut.shard(task) for task in _tasks(path, used, particles, rows))


def _planned(
    tomograms: Sequence[Tomogram], particles: ParticleSet, settings: ExtractSettings
) -> tuple[ParticleSet, dict[str, Tomogram], BoxPlan, np.ndarray]:
    """Particles, the tomograms that hold them, the boxes, and which particles have room for one."""
    particles = replace(cut_anew(particles), box_center_zyx_px=None)
    used = _tomograms_of(tomograms, particles)
    plan = plan_box(settings, _common_voxel_size(used))
    _check_box(used, plan)
    return particles, used, plan, _inside(used, particles, plan)


class _Task(NamedTuple):
    """A tomogram, its particles, which of all these are, and the shard for them."""

    tomogram: Tomogram
    particles: ParticleSet
    rows: np.ndarray
    path: Path


def _tasks(
    path: str | Path, used: dict[str, Tomogram], particles: ParticleSet, rows: np.ndarray
) -> list[_Task]:
    files = shard_files(path, used)
    tasks = []
    for name, tomogram in used.items():
        own = rows[particles.tomogram_name[rows] == name]
        if len(own):
            mine = replace(particles.select(own), tomograms={name: tomogram.info})
            tasks.append(_Task(tomogram, mine, own, files[name]))
    return tasks


def _in_shards(
    path: str | Path,
    used: dict[str, Tomogram],
    particles: ParticleSet,
    rows: np.ndarray,
    cut: _Cutting,
    executor: Executor,
    keep_shards: bool,
) -> int:
    if Path(path).exists() and not cut.overwrite:
        raise existing_store(path)
    remove_index(path)
    tasks = _tasks(path, used, particles, rows)
    cut = replace(cut, overwrite=True)  # a task may be done a second time
    shard = partial(cut.shard, keep=keep_shards)
    counts = list(in_tasks(shard, tasks, executor, "extracting"))
    files = [task.path for task, n in zip(tasks, counts, strict=True) if n]
    if files:
        write_index(path, files, overwrite=True)
    return sum(counts)


@dataclass(frozen=True)
class _Cutting:
    """How boxes are cut and stored."""

    plan: BoxPlan
    particle_diameter_angstrom: float
    overwrite: bool

    def shard(self, task: _Task, keep: bool = False) -> int:
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


def _tomograms_of(tomograms: Sequence[Tomogram], particles: ParticleSet) -> dict[str, Tomogram]:
    """The tomograms that hold particles, by name."""
    if not len(particles):
        raise InputError("there are no particles to extract; pick first.")
    if not particles.has_positions:
        n = int((~np.isfinite(particles.center_zyx_px).all(axis=1)).sum())
        raise InputError(
            f"{n} of {len(particles)} particles have no voxel position; give coordinates in "
            "voxels of the tomogram."
        )
    by_name = {tomogram.name: tomogram for tomogram in tomograms}
    wanted = list(dict.fromkeys(particles.tomogram_name.tolist()))
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise InputError(
            f"particles refer to {len(missing)} tomograms that were not given, first "
            f"{missing[0]!r}; the tomograms given are {', '.join(by_name) or 'none'}."
        )
    return {name: by_name[name] for name in wanted}


def _common_voxel_size(used: dict[str, Tomogram]) -> float:
    sizes = {name: tomogram.voxel_size_angstrom for name, tomogram in used.items()}
    smallest, largest = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[largest] > sizes[smallest] * (1 + _SAME_VOXEL_SIZE):
        raise InputError(
            f"tomograms differ in voxel size: {smallest} has {sizes[smallest]:g} A, {largest} "
            f"{sizes[largest]:g} A; bring them to one size, or extract them into separate stores."
        )
    return sizes[smallest]


def _check_box(used: dict[str, Tomogram], plan: BoxPlan) -> None:
    for name, tomogram in used.items():
        if plan.cut_px > min(tomogram.shape_zyx):
            raise InputError(
                f"a box of {plan.cut_px} voxels is larger than tomogram {name}, which is "
                f"{tomogram.shape_zyx} (z, y, x); choose a smaller box or particle diameter."
            )


def _inside(used: dict[str, Tomogram], particles: ParticleSet, plan: BoxPlan) -> np.ndarray:
    """Which particles' boxes lie wholly in their tomogram."""
    fits = np.empty(len(particles), bool)
    for row, name in enumerate(particles.tomogram_name.tolist()):
        box = box_slices(particles.center_zyx_px[row], plan.cut_px)
        fits[row] = all(
            s.start >= 0 and s.stop <= n for s, n in zip(box, used[name].shape_zyx, strict=True)
        )
    return fits


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


def _warn_of_losses(summary: ExtractSummary) -> None:
    if summary.n_dropped_border:
        logger.warning(
            "%d particles lie too near to a face for their box and were left out",
            summary.n_dropped_border,
        )
    if summary.n_dropped_constant:
        logger.warning(
            "%d particles lie where the tomogram is constant and were left out",
            summary.n_dropped_constant,
        )
