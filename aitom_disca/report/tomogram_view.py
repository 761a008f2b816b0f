"""A tomogram to look through: slices, the particles near to each, and the averages put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aitom_disca.colours import cluster_colour
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.report import pictures
from aitom_disca.report.cell_of_run import (
    junk_of_run,
    kinds_in,
    largest_diameter_angstrom,
    placed_maps,
    placed_slice,
)
from aitom_disca.report.cell_slice import Kind, slice_with_most
from aitom_disca.report.figure_style import scale_bar_nm
from aitom_disca.runs.run_folder import RunFolder

_MOST_TOMOGRAMS = 8  # so that the report stays small
_FEWEST_SLICES = 3
_REACH_PERCENT = (2, 98)  # of the particles lie between the first and the last slice
_OFTEN = 1.0  # slices are so many diameters apart, if there may be so many


@dataclass(frozen=True)
class Detail:
    """How much is shown of a tomogram at the most.

    Parameters
    ----------
    slices : int
    slice_bytes : int
        Of the picture of a slice.
    particles : int
    """

    slices: int
    slice_bytes: int
    particles: int


FIRST, OTHERS = Detail(7, 120_000, 3000), Detail(2, 32_000, 500)


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
    placed = placed_maps(folder, list(particles.tomograms))
    views: list[TomogramView] = []
    notes = []
    for tomogram in tomograms[:_MOST_TOMOGRAMS]:
        voxel = tomogram.voxel_size_angstrom
        kinds = kinds_in(tomogram.name, voxel, particles, labels, junk, diameter)
        detail = OTHERS if views else FIRST
        try:
            maps = placed.get(tomogram.name)
            view = view_of(tomogram, kinds, diameter, names, maps, detail)
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
    detail: Detail = FIRST,
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
    detail : Detail

    Raises
    ------
    InputError
        If the tomogram cannot be read.
    """
    nz, ny, nx = tomogram.shape_zyx
    diameter_px = diameter_angstrom / tomogram.voxel_size_angstrom
    places = [kind.center_zyx_px[:, 0] for kind in kinds]
    middles = _middles(np.concatenate([*places, np.empty(0)]), nz, diameter_px, detail.slices)
    nearest = [np.abs(z[:, None] - middles).argmin(axis=1) for z in places]
    kept, n_left_out = _few_enough(places, middles, detail.particles)
    there = [k + 1 for k, kind in enumerate(kinds) if kind.colour and len(kind.center_zyx_px)]
    slices = []
    for i, middle in enumerate(middles.tolist()):
        one = slice_with_most(tomogram, (), diameter_angstrom, middle)
        marks = [
            (k, _marks(kind, (nearest[k] == i) & kept[k], ny))
            for k, kind in enumerate(kinds)
            if ((nearest[k] == i) & kept[k]).any()
        ]
        picture = pictures.grey_jpeg(one.image_yx, detail.slice_bytes)
        drawn = placed_slice(placed, middle, tomogram.shape_zyx, there)
        slices.append(SliceView(middle, picture, drawn, marks))
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
    n = int(
        np.clip(round((high - low) / (_OFTEN * diameter_px)) + 1, min(_FEWEST_SLICES, most), most)
    )
    step = (high - low) / n
    middles = np.rint(low + step * (np.arange(n) + 0.5)).astype(int)
    return np.unique(np.clip(middles, 0, nz - 1))


def _few_enough(
    places: Sequence[np.ndarray], middles: np.ndarray, most: int
) -> tuple[list[np.ndarray], int]:
    """Which particles of each kind are drawn, those nearest to a slice; and how many are not."""
    away = [np.abs(z[:, None] - middles).min(axis=1) for z in places]
    every = np.concatenate([*away, np.empty(0)])
    if len(every) <= most:
        return [np.ones(len(one), bool) for one in away], 0
    farthest = np.sort(every)[most - 1]
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
