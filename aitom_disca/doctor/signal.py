"""What the voxels say of polarity and of the missing wedge, from some blocks of a tomogram."""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.signal.windows import hann

from aitom_disca.doctor.check import Check, judged
from aitom_disca.io import Tomogram
from aitom_disca.picking.dog import difference_of_gaussians, sigma_from_diameter

_EDGE_PX = 64
_SMALLEST_PX = 24
_MOST_BLOCKS = 24
_TAIL = 1e-3  # share of the voxels that count as blobs
_CLEAR = 1.12  # times stronger on one side than on the other
_BIN_DEG = 3.0
_BAND = (0.15, 0.42)  # frequencies, of 1 / voxel, in which the wedge is looked for
_CONTRAST = 1.6  # of power inside and outside of a wedge
_OFF_DEG = 8.0


def sample_blocks(tomogram: Tomogram, edge_px: int = _EDGE_PX) -> list[np.ndarray]:
    """Cubes spread over a tomogram, protein bright; those with NaN left out."""
    edge = min(edge_px, *tomogram.shape_zyx)
    starts = [_spread(n, edge) for n in tomogram.shape_zyx]
    places = [(z, y, x) for z in starts[0] for y in starts[1] for x in starts[2]]
    chosen = np.random.default_rng(0).permutation(len(places))[:_MOST_BLOCKS]
    blocks = []
    for z, y, x in (places[i] for i in sorted(chosen)):
        region = tomogram.data[z : z + edge, y : y + edge, x : x + edge]
        block = np.asarray(region, np.float32)
        if np.isfinite(block).all() and np.ptp(block) > 0:
            blocks.append(-block if tomogram.dark_protein else block)
    return blocks


def check_polarity(tomogram: Tomogram, blocks: list[np.ndarray], diameter_angstrom: float) -> Check:
    """Whether blobs of the particle's size are brighter or darker than their surroundings."""
    sigma = sigma_from_diameter(diameter_angstrom, tomogram.voxel_size_angstrom)
    bright, dark = blob_strengths(blocks, sigma)
    ratio = bright / dark if dark > 0 else np.inf
    found = f"blobs are {max(ratio, 1 / ratio):.2f} times stronger "
    given = "with --dark-protein" if tomogram.dark_protein else "as the file is"
    if 1 / _CLEAR < ratio < _CLEAR:
        return Check(
            "polarity",
            "warning",
            f"bright and dark blobs are about as strong ({ratio:.2f}), {given}",
            "look at a slice: protein must be bright, or --dark-protein given",
        )
    other = "leave out --dark-protein" if tomogram.dark_protein else "add --dark-protein"
    return judged(
        "polarity",
        ratio > 1,
        f"{found}on the {'bright' if ratio > 1 else 'dark'} side, {given}",
        f"protein seems to be dark: {other}, after a look at a slice",
    )


def blob_strengths(blocks: list[np.ndarray], sigma_px: float) -> tuple[float, float]:
    """How far the strongest bright and dark blobs stand out, in robust standard deviations."""
    filtered = np.concatenate(
        [difference_of_gaussians(block, sigma_px).ravel() for block in blocks]
    )
    median = np.median(filtered)
    spread = 1.4826 * np.median(np.abs(filtered - median)) or 1.0
    low, high = np.quantile(filtered, [_TAIL, 1 - _TAIL])
    return float((high - median) / spread), float((median - low) / spread)


def check_wedge(tomogram: Tomogram, blocks: list[np.ndarray]) -> Check:
    """Whether the power in Fourier space ends where the tilt range says."""
    if not blocks or blocks[0].shape[0] < _SMALLEST_PX:
        return Check("tilt range", "ok", "the tomogram is too thin to see the missing wedge")
    about_y, about_x = (power_by_direction(blocks, axis) for axis in ("y", "x"))
    y_contrast, x_contrast = contrast(about_y), contrast(about_x)
    low, high = tomogram.tilt_range_deg
    said = f"{low:g} to {high:g} degrees are said"
    if x_contrast > _CONTRAST and x_contrast > 1.5 * y_contrast:
        return Check(
            "tilt range",
            "error",
            "the missing wedge lies about x, not about y",
            "turn the tomogram so that its tilt axis is y: swap the axes x and y",
        )
    if y_contrast < _CONTRAST:
        return Check(
            "tilt range",
            "warning",
            f"no missing wedge is seen (contrast {y_contrast:.2f}); {said}",
            "if the tomogram was denoised or its wedge filled, cut subtomograms from the raw one "
            "(run --pick-on)",
        )
    seen = range_of(about_y)
    off = max(abs(seen[0] - low), abs(seen[1] - high))
    return judged(
        "tilt range",
        off <= _OFF_DEG,
        f"power from about {seen[0]:.0f} to {seen[1]:.0f} degrees; {said}",
        f"check the tilt series; --tilt-range {seen[0]:.0f} {seen[1]:.0f} is what the power shows",
    )


def power_by_direction(blocks: list[np.ndarray], tilt_axis: str) -> np.ndarray:
    """Mean power, shell by shell made equal, by the angle to the plane of zero tilt.

    Returns
    -------
    ndarray of shape (180 / 3,)
        From -90 degrees on, of directions ``(cos t, sin t)`` in x (or y) and z.
    """
    n = blocks[0].shape[0]
    edge = hann(n, sym=False)
    window = edge[:, None, None] * edge[:, None] * edge
    power = sum(np.abs(fft.fftn((b - b.mean()) / b.std() * window)) ** 2 for b in blocks)
    f = fft.fftfreq(n)
    kz, ky, kx = np.meshgrid(f, f, f, indexing="ij")
    across = kx if tilt_axis == "y" else ky
    flat = np.hypot(kz, across)
    angle = np.rad2deg(np.arctan2(np.where(across < 0, -kz, kz), np.abs(across)))
    inside = (flat > _BAND[0]) & (flat < _BAND[1])
    shell = np.round(np.sqrt(kz**2 + ky**2 + kx**2) * n).astype(int)
    mean = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    even = (power / np.maximum(mean[shell], 1e-30))[inside]
    bins = np.minimum((angle[inside] + 90) // _BIN_DEG, 180 / _BIN_DEG - 1).astype(int)
    size = np.bincount(bins, minlength=len(_angles()))
    mean = np.bincount(bins, even, minlength=len(size)) / np.maximum(size, 1)
    return np.interp(_angles(), _angles()[size > 0], mean[size > 0])  # small boxes leave gaps


def contrast(power: np.ndarray) -> float:
    """Power near zero tilt over that near the beam."""
    angle = _angles()
    near, far = power[np.abs(angle) < 25].mean(), power[np.abs(angle) > 80].mean()
    return float(near / max(far, 1e-30))


def range_of(power: np.ndarray) -> tuple[float, float]:
    """Angles between which there is more than half of what a missing wedge lacks."""
    angle = _angles()
    inner, outer = np.median(power[np.abs(angle) < 25]), power[np.abs(angle) > 80].mean()
    below = power < (inner + outer) / 2
    low = angle[below & (angle < 0)].max(initial=-90 - _BIN_DEG / 2) + _BIN_DEG / 2
    high = angle[below & (angle > 0)].min(initial=90 + _BIN_DEG / 2) - _BIN_DEG / 2
    return float(low), float(high)


def _angles() -> np.ndarray:
    return np.arange(-90, 90, _BIN_DEG) + _BIN_DEG / 2


def _spread(n: int, edge: int) -> list[int]:
    """Starts of at most four windows along an axis, from face to face."""
    count = min(4, max(1, n // edge))
    return np.linspace(0, n - edge, count).astype(int).tolist()
