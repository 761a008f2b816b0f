"""What lies in the tomograms of a run: particles by kind, and averages that were put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aitom_disca.colours import cluster_colour
from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index
from aitom_disca.geometry.box import box_slices
from aitom_disca.io import open_map, read_particles_star
from aitom_disca.io.file_names import file_parts
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.report import pictures
from aitom_disca.report.cell_slice import MOST_PIXELS, Kind, cluster_kind
from aitom_disca.runs.run_folder import RunFolder

_FAINT = 0.4  # density of an average put back, 1 at its surface, that is not drawn
_SOLID = 1.6  # and above that, which is drawn most strongly

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


def placed_maps(folder: RunFolder, names: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """Density and labels of the averages put back, by tomogram, as far as they are there."""
    found = {}
    for name, part in file_parts(names).items():
        paths = folder.embedded / f"{part}_density.mrc", folder.embedded / f"{part}_labels.mrc"
        if all(path.is_file() for path in paths):
            found[name] = paths
    return found


def placed_slice(
    paths: tuple[Path, Path] | None,
    z_px: int,
    shape_zyx: tuple[int, int, int],
    there: Sequence[int],
) -> bytes | None:
    """The averages put back in a slice of a tomogram, as PNG; None where there are none.

    Parameters
    ----------
    paths : tuple of 2 path, optional
        Density and labels.
    z_px : int
    shape_zyx : tuple of 3 int
        Of the tomogram; maps of another shape are not its own.
    there : sequence of int
        Numbers of the clusters that there are.
    """
    if paths is None:
        return None
    density, labels = (open_map(path) for path in paths)
    if density.shape_zyx != shape_zyx or labels.shape_zyx != shape_zyx:
        return None
    _, ny, nx = shape_zyx
    here = slice(z_px, z_px + 1), slice(0, ny), slice(0, nx)
    step = -(-max(ny, nx) // MOST_PIXELS)
    strength = density.read(here)[0, ::step, ::step]
    strength = (strength - _FAINT) / _SOLID
    numbers = labels.read(here)[0, ::step, ::step].astype(int)
    numbers[~np.isin(numbers, there)] = 0  # a person left these out since
    colours = [cluster_colour(k) for k in range(max(there, default=0))]
    return pictures.labels_png(numbers, strength, colours) if numbers.any() else None
