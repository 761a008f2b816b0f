"""Symmetry of averages: find its axes, lay an average and its members on them, impose it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.averaging.check_maps import as_cube, check_positive
from aitom_disca.averaging.symmetry_axes import best_axes, noise_of_shells
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.errors import InputError
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.geometry.symmetry import point_group

CLEARLY = 0.1  # above the best of several draws of noise, a symmetry is there
_DRAWS = 4
_SEARCH_PX = 32
_FEWEST_PX = 8
_LARGEST = 15.0  # frequency, in steps of 1 / box


@dataclass(frozen=True)
class SymmetryAxes:
    """How an average is to be moved to lie on the axes of a symmetry, and how well it fits.

    Parameters
    ----------
    rotation : Rotation
        Of (x, y, z) vectors about the centre voxel ``n // 2``.
    shift_zyx_px : ndarray of shape (3,)
        Applied after the rotation. Along the axis of Cn, where any would do, it is 0.
    score : float
        Mean correlation of the average with itself turned by each operation, but for what is the
        same on all sides: 1 is perfect, 0 none, or too round to tell. A group within the true
        one scores as high.
    by_chance : float
        The highest score that axes found in several draws of noise, of the same power and size,
        reach.
    """

    rotation: Rotation
    shift_zyx_px: np.ndarray
    score: float
    by_chance: float

    @property
    def clear(self) -> bool:
        """Whether the score is above chance by a tenth at the least."""
        return self.score >= self.by_chance + CLEARLY


def find_axes(
    volume: np.ndarray,
    group_name: str,
    *,
    largest_frequency: float | None = None,
    radius_px: float | None = None,
    seed: int = 0,
) -> SymmetryAxes:
    """Find the rotation and the shift that lay an average onto the axes of a symmetry.

    All directions of the axes and shifts of up to a tenth of the box are tried at low resolution;
    the best are followed to higher frequencies. Of all poses that the symmetry makes equal the
    one of the smallest rotation is given.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
        Protein bright.
    group_name : str
        As in `point_group`.
    largest_frequency : float, optional
        Up to which the average is trusted, in steps of 1 / box; 15 at the most, as by default.
    radius_px : float, optional
        Of a soft sphere about the centre that holds the particle; by default it fills the box.
    seed : int
        Of the noise that is compared with.

    Raises
    ------
    InputError
        If there is no such group or it is C1, the average is no cube of at least 8 voxels or
        constant, or a number is not above 0.
    """
    group = point_group(group_name)
    if len(group) == 1:
        raise InputError("C1 has no axes; give the symmetry that the average may have, such as C2.")
    volume = as_cube(volume, "the average")
    n = volume.shape[0]
    if n < _FEWEST_PX:
        raise InputError(f"the average must have at least {_FEWEST_PX} voxels an edge; it has {n}.")
    edge_px = max(2.0, n / 16)
    radius_px = n / 2 - edge_px if radius_px is None else radius_px
    check_positive(radius_px, "the radius")
    check_positive(_LARGEST if largest_frequency is None else largest_frequency, "the frequency")
    mask = soft_sphere(n, radius_px, edge_px)
    inside = (volume - np.average(volume, weights=mask)) * mask
    if not np.ptp(inside) > 0:
        raise InputError("the average holds one value only, so that it has no axes.")
    box_px = min(n, _SEARCH_PX)
    small = fourier_crop(inside, box_px)
    limit = min(largest_frequency or _LARGEST, box_px / 2 - 1)
    rotation, shift, score = best_axes(small, group_name, limit)
    small_mask = fourier_crop(mask, box_px)

    def chance(rng: np.random.Generator) -> float:
        return best_axes(noise_of_shells(small, rng) * small_mask, group_name, limit)[2]

    by_chance = max(on_all_cores(chance, np.random.default_rng(seed).spawn(_DRAWS)))
    return SymmetryAxes(rotation, shift * (n / box_px), score, by_chance)


def lay_on_axes(
    rotations: Rotation, offsets_zyx_px: np.ndarray, found: SymmetryAxes
) -> tuple[Rotation, np.ndarray]:
    """The poses of an average's members once the average lies on its axes.

    Parameters
    ----------
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from the average to the tomogram.
    offsets_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre.
    found : SymmetryAxes

    Returns
    -------
    rotations : Rotation of N rotations
    offsets_zyx_px : ndarray of shape (N, 3)
    """
    rotations = rotations * found.rotation.inv()
    moved = rotations.apply(found.shift_zyx_px[::-1])[:, ::-1]
    return rotations, offsets_zyx_px - moved


def expanded(
    rotations: Rotation, offsets_zyx_px: np.ndarray, group: Rotation
) -> tuple[Rotation, np.ndarray, np.ndarray]:
    """Every pose of every member that a symmetry makes equal.

    Members inserted at all of them give a symmetric average, in which each missing wedge is filled
    by what other operations bring there; that is more than an average symmetrised afterwards.
    Expand each half by itself.

    Parameters
    ----------
    rotations : Rotation of N rotations
        Of (x, y, z) vectors, from an average that lies on the axes to the tomogram.
    offsets_zyx_px : ndarray of shape (N, 3)
        Where each particle lies, from the box centre.
    group : Rotation of g rotations
        See `point_group`.

    Returns
    -------
    rotations : Rotation of N g rotations
        Those of one member follow one another, its own first.
    offsets_zyx_px : ndarray of shape (N g, 3)
    member : ndarray of int, shape (N g,)
        Which of the N it is.
    """
    member = np.repeat(np.arange(len(rotations)), len(group))
    operation = np.tile(np.arange(len(group)), len(rotations))
    return rotations[member] * group[operation], np.asarray(offsets_zyx_px)[member], member


def symmetrised(volume: np.ndarray, group: Rotation) -> np.ndarray:
    """The mean of a volume turned by every operation of a group about the voxel ``n // 2``.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
        On the axes of the group. What lies outside of the box is 0.
    group : Rotation of g rotations
        See `point_group`.

    Returns
    -------
    ndarray of float32, shape (n, n, n)

    Raises
    ------
    InputError
        If it is no cube.
    """
    volume = as_cube(volume, "the volume")
    centre = centre_index(volume.shape[0])
    smooth = ndimage.spline_filter(volume.astype(float))
    from_centre = np.indices(volume.shape).reshape(3, -1).T - centre
    total = np.zeros(volume.size)
    for matrix in group.as_matrix()[:, ::-1, ::-1]:
        place = (from_centre @ matrix).T + centre
        total += ndimage.map_coordinates(smooth, place, order=3, prefilter=False)
    return (total / len(group)).reshape(volume.shape).astype(np.float32)
