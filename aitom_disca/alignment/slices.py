"""References: rotated Fourier slices of a volume, and volumes made of such slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients, centred_fft, centred_ifft
from aitom_disca.computing.chosen_device import accelerator
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.sphere import soft_sphere

if TYPE_CHECKING:
    from aitom_disca.alignment.slices_on_device import SlicesOnDevice

_PADDING = 2  # of boxes before their transform; interpolation and its correction count on it
_PLACES_AT_ONCE = 2**15  # in slices, which then stay in the processor's cache
_VOLUMES_AT_ONCE = 8  # more are no faster
_EDGE_PX, _EDGE_SIGMA_PX = 2.0, 1.0  # of the sphere that fills a box: no sharp end


def matrices_zyx(rotations: Rotation) -> np.ndarray:
    """Rotation matrices (n, 3, 3) that act on (z, y, x) vectors."""
    return rotations.as_matrix()[:, ::-1, ::-1]


class Slicer:
    """Takes rotated Fourier slices of volumes, always at the same rotations.

    Trilinear in the transform of the volume padded twice. The weights are computed once, for a
    sparse matrix from the padded transform to all slices. In a graded wedge a slice is as weak at
    each tilt as the structure is there.

    Parameters
    ----------
    coefficients : Coefficients
    rotations : Rotation of m rotations A
        The turned volume is ``volume(A^-1 r)``.
    """

    def __init__(self, coefficients: Coefficients, rotations: Rotation) -> None:
        self.box_px = coefficients.box_px
        self._shape = (len(rotations), len(coefficients))
        place = turned_frequencies(coefficients, rotations).reshape(-1, 3)
        corners = list(_corners(place, _PADDING * self.box_px))
        self._amplitude, self._measured = coefficients.amplitude, coefficients.measured
        # By rotation, in which the coefficients follow one another, eight voxels each.
        by_rotation = (len(rotations), len(coefficients), 8)
        index = np.stack([i for i, _ in corners], axis=1).astype(np.int32)
        weight = np.stack([w for _, w in corners], axis=1).astype(np.float32)
        self._index, self._weight = index.reshape(by_rotation), weight.reshape(by_rotation)
        if self._amplitude is not None:
            self._weight *= self._amplitude[:, None]
        pieces = self._pieces(len(rotations))
        self._n_uses = 0
        self._on_devices: dict[str, SlicesOnDevice] = {}
        self._matrices = [(piece, self._matrix(piece)) for piece in pieces]

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Slices (m, n_coefficients), complex64, of a volume (n, n, n)."""
        return self.several([volume])[0]

    def several(self, volumes: Sequence[np.ndarray]) -> np.ndarray:
        """Slices (V, m, n_coefficients), complex64, of V volumes, in less time than one by one."""
        spectra = [centred_fft(padded_for_slices(volume)).ravel() for volume in volumes]
        if (there := self._on_accelerator()) is not None:
            return there.take(np.stack(spectra, axis=1).astype(np.complex64))
        groups = [
            np.stack(spectra[start : start + _VOLUMES_AT_ONCE], axis=1)
            for start in range(0, len(spectra), _VOLUMES_AT_ONCE)
        ]
        columns = [group.astype(np.complex64).view(np.float32) for group in groups]
        slices = np.empty((len(spectra), *self._shape), np.complex64)

        def take(piece: tuple[slice, sparse.csr_matrix]) -> None:
            rotations, matrix = piece
            for number, some in enumerate(columns):
                taken = _times(matrix, some).view(np.complex64)
                first = number * _VOLUMES_AT_ONCE
                into = slices[first : first + taken.shape[1], rotations]
                into[:] = taken.T.reshape(into.shape)

        on_all_cores(take, self._matrices)
        return slices

    def insert(self, sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add slices into one padded Fourier volume: the adjoint of slicing.

        Parameters
        ----------
        sums : ndarray of complex64, shape (m, n_coefficients)
            For every rotation the sum of what was measured there.
        counts : ndarray of shape (m,), or (m, T) of T tilt ranges
            How many subtomograms, or what weight of them, went into each sum.

        Returns
        -------
        total : ndarray of complex128, shape (2n, 2n, 2n)
            Zero frequency at index n.
        weight : ndarray of float64, same shape
            How often each was measured: the missing wedges, turned and added; in a graded wedge
            the squares of their amplitudes.
        """
        size = (_PADDING * self.box_px,) * 3
        if (there := self._on_accelerator()) is not None:
            added = there.add(self._parts(sums, counts))
        else:
            used = np.flatnonzero(counts if self._measured is None else counts.any(axis=1))
            added = np.zeros((np.prod(size), 3), np.float32)
            for piece in self._pieces(len(used)):
                rows = used[piece]
                parts = self._parts(sums[rows], counts[rows])
                added += self._matrix(rows).T @ parts.reshape(-1, 3)
        total = added[:, :2].astype(float).view(complex).reshape(size)
        return _with_mirror(total), _with_mirror(added[:, 2].astype(float).reshape(size))

    def _parts(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Real and imaginary part of sums, and their weight, (m, n_coefficients, 3)."""
        parts = np.empty((*sums.shape, 3), np.float32)
        parts[..., 0], parts[..., 1] = sums.real, sums.imag
        parts[..., 2] = counts[:, None] if self._measured is None else counts @ self._measured
        if self._amplitude is not None:  # the matrix has it once: amplitude * value, its square
            parts[..., 2] *= self._amplitude
        return parts

    def _on_accelerator(self) -> SlicesOnDevice | None:
        """The same on an accelerator, from the second use on: bringing it there costs as much."""
        if (device := accelerator()) is None:
            return None
        self._n_uses += 1
        if self._n_uses == 1:
            return None
        if device not in self._on_devices:
            from aitom_disca.alignment.slices_on_device import SlicesOnDevice

            n_voxels = (_PADDING * self.box_px) ** 3
            self._on_devices[device] = SlicesOnDevice(device, self._index, self._weight, n_voxels)
        return self._on_devices[device]

    def _matrix(self, rotations: slice | np.ndarray) -> sparse.csr_matrix:
        """From the padded transform (as a column) to the slices at some rotations."""
        index, weight = self._index[rotations].ravel(), self._weight[rotations].ravel()
        size = (len(index) // 8, (_PADDING * self.box_px) ** 3)
        starts = np.arange(0, len(index) + 1, 8, dtype=np.int32)
        return sparse.csr_matrix((weight, index, starts), size)

    def _pieces(self, n_rotations: int) -> list[slice]:
        """So many rotations in parts of which the slices stay in the processor's cache."""
        step = max(1, _PLACES_AT_ONCE // self._shape[1])
        return [slice(start, start + step) for start in range(0, n_rotations, step)]


def _times(matrix: sparse.csr_matrix, columns: np.ndarray) -> np.ndarray:
    """Their product; SciPy takes longer for two columns at once than for one after the other."""
    if columns.shape[1] > 2:
        return np.asarray(matrix @ columns)
    return np.stack([matrix @ column for column in columns.T.copy()], axis=1)


def counts_of_each(wedge: np.ndarray | None, rows: np.ndarray, n_ranges: int) -> np.ndarray:
    """What `Slicer.insert` is told where every slice is one subtomogram of these rows."""
    return np.ones(len(rows)) if wedge is None else np.eye(n_ranges)[wedge[rows]]


def to_volume(spectrum: np.ndarray, box_px: int) -> np.ndarray:
    """A padded Fourier volume as a density (n, n, n) inside a soft sphere."""
    density = centred_ifft(spectrum)[_inner(box_px)] / _kernel_shape(box_px)
    sphere = soft_sphere(box_px, box_px / 2 - _EDGE_PX, _EDGE_SIGMA_PX, "gaussian")
    return (density * sphere).astype(np.float32)


def shell_index(size: int) -> np.ndarray:
    """Shell of every voxel of a padded Fourier volume, in steps of 1 / box."""
    grid = np.indices((size,) * 3) - centre_index(size)
    return np.round(np.sqrt((grid**2).sum(axis=0)) / _PADDING).astype(int)


def padded_for_slices(volume: np.ndarray) -> np.ndarray:
    """A volume (n, n, n) in a box twice as large, ready for trilinear slices of its transform."""
    box_px = volume.shape[0]
    padded = np.zeros((_PADDING * box_px,) * 3, np.float32)
    padded[_inner(box_px)] = volume / _kernel_shape(box_px)
    return padded


def turned_frequencies(coefficients: Coefficients, rotations: Rotation) -> np.ndarray:
    """Where a turned volume's coefficients lie in the padded transform, (m, n_coefficients, 3).

    The turned volume's value at k is the volume's at A^-1 k: as a row, k A.
    """
    place = coefficients.index_zyx.astype(float) @ matrices_zyx(rotations)
    place *= _PADDING
    place += centre_index(_PADDING * coefficients.box_px)
    return place


def _corners(place: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The eight voxels round each place: flat index and trilinear weight."""
    lower = np.floor(place).astype(np.int64)
    fraction = place - lower
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, fraction, 1 - fraction), axis=1)
        index = np.ravel_multi_index(tuple((lower + corner).T), (size,) * 3, mode="wrap")
        yield index, share


def _with_mirror(spectrum: np.ndarray) -> np.ndarray:
    """Add the mirrored half, so that the density is real. Even size: index 0 has no partner."""
    mirrored = spectrum.copy()
    mirrored[1:, 1:, 1:] += np.conj(spectrum[:0:-1, :0:-1, :0:-1])
    return mirrored


def _inner(n: int) -> tuple[slice, ...]:
    start = centre_index(_PADDING * n) - centre_index(n)
    return (slice(start, start + n),) * 3


def _kernel_shape(n: int) -> np.ndarray:
    """What trilinear interpolation in Fourier space does to the density: sinc^2 per axis."""
    x = (np.arange(n) - centre_index(n)) / (_PADDING * n)
    falloff = np.sinc(x) ** 2
    return falloff[:, None, None] * falloff[:, None] * falloff
