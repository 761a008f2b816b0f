"""The voxels of a tomogram: numbers at all, and what the header promises."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aitom_disca.doctor.outcome import Check, judged
from aitom_disca.doctor.sampled_blocks import level_and_spread, slabs
from aitom_disca.io import Tomogram
from aitom_disca.io.tomograms.mrc_header import read_header
from aitom_disca.io.tomograms.zarr_tomogram import is_zarr

_TOLERANCE = 0.05  # of the header's statistics, in standard deviations


@dataclass(frozen=True)
class Values:
    """Statistics of all voxels of a file as they are stored."""

    n: int
    n_bad: int
    low: float
    high: float
    mean: float
    sd: float


def values_of(tomogram: Tomogram) -> Values:
    """Look at every voxel, slab by slab."""
    median, _ = level_and_spread(tomogram)
    n_bad, low, high, total, squares = 0, np.inf, -np.inf, 0.0, 0.0
    for _, slab in slabs(tomogram):
        kept = slab[np.isfinite(slab)].astype(float)
        n_bad += slab.size - kept.size
        if kept.size:
            low, high = min(low, kept.min()), max(high, kept.max())
            total, squares = total + kept.sum(), squares + np.square(kept - median).sum()
    n = math.prod(tomogram.shape_zyx)
    mean = total / max(n - n_bad, 1)
    sd = float(np.sqrt(max(squares / max(n - n_bad, 1) - (mean - median) ** 2, 0)))
    return Values(n, n_bad, float(low), float(high), mean, sd)


def check_values(tomogram: Tomogram) -> list[Check]:
    """NaN and infinity, one value only, header against data."""
    found = values_of(tomogram)
    checks = [
        judged(
            "numbers",
            found.n_bad == 0 and found.sd > 0,
            f"{found.n_bad} of {found.n} voxels are NaN or infinite"
            if found.n_bad
            else f"{found.low:.4g} to {found.high:.4g}, mean {found.mean:.4g}, s.d. {found.sd:.4g}",
            "reconstruct the tomogram again, or replace these voxels by its mean"
            if found.n_bad
            else "all voxels have one value: the file is empty, write it again",
            else_="error",
        )
    ]
    if not is_zarr(tomogram.path):
        checks.append(_against_header(tomogram, found))
    return checks


def _against_header(tomogram: Tomogram, found: Values) -> Check:
    header, _ = read_header(tomogram.path)
    said = [float(header[name]) for name in ("dmin", "dmax", "dmean")]
    text = "min {:.4g}, max {:.4g}, mean {:.4g}".format(*said)
    if not np.all(np.isfinite(said)) or said[0] >= said[1]:  # the standard's sign for "not known"
        return Check("header", "ok", "says nothing of the values")
    off = np.abs(np.array(said) - [found.low, found.high, found.mean])
    near = bool(np.all(off <= _TOLERANCE * max(found.sd, 1e-30) + 1e-3 * np.abs(said)))
    return judged(
        "header",
        near,
        text
        if near
        else f"says {text}; the data have {found.low:.4g}, {found.high:.4g}, {found.mean:.4g}",
        "harmless by itself; but the header may be that of another file: compare size and voxel "
        "size too",
    )
