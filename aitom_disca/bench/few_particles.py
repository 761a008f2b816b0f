"""How many particles are enough: averages of few, noisy ribosomes, without a reference.

Noise is given by its power beside that of a single particle, shell by shell, as it was measured
on 70S ribosomes in cells. A blob that falls off as a ribosome does correlates well with every
ribosome, so that the correlation is told with and without what depends on the distance from the
centre alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import centred_fft, centred_ifft
from aitom_disca.averaging.average_at_poses import average_at_poses
from aitom_disca.averaging.compare_maps import compare_with_map, masked_correlation
from aitom_disca.averaging.gold_standard import average_cluster
from aitom_disca.bench.accuracy import machine
from aitom_disca.bench.case_data import TemplateSet
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.geometry.wedge import apply_wedge
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say
from aitom_disca.simulation import Template

Row = dict[str, Any]
COPIES = (24, 50, 100, 200, 400)
STRUCTURE = "4v4r"
# Signal over noise of one particle at a resolution; extrapolated beyond, as exp(-k).
AT_ANGSTROM, SSNR = (128.0, 77.0, 43.0), (0.20, 0.07, 0.016)
# Of that. With 0.3 of it, averages in known poses correlate as those of 24 and 40 experimental
# ribosomes do (0.88 and 0.92).
SHARES = (1.0, 0.3)
BOX_PX, VOXEL_ANGSTROM, TILT_RANGE_DEG = 32, 12.0, (-53.0, 61.0)
_SHIFT_PX = 0.7  # standard deviation of a particle's place along each axis
_RADIUS_PX, _RESOLUTION_ANGSTROM = 12.0, 40.0


def measure_few(
    out: str | Path,
    templates: TemplateSet,
    *,
    copies: Sequence[int] = COPIES,
    seeds: Sequence[int] = (0,),
) -> list[Row]:
    """Correlation of the average with the truth, over the number of copies.

    Beside it: begun from single members alone, in known poses, in known poses that were
    shuffled, and the blob that the truth becomes when it is averaged over all rotations.
    """
    (template,) = templates.take([STRUCTURE])
    rows = []
    for share in SHARES:
        for seed in seeds:
            for n in copies:
                rows.append({"share": share, "n": n, "seed": seed} | _one(template, share, n, seed))
                say(", ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()))
    text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
    write_text(Path(out) / "few.json", text + "\n")
    return rows


def _one(template: Template, share: float, n: int, seed: int) -> Row:
    volumes, rotations, offset_zyx_px = simulate_few(template, n, seed, share=share)
    truth = template.density(BOX_PX, VOXEL_ANGSTROM)
    order = np.random.default_rng(seed).permutation(n)
    start = time.perf_counter()
    found = average_cluster(volumes, TILT_RANGE_DEG, seed=seed)
    seconds = time.perf_counter() - start
    maps = {
        "": found.average,
        "singles_": average_cluster(volumes, TILT_RANGE_DEG, noisy=False, seed=seed).average,
        "known_": average_at_poses(volumes, rotations, offset_zyx_px, TILT_RANGE_DEG),
        "shuffled_": average_at_poses(volumes, rotations[order], offset_zyx_px, TILT_RANGE_DEG),
        "blob_": radial_part(truth, np.zeros(3)),
    }
    row: Row = {}
    for name, volume in maps.items():
        both = correlation_with_truth(volume, truth)
        row |= {f"{name}correlation": both[0], f"{name}not_radial": both[1]}
    return row | {"noisy": float(found.noisy), "seconds": seconds}


def simulate_few(
    template: Template, n: int, seed: int, *, share: float = 1.0
) -> tuple[np.ndarray, Rotation, np.ndarray]:
    """Copies in random poses, with noise of a given signal-to-noise ratio in every shell.

    Parameters
    ----------
    template : Template
    n : int
    seed : int
    share : float
        The ratio is so many times that of `SSNR`.

    Returns
    -------
    volumes : ndarray of float32, shape (n, box, box, box)
        Missing wedge applied; mean 0, variance 1.
    rotations : Rotation of n rotations
    offset_zyx_px : ndarray of shape (n, 3)
    """
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(n, rng=rng)
    offset_zyx_px = rng.normal(0, _SHIFT_PX, (n, 3))
    shell = np.rint(_distance(np.zeros(3))).astype(int)
    power = np.abs(centred_fft(template.density(BOX_PX, VOXEL_ANGSTROM))) ** 2
    power = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    amplitude = np.sqrt(power / (share * _ssnr(len(power))) / BOX_PX**3)[shell]
    volumes = np.empty((n, BOX_PX, BOX_PX, BOX_PX), np.float32)
    for i in range(n):
        noise = centred_ifft(centred_fft(rng.normal(size=volumes[i].shape)) * amplitude)
        density = template.density(BOX_PX, VOXEL_ANGSTROM, rotations[i], offset_zyx_px[i])
        volumes[i] = density + noise
    volumes = apply_wedge(volumes, TILT_RANGE_DEG)
    volumes -= volumes.mean(axis=(1, 2, 3), keepdims=True)
    return volumes / volumes.std(axis=(1, 2, 3), keepdims=True), rotations, offset_zyx_px


def correlation_with_truth(volume: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Correlation at 40 A within 12 voxels, the truth laid on it, and that of non-radial parts.

    Voxels of 12 A. Of each map the mean over spheres about the centre of the laid-on truth is taken
    off for the second number.
    """
    mask = soft_sphere(volume.shape[0], _RADIUS_PX, 0)
    volume, truth = (_low_passed(one) for one in (volume, truth))
    found = compare_with_map(
        volume,
        truth,
        voxel_size_angstrom=VOXEL_ANGSTROM,
        known_voxel_size_angstrom=VOXEL_ANGSTROM,
        mask=mask,
    )
    rest = [one - radial_part(one, found.shift_zyx_px) for one in (volume, found.aligned)]
    return found.correlation, masked_correlation(rest[0], rest[1], mask)


def radial_part(volume: np.ndarray, centre_zyx_px: np.ndarray) -> np.ndarray:
    """Mean over spheres about a place, given from the box centre."""
    shell = np.rint(_distance(centre_zyx_px, volume.shape[0])).astype(int)
    members = np.maximum(np.bincount(shell.ravel()), 1)
    mean = np.bincount(shell.ravel(), volume.ravel()) / members
    return np.asarray(mean[shell])


def _ssnr(n_shells: int) -> np.ndarray:
    """Of every shell: straight between the given ones, and on, in its logarithm."""
    frequency = np.arange(n_shells) / (BOX_PX * VOXEL_ANGSTROM)
    at, log = 1 / np.array(AT_ANGSTROM), np.log(SSNR)
    slope = np.diff(log) / np.diff(at)
    low, high = log[0] + slope[0] * (frequency - at[0]), log[1] + slope[1] * (frequency - at[1])
    return np.asarray(np.exp(np.where(frequency < at[1], low, high)))


def _distance(centre_zyx_px: np.ndarray, box_px: int = BOX_PX) -> np.ndarray:
    grid = np.indices((box_px,) * 3) - centre_index(box_px)
    return np.asarray(np.linalg.norm(grid - centre_zyx_px[:, None, None, None], axis=0))


def _low_passed(volume: np.ndarray) -> np.ndarray:
    """Cut off at 40 A, with an edge one shell wide."""
    last = volume.shape[0] * VOXEL_ANGSTROM / _RESOLUTION_ANGSTROM
    kept = np.clip(last + 0.5 - _distance(np.zeros(3), volume.shape[0]), 0, 1)
    return np.asarray(centred_ifft(centred_fft(volume) * kept))
