"""The cells of a run: what lies in its tomograms, and the averages beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index
from aitom_disca.geometry.box import box_slices
from aitom_disca.io import Tomogram, read_particles_star
from aitom_disca.io.mrc import read_voxels
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.report.cards import cluster_colour
from aitom_disca.report.cell_figure import AverageView, draw_cell
from aitom_disca.report.cell_slice import Kind, cluster_kind, slice_with_most
from aitom_disca.report.html import CellPicture
from aitom_disca.run_folder import RunFolder

_MOST_TOMOGRAMS = 12  # so that the report stays small
_MOST_AVERAGES = 12
_DEFAULT_DIAMETER_ANGSTROM = 200.0
_SHOWN_DIAMETERS = 1.6  # of a box


def cells_of_run(
    folder: RunFolder,
    tomograms: Sequence[Tomogram],
    particles: ParticleSet,
    labels: np.ndarray,
    averages: Sequence[AverageView] = (),
) -> tuple[list[CellPicture], list[str]]:
    """Draw the tomograms of a run, the first one beside the averages.

    Parameters
    ----------
    folder : RunFolder
        For what was set apart, and the diameters.
    tomograms : sequence of Tomogram
    particles : ParticleSet
        Of the store.
    labels : ndarray of int, shape (n,)
        Their clusters from 0; negative for none.
    averages : sequence of AverageView

    Returns
    -------
    pictures : list of CellPicture
    notes : list of str
        On tomograms that could not be drawn, or are not since there are many.
    """
    if not particles.has_positions:
        return [], []
    junk = junk_of_run(folder, particles.tomograms)
    diameter = largest_diameter_angstrom(folder)
    pictures: list[CellPicture] = []
    notes = []
    for tomogram in tomograms[:_MOST_TOMOGRAMS]:
        voxel = tomogram.voxel_size_angstrom
        kinds = kinds_in(tomogram.name, voxel, particles, labels, junk, diameter)
        beside = () if pictures else averages
        try:
            one = slice_with_most(tomogram, kinds, diameter)
        except (InputError, OSError, ValueError) as error:  # it may have changed since
            notes.append(f"Tomogram {tomogram.name} could not be drawn: {error}")
            continue
        pictures.append(CellPicture(one.title, draw_cell([one], beside), bool(beside)))
    if len(tomograms) > _MOST_TOMOGRAMS:
        notes.append(f"The first {_MOST_TOMOGRAMS} of {len(tomograms)} tomograms are drawn.")
    return pictures, notes


def kinds_in(
    tomogram: str,
    voxel_size_angstrom: float,
    particles: ParticleSet,
    labels: np.ndarray,
    junk: Mapping[str, ParticleSet],
    default_angstrom: float,
) -> list[Kind]:
    """The clusters in a tomogram, by size of their particles, and what was set apart.

    A cluster is drawn at the median of the diameters at which its particles were picked, or at a
    given one where that is not known.
    """
    here = particles.tomogram_name == tomogram
    nowhere = np.full(len(particles), np.nan)
    diameter = np.asarray(particles.more.get("diameter_angstrom", nowhere), float)
    kinds = []
    for cluster in range(labels.max(initial=-1) + 1):
        members = labels == cluster
        sizes = diameter[members & np.isfinite(diameter)]
        size = float(np.median(sizes)) if len(sizes) else default_angstrom
        places = particles.center_zyx_px[here & members]
        kinds.append(cluster_kind(cluster, places, size / voxel_size_angstrom))
    for name, one in junk.items():
        kinds.append(Kind(name, one.center_zyx_px[one.tomogram_name == tomogram]))
    kinds.append(Kind("noise", particles.center_zyx_px[here & (labels < 0)]))
    return kinds


def junk_of_run(folder: RunFolder, tomograms: Mapping[str, TomogramInfo]) -> dict[str, ParticleSet]:
    """What was set apart, by kind; without the noise, which is what has no cluster."""
    found = {}
    for path in sorted(folder.junk.glob("*.star")):
        if path == folder.noise_star:
            continue
        try:
            found[path.stem] = read_particles_star(path, tomograms=tomograms)
        except InputError:  # a file without particles
            continue
    return found


def averages_of_run(
    folder: RunFolder, sizes: Sequence[int], voxel_size_angstrom: float
) -> list[AverageView]:
    """The averages of the largest clusters, beside the maps that they were compared with."""
    shown_px = round(_SHOWN_DIAMETERS * largest_diameter_angstrom(folder) / voxel_size_angstrom)
    found = []
    for cluster, size in enumerate(sizes):
        own = folder.averages / f"cluster_{cluster + 1:02d}"
        if not (own / "filtered.mrc").is_file():
            continue
        known = sorted(own.glob("compared_*.mrc"))
        found.append(
            AverageView(
                f"cluster {cluster + 1}",
                cluster_colour(cluster),
                cropped(read_voxels(own / "filtered.mrc"), shown_px),
                cropped(read_voxels(known[0]), shown_px) if known else None,
                f"{size} particles",
                voxel_size_angstrom,
            )
        )
    return found[:_MOST_AVERAGES]


def views_of_means(
    folder: RunFolder, means: np.ndarray, voxel_size_angstrom: float
) -> list[AverageView]:
    """The aligned means (K, z, y, x) of the largest clusters, where there are no averages."""
    shown_px = round(_SHOWN_DIAMETERS * largest_diameter_angstrom(folder) / voxel_size_angstrom)
    return [
        AverageView(
            f"cluster {k + 1}",
            cluster_colour(k),
            cropped(mean, shown_px),
            voxel_size_angstrom=voxel_size_angstrom,
        )
        for k, mean in enumerate(means[:_MOST_AVERAGES])
    ]


def largest_diameter_angstrom(folder: RunFolder) -> float:
    """The diameter that was picked, the largest of several."""
    given = folder.record["settings"].get("pick", {}).get("particle_diameter_angstrom")
    return max(given) if isinstance(given, list) else given or _DEFAULT_DIAMETER_ANGSTROM


def cropped(volume_zyx: np.ndarray, box_px: int) -> np.ndarray:
    """The middle of a box."""
    n = min(box_px, *volume_zyx.shape)
    return volume_zyx[box_slices([centre_index(size) for size in volume_zyx.shape], n)]
