"""Products of the dimensions of samples, in which the log density of a Gaussian is linear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np

from aitom_disca.computing.cores import n_cores

T = TypeVar("T")

_BLOCK_BYTES = 3 << 20  # of the products of a block: it stays in the processor's cache
_KEPT_BYTES = 48 << 20  # products of few samples are kept from iteration to iteration


def n_products(d: int) -> int:
    """How many products x_i x_j (j <= i <= d, x_0 = 1) there are."""
    return (d + 1) * (d + 2) // 2


@cache
def places(edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Row i and column j of every product, in their order."""
    return np.tril_indices(edge)


class Products:
    """The products x_i x_j (j <= i, x_0 = 1) of standardised samples, in blocks.

    They are ordered by i, so that those of the first d dimensions come first.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_dimensions)
        Float32 or float64; not copied.
    mean, scale : ndarray of shape (n_dimensions,)
        Samples are centred by the one and divided by the other, which keeps the sums exact.
    """

    def __init__(self, samples: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> None:
        self._samples, self._mean, self._scale = samples, mean, scale
        n, d = samples.shape
        self.n_samples = n
        per_sample = 8 * n_products(d)
        size = max(_BLOCK_BYTES // per_sample, 64)
        self._starts = range(0, n, size)
        self._kept: list[np.ndarray] | None = None
        if n * per_sample <= _KEPT_BYTES:
            self._kept = [self._compute(i, d) for i in range(len(self._starts))]

    def rows(self, i: int) -> slice:
        """The samples of block i."""
        start = self._starts[i]
        return slice(start, start + self._starts.step)

    def block(self, i: int, d: int) -> np.ndarray:
        """Products of the first d dimensions of block i: (n_products(d), n_samples of it)."""
        if self._kept is not None:
            return self._kept[i][: n_products(d)]
        return self._compute(i, d)

    def _compute(self, i: int, d: int) -> np.ndarray:
        part = self._samples[self.rows(i), :d]
        x = np.empty((d + 1, len(part)))
        x[0] = 1
        x[1:] = ((part - self._mean[:d]) / self._scale[:d]).T
        products = np.empty((n_products(d), len(part)))
        for row in range(d + 1):
            at = n_products(row - 1)
            np.multiply(x[: row + 1], x[row], out=products[at : at + row + 1])
        return products

    def map(self, work: Callable[[int], T]) -> Iterator[T]:
        """``work`` of every block, in their order; on all cores where there are several."""
        blocks = range(len(self._starts))
        workers = min(len(blocks), n_cores())
        if workers == 1:
            yield from map(work, blocks)
            return
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(work, blocks)
