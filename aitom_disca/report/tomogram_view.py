"""A tomogram to look through: slices, the particles near to each, and the averages put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram, open_map
from aitom_disca.io.file_names import file_parts
from aitom_disca.particles import ParticleSet
from aitom_disca.report import pictures
from aitom_disca.report.cards import cluster_colour
from aitom_disca.report.cell_of_run import junk_of_run, kinds_in, largest_diameter_angstrom
from aitom_disca.report.cell_slice import MOST_PIXELS, Kind, slice_with_most
from aitom_disca.report.figures import scale_bar_nm
from aitom_disca.run_folder import RunFolder

_MOST_TOMOGRAMS = 12  # so that the report stays small
_SLICES_OF_FIRST, _SLICES, _FEWEST_SLICES = 7, 3, 3
_MOST_DRAWN = 3000  # particles in a tomogram
_REACH_PERCENT = (2, 98)  # of the particles lie between the first and the last slice
_OFTEN = 1.0  # slices are so many diameters apart, if there may be so many
_FAINT = 0.4  # density of an average put back, 1 at its surface, that is not drawn
_SOLID = 1.6  # and above that, which is drawn most strongly


@dataclass(frozen=True)
class KindInView:
    """Particles that are drawn alike.

    Parameters
    ----------
    name : str
    number : int, optional
        Of the cluster; None for what was set apart.
    colour : str
    dashed : bool
    n : int
        In the whole tomogram.
    """

    name: str
    number: int | None
    colour: str
    dashed: bool
    n: int


@dataclass(frozen=True)
class SliceView:
    """A slice, and what is drawn over it.

    Parameters
    ----------
    z_px : int
    image : bytes
        JPEG.
    placed : bytes, optional
        PNG of the averages put back.
    marks : sequence of (kind, ndarray of shape (n, 3))
        Index of a kind, and x, y from the upper left and the radius of each particle, in voxels.
    """

    z_px: int
    image: bytes
    placed: bytes | None
    marks: Sequence[tuple[int, np.ndarray]]


@dataclass(frozen=True)
class TomogramView:
    """What there is to see of a tomogram.

    Parameters
    ----------
    name : str
    width_px, height_px, depth_px : int
        Edges x, y, z of the tomogram.
    voxel_size_angstrom : float
    slices : sequence of SliceView
        From the lowest z.
    kinds : sequence of KindInView
    thickness_nm : float
        That each slice shows.
    n_left_out : int
        Particles that are not drawn, as there are so many.
    """

    name: str
    width_px: int
    height_px: int
    depth_px: int
    voxel_size_angstrom: float
    slices: Sequence[SliceView]
    kinds: Sequence[KindInView] = field(default_factory=tuple)
    thickness_nm: float = 0.0
    n_left_out: int = 0

    @property
    def bar_nm(self) -> float:
        """Length of the scale bar."""
        return scale_bar_nm(self.width_px * self.voxel_size_angstrom / 10)

    @property
    def bar_px(self) -> float:
        """The same in voxels."""
        return self.bar_nm * 10 / self.voxel_size_angstrom


def views_of_run(
    folder: RunFolder,
    tomograms: Sequence[Tomogram],
    particles: ParticleSet,
    labels: np.ndarray,
    names: Mapping[int, str],
) -> tuple[list[TomogramView], list[str]]:
    """The tomograms of a run, the first one in more slices than the others.

    Parameters
    ----------
    folder : RunFolder
        For what was set apart, the diameters, and the averages put back.
    tomograms : sequence of Tomogram
    particles : ParticleSet
        Of the store.
    labels : ndarray of int, shape (n,)
        Their clusters from 0; negative for none.
    names : mapping of int to str
        Of clusters, by their number from 1.

    Returns
    -------
    views : list of TomogramView
    notes : list of str
        On tomograms that could not be drawn, or are not since there are many.
    """
    if not particles.has_positions:
        return [], []
    junk = junk_of_run(folder, particles.tomograms)
    diameter = largest_diameter_angstrom(folder)
    placed = _placed_maps(folder, list(particles.tomograms))
    views: list[TomogramView] = []
    notes = []
    for tomogram in tomograms[:_MOST_TOMOGRAMS]:
        voxel = tomogram.voxel_size_angstrom
        kinds = kinds_in(tomogram.name, voxel, particles, labels, junk, diameter)
        most = _SLICES if views else _SLICES_OF_FIRST
        try:
            maps = placed.get(tomogram.name)
            view = view_of(tomogram, kinds, diameter, names, maps, most)
        except (InputError, OSError, ValueError) as error:  # it may have changed since
            notes.append(f"Tomogram {tomogram.name} could not be drawn: {error}")
            continue
        views.append(view)
    if len(tomograms) > _MOST_TOMOGRAMS:
        notes.append(f"The first {_MOST_TOMOGRAMS} of {len(tomograms)} tomograms are drawn.")
    return views, notes


def view_of(
    tomogram: Tomogram,
    kinds: Sequence[Kind],
    diameter_angstrom: float,
    names: Mapping[int, str] | None = None,
    placed: tuple[Path, Path] | None = None,
    most_slices: int = _SLICES_OF_FIRST,
) -> TomogramView:
    """Look through a tomogram in a few slices; every particle is drawn in the nearest one.

    Parameters
    ----------
    tomogram : Tomogram
    kinds : sequence of Kind
        Clusters first, by their numbers, as `kinds_in` gives them.
    diameter_angstrom : float
        Of the (largest) particles.
    names : mapping of int to str, optional
    placed : tuple of 2 path, optional
        Density and labels of the averages put back.
    most_slices : int

    Raises
    ------
    InputError
        If the tomogram cannot be read.
    """
    nz, ny, nx = tomogram.shape_zyx
    diameter_px = diameter_angstrom / tomogram.voxel_size_angstrom
    places = [kind.center_zyx_px[:, 0] for kind in kinds]
    middles = _middles(np.concatenate([*places, np.empty(0)]), nz, diameter_px, most_slices)
    nearest = [np.abs(z[:, None] - middles).argmin(axis=1) for z in places]
    kept, n_left_out = _few_enough(places, middles)
    there = [k + 1 for k, kind in enumerate(kinds) if kind.colour and len(kind.center_zyx_px)]
    slices = []
    for i, middle in enumerate(middles.tolist()):
        one = slice_with_most(tomogram, (), diameter_angstrom, middle)
        marks = [
            (k, _marks(kind, (nearest[k] == i) & kept[k], ny))
            for k, kind in enumerate(kinds)
            if ((nearest[k] == i) & kept[k]).any()
        ]
        drawn = _placed_slice(placed, middle, tomogram.shape_zyx, there)
        slices.append(SliceView(middle, pictures.grey_jpeg(one.image_yx), drawn, marks))
    shown = [_in_view(k, kind, names or {}) for k, kind in enumerate(kinds)]
    thickness = 2 * round(diameter_px / 6) + 1
    return TomogramView(
        tomogram.name,
        nx,
        ny,
        nz,
        tomogram.voxel_size_angstrom,
        slices,
        shown,
        min(thickness, nz) * tomogram.voxel_size_angstrom / 10,
        n_left_out,
    )


def _middles(z_px: np.ndarray, nz: int, diameter_px: float, most: int) -> np.ndarray:
    """Slices at even distances through where the particles lie."""
    low, high = np.percentile(z_px, _REACH_PERCENT) if len(z_px) else (0.3 * nz, 0.7 * nz)
    n = int(np.clip(round((high - low) / (_OFTEN * diameter_px)) + 1, _FEWEST_SLICES, most))
    step = (high - low) / n
    middles = np.rint(low + step * (np.arange(n) + 0.5)).astype(int)
    return np.unique(np.clip(middles, 0, nz - 1))


def _few_enough(places: Sequence[np.ndarray], middles: np.ndarray) -> tuple[list[np.ndarray], int]:
    """Which particles of each kind are drawn, those nearest to a slice; and how many are not."""
    away = [np.abs(z[:, None] - middles).min(axis=1) for z in places]
    every = np.concatenate([*away, np.empty(0)])
    if len(every) <= _MOST_DRAWN:
        return [np.ones(len(one), bool) for one in away], 0
    farthest = np.sort(every)[_MOST_DRAWN - 1]
    kept = [one <= farthest for one in away]
    return kept, len(every) - sum(int(one.sum()) for one in kept)


def _marks(kind: Kind, chosen: np.ndarray, height_px: int) -> np.ndarray:
    """Rows x, y, radius; y downwards, as pictures have it."""
    x, y = kind.center_zyx_px[chosen, 2], kind.center_zyx_px[chosen, 1]
    radius = np.broadcast_to(kind.diameter_px, len(chosen))[chosen] / 2
    return np.column_stack([x + 0.5, height_px - 0.5 - y, radius])


def _in_view(index: int, kind: Kind, names: Mapping[int, str]) -> KindInView:
    is_cluster = kind.colour is not None
    number = index + 1 if is_cluster else None
    name = names.get(index + 1, kind.name) if is_cluster else kind.name
    colour = kind.colour or cluster_colour(-1)
    return KindInView(name, number, colour, kind.dashed, len(kind.center_zyx_px))


def _placed_maps(folder: RunFolder, names: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """Density and labels of the averages put back, by tomogram, as far as they are there."""
    found = {}
    for name, part in file_parts(names).items():
        paths = folder.embedded / f"{part}_density.mrc", folder.embedded / f"{part}_labels.mrc"
        if all(path.is_file() for path in paths):
            found[name] = paths
    return found


def _placed_slice(
    paths: tuple[Path, Path] | None,
    z_px: int,
    shape_zyx: tuple[int, int, int],
    there: Sequence[int],
) -> bytes | None:
    """The averages put back in a slice; None where there are none."""
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
