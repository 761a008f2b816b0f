"""The run: from tomograms to clusters, star files and a report, one stage after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aitom_disca.config import MineSettings, RelionVersion, RunSettings
from aitom_disca.io import Tomogram, open_store, read_picks_csv, write_picks_csv
from aitom_disca.pipeline import stages
from aitom_disca.pipeline.reports import make_report
from aitom_disca.run_folder import RunFolder


def run(
    tomograms: Sequence[Tomogram],
    out: str | Path,
    settings: RunSettings | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> RunFolder:
    """Pick, extract, mine, write star files and a report.

    Parameters
    ----------
    tomograms : sequence of Tomogram
        As opened by `aitom_disca.open_tomograms`.
    out : path
        The run's folder.
    settings : RunSettings, optional
    overwrite : bool
        Replace a run that is already there; it is kept until this one has its clusters.
    resume : bool
        Go on with a run that is already there, where it stopped.

    Returns
    -------
    RunFolder
        With the paths of all results, and their summary in ``record["stages"]``.

    Raises
    ------
    InputError
        If the folder holds another run, or a stage cannot use its input.
    """
    from aitom_disca.subtomograms import extract_subtomograms

    settings = settings or RunSettings()
    folder = RunFolder(out)
    inputs = [str(Path(t.path).resolve()) for t in tomograms]
    folder.start("run", settings.model_dump(), inputs, overwrite=overwrite, resume=resume)

    def pick() -> dict[str, Any]:
        picks = stages.pick_tomograms(tomograms, settings.pick)
        write_picks_csv(folder.picks, picks)
        return {"n_picks": len(picks)}

    def extract() -> dict[str, Any]:
        picks = read_picks_csv(folder.picks, tomograms={t.name: t.info for t in tomograms})
        summary = extract_subtomograms(
            tomograms, picks, folder.store, settings.extract, overwrite=True
        )
        return {k: v for k, v in vars(summary).items() if k != "path"}

    folder.stage("pick", pick)
    folder.stage("extract", extract)
    mine_stages(
        folder,
        folder.store,
        settings.mine,
        relion=settings.relion,
        tomograms=tomograms,
        runs=settings.runs,
    )
    return folder


def mine(
    store: str | Path,
    out: str | Path,
    settings: MineSettings | None = None,
    *,
    runs: int = 1,
    relion: RelionVersion = "3.1",
    overwrite: bool = False,
    resume: bool = False,
) -> RunFolder:
    """Sort the subtomograms of a store; write labels, model, star files and a report.

    Parameters and errors as in `run`; ``runs`` repeats the sorting with other seeds, writes the
    consensus, and says how often each cluster was found.
    """
    settings = settings or MineSettings()
    folder = RunFolder(out)
    with open_store(store):  # a store that cannot be used ends here, before anything is written
        pass
    recorded = {"mine": settings.model_dump(), "relion": relion, "runs": runs}
    folder.start("mine", recorded, [str(Path(store).resolve())], overwrite=overwrite, resume=resume)
    mine_stages(folder, store, settings, relion=relion, runs=runs)
    return folder


def mine_stages(
    folder: RunFolder,
    store: str | Path,
    settings: MineSettings,
    *,
    relion: RelionVersion,
    tomograms: Sequence[Tomogram] = (),
    runs: int = 1,
) -> None:
    """The stages from a store on: mine, audit, write, report."""
    folder.stage("mine", lambda: stages.mine_clusters(folder, store, settings, runs))
    folder.stage("audit", lambda: stages.audit_clusters(folder, store))
    folder.stage(
        "write", lambda: stages.write_stars(store, folder.labels, folder.path, relion=relion)
    )
    folder.stage("report", lambda: make_report(folder, store, tomograms))
