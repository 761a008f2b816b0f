"""What each part of the sorting is worth: the same subtomograms with one of them taken away."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from aitom_disca.classification import AlignmentSorter
from aitom_disca.io import open_store
from aitom_disca.mining.sort_store import sort_source

_WHOLE_DEG = (-90.0, 90.0)
_STARTS, _MOST = 18, 12  # as `mine` has them for its default range of K

# What each goes without.
LEVERS: Mapping[str, Mapping[str, Any]] = {
    "all": {},
    "no mask": {"mask_radius_px": np.inf},
    "missing wedge taken for measured": {"tilt_range_deg": _WHOLE_DEG},
    "no look for missed structures": {"splits": 0},
}


def measure_levers(
    store: str | Path,
    true_class: np.ndarray,
    *,
    levers: Sequence[str] = tuple(LEVERS),
    seeds: Sequence[int] = (0, 1, 2),
) -> Iterator[dict[str, Any]]:
    """Sort a store from random starts, with one part of the sorting taken away at a time.

    Parameters
    ----------
    store : path
        Of N subtomograms, cut for a particle diameter.
    true_class : ndarray of shape (N,)
    levers : sequence of str
        Keys of `LEVERS`.
    seeds : sequence of int
        Of starts and halves.

    Yields
    ------
    dict
        Lever, seed, adjusted Rand index over all subtomograms (none is a cluster of its own), K,
        number of those in no cluster, seconds.
    """
    with open_store(store) as source:
        rows = np.arange(len(source))
        diameter_px = (source.particle_diameter_angstrom or np.inf) / source.voxel_size_angstrom
        for lever in levers:
            how = {
                "tilt_range_deg": source.tilt_range_deg,
                "mask_radius_px": diameter_px / 2,
                "splits": 2,
                **LEVERS[lever],
            }
            splits = how.pop("splits")
            for seed in seeds:
                rng = np.random.default_rng(seed)
                starts = rng.choice(len(rows), min(_STARTS, len(rows)), replace=False)

                def begin(
                    sorter: AlignmentSorter, starts: np.ndarray = starts, splits: int = splits
                ) -> np.ndarray:
                    return sorter.sort(starts, most=_MOST, splits=splits)

                since = time.perf_counter()
                labels = sort_source(source, rows, begin, seed=seed, **how).labels
                yield {
                    "lever": lever,
                    "seed": seed,
                    "ari": round(float(adjusted_rand_score(true_class, labels)), 3),
                    "k": int(labels.max()) + 1,
                    "in_none": int((labels < 0).sum()),
                    "seconds": round(time.perf_counter() - since),
                }
