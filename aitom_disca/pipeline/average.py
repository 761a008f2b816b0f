"""From a store and its clusters to an average of each, with halves, FSC, mask and poses."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.alignment.graded_wedge import measure_fall_off
from aitom_disca.averaging.gold_standard import FEWEST_MEMBERS
from aitom_disca.averaging.half_set_refinement import FindsPoses
from aitom_disca.averaging.masks import mask_diameter_px
from aitom_disca.averaging.validation import KnownMap, judged_average, tested
from aitom_disca.computing.parallel import in_tasks
from aitom_disca.config import AverageSettings, RelionVersion
from aitom_disca.curation.curation_file import decided
from aitom_disca.errors import InputError
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.symmetry import point_group
from aitom_disca.geometry.wedge import tilt_ranges_of
from aitom_disca.io import open_store, read_labels_csv
from aitom_disca.io.formats.relion.subtomogram_images import checked_images
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.mining.sort_store import drawn_rows
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.average_files import write_average, write_members
from aitom_disca.pipeline.average_inputs import (
    OtherMembers,
    known_map,
    map_names,
    mask_of,
    network_of,
    settings_for_members,
)
from aitom_disca.pipeline.average_one_cluster import average_members
from aitom_disca.pipeline.average_tables import Averaged, NotAveraged, write_together
from aitom_disca.pipeline.labels_of_store import labels_of_store
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder


def average_store(
    store: str | Path,
    out: str | Path,
    settings: AverageSettings | None = None,
    *,
    labels: str | Path | None = None,
    clusters: Sequence[int] = (),
    compare: Sequence[str | Path] = (),
    rescale: bool = False,
    relion: RelionVersion = "3.1",
    images: bool = False,
    null_volumes: np.ndarray | None = None,
    executor: Executor | None = None,
) -> list[Averaged]:
    """Average every cluster of a store, and write ``out/cluster_01`` and so on.

    Each folder holds ``average.mrc``, ``filtered.mrc``, ``half1.mrc``, ``half2.mrc``,
    ``mask.mrc``, ``fsc.csv``, pictures of slices, surface and FSC, and, where positions are known,
    ``particles.star``: angles from the alignment, and coordinates moved to where the particle lies
    in its box. ``out/averages.csv`` lists the clusters, ``out/particles.star`` holds the members of
    all, and ``out/space`` says how they lie: view directions, and distances between clusters.

    Parameters
    ----------
    store, out : path
    settings : AverageSettings, optional
    labels : path, optional
        labels.csv of this store; without it all subtomograms are one cluster.
    clusters : sequence of int
        Numbers from 1; all of them, unless given.
    compare : sequence of path
        Density maps that every average is compared with.
    rescale : bool
        Whether maps of another voxel size may be resampled.
    relion : {"3.1", "5"}
    images : bool
        Whether to write the members' subtomograms and missing wedges for RELION as well, into
        ``out/subtomograms``; the star files name them.
    null_volumes : ndarray of shape (M, n, n, n), optional
        Empty places of the same tomograms, prepared like the members, for the null test.
    executor : Executor, optional
        Computes clusters as its tasks.

    Returns
    -------
    list of Averaged
        A cluster that cannot be averaged does not keep the others from it: ``averages.csv`` says
        why it could not.

    Raises
    ------
    InputError
        If the labels are not of this store, a cluster does not exist, a map or mask does not fit,
        or no cluster can be averaged.
    """
    done = _each_cluster(
        store,
        Path(out),
        settings or AverageSettings(),
        labels=labels,
        clusters=clusters,
        compare=compare,
        rescale=rescale,
        relion=relion,
        images=images,
        null_volumes=null_volumes,
        executor=executor,
    )
    return [one for one in done if isinstance(one, Averaged)]


def _each_cluster(
    store: str | Path,
    out: Path,
    settings: AverageSettings,
    *,
    labels: str | Path | None,
    relion: RelionVersion,
    clusters: Sequence[int] = (),
    compare: Sequence[str | Path] = (),
    rescale: bool = False,
    images: bool = False,
    null_volumes: np.ndarray | None = None,
    executor: Executor | None = None,
) -> list[Averaged | NotAveraged]:
    """As `average_store`, also what could not be averaged."""
    with open_store(store) as source:
        cluster = np.zeros(len(source), int)
        if labels is not None:
            cluster, _ = labels_of_store(source, labels)
        wanted = _wanted(cluster, clusters)
        if images:  # what RELION cannot take is refused now
            checked_images(source, out, source.particles(), relion=relion)
        point_group(settings.symmetry)  # a name that does not exist is refused now
        mask_diameter_px(settings, source.box_shape_zyx[0], source.voxel_size_angstrom)
        network = network_of(settings, source)
        averaging = _Averaging(
            source,
            cluster,
            out.absolute(),
            settings,
            mask=mask_of(settings.mask, source),
            known={
                name: known_map(path, source, rescale)
                for name, path in zip(map_names(compare), compare, strict=True)
            },
            rescale=rescale,
            fall_off=_fall_off(source, settings),
            null_volumes=null_volumes,
            relion=relion,
            images=images,
            network=network if executor is None else None,  # it is loaded where it is needed
            names={} if labels is None else decided(labels)[0],
        )
        large = [k for k in wanted if clusters or len(wanted) == 1 or averaging.has_enough(k)]
        tasks = in_tasks(averaging, large, executor, "averaging")
        done, members = [], []
        for k, (one, own) in zip(large, tasks, strict=True):
            if isinstance(one, NotAveraged):
                say(f"cluster {k + 1} could not be averaged: {one.reason}")
            else:
                say(f"cluster {k + 1}: resolution at FSC 0.143: {one.row()['resolution']}")
                members.append(own)
            done.append(one)
        if not any(isinstance(one, Averaged) for one in done):
            why = done[0].reason if done and isinstance(done[0], NotAveraged) else ""
            few = f"no cluster has the {FEWEST_MEMBERS} members that an average needs"
            raise InputError(why or f"{few}; look at the labels.")
        write_together(
            out, source, done, members, cluster, labels, relion=relion, of_all=not clusters
        )
    return done


@dataclass(frozen=True)
class _Averaging:
    """How a cluster is averaged, and its files written; what is common to all clusters."""

    source: SubtomogramStore
    cluster: np.ndarray
    out: Path
    settings: AverageSettings
    mask: np.ndarray | None
    known: dict[str, KnownMap]
    rescale: bool
    fall_off: FallOff | None
    null_volumes: np.ndarray | None
    relion: RelionVersion
    images: bool
    network: FindsPoses | None
    names: dict[int, str]

    def has_enough(self, k: int) -> bool:
        """Whether a cluster has the members that an average needs; if not, it is said."""
        n = int((self.cluster == k).sum())
        if n < FEWEST_MEMBERS:
            say(f"cluster {k + 1}: left out, an average needs at least {FEWEST_MEMBERS} members")
        return n >= FEWEST_MEMBERS

    def __call__(self, k: int) -> tuple[Averaged | NotAveraged, ParticleSet | None]:
        """Average a cluster, as far as it can be; and its members, if they are placed."""
        source, settings = self.source, self.settings
        rows = np.flatnonzero(self.cluster == k)
        say(f"cluster {k + 1}: {counted(len(rows), 'subtomogram')}")
        of_members: dict[str, Any] = {"settings": settings_for_members(rows, source, settings)}
        judge = partial(
            judged_average,
            **of_members,
            voxel_size_angstrom=source.voxel_size_angstrom,
            mask=self.mask,
            fall_off=self.fall_off,
            network=self.network or network_of(settings, source),
            known=self.known,
            rescale=self.rescale,
            test=False,
        )
        test = partial(
            tested,
            **of_members,
            others=OtherMembers(source, self.cluster, k, settings.seed),
            null_volumes=self.null_volumes,
        )
        try:
            one, poses, half = average_members(source, k, rows, settings, judge, test)
        except (InputError, ArithmeticError, np.linalg.LinAlgError, ValueError) as error:
            return NotAveraged(k, rows, str(error)), None
        folder = self.out / f"cluster_{k + 1:02d}"
        write_average(folder, k, one.judged, source.voxel_size_angstrom)
        of_images = self.out / "subtomograms" if self.images else None
        own = (k, one.rows, poses, half, self.relion, of_images, self.names)
        return one, write_members(folder, source, *own)


def average_clusters(
    folder: RunFolder,
    store: str | Path,
    settings: AverageSettings,
    relion: RelionVersion,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Average the clusters of a run, as far as they can be; each is a task of the executor."""
    cluster, _ = read_labels_csv(folder.labels)
    if np.bincount(cluster[cluster >= 0], minlength=1).max() < FEWEST_MEMBERS:
        say(f"no cluster has the {FEWEST_MEMBERS} members that an average needs")
        return {"averages": 0, "rows": [], "warnings": []}
    try:
        done = _each_cluster(
            store,
            folder.averages,
            settings,
            labels=folder.labels,
            relion=relion,
            executor=executor,
        )
    except InputError as error:  # the sorting is not lost for it
        return {"averages": 0, "rows": [], "warnings": [f"No cluster was averaged: {error}"]}
    return {
        "averages": sum(isinstance(one, Averaged) for one in done),
        "rows": [one.row() for one in done],
        "warnings": [warning for one in done for warning in one.warnings],
    }


def _fall_off(source: SubtomogramStore, settings: AverageSettings) -> FallOff | None:
    """Of noise and signal with tilt, measured on members of all clusters and on those of none."""
    if not settings.graded_wedge:
        return None
    rows = drawn_rows(len(source), settings.most, np.random.default_rng(settings.seed))
    return measure_fall_off(source.read(rows), tilt_ranges_of(source.tilt_range_deg, rows))


def _wanted(cluster: np.ndarray, numbers: Sequence[int]) -> list[int]:
    known = np.unique(cluster[cluster >= 0]).tolist()
    unknown = [number for number in numbers if number - 1 not in known]
    if unknown:
        raise InputError(
            f"there is no cluster {unknown[0]}; the labels hold "
            f"{', '.join(str(k + 1) for k in known) or 'none'}."
        )
    return [number - 1 for number in numbers] or known
