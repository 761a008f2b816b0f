"""The voxels of a tomogram: numbers at all, what the header promises, gold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.doctor.blocks import filled_slices
from aitom_disca.doctor.check import Check, judged
from aitom_disca.io import Tomogram
from aitom_disca.io.mrc_header import read_header
from aitom_disca.io.zarr_tomogram import is_zarr

_SLAB_VOXELS = 2**25
_SAMPLE = 200_000
_BEAD_SD = 10.0  # robust standard deviations from which a voxel counts as extreme
_MOST_EXTREME = 1e-4  # share of the voxels
_TOLERANCE = 0.05  # of the header's statistics, in standard deviations


@dataclass(frozen=True)
class Values:
    """Statistics of all voxels of a file as they are stored.

    ``extreme`` counts voxels more than 10 robust standard deviations from the median, ``worst_zyx``
    is the place of the worst.
    """

    n: int
    n_bad: int
    low: float
    high: float
    mean: float
    sd: float
    extreme: int
    worst_zyx: tuple[int, int, int]


def values_of(tomogram: Tomogram) -> Values:
    """Look at every voxel, slab by slab."""
    nz, ny, nx = tomogram.shape_zyx
    n_slices = max(1, _SLAB_VOXELS // (ny * nx))
    median, spread = _robust(tomogram)
    n_bad, extreme, worst, worst_zyx = 0, 0, -1.0, (0, 0, 0)
    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    for start in range(0, nz, n_slices):
        slab = np.asarray(tomogram.data[start : start + n_slices], np.float32)
        good = np.isfinite(slab)
        n_bad += slab.size - int(good.sum())
        away = np.abs(np.where(good, slab, median) - median)
        extreme += int((away > _BEAD_SD * spread).sum())
        if away.max() > worst:
            worst = float(away.max())
            z, y, x = np.unravel_index(int(away.argmax()), slab.shape)
            worst_zyx = (int(z) + start, int(y), int(x))
        kept = slab[good].astype(float)
        if kept.size:
            low, high = min(low, kept.min()), max(high, kept.max())
            total, squares = total + kept.sum(), squares + np.square(kept - median).sum()
    n = nz * ny * nx
    mean = total / max(n - n_bad, 1)
    sd = float(np.sqrt(max(squares / max(n - n_bad, 1) - (mean - median) ** 2, 0)))
    return Values(n, n_bad, float(low), float(high), mean, sd, extreme, worst_zyx)


def check_values(tomogram: Tomogram) -> list[Check]:
    """NaN and infinity, one value only, header against data, extreme voxels."""
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
    share = found.extreme / found.n
    place = "z {}, y {}, x {}".format(*found.worst_zyx)
    checks.append(
        judged(
            "gold, extreme voxels",
            share <= _MOST_EXTREME,
            f"{100 * share:.3g} % of the voxels lie {_BEAD_SD:g} standard deviations off"
            + (f", the worst at {place}" if found.extreme else ""),
            "erase gold beads before reconstruction, or keep picks away from them (pick --mask)",
        )
    )
    return checks


def _robust(tomogram: Tomogram) -> tuple[float, float]:
    """Median and robust standard deviation of a sample of the slices that are not empty."""
    _, ny, nx = tomogram.shape_zyx
    filled = filled_slices(tomogram)
    rows = np.unique(np.linspace(filled.start, filled.stop - 1, 9).astype(int))
    step = max(1, ny * nx * len(rows) // _SAMPLE)
    parts = [np.asarray(tomogram.data[z : z + 1], np.float32).ravel()[::step] for z in rows]
    sample = np.concatenate(parts)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    median = float(np.median(sample))
    spread = 1.4826 * float(np.median(np.abs(sample - median)))
    return median, spread or float(sample.std()) or 1.0


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
