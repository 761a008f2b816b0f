"""Averages drawn into a volume of the size of the tomogram, at the poses of their members.

Drawn densities do not add up: the highest counts. Boxes of neighbours overlap, and a particle may
have been picked twice; a sum would make these places brighter than any molecule, and no single
level would show all copies alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index, rotation_from_euler_zyz_deg
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.particles import TomogramInfo
from aitom_disca.progress import track
from aitom_disca.reembedding.map_file import DENSITY_MODE, LABEL_MODE, new_map

SURFACE = 1.0  # density at the surface of every drawn average
_BYTES = 6  # of a voxel in memory: density and label
_EDGE_PX = 3.0
_LEAST_THRESHOLD = 0.1  # share of the maximum: below it, an average is noise
_FAINT = 1e-3  # of the surface's density: not drawn
_TRUNCATE = 4.0  # sigmas to which a Gaussian reaches
_DRAWN_VOXELS = 2**24  # bounds what is drawn and not yet laid down


@dataclass(frozen=True, eq=False)
class PlacedAverage:
    """An average and the N places where it belongs.

    Parameters
    ----------
    number : int
        Of the cluster, from 1.
    average : ndarray of shape (n, n, n)
        Protein bright, its centre at voxel ``n // 2``.
    voxel_size_angstrom : float
        Of the average; may differ from that of the tomogram.
    center_zyx_px : ndarray of shape (N, 3)
        Voxels of the tomogram, from 0. A particle may lie outside, in part or wholly.
    euler_zyz_deg : ndarray of shape (N, 3)
        RELION's rot, tilt, psi.
    mask : ndarray of shape (n, n, n), optional
        0 to 1: what of the average is drawn. The inscribed sphere, unless given.
    """

    number: int
    average: np.ndarray
    voxel_size_angstrom: float
    center_zyx_px: np.ndarray
    euler_zyz_deg: np.ndarray
    mask: np.ndarray | None = None


def embed_tomogram(
    placed: Sequence[PlacedAverage],
    tomogram: TomogramInfo,
    out_density: str | Path,
    out_labels: str | Path | None = None,
    *,
    smooth_angstrom: float = 0.0,
    threshold: float | None = None,
    block_bytes: int = 2**28,
) -> None:
    """Draw averages where their members lie, into MRC files of the size of the tomogram.

    For voxel r and a particle at p, the value is that of the average at ``A^-1 (r - p)`` from its
    centre, by cubic splines. The average is masked with a soft edge, its value at that edge
    subtracted, and the rest divided by the density at its surface: in the density volume 0 is
    empty, and a surface at level 1 bounds every particle. Where several are drawn, the highest
    density counts.

    The volumes are made in blocks of sections, so that a large tomogram is never in memory whole.

    Parameters
    ----------
    placed : sequence of PlacedAverage
    tomogram : TomogramInfo
        Its size must be known; origin and start are those of its file, if that is there.
    out_density : path
        MRC, float32.
    out_labels : path, optional
        MRC, int16: number of the cluster inside of its surfaces, 0 outside.
    smooth_angstrom : float
        Sigma of a Gaussian, 0 for none. Averages are smoothed before they are drawn, which is the
        same as smoothing each copy in the tomogram.
    threshold : float, optional
        Density at the surface, as a share of the largest of each average. Unless given, what
        splits the voxels inside of the mask best in two [1]_, but a tenth at least.
    block_bytes : int
        Memory of a block; one section at least.

    Raises
    ------
    InputError
        If the size of the tomogram is unknown, an average is no cube or empty, its mask does not
        fit, or a number makes no sense.

    References
    ----------
    .. [1] Otsu (1979), IEEE Trans. Systems, Man, and Cybernetics 9, 62-66.
    """
    if tomogram.shape_zyx is None:
        raise InputError(
            f"the size of tomogram {tomogram.name} is not known, and so not that of its map; "
            "extract the subtomograms again from the tomogram."
        )
    _check_numbers(smooth_angstrom, threshold)
    voxel = tomogram.voxel_size_angstrom
    stamps = [_Stamp(one, voxel, smooth_angstrom, threshold) for one in placed]
    nz, ny, nx = tomogram.shape_zyx
    thickness = min(nz, max(1, block_bytes // (_BYTES * ny * nx)))
    with ExitStack() as stack:
        density = stack.enter_context(new_map(out_density, DENSITY_MODE, tomogram))
        labels = None
        if out_labels is not None:
            labels = stack.enter_context(new_map(out_labels, LABEL_MODE, tomogram))
        for start in track(range(0, nz, thickness), f"drawing {Path(out_density).name}"):
            slab = _Slab(start, (min(thickness, nz - start), ny, nx))
            slab.draw(stamps)
            density.write(start, slab.density)
            if labels is not None:
                labels.write(start, slab.labels)


def _check_numbers(smooth_angstrom: float, threshold: float | None) -> None:
    if not (np.isfinite(smooth_angstrom) and smooth_angstrom >= 0):
        raise InputError(f"smoothing must be 0 Angstrom or more; got {smooth_angstrom:g}.")
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(
            "the threshold must lie between 0 and 1, as a share of the largest density; got "
            f"{threshold:g}."
        )


class _Drawn(NamedTuple):
    """Densities (k,) at the voxels of a box of the slab that ``inside`` marks."""

    box: tuple[slice, ...]
    inside: np.ndarray
    values: np.ndarray


class _Stamp:
    """An average ready to be drawn: masked, 1 at its surface, as spline coefficients."""

    def __init__(
        self,
        one: PlacedAverage,
        voxel_size_angstrom: float,
        smooth_angstrom: float,
        threshold: float | None,
    ) -> None:
        self.number = one.number
        self.center_zyx_px = np.asarray(one.center_zyx_px, float).reshape(-1, 3)
        self._step = voxel_size_angstrom / one.voxel_size_angstrom
        matrices = rotation_from_euler_zyz_deg(np.reshape(one.euler_zyz_deg, (-1, 3))).inv()
        self._turns_zyx = matrices.as_matrix()[:, ::-1, ::-1] * self._step
        sigma_px = np.hypot(
            smooth_angstrom / one.voxel_size_angstrom,
            0.5 * np.sqrt(max(self._step**2 - 1, 0)),  # finer than the tomogram: no aliasing
        )
        density, pad = _isolated(one, sigma_px, threshold)
        self._centre = centre_index(len(one.average)) + pad
        self._coefficients = spline_filter(density)
        away = np.argwhere(density > _FAINT) - self._centre
        self._reach_px = (np.linalg.norm(away, axis=1).max() + 1) / self._step

    @property
    def at_once(self) -> int:
        """How many to draw before they are laid down."""
        return max(1, int(_DRAWN_VOXELS / (2 * self._reach_px) ** 3))

    def touching(self, start: int, stop: int) -> np.ndarray:
        """Rows of particles that reach into sections from ``start`` to before ``stop``."""
        z = self.center_zyx_px[:, 0]
        near = (z + self._reach_px >= start) & (z - self._reach_px <= stop - 1)
        return np.flatnonzero(near)

    def draw(self, row: int, start: int, shape_zyx: tuple[int, int, int]) -> _Drawn | None:
        """One particle, as far as it lies in a slab that begins at section ``start``."""
        centre, reach = self.center_zyx_px[row], self._reach_px
        first = np.array([start, 0, 0])
        low = np.maximum(np.ceil(centre - reach).astype(int), first)
        high = np.minimum(np.floor(centre + reach).astype(int) + 1, first + shape_zyx)
        if (high <= low).any():
            return None
        away = np.ix_(*(np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True)))
        inside = away[0] ** 2 + away[1] ** 2 + away[2] ** 2 < reach**2
        offsets = [np.broadcast_to(axis, inside.shape)[inside] for axis in away]
        turn = self._turns_zyx[row]
        # Written out: a matrix product might round differently in blocks of other sizes.
        at = [t[0] * offsets[0] + t[1] * offsets[1] + t[2] * offsets[2] for t in turn]
        values = map_coordinates(
            self._coefficients,
            np.stack(at) + self._centre,
            output=np.float32,
            mode="grid-constant",
            prefilter=False,
        )
        box = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
        return _Drawn(box, inside, values)


class _Slab:
    """Some sections of the tomogram's size: density, and the cluster to whom it belongs."""

    def __init__(self, start: int, shape_zyx: tuple[int, int, int]) -> None:
        self._start, self._shape_zyx = start, shape_zyx
        self.density = np.zeros(shape_zyx, np.float32)
        self.labels = np.zeros(shape_zyx, np.int16)

    def draw(self, stamps: Sequence[_Stamp]) -> None:
        """Lay down all particles that reach into the slab."""
        stop = self._start + self._shape_zyx[0]
        for stamp in stamps:
            rows = stamp.touching(self._start, stop).tolist()
            for piece in range(0, len(rows), stamp.at_once):
                drawn = on_all_cores(
                    lambda row, stamp=stamp: stamp.draw(row, self._start, self._shape_zyx),  # type: ignore[misc]
                    rows[piece : piece + stamp.at_once],
                )
                for one in drawn:
                    self._lay(one, stamp.number)

    def _lay(self, drawn: _Drawn | None, number: int) -> None:
        if drawn is None:
            return
        box, inside, values = drawn
        density, labels = self.density[box], self.labels[box]
        before, mark = density[inside], labels[inside]
        mark[(values > before) & (values > SURFACE)] = number
        density[inside] = np.maximum(values, before)
        labels[inside] = mark


def _isolated(
    one: PlacedAverage, sigma_px: float, threshold: float | None
) -> tuple[np.ndarray, int]:
    """The density alone, padded and smoothed, 1 at its surface; and the width of the padding."""
    average, mask = _checked(one)
    density = (average - _background(average, mask)) * mask
    pad = 2 + int(np.ceil(_TRUNCATE * sigma_px))
    density, mask = np.pad(density, pad), np.pad(mask, pad)
    if sigma_px > 0:
        density = gaussian_filter(density, sigma_px, mode="constant", truncate=_TRUNCATE)
    largest = float(density.max())
    if largest <= 1e-6 * float(np.abs(average).max()):
        raise InputError(
            f"nothing stands out in the average of cluster {one.number}; is protein bright in it?"
        )
    if threshold is None:
        level = max(_otsu(density[mask > 0.5]), _LEAST_THRESHOLD * largest)
    else:
        level = threshold * largest
    return density / level, pad


def _checked(one: PlacedAverage) -> tuple[np.ndarray, np.ndarray]:
    """Average and mask, whose edge is soft and lies within the box at every rotation."""
    average = np.asarray(one.average, float)
    if average.ndim != 3 or len(set(average.shape)) != 1:
        raise InputError(
            f"the average of cluster {one.number} has the shape {average.shape}; expected a cube: "
            "pad or crop it."
        )
    if not np.isfinite(average).all():
        raise InputError(
            f"the average of cluster {one.number} has voxels that are not finite numbers; "
            "average it again."
        )
    n = len(average)
    edge_px = min(_EDGE_PX, n / 4)
    mask = soft_sphere(n, max((n - 1) // 2 - edge_px, 0.5), edge_px).astype(float)
    if one.mask is None:
        return average, mask
    if np.shape(one.mask) != average.shape:
        raise InputError(
            f"the mask of cluster {one.number} has the shape {np.shape(one.mask)}, its average "
            f"{average.shape}; they must be of one size."
        )
    return average, np.minimum(mask, np.clip(one.mask, 0, 1))


def _background(average: np.ndarray, mask: np.ndarray) -> float:
    """Mean along the soft edge of the mask: what is subtracted so that the edge makes no step."""
    edge = mask * (1 - mask)
    return float((average * edge).sum() / edge.sum()) if edge.any() else float(np.median(average))


def _otsu(values: np.ndarray) -> float:
    """The value that splits others in two of the largest variance between them."""
    if len(values) < 2:
        return 0.0
    values = np.sort(values)
    share = np.arange(1, len(values)) / len(values)
    below = np.cumsum(values)[:-1] / len(values)
    between = (values.mean() * share - below) ** 2 / (share * (1 - share))
    split = int(between.argmax())
    return float(values[split] + values[split + 1]) / 2
