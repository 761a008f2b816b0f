"""From a store and the averages of its clusters to maps of what lies where in each tomogram."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aitom_disca.computing.parallel import in_tasks
from aitom_disca.curation.averages import AVERAGES_TABLE, averages_now, refuse_outdated
from aitom_disca.errors import InputError
from aitom_disca.io import (
    open_map,
    open_store,
    read_particles_star,
    read_rows_csv,
    write_rows_csv,
    write_text,
)
from aitom_disca.io.disk.free_space import need_space
from aitom_disca.io.disk.outputs import none_if_failed, refuse_existing
from aitom_disca.io.file_names import file_parts, name_endings
from aitom_disca.io.numbers_in_files import to_whole_numbers
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.progress import say
from aitom_disca.reembedding.chimerax import chimerax_script
from aitom_disca.reembedding.embed import embed_tomogram
from aitom_disca.reembedding.embedded_files import (
    LEGEND,
    EmbeddedTomogram,
    bytes_of_maps,
    files_of_earlier,
)
from aitom_disca.reembedding.placed_average import PlacedAverage


@dataclass(frozen=True)
class _Cluster:
    number: int
    average: Tomogram
    mask: np.ndarray | None
    tomogram_name: np.ndarray
    center_zyx_px: np.ndarray
    euler_zyz_deg: np.ndarray

    def placed_in(self, name: str) -> PlacedAverage:
        rows = self.tomogram_name == name
        return PlacedAverage(
            self.number,
            self.average.read(),
            self.average.voxel_size_angstrom,
            self.center_zyx_px[rows],
            self.euler_zyz_deg[rows],
            self.mask,
        )


def embed_averages(
    store: str | Path,
    averages_dir: str | Path,
    out_dir: str | Path,
    *,
    clusters: Sequence[int] = (),
    smooth_angstrom: float = 0.0,
    threshold: float | None = None,
    per_cluster: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
) -> list[EmbeddedTomogram]:
    """Put the averages of clusters back into every tomogram that holds members of them.

    For each tomogram, ``out_dir`` gets ``NAME_density.mrc`` (0: empty, 1: surface of a particle),
    ``NAME_labels.mrc`` (numbers of clusters) and ``NAME.cxc``, which shows both in ChimeraX; if
    asked for, also ``NAME_cluster_01.mrc`` and so on, the density of one cluster alone.
    ``legend.csv`` says what the numbers are: name, colour and particles of every cluster. Names
    and clusters are those after the decisions in ``curation.json``: of a cluster that a person
    left out nothing is drawn.

    Parameters
    ----------
    store : path
        From which the averages were made.
    averages_dir : path
        As `average_store` writes it.
    out_dir : path
    clusters : sequence of int
        Numbers from 1; all that were averaged, unless given.
    smooth_angstrom, threshold
        As in `embed_tomogram`.
    per_cluster : bool
        Whether to write the density of each cluster.
    overwrite : bool
        Whether files that are there may be replaced. What an earlier embedding of these tomograms
        wrote, and this one does not, goes then.
    executor : Executor, optional
        Computes tomograms as its tasks.

    Raises
    ------
    InputError
        If there is no room, a file is there already, the averages are not there, no cubes, or of
        other members than their clusters have now, poses are missing, or the size of a tomogram is
        unknown.
    """
    averages_dir, out_dir = Path(averages_dir), Path(out_dir)
    now = averages_now(averages_dir)
    numbers = _numbers(averages_dir, clusters, now.gone)
    refuse_outdated(now, numbers, Path(store), averages_dir)
    with open_store(store) as source:
        tomograms = _of_known_size(source.particles(), Path(store).name)
    read = [_read_cluster(averages_dir, number, tomograms) for number in numbers]
    starts = {name: out_dir.absolute() / part for name, part in file_parts(tomograms).items()}
    planned = [
        _planned(starts[name], info, members, per_cluster, now.names)
        for name, info in tomograms.items()
        if (members := [one for one in read if name in one.tomogram_name])
    ]
    legend = out_dir / LEGEND
    files = [legend, *(path for one in planned for path in one.files)]
    stale = {*files_of_earlier(starts.values())} - {*files}
    refuse_existing([*files, *sorted(stale)], overwrite)
    n_bytes = sum(bytes_of_maps(one.n_voxels, len(one.clusters)) for one in planned)
    need_space(out_dir, n_bytes, f"maps of {counted(len(planned), 'tomogram')}")
    tasks = []
    for one in planned:
        placed = [c.placed_in(one.name) for c in read if one.name in c.tomogram_name]
        particles = counted(one.n_particles, "particle")
        say(f"{one.name}: {particles} of {counted(len(placed), 'cluster')}")
        tasks.append(_Task(placed, tomograms[one.name], one))
    embed = partial(_embed, now.names, smooth_angstrom=smooth_angstrom, threshold=threshold)
    with none_if_failed(files):
        done = list(in_tasks(embed, tasks, executor, "embedding"))
        write_rows_csv(legend, [_legend_row(one, now.names) for one in read])
    for path in stale:
        path.unlink(missing_ok=True)
    return done


def _legend_row(one: _Cluster, names: Mapping[int, str]) -> dict[str, object]:
    from aitom_disca.colours import cluster_colour

    return {
        "cluster": one.number,
        "name": names.get(one.number, ""),
        "colour": cluster_colour(one.number - 1),
        "particles": len(one.tomogram_name),
    }


class _Task(NamedTuple):
    """What lies in a tomogram, and its files."""

    placed: Sequence[PlacedAverage]
    tomogram: TomogramInfo
    files: EmbeddedTomogram


def _numbers(folder: Path, wanted: Sequence[int], gone: Mapping[int, str]) -> list[int]:
    if not (folder / AVERAGES_TABLE).is_file():
        raise InputError(
            f"{folder} holds no {AVERAGES_TABLE}; give the folder that the average command wrote."
        )
    rows = read_rows_csv(folder / AVERAGES_TABLE)
    if "cluster" not in rows[0]:
        raise InputError(
            f"{folder / AVERAGES_TABLE} has no column cluster; average the clusters again."
        )
    made = [row["cluster"] for row in rows if not row.get("error")]
    known = to_whole_numbers(made, AVERAGES_TABLE, "cluster").tolist()
    for number in sorted({*known, *wanted} & {*gone}):
        if number in wanted:
            raise InputError(f"there is no cluster {number} any more: {gone[number]}.")
        say(f"cluster {number} is not drawn: {gone[number]}")
    known = [number for number in known if number not in gone]
    unknown = [number for number in wanted if number not in known]
    if unknown or not known:
        raise InputError(
            f"there is no average of cluster {unknown[0] if unknown else 1}; {folder} holds "
            f"{', '.join(map(str, known)) or 'none'}."
        )
    return sorted(set(wanted)) or known


def _of_known_size(particles: ParticleSet, store_name: str) -> dict[str, TomogramInfo]:
    names = np.unique(particles.tomogram_name).tolist()
    found = {name: info for name, info in particles.tomograms.items() if name in names}
    unknown = [n for n in names if n not in found or found[n].shape_zyx is None]
    if unknown:
        raise InputError(
            f"{store_name} does not know the size of tomogram {unknown[0]}; extract the "
            "subtomograms again from the tomogram itself."
        )
    return found


def _read_cluster(
    averages_dir: Path, number: int, tomograms: Mapping[str, TomogramInfo]
) -> _Cluster:
    folder = averages_dir / f"cluster_{number:02d}"
    star = folder / "particles.star"
    if not star.is_file():
        raise InputError(
            f"{folder} holds no particles.star, so it is not known where the members lie; average "
            "a store that holds positions."
        )
    particles = read_particles_star(star, tomograms=tomograms)
    if particles.euler_zyz_deg is None:
        raise InputError(
            f"poses missing: {star} holds no angles (rlnAngleRot, rlnAngleTilt, rlnAnglePsi); "
            "average the cluster again."
        )
    mask = folder / "mask.mrc"
    return _Cluster(
        number,
        open_map(folder / "average.mrc"),
        open_map(mask).read() if mask.is_file() else None,
        particles.tomogram_name,
        particles.center_zyx_px,
        particles.euler_zyz_deg,
    )


def _planned(
    start: Path,
    tomogram: TomogramInfo,
    members: Sequence[_Cluster],
    per_cluster: bool,
    names: Mapping[int, str],
) -> EmbeddedTomogram:
    """The files that one tomogram gets; their names begin with ``start``."""
    own = [one.number for one in members] if per_cluster else []
    ends = name_endings(names)
    return EmbeddedTomogram.planned(
        start,
        tomogram.name,
        sum(int((one.tomogram_name == tomogram.name).sum()) for one in members),
        {k: ends.get(k, "") for k in own},
        math.prod(tomogram.shape_zyx or ()),
    )


def _embed(names: Mapping[int, str], task: _Task, **options: float | None) -> EmbeddedTomogram:
    placed, tomogram, files = task
    embed_tomogram(placed, tomogram, files.density, files.labels, **options)  # type: ignore[arg-type]
    for one in placed if files.clusters else ():
        embed_tomogram([one], tomogram, files.clusters[one.number], **options)  # type: ignore[arg-type]
    numbers = [one.number for one in placed]
    shown = files.clusters or ({numbers[0]: files.density} if len(numbers) == 1 else {})
    script = chimerax_script(
        files.script.parent, tomogram, numbers, files.labels, shown, names=names
    )
    write_text(files.script, script)
    return files
