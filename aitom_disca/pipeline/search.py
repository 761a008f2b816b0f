"""Averages go over tomograms as references: a command of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.config import RelionVersion
from aitom_disca.errors import InputError
from aitom_disca.io import (
    Tomogram,
    write_cluster_stars,
    write_labels_csv,
    write_particles_star,
    write_picks_csv,
)
from aitom_disca.number_text import counted
from aitom_disca.pipeline.mine_clusters import sizes_of
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from aitom_disca.search import Found, References

_SAME_VOXEL = 1e-3


def search_tomograms(
    tomograms: Sequence[Tomogram],
    averages: Sequence[str | Path],
    out: str | Path,
    particle_diameter_angstrom: float,
    *,
    fdr: float = 0.1,
    rescale: bool = False,
    relion: RelionVersion = "3.1",
    overwrite: bool = False,
    executor: Executor | None = None,
) -> RunFolder:
    """Find the particles of known averages; write picks, labels and star files.

    Row i of ``labels.csv`` is row i of ``picks.csv`` and of ``particles.star``;
    ``junk/noise.star`` holds the candidates that were not accepted.

    Parameters
    ----------
    tomograms : sequence of Tomogram
    averages : sequence of path
        The folder of a run, or MRC files of maps.
    out : path
    particle_diameter_angstrom : float
    fdr : float
        So many of the particles may be none, above 0 and below 1.
    rescale : bool
        Whether averages may have other voxels than the tomograms.
    relion, overwrite
        As in `run`.
    executor : Executor, optional
        Searches tomograms as its tasks.

    Raises
    ------
    InputError
        If averages and tomograms do not fit one another, or the folder holds another run.
    """
    from aitom_disca.search import candidates_in, search

    if not 0 < fdr < 1:
        raise InputError(f"the false-discovery rate must lie between 0 and 1; got {fdr:g}.")
    _check_voxels(tomograms)
    diameter = particle_diameter_angstrom
    places = candidates_in(tomograms, diameter, executor=executor)
    references = references_of(averages, tomograms, places, diameter, rescale=rescale)
    folder = RunFolder(out)
    inputs = [str(Path(path).resolve()) for path in (*(t.path for t in tomograms), *averages)]
    recorded = {
        "particle_diameter_angstrom": particle_diameter_angstrom,
        "fdr": fdr,
        "rescale": rescale,
        "relion": relion,
    }
    folder.start("search", recorded, inputs, overwrite=overwrite)

    def work() -> dict[str, Any]:
        found = search(
            tomograms, references, diameter, fdr=fdr, centers_zyx_px=places, executor=executor
        )
        box_px = round(references.box_angstrom / tomograms[0].voxel_size_angstrom)
        write_found(folder, found, relion, box_px)
        sizes = sizes_of(_clusters(found), len(references.names))
        return {
            "n_particles": len(found.particles),
            "sizes": dict(zip(references.names, sizes, strict=True)),
            "candidates_left_out": len(found.noise),
        }

    folder.stage("search", work)
    return folder


def references_of(
    averages: Sequence[str | Path],
    tomograms: Sequence[Tomogram],
    centers_zyx_px: Sequence[np.ndarray],
    particle_diameter_angstrom: float,
    *,
    rescale: bool = False,
) -> References:
    """The averages of a run, or maps, as a search compares with them; see `search_tomograms`.

    Raises
    ------
    InputError
        If there are none, or they do not fit the tomograms.
    """
    from aitom_disca.search import references_of_maps, references_of_run

    voxel = tomograms[0].voxel_size_angstrom
    maps = [Path(path) for path in averages]
    if len(maps) == 1 and maps[0].is_dir():
        if (maps[0] / "model.h5").exists():
            found = references_of_run(maps[0], voxel, rescale=rescale)
            if particle_diameter_angstrom >= found.box_angstrom:
                raise InputError(
                    f"particles of {particle_diameter_angstrom:g} A do not fit into the box of "
                    f"{found.box_angstrom:g} A that the averages have; give a smaller diameter."
                )
            return found
        maps = sorted(maps[0].glob("*.mrc*"))
    if not maps:
        raise InputError(
            f"{averages[0]} holds neither a model.h5 nor maps (.mrc); give the folder of a run, or "
            "maps."
        )
    return references_of_maps(
        maps, tomograms, centers_zyx_px, particle_diameter_angstrom, rescale=rescale
    )


def write_found(folder: RunFolder, found: Found, relion: RelionVersion, box_px: int) -> None:
    """Write what a search found; say how many of which cluster there are."""
    particles = found.particles
    write_picks_csv(folder.picks, particles)
    more = {"q_value": found.q_value}
    write_labels_csv(folder.labels, _clusters(found), particles.posterior, more=more)
    write_particles_star(folder.star, particles, relion=relion, box_px=box_px)
    if len(particles):
        write_cluster_stars(folder.star_folder, particles, relion=relion, box_px=box_px)
    write_particles_star(folder.noise_star, found.noise, relion=relion, box_px=box_px)
    left_out = counted(len(found.noise), "candidate")
    say(f"{counted(len(particles), 'particle')} found, {left_out} left out")


def _clusters(found: Found) -> np.ndarray:
    cluster = found.particles.cluster
    return np.zeros(0, int) if cluster is None else cluster


def _check_voxels(tomograms: Sequence[Tomogram]) -> None:
    voxels = sorted(t.voxel_size_angstrom for t in tomograms)
    if voxels[-1] > voxels[0] * (1 + _SAME_VOXEL):
        raise InputError(
            f"the tomograms have voxels of {voxels[0]:g} to {voxels[-1]:g} A; search those of one "
            "voxel size at a time."
        )
