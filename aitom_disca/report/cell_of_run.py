"""What lies in the tomograms of a run, by kind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index
from aitom_disca.geometry.box import box_slices
from aitom_disca.io import read_particles_star
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.report.cell_slice import Kind, cluster_kind
from aitom_disca.runs.run_folder import RunFolder

_DEFAULT_DIAMETER_ANGSTROM = 200.0


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


def largest_diameter_angstrom(folder: RunFolder) -> float:
    """The diameter that was picked, the largest of several."""
    given = folder.record["settings"].get("pick", {}).get("particle_diameter_angstrom")
    return max(given) if isinstance(given, list) else given or _DEFAULT_DIAMETER_ANGSTROM


def cropped(volume_zyx: np.ndarray, box_px: int) -> np.ndarray:
    """The middle of a box."""
    n = min(box_px, *volume_zyx.shape)
    return volume_zyx[box_slices([centre_index(size) for size in volume_zyx.shape], n)]
