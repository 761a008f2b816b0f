"""Masks of averages: a sphere round the particle, or what stands out in a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from aitom_disca.averaging.check_maps import as_map, check_not_negative, check_positive
from aitom_disca.config import AverageSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.sphere import cosine_edge, soft_sphere
from aitom_disca.subtomograms.preprocess import low_pass

_ROUNDED = 1.001

MASK_MARGIN = 1.15  # mask over particle
_BOX_DIAMETERS = 1.6  # box over particle
_EDGE = 0.1  # of the box
_NOISE_LEVELS = 3.0  # above the background; what of the noise is higher still is in small pieces
_SIGMA = 1.4826  # of a Gaussian, over its median absolute deviation
_MOST_ROUNDS = 100
_SMOOTH_PX = 4.0  # resolution of the map that is thresholded, where none is given
_HALF = np.sqrt(np.log(2) / 2) / np.pi  # sigma of a Gaussian that halves a period of 1


def default_diameter_px(box_px: int) -> float:
    """Of the mask round a particle in a box that was cut with the usual room around it."""
    return box_px / _BOX_DIAMETERS * MASK_MARGIN


def sphere_round_particle(
    box_px: int,
    diameter_px: float,
    offset_zyx_px: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """A soft sphere that holds a particle and leaves its neighbours out.

    Parameters
    ----------
    box_px : int
    diameter_px : float
        Where the mask has fallen to a half; its edge is a tenth of the box wide.
    offset_zyx_px : sequence of 3 floats
        Of the particle, from the centre voxel.

    Raises
    ------
    InputError
        If the diameter is not above 0 or larger than the box.
    """
    check_positive(diameter_px, "the diameter of the mask")
    if diameter_px > box_px:
        raise InputError(
            f"a mask of {diameter_px:.4g} voxels does not fit into a box of {box_px}; give a "
            "smaller diameter, or cut larger boxes."
        )
    edge_px = max(2.0, box_px * _EDGE)
    radius_px = max((diameter_px - edge_px) / 2, 0.5)
    return soft_sphere(box_px, radius_px, edge_px, centre_zyx_px=offset_zyx_px)


def density_mask(
    volume: np.ndarray,
    voxel_size_angstrom: float,
    *,
    low_pass_angstrom: float | None = None,
    relative_threshold: float | None = None,
    extend_px: float = 3.0,
    edge_px: float = 3.0,
) -> np.ndarray:
    """A mask round the largest piece of a map that stands out.

    The map is smoothed and cut at a threshold, the largest connected piece (by faces) is taken,
    extended on all sides, and given a cosine edge.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
        Protein bright.
    voxel_size_angstrom : float
    low_pass_angstrom : float, optional
        Resolution at which the Gaussian low-pass halves the amplitude. Four voxels, unless
        given.
    relative_threshold : float, optional
        As a share of the largest smoothed value, between 0 and 1. Unless given, halfway between
        the mean below and the mean above it, and no less than three noise levels above the
        most frequent value, the background.
    extend_px, edge_px : float
        0 for none.

    Returns
    -------
    ndarray of float32, same shape
        0 to 1.

    Raises
    ------
    InputError
        If nothing lies above the threshold, or a number makes no sense.

    References
    ----------
    .. [1] Ridler and Calvard (1978), IEEE Trans. Systems, Man, and Cybernetics 8, 630-632.
    """
    volume = as_map(volume, "the map")
    check_positive(voxel_size_angstrom, "the voxel size")
    check_not_negative(extend_px, "the extension of the mask")
    check_not_negative(edge_px, "the edge of the mask")
    if low_pass_angstrom is None:
        low_pass_angstrom = _SMOOTH_PX * voxel_size_angstrom
    check_not_negative(low_pass_angstrom, "the low-pass")
    smooth = low_pass(volume, _HALF * low_pass_angstrom / voxel_size_angstrom)
    threshold = _threshold(smooth, relative_threshold)
    low, high = float(smooth.min()), float(smooth.max())
    if threshold >= high or high <= 0 or high - low <= 1e-6 * high:
        raise InputError(
            f"nothing stands out in the map, whose smoothed values are {low:g} to {high:g}; "
            "is protein bright in it? If so, give a relative threshold."
        )
    distance = ndimage.distance_transform_edt(~_largest_piece(smooth > threshold))
    return cosine_edge(distance - extend_px, edge_px)


def _threshold(smooth: np.ndarray, relative: float | None) -> float:
    if relative is None:
        return _automatic_threshold(smooth)
    if not 0 < relative < 1:
        raise InputError(
            "the relative threshold must lie between 0 and 1, as a share of the largest value; "
            f"got {relative}."
        )
    return relative * float(smooth.max())


def _automatic_threshold(smooth: np.ndarray) -> float:
    """Between background and density, but above the noise; see `density_mask`."""
    values = smooth[_inscribed(smooth.shape)].astype(float)
    background = _mode(values)
    below = values[values <= background]  # density is on the other side
    noise = _SIGMA * float(np.median(background - below))
    floor = threshold = background + _NOISE_LEVELS * noise
    for _ in range(_MOST_ROUNDS):
        above = values > threshold
        if not above.any() or above.all():
            break
        halfway = max(floor, float(values[above].mean() + values[~above].mean()) / 2)
        if halfway == threshold:
            break
        threshold = halfway
    return threshold


def _mode(values: np.ndarray) -> float:
    """The most frequent value: of the narrowest half, again and again, the narrowest half.

    References
    ----------
    .. [1] Bickel (2002), Computational Statistics & Data Analysis 39, 153-163.
    """
    values = np.sort(values)
    while len(values) > 3:
        half = (len(values) + 1) // 2
        start = int((values[half - 1 :] - values[: len(values) - half + 1]).argmin())
        values = values[start : start + half]
    return float(values.mean())


def _inscribed(shape: tuple[int, ...]) -> np.ndarray:
    """The sphere in the box: averages often hold nothing but zeros in the corners."""
    axes = np.ix_(*((np.arange(n) - centre_index(n)) / (n / 2) for n in shape))
    return np.asarray(axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 < 0.8)


def _largest_piece(above: np.ndarray) -> np.ndarray:
    pieces, n_pieces = ndimage.label(above)
    sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:]
    return np.asarray(pieces == 1 + sizes.argmax())


def mask_diameter_px(settings: AverageSettings, box_px: int, voxel_size_angstrom: float) -> float:
    """Diameter of the sphere in which averages are looked at.

    Raises
    ------
    InputError
        If it is larger than the box.
    """
    if settings.mask_diameter_angstrom is None:
        return default_diameter_px(box_px)
    edge_angstrom = box_px * voxel_size_angstrom
    if settings.mask_diameter_angstrom > edge_angstrom * _ROUNDED:
        raise InputError(
            f"a mask of {settings.mask_diameter_angstrom:g} A does not fit into a box of "
            f"{edge_angstrom:.4g} A; give a smaller diameter, or cut larger boxes."
        )
    return min(settings.mask_diameter_angstrom / voxel_size_angstrom, float(box_px))
