"""How many subtomograms a second are weighed against all references, rotations and shifts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.classification.detail_levels import level_of, search_at
from aitom_disca.computing.chosen_device import use
from aitom_disca.config.sorting import SORTING

_BOX_PX = 20
_TILTS_DEG = (-60.0, 60.0)
_N_CLUSTERS = 10
_FIRST = 8  # subtomograms, from which on they are doubled
_MOST = 1_000_000


def measure_expectation(seconds: float, *, device: str, seed: int = 0) -> dict[str, Any]:
    """Time the expectation step in the detail that decides, with all its sums.

    Parameters
    ----------
    seconds : float
        About so long for each of the device and, where that is another, the processor.
    device : str
        As `aitom_disca.computing.chosen_device.use` takes it.
    seed : int

    Returns
    -------
    dict
        ``particles_per_s`` and ``tflops`` (10^12 operations of its matrix products a second) of
        the device, ``cpu_particles_per_s`` of the processor, ``ratio`` of the two.
    """
    search = search_at(level_of(SORTING.fine), _BOX_PX, _TILTS_DEG)
    n_coefficients = len(search.coefficients)
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> np.ndarray:
        real, imaginary = rng.standard_normal((2, *shape), np.float32)
        return (real + 1j * imaginary).astype(np.complex64)

    references = 0.1 * noise(_N_CLUSTERS, len(search.rotations), n_coefficients)
    pool = noise(256, n_coefficients)

    def weigh(n: int) -> Expectation:
        values = pool[np.arange(n) % len(pool)]
        particles = Particles(search.coefficients, values, np.zeros((n, 3)), np.arange(n) % 2)
        even = np.zeros(_N_CLUSTERS)
        return expect(particles, references, even, search.shifts_zyx_px)

    use("cpu")
    cpu = here = _per_second(weigh, seconds)
    if device != "cpu":
        use(device)
        here = _per_second(weigh, seconds)
    scores = _N_CLUSTERS * len(search.rotations) * len(search.shifts_zyx_px)
    return {
        "n_clusters": _N_CLUSTERS,
        "n_rotations": len(search.rotations),
        "n_shifts": len(search.shifts_zyx_px),
        "n_coefficients": n_coefficients,
        "particles_per_s": here,
        "tflops": here * 2 * scores * 2 * n_coefficients / 1e12,
        "cpu_particles_per_s": cpu,
        "ratio": here / cpu,
    }


def _per_second(weigh: Callable[[int], Any], seconds: float) -> float:
    """Subtomograms a second of the largest set that was tried in the time."""
    n, began = _FIRST, time.perf_counter()
    weigh(n)
    while True:
        start = time.perf_counter()
        weigh(n)
        took = time.perf_counter() - start
        if n >= _MOST or (time.perf_counter() - began) + 2 * took > seconds:
            return n / took
        n *= 2
