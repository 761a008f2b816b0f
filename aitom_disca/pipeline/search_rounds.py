"""Rounds of a run: averages find more particles, more particles make better averages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.computing.parallel import sharing
from aitom_disca.config import MineSettings, RunSettings
from aitom_disca.io import Tomogram, open_store, replacing, write_picks_csv
from aitom_disca.io.disk.file_marks import mark_of
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet, concatenate
from aitom_disca.pipeline.labels_of_store import labels_of_store
from aitom_disca.pipeline.mine_clusters import rotation_of, write_mined
from aitom_disca.pipeline.refine_clusters import sort_again
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from aitom_disca.mining.sort_store import Sorted

_PAYS = 0.05  # a round that gains a smaller share of particles is the last
_APART_DIAMETERS = 0.5


def search_rounds(
    folder: RunFolder,
    tomograms: Sequence[Tomogram],
    settings: RunSettings,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Search with the averages so far, cut what was found, sort it; again while it pays.

    Tomograms are tasks of the executor, and pieces of the sorting. Store, picks, labels and model
    then hold the final particles; the first picks stay in ``picks_first.csv``. Whatever is done
    again after it was stopped begins at what is there.
    """
    from aitom_disca.search import candidates_in, references_of_run, search
    from aitom_disca.subtomograms import extract_subtomograms
    from aitom_disca.subtomograms.box_plan import plan_box

    voxel = tomograms[0].voxel_size_angstrom
    diameter = settings.extract.particle_diameter_angstrom
    border_px = plan_box(settings.extract, voxel).cut_px // 2
    references = references_of_run(folder.path, voxel, rescale=True)
    candidates = candidates_in(tomograms, diameter, border_px, executor=executor)
    known = _known(folder)
    store = folder.path / "subtomograms_found.h5"
    rounds: list[dict[str, Any]] = []
    best = None
    for number in range(2, settings.n_rounds + 1):
        places = [
            np.concatenate([known.center_zyx_px[known.tomogram_name == tomogram.name], more])
            for tomogram, more in zip(tomograms, candidates, strict=True)
        ]
        found = search(
            tomograms,
            references,
            diameter,
            any_kind=True,  # sorting will tell the kinds apart
            border_px=border_px,
            centers_zyx_px=places,
            executor=executor,
        ).particles
        if not len(found):
            say("the averages find no particle: the first ones stay")
            break
        joined = joined_with(_plain(found), known, diameter)
        n_found = counted(len(found), "particle")
        say(f"round {number}: {n_found} found, {len(joined)} with those known")
        extract_subtomograms(tomograms, joined, store, settings.extract, overwrite=True)
        again = _sorted(folder, store, joined, settings.mine, executor)
        if again.labels.max() < 0:
            say("none of them stands out from noise: those of the round before stay")
            break
        best = joined, again
        gain = len(joined) / max(len(known), 1) - 1
        rounds.append({"round": number, "found": len(found), "particles": len(joined)})
        if gain < _PAYS:
            break
        references = replace(references, learnt=again.sorter.learnt())
        known = joined.with_clusters(again.labels, None).select(again.labels >= 0)
    summary = {"rounds": rounds}
    if best is not None:
        summary |= _keep(folder, store, *best, settings)
    store.unlink(missing_ok=True)
    return summary


def joined_with(found: ParticleSet, known: ParticleSet, diameter_angstrom: float) -> ParticleSet:
    """Found particles, and those known that were not found again.

    A structure without an average of its own is not found by those of others.

    Parameters
    ----------
    found, known : ParticleSet
    diameter_angstrom : float
        Two within half of it are the same.
    """
    from aitom_disca.picking import without_duplicates

    if not len(known):
        return found
    ranked = np.arange(len(found) + len(known), 0, -1.0)  # those found go before
    both = replace(concatenate([found, known]), score=ranked)
    stays = without_duplicates(both, _APART_DIAMETERS * diameter_angstrom)
    stays[: len(found)] = True
    return replace(both, score=None).select(np.flatnonzero(stays))


def _plain(particles: ParticleSet) -> ParticleSet:
    """Places, angles and clusters alone."""
    euler, cluster = particles.euler_zyz_deg, particles.cluster
    return ParticleSet(
        particles.tomogram_name,
        particles.center_zyx_px,
        euler_zyz_deg=np.zeros((len(particles), 3)) if euler is None else euler,
        cluster=cluster,
        tomograms=particles.tomograms,
    )


def _known(folder: RunFolder) -> ParticleSet:
    """Particles of the run so far, with their clusters."""
    with open_store(folder.store) as source:
        labels, _ = labels_of_store(source, folder.labels)
        particles = source.particles().with_clusters(labels, None)
    return _plain(particles.select(labels >= 0))


def _sorted(
    folder: RunFolder,
    store: Path,
    particles: ParticleSet,
    settings: MineSettings,
    executor: Executor | None,
) -> Sorted:
    """The particles of a store sorted by alignment, from the clusters that they were found by."""
    assert particles.cluster is not None  # noqa: S101  a search gives it
    with open_store(store) as source, sharing(executor, folder.coefficients) as workers:
        return sort_again(source, particles.cluster, settings, workers)


def _keep(
    folder: RunFolder, store: Path, particles: ParticleSet, found: Sorted, settings: RunSettings
) -> dict[str, Any]:
    """Make what was found last the result of the run."""
    from aitom_disca.mining import DISCA

    disca = DISCA.from_settings(settings.mine, rotate=rotation_of(settings.mine))
    with open_store(store) as source:
        disca.teach(
            source,
            found.labels,
            averages=np.array(found.sorter.averages()),
            learnt=found.sorter.learnt(),
            posterior=found.posterior,
        )
    if not folder.first_picks.exists():
        with replacing(folder.first_picks) as temporary:
            temporary.write_bytes(folder.picks.read_bytes())
    write_picks_csv(folder.picks, particles)
    summary = write_mined(folder, disca)
    store.replace(folder.store)
    shutil.rmtree(folder.shards, ignore_errors=True)  # of the store before
    return summary | {"store": mark_of(folder.store)}
