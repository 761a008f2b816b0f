"""Whether protein is dark or bright: which of the strongest blobs of a particle's size are.

Dense matter gives many compact blobs of one sign. The ripples that the contrast transfer function
leaves around them, and noise, give weaker ones of either. So the strongest extrema are counted, not
weighed, and gold beads are left out: they decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage, stats

from aitom_disca.doctor.outcome import Check
from aitom_disca.doctor.sampled_blocks import sample_blocks
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram
from aitom_disca.picking.dog import difference_of_gaussians, sigma_from_diameter
from aitom_disca.progress import say

_EDGE_PX = 128
_BIN_SIGMA_PX = 1.5  # to which a blob is binned at most
_CLIP = 4.0  # robust standard deviations of a voxel
_BEAD = 12.0  # robust standard deviations from which a small blob is gold
_BEAD_SIGMA_ANGSTROM, _BEAD_RATIO = 25.0, 1.44
_MOST_GOLD = 5e-4  # of the voxels
_COUNTS = (25, 50, 100, 200)  # strongest blobs that are looked at
_CHANCE = 1e-4  # of one sign, if either were as likely
_SHARE = 0.65
_MOST_TOMOGRAMS = 3


@dataclass(frozen=True)
class Blobs:
    """How many of the strongest blobs are dark in the file.

    Parameters
    ----------
    n_dark, n : int
    clear : {"dark", "bright"}, optional
        What protein is; None where it cannot be told.
    """

    n_dark: int
    n: int
    clear: Literal["dark", "bright"] | None


def strongest_blobs(tomogram: Tomogram, diameter_angstrom: float) -> Blobs:
    """Count the dark ones among the strongest blobs of a particle's size.

    Parameters
    ----------
    tomogram : Tomogram
        Values as in the file count, whatever ``dark_protein`` says.
    diameter_angstrom : float

    Returns
    -------
    Blobs
        Of the strongest 25, 50, 100 or 200, whichever says most. It is clear if at least 65 %
        have one sign, and chance would do that to so many less than once in 10,000 times.
    """
    sigma = sigma_from_diameter(diameter_angstrom, tomogram.voxel_size_angstrom)
    bead_sigma = max(1.0, _BEAD_SIGMA_ANGSTROM / tomogram.voxel_size_angstrom)
    blocks = sample_blocks(tomogram, _EDGE_PX, cubes=False)
    found = [_extrema(block, sigma, bead_sigma) for block in blocks]
    bright = np.concatenate([heights for heights, _ in found]) if found else np.zeros(0)
    dark = np.concatenate([heights for _, heights in found]) if found else np.zeros(0)
    is_dark = np.repeat([False, True], [len(bright), len(dark)])
    is_dark = is_dark[np.argsort(-np.concatenate([bright, dark]), kind="stable")]
    best, least = Blobs(0, 0, None), np.inf
    for n in _COUNTS:
        if 4 * n > len(is_dark):  # the strongest of many, or they are any
            break
        n_dark = int(is_dark[:n].sum())
        chance = stats.binomtest(n_dark, n).pvalue
        if chance < least:
            most = max(n_dark, n - n_dark)
            side: Literal["dark", "bright"] = "dark" if 2 * n_dark > n else "bright"
            clear = chance < _CHANCE and most >= _SHARE * n
            best, least = Blobs(n_dark, n, side if clear else None), chance
    return best


def check_polarity(tomogram: Tomogram, diameter_angstrom: float) -> Check:
    """The doctor's row: whether what is said of the polarity is what the blobs show."""
    blobs = strongest_blobs(tomogram, diameter_angstrom)
    said = "dark" if tomogram.dark_protein else "bright"
    found = (
        f"{blobs.n_dark} of the {blobs.n} strongest blobs of {diameter_angstrom:g} A are dark in "
        f"the file; {said} is said"
    )
    if blobs.clear is None:
        return Check(
            "polarity",
            "warning",
            f"bright and dark blobs are about as strong: {found}" if blobs.n else "too few blobs",
            "look at a slice: protein must be bright, or --dark-protein given",
        )
    if blobs.clear == said:
        return Check("polarity", "ok", found)
    other = "leave out --dark-protein" if tomogram.dark_protein else "add --dark-protein"
    return Check(
        "polarity",
        "warning",
        found,
        f"protein seems to be {blobs.clear}: {other}, after a look at a slice",
    )


def ask_polarity(
    tomograms: Sequence[Tomogram], diameter_angstrom: float, said_dark: bool | None
) -> None:
    """Compare what was said of the polarity with the first, middle and last tomogram.

    Nothing happens where they agree or it cannot be told. A contradiction of what was said is
    told, and no more.

    Parameters
    ----------
    tomograms : sequence of Tomogram
    diameter_angstrom : float
    said_dark : bool, optional
        None if nothing was said; protein is then taken to be bright.

    Raises
    ------
    InputError
        If nothing was said and protein is clearly dark.
    """
    few = np.unique(np.linspace(0, len(tomograms) - 1, _MOST_TOMOGRAMS).astype(int))
    for tomogram in (tomograms[i] for i in few):
        blobs = strongest_blobs(tomogram, diameter_angstrom)
        if blobs.clear is None or (blobs.clear == "dark") == bool(said_dark):
            continue
        n = blobs.n_dark if blobs.clear == "dark" else blobs.n - blobs.n_dark
        seen = f"{n} of the {blobs.n} strongest blobs in {tomogram.name} are {blobs.clear}"
        if said_dark is None:
            raise InputError(
                f"protein seems to be dark ({seen}): look at a slice, then add --dark-protein, or "
                "--bright-protein if it is bright all the same."
            )
        given = "--dark-protein" if said_dark else "--bright-protein"
        say(f"warning: protein seems to be {blobs.clear} ({seen}), but {given} was given")


def _extrema(
    block: np.ndarray, sigma_px: float, bead_sigma_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Heights of maxima and depths of minima of a block's blobs, away from its faces and beads."""
    middle, spread = _robust(block)
    clipped = np.clip(block, middle - _CLIP * spread, middle + _CLIP * spread)
    factor = max(1, min(int(sigma_px / _BIN_SIGMA_PX), min(block.shape) // 4))
    sigma = sigma_px / factor
    filtered = difference_of_gaussians(_binned(clipped, factor), sigma)
    margin = int(np.ceil(sigma))
    inner = (slice(margin, -margin),) * 3
    centre = filtered[inner]
    if not centre.size:
        return np.zeros(0), np.zeros(0)
    highest = ndimage.maximum_filter(filtered, 2 * margin + 1)[inner]
    lowest = ndimage.minimum_filter(filtered, 2 * margin + 1)[inner]
    beads = _binned(_beads(block, bead_sigma_px), factor)
    near_bead = ndimage.maximum_filter(beads, 4 * margin + 1)[inner] > 0
    kept = (highest > lowest) & ~near_bead  # nor where the tomogram is empty
    level = np.median(centre)
    return centre[(centre == highest) & kept] - level, level - centre[(centre == lowest) & kept]


def _beads(block: np.ndarray, sigma_px: float) -> np.ndarray:
    """Voxels of gold: blobs of a bead's size that stand out most of all, of either sign."""
    factor = max(1, int(sigma_px / _BIN_SIGMA_PX))
    small = _binned(block, factor)
    filtered = difference_of_gaussians(small, sigma_px / factor, _BEAD_RATIO)
    middle, spread = _robust(filtered)
    away = np.abs(filtered - middle)
    strong = away > max(_BEAD * spread, np.quantile(away[::2, ::2, ::2], 1 - _MOST_GOLD))
    found = np.zeros(block.shape, bool)
    grown = strong.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
    found[tuple(slice(n) for n in grown.shape)] = grown
    return found


def _robust(block: np.ndarray) -> tuple[float, float]:
    """Median and robust standard deviation."""
    sample = block[::2, ::2, ::2]
    middle = float(np.median(sample))
    return middle, 1.4826 * float(np.median(np.abs(sample - middle))) or float(block.std())


def _binned(block: np.ndarray, factor: int) -> np.ndarray:
    """Means of cubes of ``factor`` voxels; what is left over at the far faces goes."""
    if factor == 1:
        return block
    nz, ny, nx = (n // factor for n in block.shape)
    cut = block[: nz * factor, : ny * factor, : nx * factor]
    return cut.reshape(nz, factor, ny, factor, nx, factor).mean(axis=(1, 3, 5))
