"""Averages drawn into a volume of the size of the tomogram, at the poses of their members.

Drawn densities do not add up: the highest counts. Boxes of neighbours overlap, and a particle may
have been picked twice; a sum would make these places brighter than any molecule, and no single
level would show all copies alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index, rotation_from_euler_zyz_deg
from aitom_disca.particles import TomogramInfo
from aitom_disca.progress import track
from aitom_disca.reembedding.map_file import DENSITY_MODE, LABEL_MODE, new_map
from aitom_disca.reembedding.placed_average import PlacedAverage, isolated_density

SURFACE = 1.0  # density at the surface of every drawn average
_BYTES = 6  # of a voxel in memory: density and label
_FAINT = 1e-3  # of the surface's density: not drawn
_DRAWN_VOXELS = 2**24  # bounds what is drawn and not yet laid down


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
        density, pad = isolated_density(one, sigma_px, threshold)
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
