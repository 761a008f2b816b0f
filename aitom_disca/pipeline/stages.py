"""Single stages: what each reads, does and writes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.config import JUNK_KINDS, MineSettings, PickSettings, RelionVersion
from aitom_disca.curation.curation_file import decided
from aitom_disca.curation.names_in_files import with_cluster_names
from aitom_disca.io import (
    Tomogram,
    open_store,
    read_labels_csv,
    read_mask,
    write_cluster_stars,
    write_labels_csv,
    write_particles_star,
    write_rows_csv,
)
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.disk.outputs import none_if_failed
from aitom_disca.io.file_names import file_parts
from aitom_disca.io.formats.relion.optics_groups import has_images
from aitom_disca.io.formats.relion.subtomogram_images import (
    checked_images,
    image_files,
    write_images,
)
from aitom_disca.io.formats.relion.write_star import cluster_star_paths
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.parallel import in_tasks, sharing
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import say
from aitom_disca.run_folder import RunFolder
from aitom_disca.words import counted

if TYPE_CHECKING:
    from aitom_disca.mining import DISCA
    from aitom_disca.network.training import RotateVolumes
    from aitom_disca.picking import Candidates

logger = logging.getLogger(__name__)

_IMAGES = "subtomograms"  # a folder of images for RELION


def pick_tomograms(
    tomograms: Sequence[Tomogram], settings: PickSettings, *, mask: np.ndarray | None = None
) -> ParticleSet:
    """Pick the particles of several tomograms; parameters and errors as in `find_in_tomograms`."""
    return find_in_tomograms(tomograms, settings, mask=mask).particles


def find_in_tomograms(
    tomograms: Sequence[Tomogram],
    settings: PickSettings,
    *,
    mask: np.ndarray | Path | None = None,
    executor: Executor | None = None,
    keep: Path | None = None,
) -> Candidates:
    """Pick the particles of several tomograms, tomogram by tomogram, and set junk apart.

    Parameters
    ----------
    tomograms : sequence of Tomogram
    settings : PickSettings
    mask : ndarray of bool, axes z, y, x, or path of an MRC file, optional
        Where picks may lie, in every tomogram.
    executor : Executor, optional
        Computes tomograms as its tasks.
    keep : path, optional
        Folder in which each tomogram that is done is kept, and not done again.

    Raises
    ------
    InputError
        If a tomogram or its membranes cannot be used.
    """
    from aitom_disca.picking import join_candidates

    parts = []
    if settings.membranes:  # whose files are read wherever the task is done
        absolute = tuple(str(Path(path).absolute()) for path in settings.membranes)
        settings = settings.model_copy(update={"membranes": absolute})
    file_names = file_parts(tomogram.name for tomogram in tomograms)
    tasks = [
        (one, None if keep is None else keep.absolute() / f"{file_names[one.name]}.npz")
        for one in tomograms
    ]
    find = partial(_find, settings=settings, mask=mask)
    found_in = in_tasks(find, tasks, executor, "picking")
    for tomogram, found in zip(tomograms, found_in, strict=True):
        apart = "".join(f", {len(junk)} {kind}" for kind, junk in found.junk.items())
        say(f"{tomogram.name}: {counted(len(found.particles), 'pick')}{apart}")
        for reason in found.reasons.values():
            logger.warning("%s", reason)
        parts.append(found)
    return join_candidates(parts)


def _find(
    task: tuple[Tomogram, Path | None], settings: PickSettings, mask: np.ndarray | Path | None
) -> Candidates:
    """Pick the particles of a tomogram, unless they are kept in the task's file."""
    from aitom_disca.picking import find_candidates, read_membranes
    from aitom_disca.picking.kept_picks import read_candidates, write_candidates

    tomogram, kept = task
    if kept is not None and kept.exists():
        return read_candidates(kept, tomogram)
    picker = None
    if settings.picker == "aitom":
        from aitom_disca.bridge import aitom_picker

        picker = aitom_picker()
    membranes = read_membranes(tomogram, settings.membranes)
    mask = read_mask(mask) if isinstance(mask, Path) else mask
    found = find_candidates(tomogram, settings, mask=mask, membranes=membranes, picker=picker)
    if kept is not None:
        write_candidates(kept, found)
    return found


def mine_clusters(
    folder: RunFolder,
    store: str | Path,
    settings: MineSettings,
    runs: int,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Sort a store; write labels, history, model and what the report is drawn from.

    Where there are several runs, they are tasks of the executor; pieces of a single one are.
    """
    from aitom_disca.analysis import fit_repeatedly
    from aitom_disca.mining import DISCA

    rotate = rotation_of(settings)
    more: dict[str, np.ndarray] = {}
    summary: dict[str, Any] = {}
    with open_store(store) as source:
        if runs == 1:
            disca = DISCA.from_settings(settings, rotate=rotate)
            with sharing(executor, folder.coefficients) as workers:
                disca.fit(source, checkpoint=folder.checkpoint, workers=workers)
        else:
            disca, stability = fit_repeatedly(
                settings,
                source,
                runs,
                checkpoint=folder.checkpoint.absolute(),
                rotate=rotate,
                executor=executor,
            )
            write_rows_csv(folder.stability, stability.rows())
            more, summary = {"agreement": stability.agreement}, {"stability": stability.summary()}
    return write_mined(folder, disca, more) | summary


def write_mined(
    folder: RunFolder, disca: DISCA, more: dict[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Write labels, with further columns, history, model and what the report is drawn from."""
    write_labels_csv(folder.labels, disca.labels_, disca.posterior_, more=more)
    write_rows_csv(folder.history, [_history_row(row) for row in disca.history_])
    disca.save(folder.model)
    with replacing(folder.clusters) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            embedding=disca.embedding_.astype(np.float32),
            history=json.dumps(disca.history_),
            averages=np.zeros(0) if disca.averages_ is None else disca.averages_,
            averages_box_share=disca.averages_box_share_,
        )
    return {
        "n_clusters": disca.n_clusters_,
        "ddbi": None if np.isnan(disca.ddbi_) else disca.ddbi_,  # not defined for one cluster
        "iterations": len(disca.history_),
        "converged": disca.converged_,
        "sizes": sizes_of(disca.labels_, disca.n_clusters_),
        "in_no_cluster": int((disca.labels_ < 0).sum()),
        "temperature": round(disca.temperature_, 3),
    }


def rotation_of(settings: MineSettings) -> RotateVolumes | None:
    """What rotates training copies; None for the network itself."""
    if settings.rotation == "own":
        return None
    from aitom_disca.bridge import aitom_rotation

    return aitom_rotation()


def labels_of_store(
    source: SubtomogramStore, labels: str | Path
) -> tuple[np.ndarray, np.ndarray | None]:
    """Clusters (from 0, -1 for none) and posteriors of a store's subtomograms.

    Raises
    ------
    InputError
        If the labels are not of this store.
    """
    from aitom_disca.io.formats.particles_of_store import labels_of
    from aitom_disca.pipeline.belonging import check_labels_belong

    check_labels_belong(source, labels)
    return labels_of(source, labels)


def sizes_of(labels: np.ndarray, n_clusters: int) -> list[int]:
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
    store: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    relion: RelionVersion = "3.1",
    images: bool = False,
) -> dict[str, Any]:
    """Write the particles of a store with their clusters as RELION star files.

    ``particles.star`` holds all that are in a cluster, ``clusters/cluster_01.star`` and so on one
    cluster each, ``junk/noise.star`` those in none, ``junk/curated_gold.star`` and so on those that
    a person called junk. Names of clusters (see `aitom_disca.curation`) become a column and a part
    of the files' names. With ``images`` they name subtomograms and
    missing wedges for RELION, which are written into ``subtomograms``; else a store without
    positions gives no star file, and says so.

    Raises
    ------
    InputError
        If the labels are not of this store, or the RELION version needs what the store lacks.
    """
    folder = RunFolder(out)
    into = folder.path / _IMAGES
    with open_store(store) as source:
        particles = source.particles().with_clusters(*labels_of_store(source, labels))
        of_images = image_files(source, into, particles) if images else []
        if images:
            particles = checked_images(source, into, particles, relion=relion)
        writable = _writable(particles, relion)
        if writable is None:
            say("the store holds no positions: no star file written")
            return {"star_files": 0}
        box_px = source.box_shape_zyx[0]
        infos = list(particles.tomograms.values())
        if infos:  # RELION's image size counts voxels of the tomogram
            box_px = round(box_px * source.voxel_size_angstrom / infos[0].voxel_size_angstrom)
        names, junk = decided(labels)
        left_out = _left_out(folder, np.asarray(particles.cluster), junk)
        files = [*cluster_star_paths(folder.star_folder, particles, names).values()]
        with none_if_failed([*of_images, folder.star, *left_out, *files]):
            if images:
                write_images(source, into, particles)
            particles = with_cluster_names(particles, names)
            how: dict[str, Any] = {"relion": writable, "box_px": box_px}
            write_cluster_stars(folder.star_folder, particles, names=names, **how)
            for path, rows in left_out.items():
                write_particles_star(path, particles.select(rows), **how)
            kept = particles.select(np.asarray(particles.cluster) >= 0)
            write_particles_star(folder.star, kept, **how)
    for stale in {*folder.junk.glob("curated_*.star"), folder.noise_star} - {*left_out}:
        stale.unlink(missing_ok=True)
    for stale in {*folder.star_folder.glob("cluster_*.star")} - {*files}:
        stale.unlink()  # of earlier labels with more clusters
    return {"star_files": 1 + len(files), "relion": writable}


def _left_out(
    folder: RunFolder, cluster: np.ndarray, junk: dict[str, np.ndarray]
) -> dict[Path, np.ndarray]:
    """Star files of what is in no cluster, with its rows: by the kind of junk, or noise."""
    rest = cluster < 0
    parts = {}
    for kind, name in file_parts(junk).items():
        rows = np.flatnonzero(np.isin(np.arange(len(cluster)), junk[kind]) & rest)
        parts[folder.junk / f"curated_{name}.star"] = rows
        rest[rows] = False
    parts[folder.noise_star] = np.flatnonzero(rest)
    return {path: rows for path, rows in parts.items() if len(rows)}


def star_files_there(out: str | Path, images: bool = False) -> list[Path]:
    """All files in a folder that `write_stars` could replace or remove."""
    folder = RunFolder(out)
    single = [folder.star, folder.noise_star, *([folder.path / _IMAGES] if images else [])]
    return [
        *(path for path in single if path.exists()),
        *sorted(folder.star_folder.glob("cluster_*.star")),
        *sorted(folder.junk.glob("curated_*.star")),
    ]


def _writable(particles: ParticleSet, relion: RelionVersion) -> RelionVersion | None:
    """The RELION version to write: None where there are no positions at all."""
    if particles.has_positions:
        return relion
    if has_images(particles):
        return "3.1"  # which needs no positions of images
    if particles.centered_xyz_angstrom is None:
        return None
    if relion != "5":
        say("the store counts positions from the tomogram's centre: writing RELION 5")
    return "5"


def write_junk(
    folder: Path, candidates: Candidates, *, relion: RelionVersion = "3.1"
) -> list[Path]:
    """Write what was set apart, ``gold.star`` and so on; files of an earlier run go."""
    paths = []
    for kind, particles in candidates.junk.items():
        paths.append(folder / f"{kind}.star")
        write_particles_star(paths[-1], particles, relion=relion)
    for kind in JUNK_KINDS:
        if kind not in candidates.junk:
            (folder / f"{kind}.star").unlink(missing_ok=True)
    return paths
