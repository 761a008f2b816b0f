"""Sorting and prediction of as many subtomograms as the time allows."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

import numpy as np

from aitom_disca.bench.case_data import clean_phantoms, noisy
from aitom_disca.config import MineSettings

_BOX_PX = 32
_VOXEL_ANGSTROM = 14.0
_SNR = 0.1
_TILTS_DEG = (-60.0, 60.0)
_WANTED_SORTED, _WANTED_PREDICTED = 100_000, 1_000_000
_FIRST = 300  # subtomograms, whose time says how many fit in
_RESERVE = 0.7


class Generated:
    """Subtomograms that are made when they are read: phantoms that repeat, each with its own noise.

    Parameters
    ----------
    n : int
    seed : int
    """

    voxel_size_angstrom = _VOXEL_ANGSTROM
    tilt_range_deg = _TILTS_DEG
    box_shape_zyx = (_BOX_PX,) * 3

    def __init__(self, n: int, seed: int = 0) -> None:
        self._n, self._seed = n, seed

    def __len__(self) -> int:
        return self._n

    @cached_property
    def _clean(self) -> Any:
        return clean_phantoms(_BOX_PX, _VOXEL_ANGSTROM, _TILTS_DEG, self._seed)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Volumes (n, z, y, x), float32: the same for the same row whenever it is read."""
        noise = [
            np.random.default_rng((self._seed, int(row))).standard_normal(
                self.box_shape_zyx, np.float32
            )
            for row in rows
        ]
        clean = self._clean.volumes[np.asarray(rows) % len(self._clean.labels)]
        return noisy(clean, np.stack(noise), _SNR, _TILTS_DEG)


def measure_scale(seconds: float, *, seed: int = 0) -> dict[str, Any]:
    """Sort 100,000 subtomograms of 32 voxels by the preset ``fast``, and predict 1,000,000.

    Where they do not fit into the time, as many as do; the time of all is then extrapolated from
    what one more subtomogram costs.

    Parameters
    ----------
    seconds : float
        About so long.
    seed : int

    Returns
    -------
    dict
        ``n_sorted``, ``sorting_s``, ``sorting_all_s`` (of 100,000), ``k``; ``n_predicted``,
        ``prediction_s``, ``prediction_all_s`` (of 1,000,000).
    """
    from aitom_disca.mining import DISCA

    settings = MineSettings.from_preset("fast", seed=seed)

    def sort(n: int) -> tuple[DISCA, float]:
        start = time.perf_counter()
        disca = DISCA.from_settings(settings).fit(Generated(n, seed))
        return disca, time.perf_counter() - start

    def predict(n: int) -> float:
        start = time.perf_counter()
        disca.predict_all(Generated(n, seed + 1))
        return time.perf_counter() - start

    began = time.perf_counter()
    disca, first_s = sort(_FIRST)
    n, took = _FIRST, first_s
    more = fitting(_FIRST, first_s, _RESERVE * seconds * 2 / 3 - first_s, _WANTED_SORTED)
    if more > 2 * _FIRST:
        n = more
        disca, took = sort(n)
    result = {
        "box_px": _BOX_PX,
        "n_sorted": n,
        "sorting_s": took,
        "sorting_all_s": extrapolated((_FIRST, first_s), (n, took), _WANTED_SORTED),
        "k": disca.n_clusters_,
    }
    left = _RESERVE * (seconds - (time.perf_counter() - began))
    first_s = took = predict(_FIRST)
    n = piece = _FIRST
    # Piece after piece: a machine that becomes slower meanwhile does not end it without a result.
    while (piece := min(2 * piece, _WANTED_PREDICTED - n)) and took * (n + piece) / n <= left:
        took += predict(piece)
        n += piece
    return result | {
        "n_predicted": n,
        "prediction_s": took,
        "prediction_all_s": extrapolated((_FIRST, first_s), (n, took), _WANTED_PREDICTED),
        "n_wanted": [_WANTED_SORTED, _WANTED_PREDICTED],
    }


def fitting(n: int, seconds: float, left: float, most: int) -> int:
    """How many subtomograms fit into the time that is left, if n took so many seconds."""
    return int(min(most, max(0.0, left) * n / seconds))


def extrapolated(first: tuple[int, float], last: tuple[int, float], n: int) -> float:
    """Seconds of n, from the line through two measurements; through zero where they are one.

    A line that falls says nothing: then too it is taken through zero.
    """
    (n_0, s_0), (n_1, s_1) = first, last
    if n_1 == n:
        return s_1
    slope = (s_1 - s_0) / (n_1 - n_0) if n_1 > n_0 else 0.0
    return s_1 + slope * (n - n_1) if slope > 0 else s_1 * n / n_1
