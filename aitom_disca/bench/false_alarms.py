"""How often averages of noise are taken for structures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import fft, ndimage

from aitom_disca.geometry import apply_wedge
from aitom_disca.progress import muted, say

Row = dict[str, Any]
_KINDS = ("white", "coloured", "cut at random", "picked")
_TILT_RANGE_DEG = (-60.0, 60.0)
_TOMOGRAM_ZYX = (64, 128, 128)
_SIGMA_PX = 2.5  # by which noise is smoothed before it is picked


def measure_false_alarms(n_sets: int = 200, *, seed: int = 0) -> Iterator[Row]:
    """Average sets of noise, 20 to 40 members in boxes of 16 to 20 voxels, and judge them.

    A quarter each of the sets is white noise in boxes, noise that falls as 1 / frequency, such
    noise cut from one tomogram at random, with boxes that share voxels, and cut where that
    tomogram is brightest, as picks of noise are.

    Yields
    ------
    dict
        Of each set: what it is, its members and box, and the two p-values.
    """
    from aitom_disca.averaging.fit_significance import null_test
    from aitom_disca.averaging.gold_standard import average_cluster
    from aitom_disca.averaging.half_sets import neighbour_groups
    from aitom_disca.averaging.masks import default_diameter_px

    for i in range(n_sets):
        rng = np.random.default_rng((seed, i))
        kind, box_px = _KINDS[i % len(_KINDS)], int(rng.choice([16, 18, 20]))
        n = int(rng.integers(20, 41))
        volumes, places = noise_members(kind, n, box_px, rng)
        groups, _ = neighbour_groups(np.zeros(n), places, box_px)
        diameter_px = default_diameter_px(box_px)
        with muted():
            found = average_cluster(
                volumes, _TILT_RANGE_DEG, mask_diameter_px=diameter_px, groups=groups, seed=i
            )
            test = null_test(
                volumes,
                found,
                _TILT_RANGE_DEG,
                mask_diameter_px=diameter_px,
                groups=groups,
                seed=i,
            )
        row = {"noise": kind, "members": n, "box_px": box_px, "p_value": test.p_value}
        row |= {"p_round": test.p_round, "fit_better_than_null": test.fit_better}
        say(str(row))
        yield row


def noise_members(
    kind: str, n: int, box_px: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Noise behind a missing wedge (n, z, y, x), and where it was cut; NaN for nowhere."""
    places = np.full((n, 3), np.nan)
    if kind == "white":
        volumes = rng.standard_normal((n, box_px, box_px, box_px), np.float32)
        return apply_wedge(volumes, _TILT_RANGE_DEG), places
    if kind == "coloured":
        boxes = [_coloured((box_px,) * 3, rng) for _ in range(n)]
        return apply_wedge(np.array(boxes), _TILT_RANGE_DEG), places
    whole = apply_wedge(_coloured(_TOMOGRAM_ZYX, rng), _TILT_RANGE_DEG)
    room = np.array(_TOMOGRAM_ZYX) - box_px + 1
    corners = rng.integers(0, room, (n, 3))
    if kind == "picked":
        smooth = ndimage.gaussian_filter(whole, _SIGMA_PX)
        centres = tuple(slice(box_px // 2, box_px // 2 + size) for size in room)
        peaks = smooth == ndimage.maximum_filter(smooth, box_px // 2)
        candidates = np.argwhere(peaks[centres])
        bright = np.argsort(-smooth[centres][tuple(candidates.T)])
        corners = candidates[bright[:n]]
    cut = [whole[z : z + box_px, y : y + box_px, x : x + box_px] for z, y, x in corners]
    volumes = np.array(cut)
    volumes -= volumes.mean(axis=(1, 2, 3), keepdims=True)
    volumes /= volumes.std(axis=(1, 2, 3), keepdims=True)
    return volumes, corners + float(box_px // 2)


def _coloured(shape_zyx: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls as 1 / frequency."""
    axes = np.ix_(*(fft.fftfreq(n) for n in shape_zyx[:-1]), fft.rfftfreq(shape_zyx[-1]))
    frequency = np.sqrt(sum(axis**2 for axis in axes))
    frequency[(0,) * len(shape_zyx)] = np.inf
    spectrum = fft.rfftn(rng.standard_normal(shape_zyx, np.float32)) / frequency
    volume = fft.irfftn(spectrum, s=shape_zyx)
    return np.asarray(volume / volume.std(), np.float32)
