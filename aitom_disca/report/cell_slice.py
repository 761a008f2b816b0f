"""A slice of a tomogram and the particles near to it, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from aitom_disca.colours import CLUSTER_COLOURS, cluster_colour
from aitom_disca.io import Tomogram

_NEAR_DIAMETERS = 1 / 4  # particles nearer to the slice are drawn
_THICK_DIAMETERS = 1 / 3  # of the slice
_LOW_PASS_DIAMETERS = 1 / 25  # standard deviation of the Gaussian
MOST_PIXELS = 1000  # along an edge of a slice


@dataclass(frozen=True)
class Kind:
    """Particles that are drawn alike: a circle each, or a marker for what was set apart.

    Parameters
    ----------
    name : str
    center_zyx_px : ndarray of shape (n, 3)
        In voxels of the tomogram.
    colour : str, optional
        Of the circles; what has none is junk, and drawn in grey with the marker of its name.
    diameter_px : float or ndarray of shape (n,)
        Of the circles, in voxels.
    dashed : bool
        For a colour that another kind has already.
    """

    name: str
    center_zyx_px: np.ndarray
    colour: str | None = None
    diameter_px: float | np.ndarray = 0.0
    dashed: bool = False

    def near(self, middle_px: float, half_px: float) -> Kind:
        """The particles whose centres are no farther from a slice."""
        inside = np.abs(self.center_zyx_px[:, 0] - middle_px) <= half_px
        diameter = np.broadcast_to(self.diameter_px, len(inside))[inside]
        return replace(self, center_zyx_px=self.center_zyx_px[inside], diameter_px=diameter)


@dataclass(frozen=True)
class CellSlice:
    """A slice of a tomogram, protein bright, and the particles near to it.

    Parameters
    ----------
    image_yx : ndarray of shape (y, x)
        May be coarser than the tomogram.
    shape_yx : tuple of 2 int
        Of the slice in voxels.
    voxel_size_angstrom : float
    kinds : sequence of Kind
    title : str
    middle_px : int
        Its z.
    near_px : float
        Particles whose centres are no farther from it are shown.
    """

    image_yx: np.ndarray
    shape_yx: tuple[int, int]
    voxel_size_angstrom: float
    kinds: Sequence[Kind]
    title: str = ""
    middle_px: int = 0
    near_px: float = 1.0

    def with_kinds(self, kinds: Sequence[Kind], title: str) -> CellSlice:
        """The same slice with other particles."""
        near = [kind.near(self.middle_px, self.near_px) for kind in kinds]
        return replace(self, kinds=near, title=title)


def cluster_kind(cluster: int, center_zyx_px: np.ndarray, diameter_px: float | np.ndarray) -> Kind:
    """A cluster, from 0, in the colour that it has everywhere in the report."""
    colour, again = cluster_colour(cluster), cluster >= len(CLUSTER_COLOURS)
    return Kind(f"cluster {cluster + 1}", center_zyx_px, colour, diameter_px, again)


def slice_with_most(
    tomogram: Tomogram,
    kinds: Sequence[Kind],
    diameter_angstrom: float,
    middle_px: int | None = None,
) -> CellSlice:
    """The slice near to which most particles lie, a little thicker than one voxel and smoothed.

    Particles within a quarter of a diameter of its middle belong to it; it is a third of a
    diameter thick.

    Parameters
    ----------
    tomogram : Tomogram
    kinds : sequence of Kind
        Junk does not count.
    diameter_angstrom : float
        Of the (largest) particles.
    middle_px : int, optional
        Take this slice.

    Raises
    ------
    InputError
        If the tomogram cannot be read there.
    """
    nz, ny, nx = tomogram.shape_zyx
    diameter_px = diameter_angstrom / tomogram.voxel_size_angstrom
    near_px = max(1.0, diameter_px * _NEAR_DIAMETERS)
    if middle_px is None:
        middle_px = most_crowded(kinds, nz, near_px)
    half = round(diameter_px * _THICK_DIAMETERS / 2)
    low, high = max(0, middle_px - half), min(nz, middle_px + half + 1)
    image = np.zeros((ny, nx), np.float32)
    for z in range(low, high):  # a slice at a time: tomograms may be large
        image += tomogram.read((slice(z, z + 1), slice(0, ny), slice(0, nx)))[0]
    image = gaussian_filter(image / (high - low), diameter_px * _LOW_PASS_DIAMETERS)
    step = -(-max(ny, nx) // MOST_PIXELS)
    one = CellSlice(
        image[::step, ::step],
        (ny, nx),
        tomogram.voxel_size_angstrom,
        (),
        middle_px=middle_px,
        near_px=near_px,
    )
    return one.with_kinds(kinds, f"{tomogram.name}, slice {middle_px} (mean of {high - low})")


def most_crowded(kinds: Sequence[Kind], n_slices: int, near_px: float) -> int:
    """The slice that most particles are near to, the middle one of several."""
    heights = [kind.center_zyx_px[:, 0] for kind in kinds if kind.colour is not None]
    z = np.concatenate(heights) if heights else np.empty(0)
    counts = (np.abs(z[:, None] - np.arange(n_slices)) <= near_px).sum(axis=0)
    best = np.flatnonzero(counts == counts.max())
    return int(best[np.argmin(np.abs(best - (n_slices - 1) / 2))])
