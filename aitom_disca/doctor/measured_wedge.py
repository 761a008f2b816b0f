"""Which tilts were measured, and about which axis, from the power by direction in Fourier space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy import fft

from aitom_disca.doctor.outcome import Check
from aitom_disca.doctor.sampled_blocks import sample_blocks
from aitom_disca.geometry.fall_off_with_tilt import BIN_DEG, TILTS_DEG, by_direction, mean_power
from aitom_disca.io import Tomogram
from aitom_disca.io.tomograms.tilt_range import doubt
from aitom_disca.progress import say

_SMALLEST_PX = 24
_CONTRAST = 1.6  # of power inside and outside of a wedge
_OFF_DEG = 8.0
_BEAM_DEG = 81.0  # nearer to the beam are the surfaces of the specimen too
_FLOOR = 0.02  # of the power at small tilts: what the measured power must exceed
_SPREADS = 5.0  # and by how many standard deviations of the directions along the beam
_EDGE = 0.5  # of the two bins inside: the power behind the last tilt falls faster than that
_FADED = 3.0  # times the floor: an edge lower than this may be where noise takes over
_GAP = 0.35  # of the power on either side
_BAND = (0.15, 0.42)  # frequencies, of 1 / voxel, in which directions are compared
_HALF_MISSING_DEG = 25.0  # about the beam, where hardly any series measures
_CLEARLY = 0.5  # of the power about z and y: other axes that hold less are the right ones
_FLAT = 0.6  # of the other edges: a shorter one is the thickness of the specimen


@dataclass(frozen=True)
class Measured:
    """The tilts that the power shows, in degrees.

    Parameters
    ----------
    low, high : float, optional
        The outermost; None where the power does not end.
    sure : bool
        Whether the power ends at both, rather than fading into the background.
    gaps : tuple of (float, float)
        Between which tilts there is none.
    """

    low: float | None
    high: float | None
    sure: bool
    gaps: tuple[tuple[float, float], ...] = ()


def check_wedge(tomogram: Tomogram) -> Check:
    """Whether the axes are those of a tilt series, and its range what the power shows."""
    found = _of_power(tomogram)
    reason = doubt(tomogram.tilts_deg or tomogram.tilt_range_deg)
    if found.state != "ok" or not reason:
        return found
    remedy = "check the tilt series, and give its range with --tilt-range"
    return Check("tilt range", "warning", f"{found.found}; but {reason}", remedy)


def _of_power(tomogram: Tomogram) -> Check:
    blocks = sample_blocks(tomogram)
    nz, ny, nx = tomogram.shape_zyx
    low, high = tomogram.tilt_range_deg
    said = f"{low:g} to {high:g} degrees are taken"
    is_thin = not blocks or blocks[0].shape[0] < _SMALLEST_PX
    power = np.empty(0) if is_thin else mean_power(blocks)
    beam, tilt_axis = ("", "") if is_thin else beam_and_tilt_axis(power)
    if beam not in ("", "z"):
        return Check(
            "tilt range",
            "error",
            f"the beam lies along {beam}, not along z: the tomogram was not rotated",
            "rotate the tomogram so that its thickness is z"
            + (" (IMOD: trimvol -rx, or clip rotx)" if beam == "y" else ""),
        )
    if tilt_axis not in ("", "y"):
        return Check(
            "tilt range",
            "error",
            f"the missing wedge lies about {tilt_axis}, not about y",
            "turn the tomogram so that its tilt axis is y: swap the axes x and y",
        )
    if not beam and ny < _FLAT * min(nz, nx):
        return Check(
            "tilt range",
            "warning",
            f"y is by far the shortest edge ({nx} x {ny} x {nz}, x, y, z), as where the beam lies "
            "along y",
            "if the tomogram was not rotated, rotate it so that its thickness is z (IMOD: trimvol "
            "-rx, or clip rotx)",
        )
    if is_thin:
        return Check("tilt range", "ok", "the tomogram is too thin to see the missing wedge")
    about_y = by_direction(power, "y")
    seen = measured_tilts(about_y)
    if seen is None:
        return Check(
            "tilt range",
            "warning",
            f"no missing wedge is seen (contrast {contrast(about_y):.2f}); {said}",
            "if the tomogram was denoised or its wedge filled, cut subtomograms from the raw one "
            "(run --pick-on)",
        )
    found = f"{in_words(seen)}; {said}"
    if agrees(seen, tomogram.tilt_range_deg):
        return Check("tilt range", "ok", found, _nearer(seen, tomogram))
    return Check("tilt range", "warning", found, f"check the tilt series{_advice(seen)}")


def ask_tilt_range(tomograms: Sequence[Tomogram]) -> None:
    """Say where the power of a tomogram contradicts its tilt range; nothing where it cannot."""
    for tomogram in tomograms:
        check = check_wedge(tomogram)
        if check.state != "ok":
            say(f"warning: {tomogram.name}: {check.found}; {check.remedy}")


def agrees(seen: Measured, said_deg: tuple[float, float]) -> bool:
    """Whether a tilt range is what the power shows, as far as that goes."""
    for end, said, outwards in ((seen.low, said_deg[0], -1), (seen.high, said_deg[1], 1)):
        off = 0.0 if end is None else outwards * (end - said)  # above 0: power beyond what is said
        if off > _OFF_DEG or (seen.sure and off < -_OFF_DEG):
            return False
    return True


def in_words(seen: Measured) -> str:
    """What is seen, in a few words."""
    low, high = ("beyond 80" if end is None else f"{end:.0f}" for end in (seen.low, seen.high))
    text = f"power from about {low} to {high} degrees"
    if not seen.sure:
        text += " at least"
    if seen.gaps:
        text += ", none from " + ", ".join(f"{a:.0f} to {b:.0f}" for a, b in seen.gaps)
    return text


def _nearer(seen: Measured, tomogram: Tomogram) -> str:
    """The range that is measured, where only a range is known and it is some degrees off."""
    if not seen.sure or seen.low is None or seen.high is None or tomogram.tilts_deg:
        return ""
    low, high = tomogram.tilt_range_deg
    off = max(abs(seen.low - low), abs(seen.high - high))
    return f"if you know no better{_advice(seen)}" if off > BIN_DEG else ""


def _advice(seen: Measured) -> str:
    if not seen.sure or seen.low is None or seen.high is None:
        return ", and give its range with --tilt-range"
    return f"; --tilt-range {seen.low:.0f} {seen.high:.0f} is what the power shows"


def beam_and_tilt_axis(power: np.ndarray) -> tuple[str, str]:
    """Along which axes beam and tilt axis lie: of the six pairs the one whose wedge is emptiest.

    A wedge about the wrong axes is never empty: in the plane across the true tilt axis, or along
    the beam that it takes, something was measured.

    Parameters
    ----------
    power : ndarray of shape (n, n, n)
        Zero frequency first.

    Returns
    -------
    tuple of 2 str
        Of ``x``, ``y`` and ``z``; empty where no wedge is clearly empty.
    """
    n = power.shape[0]
    f = fft.fftfreq(n)
    k = dict(zip("zyx", np.meshgrid(f, f, f, indexing="ij"), strict=True))
    radius = np.sqrt(sum(part**2 for part in k.values()))
    shell = np.round(radius * n).astype(int)
    # Faces within a block, as of padding, give power along the axes; that counts for nothing.
    off_axes = sum((np.abs(part) * n > 1.5).astype(int) for part in k.values()) >= 2
    counted = (radius > _BAND[0]) & (radius < _BAND[1]) & off_axes
    weight = counted.ravel().astype(float)
    total = np.bincount(shell.ravel(), power.ravel() * weight)
    mean = total / np.maximum(np.bincount(shell.ravel(), weight), 1)
    even = power / np.maximum(mean[shell], 1e-30)
    share = {}
    for beam, tilt_axis in permutations("zyx", 2):
        (across,) = set("zyx") - {beam, tilt_axis}
        wedge = np.abs(k[across]) < np.tan(np.deg2rad(_HALF_MISSING_DEG)) * np.abs(k[beam])
        share[beam, tilt_axis] = even[counted & wedge].mean() / even[counted & ~wedge].mean()
    best = min(share, key=lambda axes: share[axes])
    is_clear = share[best] * _CONTRAST < 1 and (
        best == ("z", "y") or share[best] < _CLEARLY * share["z", "y"]
    )
    return best if is_clear else ("", "")


def contrast(power: np.ndarray) -> float:
    """Power near zero tilt over that near the beam."""
    angle = np.abs(TILTS_DEG)
    return float(np.median(power[angle < 25]) / max(np.median(power[angle > 72]), 1e-30))


def measured_tilts(power: np.ndarray) -> Measured | None:
    """The tilts whose power stands out of the background along the beam.

    The power may fall off slowly towards high tilts, where less is measured of thicker ice; past
    the last tilt it falls to less than half from one bin of 3 degrees to the next.

    Parameters
    ----------
    power : ndarray of shape (60,)
        Of `geometry.fall_off_with_tilt.by_direction`.

    Returns
    -------
    Measured or None
        None where there is no missing wedge.
    """
    if contrast(power) < _CONTRAST:
        return None
    angle = TILTS_DEG
    empty = np.sort(power[np.abs(angle) > 72])[:8]  # of 12: some may be measured, or surfaces
    excess = power - empty.mean()
    floor = max(_FLOOR * np.median(excess[np.abs(angle) < 25]), _SPREADS * empty.std())
    low, faded_low = _end(excess[::-1], floor)
    high, faded_high = _end(excess, floor)
    first = 0 if low is None else len(angle) - 1 - low
    last = len(angle) - 1 if high is None else high
    return Measured(
        None if low is None else float(angle[first] - BIN_DEG / 2),
        None if high is None else float(angle[last] + BIN_DEG / 2),
        not (faded_low or faded_high or low is None or high is None),
        _gaps(excess, first, last),
    )


def _end(excess: np.ndarray, floor: float) -> tuple[int | None, bool]:
    """The last bin that was measured, and whether it is near to the floor; None beside the beam."""
    outermost = int(np.flatnonzero(TILTS_DEG < _BEAM_DEG)[-1])
    for i in range(outermost, 1, -1):
        if excess[i] > floor and excess[i] >= _EDGE * excess[i - 2 : i].mean():
            return (None, False) if i == outermost else (i, bool(excess[i] < _FADED * floor))
    return None, False


def _gaps(excess: np.ndarray, first: int, last: int) -> tuple[tuple[float, float], ...]:
    """Stretches between two bins with much less power than there is on either side."""
    left = np.maximum.accumulate(excess[first : last + 1])
    right = np.maximum.accumulate(excess[first : last + 1][::-1])[::-1]
    empty = excess[first : last + 1] < _GAP * np.minimum(left, right)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]]).astype(int)))
    start = TILTS_DEG[first] - BIN_DEG / 2
    ends = (start + BIN_DEG * edges).reshape(-1, 2)
    return tuple((float(a), float(b)) for a, b in ends)
