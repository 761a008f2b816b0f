"""Pairs of subtomograms in the form that AITom's Gum-Net is shown and tested with.

Its pickle is a tuple of five: the moving volumes and the targets, (N, x, y, z, 1); the mask of
observed and of missing coefficients, (x, y, z, 1), zero frequency at ``n // 2``; and the motions
(N, 6), phi, theta, psi in radians and a shift in voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.bridge.aitom_poses import pose_of_transform, transform_of_pose
from aitom_disca.bridge.pickles import read_pickle, write_pickle
from aitom_disca.errors import InputError
from aitom_disca.geometry import missing_wedge_mask


@dataclass(frozen=True)
class GumnetPairs:
    """Pairs, in this package's conventions.

    Parameters
    ----------
    moving, targets : ndarray of float32, shape (N, z, y, x)
    observed, missing : ndarray of float32, shape (z, y, x)
        Which Fourier coefficients were measured; zero frequency at ``n // 2``.
    rotations : Rotation of N rotations, or None
        Of (x, y, z) vectors, from the target to the moving volume; None where not known.
    offsets_zyx_px : ndarray of shape (N, 3), or None
        Where the moving particle lies, from the box centre ``n // 2``.
    """

    moving: np.ndarray
    targets: np.ndarray
    observed: np.ndarray
    missing: np.ndarray
    rotations: Rotation | None = None
    offsets_zyx_px: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.moving)


def write_gumnet_pairs(
    path: str | Path,
    moving: np.ndarray,
    targets: np.ndarray,
    tilt_range_deg: tuple[float, float],
    transforms: tuple[Rotation, np.ndarray] | np.ndarray | None = None,
) -> None:
    """Write pairs as AITom's Gum-Net reads them.

    Parameters
    ----------
    path : path
    moving : ndarray of shape (N, n, n, n)
        Axes z, y, x.
    targets : ndarray of shape (N, n, n, n) or (n, n, n)
        One for each, or one for all, such as an average.
    tilt_range_deg : tuple of 2 floats
        Of the moving volumes.
    transforms : (Rotation, ndarray), or ndarray of shape (N, 6), optional
        What is known of the motions: rotations and offsets as in `GumnetPairs`, or parameters as
        in AITom. Without, NaN is written: AITom's own test then gives NaN.

    Raises
    ------
    InputError
        If shapes or numbers do not agree.
    """
    moving, targets = np.asarray(moving, np.float32), np.asarray(targets, np.float32)
    if moving.ndim != 4 or len(set(moving.shape[1:])) != 1:
        raise InputError(f"expected cubic volumes (n, z, y, x); got an array of {moving.shape}.")
    if targets.shape not in (moving.shape, moving.shape[1:]):
        raise InputError(
            f"expected one target or {len(moving)} of {moving.shape[1:]} voxels; got an array of "
            f"{targets.shape}."
        )
    edge = moving.shape[-1]
    observed = _observed(edge, tilt_range_deg)[..., None]
    known = _parameters(transforms, len(moving), edge)
    parts = (_as_theirs(moving), _as_theirs(np.broadcast_to(targets, moving.shape)))
    write_pickle(path, (*parts, observed, 1 - observed, known))


def read_gumnet_pairs(path: str | Path) -> GumnetPairs:
    """Read pairs that were made for AITom's Gum-Net.

    Raises
    ------
    InputError
        If the pickle is no tuple of five such parts.
    """
    held = read_pickle(path)
    name = Path(path).name
    if not isinstance(held, list | tuple) or len(held) != 5:
        raise InputError(
            f"{name} holds no pairs for Gum-Net: expected five parts (moving volumes, targets, "
            "observed mask, missing mask, motions)."
        )
    try:
        x, y, observed, missing = (np.asarray(part, np.float32) for part in held[:4])
        known = None if held[4] is None else np.asarray(held[4], float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds parts that are no arrays ({error}).") from error
    moving, targets = _as_ours(x, name), _as_ours(y, name)
    edge = moving.shape[-1]
    if moving.shape != targets.shape:
        raise InputError(f"{name} holds {moving.shape} moving volumes and {targets.shape} targets.")
    masks = _mask(observed, edge, name), _mask(missing, edge, name)
    if known is None or not np.isfinite(known).all():
        return GumnetPairs(moving, targets, *masks)
    if known.shape != (len(moving), 6):
        raise InputError(f"{name} holds motions of {known.shape}; expected ({len(moving)}, 6).")
    rotations, offsets = pose_of_transform(known, edge)
    return GumnetPairs(moving, targets, *masks, rotations, offsets)


def _parameters(transforms: Any, n: int, edge: int) -> np.ndarray:
    if transforms is None:
        return np.full((n, 6), np.nan)
    if isinstance(transforms, tuple):
        rotations, offsets = transforms
        transforms = transform_of_pose(rotations, offsets, edge)
    known = np.asarray(transforms, float)
    if known.shape != (n, 6):
        raise InputError(f"expected six parameters for each of {n} pairs; got {known.shape}.")
    return known


def _observed(edge: int, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """Axes x, y, z; zero frequency at n // 2."""
    mask = np.broadcast_to(missing_wedge_mask((edge,) * 3, tilt_range_deg), (edge,) * 3)
    return np.fft.fftshift(mask).transpose(2, 1, 0).astype(np.float32)


def _as_theirs(volumes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(volumes.transpose(0, 3, 2, 1)[..., None])


def _as_ours(volumes: np.ndarray, name: str) -> np.ndarray:
    if volumes.ndim == 5 and volumes.shape[-1] == 1:
        volumes = volumes[..., 0]
    if volumes.ndim != 4 or len(set(volumes.shape[1:])) != 1:
        raise InputError(
            f"{name} holds volumes of {volumes.shape}; expected (n, x, y, z, 1), cubic."
        )
    return np.ascontiguousarray(volumes.transpose(0, 3, 2, 1))


def _mask(part: np.ndarray, edge: int, name: str) -> np.ndarray:
    if part.size != edge**3:
        raise InputError(f"{name} holds a mask of {part.shape}; expected {(edge,) * 3}.")
    return np.ascontiguousarray(part.reshape(edge, edge, edge).transpose(2, 1, 0))
