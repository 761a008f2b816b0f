"""What is measured of every subtomogram that has nothing to do with its structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aitom_disca.geometry.box import centre_index
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import track
from aitom_disca.subtomograms.dataset import Source

Cause = Literal["contrast", "background", "position", "direction", "tomogram"]
MEAN, SPREAD = "mean intensity", "standard deviation"
BACKGROUND_MEAN, BACKGROUND_SPREAD = "background mean", "background deviation"
CENTRE, SLOW = "centre less rim", "slow variation"
HEIGHT, BORDER = "height", "distance to border"
BEAM, TILT_AXIS = "angle to beam", "angle to tilt axis"
TOMOGRAM = "tomogram"
_BATCH_VOXELS = 2**21  # read at once
_FEWEST_DIFFERENT = 1e-3  # spread of the deviations below which volumes count as normalised


@dataclass(frozen=True)
class Property:
    """One property of every subtomogram.

    Parameters
    ----------
    name : str
    values : ndarray of shape (n,)
        Numbers (NaN where unknown), or names.
    cause : str
        What it stands for: contrast, background, position, direction or tomogram.
    unit : str
    """

    name: str
    values: np.ndarray
    cause: Cause
    unit: str = ""


def measure_properties(source: Source, particles: ParticleSet | None = None) -> list[Property]:
    """Measure what may have sorted subtomograms in place of their structure, in one pass.

    - *Contrast*: mean and standard deviation of the box; and of its *background*, which is what
      lies outside of the largest sphere. A heavier structure raises the first two, but not the
      background. They are those of the box as it was cut, where the store noted what its
      normalisation took away (``raw_mean``, ``raw_std``), or those of the volumes, where they are
      not normalised. Otherwise these are lost, and two that are not remain: how far the centre
      stands out from the rim, and the share of variance that a smooth density has.
    - *Position*: height above the middle of the tomogram, distance to its nearest face.
    - *Direction*: angles of the density's main axis to the beam and to the tilt axis, which decide
      what the missing wedge hides (see `main_axes_zyx`).
    - *Tomogram*.

    Parameters
    ----------
    source : Source
        Read in batches; memory does not grow with its length.
    particles : ParticleSet, optional
        Where the subtomograms come from.
    """
    moments = _Moments(source.box_shape_zyx[0])
    size = max(1, _BATCH_VOXELS // source.box_shape_zyx[0] ** 3)
    starts = range(0, len(source), size)
    parts = [
        moments(source.read(np.arange(start, min(start + size, len(source)))))
        for start in track(starts, "looking for what else could explain the clusters")
    ]
    measured = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = [*_contrast(measured, source), *_directions(measured["moments"])]
    return found if particles is None else [*found, *_places(particles)]


# -- contrast ----------------------------------------------------------------------------------


class _Moments:
    """Sums over volumes (b, z, y, x) of one box: intensities, and second moments of the centre."""

    def __init__(self, box_px: int) -> None:
        axis = np.arange(box_px) - centre_index(box_px)
        z, y, x = (a.ravel() for a in np.meshgrid(axis, axis, axis, indexing="ij"))
        radius = np.sqrt(z**2 + y**2 + x**2)
        self._rim = radius > box_px / 2 - 0.5
        window = np.exp(-0.5 * (radius / (0.22 * box_px)) ** 2) * ~self._rim
        self._core = window / window.sum()
        products = [a * b for a, b in ((z, z), (y, y), (x, x), (z, y), (z, x), (y, x))]
        self._weights = (np.stack(products, axis=1) * self._core[:, None]).astype(np.float32)
        self._offset = self._weights.sum(axis=0, dtype=float)

    def __call__(self, volumes: np.ndarray) -> dict[str, np.ndarray]:
        flat = volumes.reshape(len(volumes), -1)
        rim = flat[:, self._rim]
        background = rim.mean(axis=1, dtype=float)
        smooth = flat @ self._weights
        core = flat @ self._core - background
        return {
            "mean": flat.mean(axis=1, dtype=float),
            "std": flat.std(axis=1, dtype=float),
            "rim_mean": background,
            "rim_std": rim.std(axis=1, dtype=float),
            "core": core,
            "neighbours": _neighbours(volumes),
            # the mass in the middle, and its second moments, above the background
            "moments": np.column_stack([core, smooth - background[:, None] * self._offset]),
        }


def _neighbours(volumes: np.ndarray) -> np.ndarray:
    """Correlation of voxels with their neighbours in the plane: high where density is smooth."""
    centred = volumes - volumes.mean(axis=(1, 2, 3), keepdims=True)
    products = [
        np.einsum("nzyx,nzyx->n", centred[..., 1:], centred[..., :-1]),
        np.einsum("nzyx,nzyx->n", centred[:, :, 1:], centred[:, :, :-1]),
    ]
    total = np.einsum("nzyx,nzyx->n", centred, centred)
    return np.sum(products, axis=0, dtype=float) / (2 * np.maximum(total, 1e-30))


def _contrast(measured: dict[str, np.ndarray], source: Source) -> list[Property]:
    raw_mean, raw_std = getattr(source, "raw_mean", None), getattr(source, "raw_std", None)
    if raw_mean is None or raw_std is None:
        spread = np.ptp(measured["std"]) / measured["std"].mean()
        moved = np.ptp(measured["mean"]) / measured["std"].mean()
        if max(spread, moved) < _FEWEST_DIFFERENT:  # normalised one by one: nothing is left of it
            return [
                Property(CENTRE, measured["core"], "contrast"),
                Property(SLOW, measured["neighbours"], "contrast"),
            ]
        raw_mean, raw_std = measured["mean"], measured["std"]
    # Stored values are (raw - raw_mean) / raw_std, or raw itself, times measured std plus mean.
    factor = raw_std / measured["std"]
    rim_mean = raw_mean + factor * (measured["rim_mean"] - measured["mean"])
    return [
        Property(MEAN, raw_mean, "contrast"),
        Property(SPREAD, raw_std, "contrast"),
        Property(BACKGROUND_MEAN, rim_mean, "background"),
        Property(BACKGROUND_SPREAD, factor * measured["rim_std"], "background"),
    ]


# -- direction ---------------------------------------------------------------------------------


def _directions(moments: np.ndarray) -> list[Property]:
    axes = main_axes_zyx(moments)
    angles = np.degrees(np.arccos(np.clip(np.abs(axes), 0, 1)))
    return [
        Property(BEAM, angles[:, 0], "direction", "deg"),
        Property(TILT_AXIS, angles[:, 1], "direction", "deg"),
    ]


def main_axes_zyx(moments: np.ndarray) -> np.ndarray:
    """The axis along which each density is longest.

    A missing wedge lengthens every density along the beam, the more the heavier and larger it is.
    What mass and radius foretell of that, by a linear fit to all, is taken off first.

    Parameters
    ----------
    moments : ndarray of shape (n, 7)
        Mass above the background, and its second moments zz, yy, xx, zy, zx, yx.

    Returns
    -------
    ndarray of shape (n, 3)
        Unit vectors z, y, x; their sign means nothing.
    """
    mass, (zz, yy, xx, zy, zx, yx) = moments[:, 0], moments[:, 1:].T
    third = (zz + yy + xx) / 3
    rows = [[zz - third, zy, zx], [zy, yy - third, yx], [zx, yx, xx - third]]
    tensors = np.moveaxis(np.array(rows), 2, 0)
    flat = tensors.reshape(len(tensors), 9)
    sizes = np.column_stack([mass, third])
    common = sizes @ np.linalg.lstsq(sizes, flat, rcond=None)[0]
    return np.linalg.eigh(tensors - common.reshape(-1, 3, 3))[1][:, :, 2]


# -- position ----------------------------------------------------------------------------------


def _places(particles: ParticleSet) -> list[Property]:
    found = []
    names = particles.tomogram_name
    if particles.has_positions:
        height, border = np.full(len(names), np.nan), np.full(len(names), np.nan)
        for name in np.unique(names):
            rows = np.flatnonzero(names == name)
            info = particles.tomograms.get(str(name))
            nm = 0.1 * (info.voxel_size_angstrom if info else 1.0)
            shape = info.shape_zyx if info else None
            places = nm * particles.center_zyx_px[rows]
            height[rows], border[rows] = _in_tomogram(places, shape, nm)
        found = [
            Property(HEIGHT, height, "position", "nm"),
            Property(BORDER, border, "position", "nm"),
        ]
    return [*found, Property(TOMOGRAM, names, "tomogram")]


def _in_tomogram(
    places_zyx: np.ndarray, shape_zyx: Sequence[int] | None, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Height above the middle, distance to the nearest face; of a size unknown, what is filled."""
    if shape_zyx is None:
        low, high = places_zyx.min(axis=0), places_zyx.max(axis=0)
    else:
        low, high = np.zeros(3), scale * (np.array(shape_zyx, float) - 1)
    to_face = np.minimum(places_zyx - low, high - places_zyx).min(axis=1)
    return places_zyx[:, 0] - (low[0] + high[0]) / 2, to_face
