"""Compare an average with a known map: bring the map onto it, then say how alike they are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.align_averages import turned
from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.exhaustive_search import real_view
from aitom_disca.alignment.local_search import slices_at
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.averaging.check_maps import as_cube, as_map, as_mask, check_positive
from aitom_disca.averaging.fsc import FscCurve, fourier_shell_correlation
from aitom_disca.errors import InputError
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.sphere import soft_sphere

_SAME_VOXEL = 1e-3  # headers are rounded to about this much
_FEWEST_PX = 8
_SEARCH_PX = 40
_N_ROTATIONS = 2000
_SHIFT = 0.07  # of the box, first step of shift; that of rotation is 12 degrees
_TURN_DEG = 12.0
_WIDE = np.array(list(itertools.product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=3)))
_NEAR = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))
_RADII = (
    6.0,
    8.0,
    11.0,
    14.0,
    14.0,
    14.0,
)  # in steps of 1 / box, one to every step
_LEADS = 8  # half of them are followed on at every halving
_APART_DEG = 25.0
_TRIES = 4  # at each of them, as long as the pose still moves


@dataclass(frozen=True)
class Comparison:
    """How alike an average and a known map are.

    Parameters
    ----------
    correlation : float
        Pearson's, inside the mask, -1 to 1; 1 is the same map.
    curve : FscCurve
        Between the two, inside the mask. Its usual threshold is 0.5, as the known map has no
        noise.
    aligned : ndarray of float32, shape (n, n, n)
        The known map, background 0, as it lies on the average.
    rotation : Rotation
        That brought it there, of (x, y, z) vectors about the centre voxel ``n // 2``.
    shift_zyx_px : ndarray of shape (3,)
        Applied after the rotation.
    mirrored : bool
        Whether its mirror image fitted better; before the rotation, x was turned into -x.
    """

    correlation: float
    curve: FscCurve
    aligned: np.ndarray
    rotation: Rotation
    shift_zyx_px: np.ndarray
    mirrored: bool


@dataclass(frozen=True)
class _Pose:
    score: float
    rotation: Rotation
    shift_zyx_px: np.ndarray


def compare_with_map(
    average: np.ndarray,
    known: np.ndarray,
    *,
    voxel_size_angstrom: float,
    known_voxel_size_angstrom: float,
    rescale: bool = False,
    both_hands: bool = False,
    mask: np.ndarray | None = None,
) -> Comparison:
    """Bring a known map onto an average, by rotation and shift, and compare them.

    The search begins with 2,000 rotations and shifts of up to a sixth of the box, at low
    resolution, and halves its steps down to less than half a degree. The known map is cropped or
    padded to the box of the average about the voxel ``n // 2``; its median is taken off, so that
    what lies around it is 0.

    Parameters
    ----------
    average : ndarray of shape (n, n, n)
        Protein bright.
    known : ndarray of shape (z, y, x)
        Protein bright.
    voxel_size_angstrom, known_voxel_size_angstrom : float
    rescale : bool
        Whether a known map of another voxel size may be resampled.
    both_hands : bool
        Whether the mirror image is tried too. Otherwise a map of the wrong hand fits badly.
    mask : ndarray of shape (n, n, n), optional
        On the average, 0 to 1. A soft sphere that fills the box, unless given.

    Raises
    ------
    InputError
        If the voxel sizes differ and ``rescale`` is not set, a map is not finite or constant, the
        average is no cube of at least 8 voxels, or the mask does not fit.
    """
    average, known = as_cube(average, "the average"), as_map(known, "the known map")
    n = average.shape[0]
    if n < _FEWEST_PX:
        raise InputError(f"the average must have at least {_FEWEST_PX} voxels an edge; it has {n}.")
    edge_px = max(2.0, n / 16)
    given = soft_sphere(n, n / 2 - edge_px, edge_px) if mask is None else mask
    mask = as_mask(given, average.shape)
    check_positive(voxel_size_angstrom, "the voxel size of the average")
    check_positive(known_voxel_size_angstrom, "the voxel size of the known map")
    known = known - np.median(known)
    known = _on_grid(known, known_voxel_size_angstrom, n, voxel_size_angstrom, rescale)
    centred = _inside(average, mask)
    for name, values in (("the average", centred), ("the known map", known)):
        if not np.ptp(values) > 0:
            raise InputError(f"{name} holds one value only, so that nothing can be compared.")
    hands = [known, _mirrored(known)] if both_hands else [known]
    poses = [_search(centred, hand) for hand in hands]
    best = max(range(len(poses)), key=lambda i: poses[i].score)
    pose = poses[best]
    aligned = turned(hands[best], pose.rotation, pose.shift_zyx_px).astype(np.float32)
    return Comparison(
        masked_correlation(average, aligned, mask),
        fourier_shell_correlation(centred, _inside(aligned, mask), voxel_size_angstrom),
        aligned,
        pose.rotation,
        pose.shift_zyx_px,
        mirrored=best == 1,
    )


def masked_correlation(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """Pearson correlation of two maps, every voxel weighted by the mask; 0 if one is constant."""
    a, b = (x - np.average(x, weights=mask) for x in (first, second))
    norm = np.sqrt(float((mask * a**2).sum()) * float((mask * b**2).sum()))
    return float((mask * a * b).sum()) / norm if norm > 0 else 0.0


def resample(
    volume: np.ndarray, voxel_size_angstrom: float, new_voxel_size_angstrom: float, box_px: int
) -> np.ndarray:
    """Give a map another voxel size and box; the centre voxel ``n // 2`` stays at the centre.

    Exact Fourier interpolation: the frequencies that both voxel sizes can hold are kept, those
    beyond are cut off. What lies outside of the map is 0.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
    voxel_size_angstrom, new_voxel_size_angstrom : float
        Any ratio.
    box_px : int
        New edge.

    Returns
    -------
    ndarray of float, shape (box_px, box_px, box_px)
    """
    ratio = new_voxel_size_angstrom / voxel_size_angstrom
    for _ in range(3):  # each time the first axis is resampled and comes last
        kernel = _resampling(volume.shape[0], box_px, ratio)
        volume = np.tensordot(volume, kernel, (0, 1))
    return volume


def _resampling(n: int, box_px: int, ratio: float) -> np.ndarray:
    """Matrix (box_px, n) that resamples one axis: the sum of all waves that both grids hold."""
    place = (np.arange(box_px) - centre_index(box_px)) * ratio + centre_index(n)
    limit = n / 2 * min(1, 1 / ratio)
    waves = np.arange(1, int(np.ceil(limit - 1e-9)))
    distance = (place[:, None] - np.arange(n)) * (2 * np.pi / n)
    kernel = 1 + 2 * sum((np.cos(k * distance) for k in waves), np.zeros(distance.shape))
    kernel[(place < -0.5) | (place > n - 0.5)] = 0
    return kernel / n


def _on_grid(
    known: np.ndarray, known_voxel: float, box_px: int, voxel: float, rescale: bool
) -> np.ndarray:
    """The known map with the voxels and the box of the average."""
    if abs(known_voxel / voxel - 1) <= _SAME_VOXEL:
        return _in_box(known, box_px)
    if not rescale:
        raise InputError(
            f"the known map has voxels of {known_voxel:g} Angstrom and the average of {voxel:g}; "
            "allow rescaling, or give a map of the same voxel size."
        )
    return resample(known, known_voxel, voxel, box_px)


def _in_box(volume: np.ndarray, box_px: int) -> np.ndarray:
    """Cropped or padded with zeros; the voxel ``n // 2`` comes to ``box_px // 2``."""
    boxed = np.zeros((box_px,) * 3, volume.dtype)
    into, out_of = [], []
    for n in volume.shape:
        start = centre_index(box_px) - centre_index(n)
        first, last = max(start, 0), min(start + n, box_px)
        into.append(slice(first, last))
        out_of.append(slice(first - start, last - start))
    boxed[tuple(into)] = volume[tuple(out_of)]
    return boxed


def _mirrored(volume: np.ndarray) -> np.ndarray:
    """The mirror image, -x for x, about the voxel ``n // 2``."""
    n = volume.shape[2]
    return np.asarray(volume[:, :, (2 * centre_index(n) - np.arange(n)) % n])


def _inside(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What a mask shows of a map; the mean inside is taken off, so that the mask's edge is none."""
    return np.asarray((volume - np.average(volume, weights=mask)) * mask)


def _search(fixed: np.ndarray, moving: np.ndarray) -> _Pose:
    """Where ``moving`` lies on ``fixed`` best, coarse to fine; in a smaller box if that does."""
    n = fixed.shape[0]
    box_px = min(n, _SEARCH_PX)
    fixed, moving = (fourier_crop(volume, box_px) for volume in (fixed, moving))
    step_px, step_deg = _SHIFT * box_px, _TURN_DEG
    leads = _leads(fixed, moving, step_px * _WIDE)
    for radius in _RADII:
        leads = [_settled(fixed, moving, radius, lead, step_px, step_deg) for lead in leads]
        leads = sorted(leads, key=lambda pose: -pose.score)[: max(1, len(leads) // 2)]
        step_px, step_deg = step_px / 2, step_deg / 2
    return replace(leads[0], shift_zyx_px=leads[0].shift_zyx_px * (n / box_px))


def _leads(fixed: np.ndarray, moving: np.ndarray, shifts_zyx_px: np.ndarray) -> list[_Pose]:
    """Good poses that are far from one another, over all rotations; the best first."""
    rotations = rotation_grid(_N_ROTATIONS)
    scores = _scores(fixed, moving, _RADII[0], rotations, shifts_zyx_px)
    best, shift = scores.max(axis=0), shifts_zyx_px[scores.argmax(axis=0)]
    leads: list[_Pose] = []
    left = np.ones(len(best), bool)
    while left.any() and len(leads) < _LEADS:
        i = int(np.where(left, best, -np.inf).argmax())
        leads.append(_Pose(float(best[i]), rotations[i], shift[i]))
        left &= (rotations * rotations[i].inv()).magnitude() > np.deg2rad(_APART_DEG)
    return leads


def _settled(
    fixed: np.ndarray,
    moving: np.ndarray,
    radius: float,
    pose: _Pose,
    step_px: float,
    step_deg: float,
) -> _Pose:
    """The pose after small steps, until none of them makes it better."""
    for _ in range(_TRIES):
        rotations = pose.rotation * Rotation.from_rotvec(np.deg2rad(step_deg) * _NEAR)
        shifts_zyx_px = pose.shift_zyx_px + step_px * _NEAR
        scores = _scores(fixed, moving, radius, rotations, shifts_zyx_px)
        i, j = (int(k) for k in np.unravel_index(scores.argmax(), scores.shape))
        pose = _Pose(float(scores[i, j]), rotations[j], shifts_zyx_px[i])
        if i == j == len(_NEAR) // 2:  # it stayed where it was
            break
    return pose


def _scores(
    fixed: np.ndarray,
    moving: np.ndarray,
    radius: float,
    rotations: Rotation,
    shifts_zyx_px: np.ndarray,
) -> np.ndarray:
    """Correlation (shifts, rotations) up to a frequency in steps of 1 / box."""
    n = fixed.shape[0]
    coefficients = Coefficients(n, min(radius, n / 2 - 1), (-90.0, 90.0))
    slices = slices_at(moving, coefficients, rotations)
    values = coefficients.of(fixed[None]) * coefficients.shift_phases(shifts_zyx_px)
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1), 1e-12)[:, None] for x in (values, slices))
    return np.asarray(real_view(a) @ real_view(b).T)
