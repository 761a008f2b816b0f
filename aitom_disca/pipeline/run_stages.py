"""The run: from tomograms to clusters, star files and a report, one stage after the other."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.config import UNTIL, RunSettings
from aitom_disca.errors import InputError
from aitom_disca.io import (
    Tomogram,
    read_picks_csv,
    write_particles_star,
    write_picks_csv,
)
from aitom_disca.io.disk.file_marks import mark_of
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.average import average_clusters
from aitom_disca.pipeline.embed import embed_clusters
from aitom_disca.pipeline.mine_clusters import audit_clusters, mine_clusters
from aitom_disca.pipeline.picks_of_run import files_of_picks, picks_of_run, tomograms_to_pick_on
from aitom_disca.pipeline.refine_clusters import refine_mined
from aitom_disca.pipeline.report import make_report
from aitom_disca.pipeline.search_rounds import search_rounds
from aitom_disca.pipeline.star_files import write_junk, write_stars
from aitom_disca.pipeline.time_and_disk_estimate import say_plan, say_rest
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder

_STAGES = (
    "pick", "extract", "mine", "refine", "search", "audit", "write", "average", "embed", "report",
)  # fmt: skip


def run(
    tomograms: Sequence[Tomogram],
    out: str | Path,
    settings: RunSettings | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    executor: Executor | None = None,
) -> RunFolder:
    """Pick, extract, mine, average, put the averages back, and write star files and a report.

    ``settings.until`` ends it earlier.

    Parameters
    ----------
    tomograms : sequence of Tomogram
        As opened by `aitom_disca.open_tomograms`.
    out : path
        The run's folder.
        Where they hold no particle there is nothing to sort: ``particles.star`` is empty, and the
        run ends.
    settings : RunSettings, optional
    overwrite : bool
        Replace a run that is already there; it is kept until this one has its clusters.
    resume : bool
        Go on with a run that is already there, where it stopped.
    executor : Executor, optional
        Computes tomograms, and subtomograms in chunks, as its tasks; results are the same. See
        `aitom_disca.computing.executors`.

    Returns
    -------
    RunFolder
        With the paths of all results, and their summary in ``record["stages"]``.

    Raises
    ------
    InputError
        If the folder holds another run, or a stage cannot use its input.
    """
    settings = settings or RunSettings()
    folder, store = RunFolder(out), RunFolder(out).store
    inputs = [str(Path(t.path).resolve()) for t in tomograms]
    inputs += [str(Path(path).resolve()) for path in (*settings.picks, *settings.pick_on)]
    recorded = settings.model_dump(exclude={"until"})  # a run may be resumed to go further
    wanted = stages_of(settings)
    if not resume:
        say_plan(folder.path, tomograms, settings, wanted, elsewhere=executor is not None)
    pick_on = tomograms_to_pick_on(settings)
    every = [*tomograms, *pick_on]
    files = [path for tomogram in every for path in tomogram.paths]
    folder.start(
        "run",
        recorded,
        inputs,
        files=[*files, *files_of_picks(settings, folder.path)],
        read_as={str(t.path): {**asdict(t.info), "path": t.path} for t in every},
        overwrite=overwrite,
        resume=resume,
    )
    if not {*wanted} <= {*folder.record["stages"]}:
        folder.record["stages"].pop("report", None)
    before = [name for name in wanted if name in folder.record["stages"]]
    if before:
        say(f"going on with this run; done before: {', '.join(before)}")
    work = {
        "pick": lambda: _pick(folder, tomograms, settings, pick_on, executor),
        "extract": lambda: _extract(folder, tomograms, settings, executor),
        "mine": lambda: mine_clusters(folder, store, settings.mine, settings.runs, executor),
        "refine": lambda: refine_mined(folder, store, settings.mine, executor),
        "search": lambda: search_rounds(folder, tomograms, settings, executor),
        "audit": lambda: audit_clusters(folder, store),
        "write": lambda: write_stars(store, folder.labels, folder.path, relion=settings.relion),
        "average": lambda: average_clusters(
            folder, store, settings.average, settings.relion, executor
        ),
        "embed": lambda: embed_clusters(folder, store, executor),
        "report": lambda: make_report(folder, store, tomograms),
    }
    for name in wanted:
        is_new = name not in folder.record["stages"]
        done = folder.stage(name, work[name])
        if name == "pick" and not done["n_picks"]:
            folder.stage("nothing", lambda: _nothing(folder, settings))
            break
        if name == "pick" and is_new and executor is None:
            say_rest(done["n_picks"], tomograms, settings, wanted)
    return folder


def stages_of(settings: RunSettings) -> list[str]:
    """The stages of a run, in order."""
    last = UNTIL.index(settings.until)
    left_out: set[str] = {*UNTIL[last + 1 :]}
    if settings.mine.alignment:
        left_out.add("refine")  # the sorting was by alignment already
    if settings.n_rounds == 1:
        left_out.add("search")
    return [name for name in _STAGES if name not in left_out]


def _pick(
    folder: RunFolder,
    tomograms: Sequence[Tomogram],
    settings: RunSettings,
    pick_on: Sequence[Tomogram],
    executor: Executor | None,
) -> dict[str, Any]:
    try:
        found = picks_of_run(tomograms, settings, pick_on, executor, keep=folder.picking)
    except InputError:  # nothing of it stays, since there will be no such run
        shutil.rmtree(folder.picking, ignore_errors=True)
        raise
    write_picks_csv(folder.picks, found.particles)
    write_junk(folder.junk, found, relion=settings.relion)
    shutil.rmtree(folder.picking, ignore_errors=True)  # all tomograms are done
    junk = {kind: len(particles) for kind, particles in found.junk.items()}
    return {"n_picks": len(found.particles), "set_apart": junk}


def _nothing(folder: RunFolder, settings: RunSettings) -> dict[str, Any]:
    """What a run without any particle leaves."""
    say("no particle was found: there is nothing to sort")
    nobody = np.empty(0)
    particles = ParticleSet(nobody.astype(str), np.empty((0, 3)), cluster=nobody.astype(int))
    write_particles_star(folder.star, particles, relion=settings.relion)
    return {"star_files": 1}


def _extract(
    folder: RunFolder,
    tomograms: Sequence[Tomogram],
    settings: RunSettings,
    executor: Executor | None,
) -> dict[str, Any]:
    from aitom_disca.subtomograms import extract_subtomograms

    picks = read_picks_csv(folder.picks, tomograms={t.name: t.info for t in tomograms})
    summary = extract_subtomograms(
        tomograms,
        picks,
        folder.store,
        settings.extract,
        overwrite=True,
        executor=executor,
        keep_shards=True,
    )
    found = {k: v for k, v in vars(summary).items() if k != "path"}
    return found | {"store": mark_of(folder.store)}
