"""Whether the poses of an average follow the particles, or the missing wedge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from aitom_disca.analysis.orientation import OrientationPreference, preferred_orientation
from aitom_disca.analysis.view_directions import view_directions_xyz

_NEAR_DEG = 15.0
_SIGNIFICANT, _EFFECT = 0.01, 0.2  # of what is worth a warning
_Y_TO_Z = Rotation.from_euler("x", 90, degrees=True)


@dataclass(frozen=True)
class PoseGathering:
    """How evenly the beam and the tilt axis are spread over the directions of an average.

    Parameters
    ----------
    n : int
        Poses.
    tilt_p : float
        Kolmogorov-Smirnov: probability that tilt angles of random orientations, whose cosine is
        uniform, are so uneven.
    beam, tilt_axis : float
        How far each gathers about one axis of the average: 0 (even, or about a great circle, as
        where the other one gathers) to 1 (all on one axis, from either end).
    beam_p, tilt_axis_p : float
        Probability of so much by chance (Bingham).
    beam_axis_xyz : ndarray of shape (3,)
        About which the beam gathers most, in the frame of the average, of length 1.
    near_beam_axis : int
        Poses whose beam lies within 15 degrees of it; 3.4 % by chance.
    """

    n: int
    tilt_p: float
    beam: float
    beam_p: float
    tilt_axis: float
    tilt_axis_p: float
    beam_axis_xyz: np.ndarray
    near_beam_axis: int

    @property
    def warning(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        about = [
            name
            for name, effect, p in (
                ("the beam", self.beam, self.beam_p),
                ("the tilt axis", self.tilt_axis, self.tilt_axis_p),
            )
            if p < _SIGNIFICANT and effect >= _EFFECT
        ]
        if not about:
            return ""
        chance = self.n * (1 - np.cos(np.deg2rad(_NEAR_DEG)))
        return (
            f"its orientations gather about {' and '.join(about)} ({self.near_beam_axis} of "
            f"{self.n} within {_NEAR_DEG:g} degrees of one view, chance gives {chance:.0f}): "
            "particles that prefer an orientation do so, and an alignment that follows the missing "
            "wedge or neighbours"
        )

    def row(self) -> dict[str, Any]:
        """Plain values for a table."""
        return {
            "tilt_uniform_p": float(f"{self.tilt_p:.3g}"),
            "gathered_about_beam": round(self.beam, 3),
            "gathered_about_tilt_axis": round(self.tilt_axis, 3),
        }


def pose_gathering(
    poses: Rotation, group: Rotation | None = None, *, seed: int = 0
) -> PoseGathering:
    """Test whether orientations gather about the beam (z) or the tilt axis (y).

    Parameters
    ----------
    poses : Rotation of n rotations
        Of (x, y, z) vectors, from the average to the tomogram.
    group : Rotation of g rotations, optional
        A symmetry that was imposed: every pose is turned by one of its operations, drawn at
        random, since poses within one asymmetric unit look gathered.
    seed : int
    """
    n = len(poses)
    if group is not None and len(group) > 1:
        poses = poses * group[np.random.default_rng(seed).integers(len(group), size=n)]
    beam = preferred_orientation(poses, seed=seed)
    tilt_axis = preferred_orientation(_Y_TO_Z * poses, seed=seed)
    directions = view_directions_xyz(poses)
    along = beam.axes_xyz[0]
    near = np.abs(directions @ along) >= np.cos(np.deg2rad(_NEAR_DEG))
    return PoseGathering(
        n,
        float(kstest((directions[:, 2] + 1) / 2, "uniform").pvalue),
        _about_an_axis(beam),
        beam.bingham_p,
        _about_an_axis(tilt_axis),
        tilt_axis.bingham_p,
        along,
        int(near.sum()),
    )


def _about_an_axis(found: OrientationPreference) -> float:
    large, middle, small = found.variances
    return found.axial if large - middle > middle - small else 0.0
