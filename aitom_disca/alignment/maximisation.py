"""Averages of aligned subtomograms: the wedge compensated, filtered by what two halves share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aitom_disca.alignment.coefficients import centred_fft, centred_ifft
from aitom_disca.alignment.slices import Slicer, shell_index, to_volume
from aitom_disca.config.alignment import ReconstructionSettings
from aitom_disca.config.sorting import SORTING
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.subtomograms.preprocess import mask_edge_px

Totals = tuple[np.ndarray, np.ndarray]  # sums of coefficients and of weights, as inserted


@dataclass(frozen=True)
class Average:
    """An average, and what was averaged in each half of the data alone.

    Parameters
    ----------
    volume : ndarray of float32, shape (n, n, n)
    halves : list of 2 ndarrays of that shape
        Empty where they were not wanted.
    correlation : ndarray of shape (n_shells,)
        Fourier shell correlation of the halves.
    """

    volume: np.ndarray
    halves: list[np.ndarray]
    correlation: np.ndarray


@dataclass(frozen=True)
class WithoutEach:
    """Average of all parts of the data, and of all but each one of them.

    Parameters
    ----------
    whole : ndarray of float32, shape (n, n, n)
    others : list of ndarrays of that shape
    signal : ndarray of shape (n_shells,)
        The share of every shell of ``others`` that is signal, 0 to 1, by which it was filtered.
    """

    whole: np.ndarray
    others: list[np.ndarray]
    signal: np.ndarray


class Averager:
    """Makes volumes of what an expectation step has added up.

    Parameters
    ----------
    slicer : Slicer
    n_shells : int
        Shells up to the largest frequency in use.
    mask_radius_px : float
        Of a soft sphere that averages end at; infinite for that which fills the box.
    settings : ReconstructionSettings
    """

    def __init__(
        self,
        slicer: Slicer,
        n_shells: int,
        mask_radius_px: float = np.inf,
        settings: ReconstructionSettings = SORTING.reconstruction,
    ) -> None:
        self._slicer = slicer
        edge_px = mask_edge_px(slicer.box_px)
        self._mask = soft_sphere(slicer.box_px, mask_radius_px, edge_px, "gaussian")
        self._n_shells = n_shells
        self._settings = settings
        # Places in the padded transform that are filtered into an average, and their shells.
        shell = shell_index(2 * slicer.box_px)
        self._place = np.flatnonzero(shell < n_shells)
        self._shell = shell.ravel()[self._place]

    def average(
        self, sums: np.ndarray, counts: np.ndarray, *, with_halves: bool = False
    ) -> Average:
        """Average of a cluster and of its halves, filtered by what the halves share.

        Parameters
        ----------
        sums : ndarray of complex64, shape (2, R, n_coefficients)
            Of two halves of the data.
        counts : ndarray of shape (2, R)
        with_halves : bool
            Whether the volumes of the halves are wanted.
        """
        first, second = (self._slicer.insert(sums[h], counts[h]) for h in (0, 1))
        return self.combine(first, second, with_halves=with_halves)

    def combine(self, first: Totals, second: Totals, *, with_halves: bool = False) -> Average:
        """As `average`, of what `Slicer.insert` made of each half."""
        first, second = (self._in_use(half) for half in (first, second))
        halves = [self._compensated(*half) for half in (first, second)]
        whole = self._compensated(*_added([first, second]))
        correlation = self._shell_correlation(*halves)
        return Average(
            self._filtered(whole, 2 * correlation / (1 + correlation)),
            [self._filtered(half, correlation) for half in halves if with_halves],
            correlation,
        )

    def without_each(self, parts: Sequence[Totals]) -> WithoutEach:
        """Average of all parts of the data, and of all but each one of them.

        Filtered by what the parts of even and of odd number share, according to how much of the
        data went in: of n times as much as a half holds, ``n c / (1 + (n - 1) c)`` is signal.

        Parameters
        ----------
        parts : sequence of F Totals
            What `inserted` made of each part.
        """
        even, odd = (_added(parts[h::2]) for h in (0, 1))
        correlation = self._shell_correlation(*(self._compensated(*half) for half in (even, odd)))
        everything = _added([even, odd])

        def signal(n_halves: float) -> np.ndarray:
            return n_halves * correlation / (1 + (n_halves - 1) * correlation)

        of_others = signal(2 * (len(parts) - 1) / len(parts))
        others = [
            self._filtered(self._compensated(everything[0] - t, everything[1] - w), of_others)
            for t, w in parts
        ]
        whole = self._filtered(self._compensated(*everything), signal(2.0))
        return WithoutEach(whole, others, of_others)

    def inserted(self, sums: np.ndarray, counts: np.ndarray) -> Totals:
        """As `Slicer.insert`, of the frequencies in use alone: a quarter of the volume."""
        return self._in_use(self._slicer.insert(sums, counts))

    def unfiltered(self, totals: Totals) -> np.ndarray:
        """The wedge-compensated volume (n, n, n) alone."""
        shell = shell_index(2 * self._slicer.box_px)
        return to_volume(self._compensated(*totals, shell), self._slicer.box_px)

    def filtered(self, volume: np.ndarray, by_shell: np.ndarray) -> np.ndarray:
        """A volume with every shell multiplied by a number; shape (n, n, n)."""
        n = self._slicer.box_px
        shell = np.round(np.linalg.norm(np.indices((n,) * 3) - centre_index(n), axis=0)).astype(int)
        return centred_ifft(centred_fft(volume) * by_shell[shell]).astype(np.float32)

    def _in_use(self, totals: Totals) -> Totals:
        total, weight = totals
        return total.ravel()[self._place], weight.ravel()[self._place]

    def _compensated(
        self, total: np.ndarray, weight: np.ndarray, shell: np.ndarray | None = None
    ) -> np.ndarray:
        """Sum of coefficients over sum of weights, held back where the sampling is poor."""
        shell = self._shell if shell is None else shell
        seen = np.maximum(np.bincount(shell.ravel(), weight.ravel() > 0), 1)
        mean = np.bincount(shell.ravel(), weight.ravel()) / seen
        floor = self._settings.sampling_floor * mean[shell]
        return np.asarray(total / (weight + floor + 1e-9))

    def _shell_correlation(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        power = self._by_shell(np.abs(a) ** 2) * self._by_shell(np.abs(b) ** 2)
        shared = self._by_shell((a * b.conj()).real) / np.sqrt(power + 1e-30)
        return np.clip(shared, self._settings.least_correlation, 1)

    def _by_shell(self, values: np.ndarray) -> np.ndarray:
        """Sum of values over every shell."""
        return np.bincount(self._shell, values, self._n_shells)

    def _filtered(self, spectrum: np.ndarray, by_shell: np.ndarray) -> np.ndarray:
        by_shell = np.concatenate([[1], by_shell[1:]])
        filtered = np.zeros((2 * self._slicer.box_px,) * 3, complex)
        filtered.reshape(-1)[self._place] = spectrum * by_shell[self._shell]
        return to_volume(filtered, self._slicer.box_px) * self._mask


def _added(parts: Sequence[Totals]) -> Totals:
    totals, weights = zip(*parts, strict=True)
    return np.sum(totals, axis=0), np.sum(weights, axis=0)
