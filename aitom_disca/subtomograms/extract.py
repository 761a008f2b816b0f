"""Cut subtomograms out of tomograms into a store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from aitom_disca.computing.parallel import in_tasks
from aitom_disca.config import ExtractSettings
from aitom_disca.errors import InputError
from aitom_disca.io.disk.free_space import need_space
from aitom_disca.io.formats.relion.particle_columns import cut_anew
from aitom_disca.io.stores.shards import remove_index, shard_files, write_index
from aitom_disca.io.stores.write_store import existing_store
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet
from aitom_disca.subtomograms.box_plan import (
    BoxPlan,
    boxes_inside,
    check_box,
    common_voxel_size,
    plan_box,
)
from aitom_disca.subtomograms.cut_boxes import BoxCutter, ShardTask

logger = logging.getLogger(__name__)


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
    need_space(
        Path(path).parent, n_bytes, f"{Path(path).name}, {counted(int(fits.sum()), 'subtomogram')}"
    )
    rows = np.flatnonzero(fits)
    cut = BoxCutter(plan, settings.particle_diameter_angstrom, overwrite)
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
    cut = BoxCutter(plan, settings.particle_diameter_angstrom, overwrite=True)
    return sum(cut.shard(task) for task in _tasks(path, used, particles, rows))


def _planned(
    tomograms: Sequence[Tomogram], particles: ParticleSet, settings: ExtractSettings
) -> tuple[ParticleSet, dict[str, Tomogram], BoxPlan, np.ndarray]:
    """Particles, the tomograms that hold them, the boxes, and which particles have room for one."""
    particles = replace(cut_anew(particles), box_center_zyx_px=None)
    used = _tomograms_of(tomograms, particles)
    plan = plan_box(settings, common_voxel_size(used))
    check_box(used, plan)
    return particles, used, plan, boxes_inside(used, particles, plan)


def _tasks(
    path: str | Path, used: dict[str, Tomogram], particles: ParticleSet, rows: np.ndarray
) -> list[ShardTask]:
    files = shard_files(path, used)
    tasks = []
    for name, tomogram in used.items():
        own = rows[particles.tomogram_name[rows] == name]
        if len(own):
            mine = replace(particles.select(own), tomograms={name: tomogram.info})
            tasks.append(ShardTask(tomogram, mine, own, files[name]))
    return tasks


def _in_shards(
    path: str | Path,
    used: dict[str, Tomogram],
    particles: ParticleSet,
    rows: np.ndarray,
    cut: BoxCutter,
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
