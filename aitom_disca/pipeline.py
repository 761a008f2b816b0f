"""The run: from tomograms to clusters, star files and a report, one stage after the other."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.config import MineSettings, PickSettings, RelionVersion, RunSettings
from aitom_disca.errors import InputError, NoPicksError
from aitom_disca.io import (
    Tomogram,
    open_store,
    open_tomogram,
    read_labels_csv,
    read_picks_csv,
    write_cluster_stars,
    write_labels_csv,
    write_particles_star,
    write_picks_csv,
    write_rows_csv,
    write_volume,
)
from aitom_disca.io.atomic import replacing
from aitom_disca.particles import ParticleSet, concatenate
from aitom_disca.progress import say
from aitom_disca.run_folder import RunFolder

logger = logging.getLogger(__name__)


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
        picks = pick_tomograms(tomograms, settings.pick)
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
    folder.stage("mine", lambda: _mine(folder, store, settings, runs))
    folder.stage("audit", lambda: audit_clusters(folder, store))
    folder.stage("write", lambda: write_stars(store, folder.labels, folder.path, relion=relion))
    folder.stage("report", lambda: make_report(folder, store, tomograms))


def pick_tomograms(
    tomograms: Sequence[Tomogram], settings: PickSettings, *, mask: np.ndarray | None = None
) -> ParticleSet:
    """Pick the particles of several tomograms, tomogram by tomogram.

    Parameters
    ----------
    tomograms : sequence of Tomogram
    settings : PickSettings
    mask : ndarray of bool, axes z, y, x, optional
        Where picks may lie, in every tomogram.

    Raises
    ------
    InputError
        If a tomogram cannot be used, or none of them has a pick.
    """
    from aitom_disca.picking import pick_particles

    sets, empty = [], []
    for tomogram in tomograms:
        try:
            sets.append(pick_particles(tomogram, settings, mask=mask))
            say(f"{tomogram.name}: {len(sets[-1])} picks")
        except NoPicksError as error:  # one empty tomogram among many is no reason to stop
            empty.append(error)
    if not sets:
        raise empty[0]
    for reason in empty:
        logger.warning("%s", reason)
    return concatenate(sets)


def _mine(
    folder: RunFolder, store: str | Path, settings: MineSettings, runs: int
) -> dict[str, Any]:
    from aitom_disca.analysis import fit_repeatedly
    from aitom_disca.mining import DISCA

    more: dict[str, np.ndarray] = {}
    summary: dict[str, Any] = {}
    with open_store(store) as source:
        if runs == 1:
            disca = DISCA.from_settings(settings).fit(source, checkpoint=folder.checkpoint)
        else:
            disca, stability = fit_repeatedly(settings, source, runs, checkpoint=folder.checkpoint)
            write_rows_csv(folder.stability, stability.rows())
            more, summary = {"agreement": stability.agreement}, {"stability": stability.summary()}
    write_labels_csv(folder.labels, disca.labels_, disca.posterior_, more=more)
    write_rows_csv(folder.history, [_history_row(row) for row in disca.history_])
    disca.save(folder.model)
    with replacing(folder.clusters) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            embedding=disca.embedding_.astype(np.float32),
            history=json.dumps(disca.history_),
            averages=np.zeros(0) if disca.averages_ is None else disca.averages_,
        )
    return {
        "n_clusters": disca.n_clusters_,
        "ddbi": None if np.isnan(disca.ddbi_) else disca.ddbi_,  # not defined for one cluster
        "iterations": len(disca.history_),
        "converged": disca.converged_,
        "sizes": _sizes(disca.labels_, disca.n_clusters_),
        "in_no_cluster": int((disca.labels_ < 0).sum()),
        "temperature": round(disca.temperature_, 3),
        **summary,
    }


def _sizes(labels: np.ndarray, n_clusters: int) -> list[int]:
    """Members of every cluster; those in none are not counted."""
    return np.bincount(labels[labels >= 0], minlength=n_clusters).tolist()


def audit_clusters(folder: RunFolder, store: str | Path) -> dict[str, Any]:
    """Ask what else than structure explains the clusters; write ``nuisance.csv``; warn."""
    from aitom_disca.analysis import audit

    labels, _ = read_labels_csv(folder.labels)
    with open_store(store) as source:
        found = audit(source, labels)
    if found.findings:
        write_rows_csv(folder.nuisance, [finding.row() for finding in found.findings])
    for warning in found.warnings:
        say(f"note: {warning}")
    return {"warnings": list(found.warnings), "notes": list(found.notes)}


def _history_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of history.csv: one column a candidate K, sizes joined by spaces."""
    left_out = ("bic", "criteria", "sizes", "seconds")
    plain = {key: value for key, value in row.items() if key not in left_out}
    plain["sizes"] = " ".join(map(str, row["sizes"]))
    return plain | {f"bic_{k}": value for k, value in row["bic"].items()}


def write_stars(
    store: str | Path, labels: str | Path, out: str | Path, *, relion: RelionVersion = "3.1"
) -> dict[str, Any]:
    """Write the particles of a store with their clusters as RELION star files.

    ``particles.star`` holds all, ``clusters/cluster_01.star`` and so on one cluster each. A store
    without positions gives no star file, and says so.

    Raises
    ------
    InputError
        If the labels are not of this store, or the RELION version needs what the store lacks.
    """
    folder = RunFolder(out)
    cluster, posterior = read_labels_csv(labels)
    with open_store(store) as source:
        particles = source.particles()
        box_px = source.box_shape_zyx[0]
        voxel_size = source.voxel_size_angstrom
    if len(cluster) != len(particles):
        raise InputError(
            f"expected one label per subtomogram, but {labels} has {len(cluster)} and {store} "
            f"holds {len(particles)} subtomograms; give the labels of this store."
        )
    particles = particles.with_clusters(cluster, posterior)
    writable = _writable(particles, relion)
    if writable is None:
        say("the store holds no positions: no star file written")
        return {"star_files": 0}
    # RELION's image size counts voxels of the tomogram.
    infos = list(particles.tomograms.values())
    if infos:
        box_px = round(box_px * voxel_size / infos[0].voxel_size_angstrom)
    write_particles_star(folder.star, particles, relion=writable, box_px=box_px)
    files = write_cluster_stars(folder.star_folder, particles, relion=writable, box_px=box_px)
    for stale in {*folder.star_folder.glob("cluster_*.star")} - {*files}:
        stale.unlink()  # of earlier labels with more clusters
    return {"star_files": 1 + len(files), "relion": writable}


def _writable(particles: ParticleSet, relion: RelionVersion) -> RelionVersion | None:
    """The RELION version to write: None where there are no positions at all."""
    if particles.has_positions:
        return relion
    if particles.centered_xyz_angstrom is None:
        return None
    if relion != "5":
        say("the store counts positions from the tomogram's centre: writing RELION 5")
    return "5"


def make_report(
    folder: RunFolder, store: str | Path, tomograms: Sequence[Tomogram] = ()
) -> dict[str, Any]:
    """Write ``report.html`` from what the run has written so far."""
    from aitom_disca.report import write_report
    from aitom_disca.report.collect import collect

    write_report(folder.report, collect(folder, store, tomograms))
    return {}


def decode(path: str | Path, *, epochs: int = 20) -> RunFolder:
    """Decode the centre of every cluster of a finished run, and the member nearest to it.

    Writes ``decoded/cluster_01_center.mrc``, ``decoded/cluster_01_member.mrc`` and so on, and the
    report again, which shows them.

    Parameters
    ----------
    path : path
        Folder of the run.
    epochs : int
        Passes of the decoder's training over the subtomograms, at most.

    Raises
    ------
    InputError
        If the folder holds no finished run, or its store is gone.
    """
    from aitom_disca.mining import DISCA
    from aitom_disca.mining.decoding import decode_clusters

    folder = _finished(path)
    labels, _ = read_labels_csv(folder.labels)

    def work() -> dict[str, Any]:
        disca = DISCA.load(folder.model)
        with open_store(_store_of(folder)) as source:
            seed = disca.settings.seed
            decoded = decode_clusters(disca, source, labels, epochs=epochs, seed=seed)
            voxel_size = source.voxel_size_angstrom * source.box_shape_zyx[0]
            voxel_size /= decoded.centers.shape[-1]
            tilts = source.tilt_range_deg
        for stale in folder.decoded.glob("cluster_*.mrc"):
            stale.unlink()
        for i, cluster in enumerate(decoded.clusters):
            stem = folder.decoded / f"cluster_{cluster + 1:02d}"
            for name, volumes in (("center", decoded.centers), ("member", decoded.members)):
                write_volume(f"{stem}_{name}.mrc", volumes[i], voxel_size, tilt_range_deg=tilts)
        return {
            "clusters": decoded.clusters.tolist(),
            "members": decoded.member_rows.tolist(),
            "errors": [round(error, 5) for error in decoded.errors],
            "ms_per_subtomogram": round(1000 * decoded.seconds_per_subtomogram, 2),
        }

    folder.record["stages"].pop("decode", None)  # again, if it was done before
    folder.stage("decode", work)
    report_again(path)
    return folder


def report_again(path: str | Path) -> Path:
    """Write the report of a finished run again; return where it lies.

    Raises
    ------
    InputError
        If the folder holds no finished run, or its tomograms or store are gone.
    """
    folder = _finished(path)
    store = _store_of(folder)
    tomograms: list[Tomogram] = []
    if folder.record["command"] == "run":
        tomograms = _tomograms_of(store, folder.record["settings"]["dark_protein"])
    make_report(folder, store, tomograms)
    return folder.report


def _finished(path: str | Path) -> RunFolder:
    folder = RunFolder.open(path)
    if "mine" not in folder.record["stages"]:
        raise InputError(f"the run in {path} has no clusters yet; finish it with --resume.")
    return folder


def _store_of(folder: RunFolder) -> Path:
    return folder.store if folder.record["command"] == "run" else Path(folder.record["inputs"][0])


def _tomograms_of(store: str | Path, dark_protein: bool) -> list[Tomogram]:
    """Open the tomograms that a store was cut from."""
    with open_store(store) as source:
        infos = source.particles().tomograms.values()
    opened = []
    for info in infos:
        if info.path is None or not info.path.exists():
            logger.warning("tomogram %s is gone: its picks are not shown", info.name)
            continue
        opened.append(
            open_tomogram(
                info.path,
                voxel_size_angstrom=info.voxel_size_angstrom,
                tilt_range_deg=info.tilt_range_deg,
                dark_protein=dark_protein,
                name=info.name,
            )
        )
    return opened


def predict(
    store: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    outlier_quantile: float | None = None,
    relion: RelionVersion = "3.1",
    overwrite: bool = False,
) -> tuple[RunFolder, np.ndarray]:
    """Sort the subtomograms of a store with a trained model; write labels and star files.

    Parameters
    ----------
    store, model, out : path
    outlier_quantile : float, optional
        In place of the model's own setting: subtomograms with a higher outlier score belong to no
        cluster; 1 for none of them.
    relion, overwrite
        As in `run`.

    Returns
    -------
    folder : RunFolder
    labels : ndarray of int, shape (n_subtomograms,)

    Raises
    ------
    InputError
        If the store does not suit the model, or the folder holds another run.
    """
    from aitom_disca.mining import DISCA

    disca = DISCA.load(model)
    if outlier_quantile is not None:
        disca.settings = disca.settings.changed(outlier_quantile=outlier_quantile)
    with open_store(store) as source:
        folder = RunFolder(out)
        inputs = [str(Path(p).resolve()) for p in (store, model)]
        disca.check_source(source)
        recorded = {"relion": relion, "outlier_quantile": disca.settings.outlier_quantile}
        folder.start("predict", recorded, inputs, overwrite=overwrite)

        def sort() -> dict[str, Any]:
            start = time.perf_counter()
            found = disca.predict_all(source)
            per_second = len(found.labels) / (time.perf_counter() - start)
            posterior = np.where(found.labels < 0, 0.0, found.posterior)
            more = {"outlier_score": found.outlier_score}
            write_labels_csv(folder.labels, found.labels, posterior, more=more)
            return {
                "n_clusters": disca.n_clusters_,
                "sizes": _sizes(found.labels, disca.n_clusters_),
                "in_no_cluster": int((found.labels < 0).sum()),
                "subtomograms_per_second": round(per_second, 1),
            }

        folder.stage("predict", sort)
    folder.stage("write", lambda: write_stars(store, folder.labels, out, relion=relion))
    return folder, read_labels_csv(folder.labels)[0]
