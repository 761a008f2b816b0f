"""The pose of a single density from its own shape: an orientation that needs no average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import centre_index

Determined = Literal["all", "axes", "long axis", "short axis", "nothing"]
_LEAST_GAP = 0.1  # of two variances, from which their axes are told apart
_LEAST_SKEWNESS = 0.1  # from which an axis has a front and a back
_ROUNDS = 100


@dataclass(frozen=True)
class StandardPose:
    """Where a density lies and how it is turned, seen from its standard pose.

    In the standard pose the centre of mass is the box centre ``n // 2``, the longest extent lies
    along z, the shortest along x, and the density reaches further out on the positive side of its
    two most lopsided axes. A voxel of the standard pose is found in the volume at
    ``r_volume = A @ r_standard + shift``, both from the box centre, as for a reference's pose.

    Parameters
    ----------
    rotation : Rotation
        A, of (x, y, z) vectors; ``euler_zyz_deg_from_rotation`` gives RELION's angles. Its inverse
        brings the volume to the standard pose.
    shift_zyx_px : ndarray of shape (3,)
        Centre of mass less box centre.
    variances_px2 : ndarray of shape (3,)
        Of the density along x, y, z of the standard pose, rising.
    skewness : ndarray of shape (3,)
        Third moments along x, y, z of the standard pose, by the 3/2 power of the variances.
    """

    rotation: Rotation
    shift_zyx_px: np.ndarray
    variances_px2: np.ndarray
    skewness: np.ndarray


@dataclass(frozen=True)
class Determination:
    """How well a shape determines its pose.

    Parameters
    ----------
    long_gap, short_gap : float
        How much smaller the middle variance is than the largest, and the smallest than the
        middle, as shares of the larger one: 0 (axes are arbitrary) to 1.
    lopsided : float
        The second largest skewness: as the third axis follows by hand, two signs are needed.
        Near 0 the pose is one of up to four, half a turn from each other.
    """

    long_gap: float
    short_gap: float
    lopsided: float

    @property
    def kind(self) -> Determined:
        """What is determined; "axes" are without signs."""
        long, short = self.long_gap >= _LEAST_GAP, self.short_gap >= _LEAST_GAP
        if long and short:
            return "all" if self.lopsided >= _LEAST_SKEWNESS else "axes"
        if long:
            return "long axis"
        return "short axis" if short else "nothing"

    @property
    def sentence(self) -> str:
        """The same in plain words."""
        figures = f"gaps {self.long_gap:.2f} and {self.short_gap:.2f}, skewness {self.lopsided:.2f}"
        words = {
            "all": "The shape determines its pose",
            "axes": "The shape determines its axes, but not which end of them is which",
            "long axis": "The shape determines its long axis, but not the turn about it",
            "short axis": "The shape determines its short axis, but not the turn about it",
            "nothing": "The shape is too round to determine a pose",
        }[self.kind]
        return f"{words} ({figures})."


def standard_pose(
    volume_zyx: np.ndarray,
    *,
    threshold: float | None = None,
    lowpass_sigma_px: float = 0.0,
) -> StandardPose:
    """Find the pose of a density by its principal axes.

    Masses are what the density has above a threshold, inside of the largest sphere of the box.
    The axes are the eigenvectors of their covariance, which are those of the inertia tensor
    ``tr(C) - C``; the third moments give them signs, and the third axis makes them right-handed.

    Parameters
    ----------
    volume_zyx : ndarray of shape (z, y, x)
        Protein bright. Any edges, odd or even.
    threshold : float, optional
        By default the value midway between the mean of what lies above it and below it.
    lowpass_sigma_px : float, default 0
        Of a Gaussian applied before, which noisy subtomograms need.

    Raises
    ------
    InputError
        If the volume is not three-dimensional and finite, or holds nothing above the threshold.

    Notes
    -----
    The missing wedge stretches a density along the beam. At a tilt range of 60 degrees the long
    axis of a rod is found to about 10 degrees (1 degree without the wedge, at an SNR of 0.1), but
    the turn about it and the signs are not; nor is any axis of compact shapes. Of averages, whose
    wedges fill each other, the pose is a measurement; of single subtomograms it is a hint.

    References
    ----------
    .. [1] Xu et al. (2019), Structure 27, 679-691: poses of subtomograms by PCA.
    .. [2] Zeng et al. (2018), Journal of Structural Biology 202, 150-160: the same.
    """
    volume = np.asarray(volume_zyx, np.float64)
    if volume.ndim != 3 or not np.isfinite(volume).all():
        raise InputError(
            f"A density must be a finite volume (z, y, x), but has shape {volume.shape}"
            f"{'' if volume.ndim != 3 else ' and values that are not numbers'}; "
            "give one volume at a time."
        )
    if lowpass_sigma_px > 0:
        volume = ndimage.gaussian_filter(volume, lowpass_sigma_px)
    masses, places_xyz = _masses(volume, threshold)
    centre = masses @ places_xyz
    offsets = places_xyz - centre
    covariance = (masses[:, None] * offsets).T @ offsets
    variances, axes = np.linalg.eigh(covariance)  # rising: x is the short axis, z the long one
    along = offsets @ axes
    spread = np.sqrt(np.maximum(variances, 1e-12))
    skewness = masses @ (along / spread) ** 3
    signs = _signs(axes, skewness)
    return StandardPose(
        rotation=Rotation.from_matrix(axes * signs),
        shift_zyx_px=centre[::-1],
        variances_px2=variances,
        skewness=skewness * signs,
    )


def to_standard_pose(volume_zyx: np.ndarray, pose: StandardPose) -> np.ndarray:
    """Move and turn a volume to its standard pose, about voxel ``n // 2`` of the box.

    Parameters
    ----------
    volume_zyx : ndarray of shape (z, y, x)
    pose : StandardPose

    Returns
    -------
    ndarray of float32, same shape
        By cubic splines; 0 where the volume holds nothing.
    """
    centre = np.array([centre_index(n) for n in volume_zyx.shape], float)
    turn_zyx = pose.rotation.as_matrix()[::-1, ::-1]
    offset = centre + pose.shift_zyx_px - turn_zyx @ centre
    volume = np.asarray(volume_zyx, np.float32)
    return ndimage.affine_transform(volume, turn_zyx, offset, order=3, output=np.float32)


def how_determined(pose: StandardPose) -> Determination:
    """Say how well a shape determines its pose, by the gaps between its variances.

    An axis turns by about the disturbance of the covariance over the difference of two variances,
    so that of equal variances the axes are arbitrary.
    """
    small, middle, large = np.maximum(pose.variances_px2, 1e-12)
    return Determination(
        long_gap=float(1 - middle / large),
        short_gap=float(1 - small / middle),
        lopsided=float(np.sort(np.abs(pose.skewness))[1]),
    )


def _masses(volume: np.ndarray, threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Density above the threshold, of sum 1, and where it is: x, y, z from the box centre."""
    axes = [np.arange(n) - centre_index(n) for n in volume.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    radius = (min(volume.shape) - 1) / 2
    inside = z**2 + y**2 + x**2 <= radius**2
    values = volume[inside]
    above = values - (_midway(values) if threshold is None else threshold)
    held = above > 0
    if not held.any():
        raise InputError(
            f"A density must have values above {'its mean' if threshold is None else threshold} "
            f"to have a pose, but its largest is {values.max(initial=-np.inf):.4g}; "
            "give protein bright, or a lower threshold."
        )
    masses = above[held]
    places_zyx = np.argwhere(inside)[held] - [centre_index(n) for n in volume.shape]
    return masses / masses.sum(), places_zyx[:, ::-1].astype(float)


def _midway(values: np.ndarray) -> float:
    """The threshold midway between the two means it makes (Ridler & Calvard, 1978)."""
    threshold = values.mean()
    for _ in range(_ROUNDS):
        above = values > threshold
        if above.all() or not above.any():
            break
        moved = (values[above].mean() + values[~above].mean()) / 2
        if np.isclose(moved, threshold, rtol=1e-9, atol=0):
            break
        threshold = moved
    return float(threshold)


def _signs(axes: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Signs of the columns: positive skewness of the two largest, the third by the right hand."""
    signs = np.where(skewness < 0, -1.0, 1.0)
    handedness = np.linalg.det(axes) * signs.prod()
    if handedness < 0:
        signs[np.abs(skewness).argmin()] *= -1
    return signs
