"""Preferred orientation: from which sides the particles of a cluster are seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from aitom_disca.analysis.association import holm
from aitom_disca.analysis.view_directions import (
    bingham_statistic,
    rayleigh_statistic,
    view_directions_xyz,
)
from aitom_disca.errors import InputError

Kind = Literal["none", "one-sided", "axial", "equatorial"]
_FEW = 50  # directions, up to which p values are simulated
_N_SIMULATIONS = 9999
_SIGNIFICANT = 0.01
_WEAK, _STRONG = 0.15, 0.4  # effects that words change at
_VALUES_AT_ONCE = 2**21  # of a simulation


@dataclass(frozen=True)
class OrientationPreference:
    """Whether the directions from which particles are seen are uniform, and what they prefer.

    Parameters
    ----------
    n : int
    one_sided : float
        Length of the mean direction, freed of what chance adds; 0 (none) to 1 (all the same).
    axial : float
        The same of the second moment: 0 (none), 0.5 (all on a great circle), 1 (all on one axis,
        from either end).
    rayleigh, bingham : float
        The two statistics, see `rayleigh_statistic` and `bingham_statistic`.
    rayleigh_p, bingham_p : float
        Their significance.
    p : float
        Of both tests at once (Sidak; even and odd moments are independent for many directions).
    mean_xyz : ndarray of shape (3,)
        Mean direction, of length 1.
    variances : ndarray of shape (3,)
        Eigenvalues of the scatter matrix, the largest first; their sum is 1.
    axes_xyz : ndarray of shape (3, 3)
        Their axes, one a row.
    """

    n: int
    one_sided: float
    axial: float
    rayleigh: float
    bingham: float
    rayleigh_p: float
    bingham_p: float
    p: float
    mean_xyz: np.ndarray
    variances: np.ndarray
    axes_xyz: np.ndarray

    @property
    def effect(self) -> float:
        """The larger of the two effects, 0 to 1."""
        return max(self.one_sided, self.axial)

    @property
    def kind(self) -> Kind:
        """What is preferred: one side, both ends of an axis, the equator of an axis, or nothing."""
        if self.p >= _SIGNIFICANT:
            return "none"
        if self.rayleigh_p < _SIGNIFICANT and (
            self.one_sided >= self.axial - 1e-9 or self.bingham_p >= _SIGNIFICANT
        ):
            return "one-sided"
        large, middle, small = self.variances
        return "axial" if large - middle > middle - small else "equatorial"

    @property
    def axis_xyz(self) -> np.ndarray:
        """What `kind` refers to, in the reference's frame; (0, 0, 0) where nothing is preferred."""
        rows = {"none": np.zeros(3), "one-sided": self.mean_xyz, "axial": self.axes_xyz[0]}
        return rows.get(self.kind, self.axes_xyz[2])

    @property
    def sentence(self) -> str:
        """The finding in plain words."""
        figures = f"effect {self.effect:.2f}, p = {self.p:.2g}"
        if self.kind == "none":
            return f"No preferred orientation was found among {self.n} particles ({figures})."
        degree = "slightly more" if self.effect < _WEAK else "more"
        degree = "mostly" if self.effect >= _STRONG else degree
        where = {
            "one-sided": "from one side, the direction",
            "axial": "along one axis, from both ends,",
            "equatorial": "from the sides, across the axis",
        }[self.kind]
        x, y, z = self.axis_xyz
        return (
            f"{self.n} particles are seen {degree} {where} "
            f"(x, y, z) = ({x:.2f}, {y:.2f}, {z:.2f}) of the average ({figures})."
        )

    def row(self) -> dict[str, Any]:
        """Plain values for a table."""
        x, y, z = self.axis_xyz.round(4).tolist()
        return {
            "members": self.n,
            "preference": self.kind,
            "effect": f"{self.effect:.4g}",
            "one_sided": f"{self.one_sided:.4g}",
            "axial": f"{self.axial:.4g}",
            "rayleigh_p": f"{self.rayleigh_p:.4g}",
            "bingham_p": f"{self.bingham_p:.4g}",
            "p_adjusted": f"{self.p:.4g}",
            "axis_x": x,
            "axis_y": y,
            "axis_z": z,
        }


def preferred_orientation(
    poses: Rotation | np.ndarray, *, n_simulations: int = _N_SIMULATIONS, seed: int = 0
) -> OrientationPreference:
    """Test whether particles are seen from all sides alike.

    Both the first moment of the view directions (Rayleigh) and the second (Bingham) are tested:
    particles that stick to one interface are seen from one side, those that stick to two from both
    ends of an axis, and rods that lie flat from their sides. Up to 50 directions the significance
    is simulated, above it is that of chi-square.

    Parameters
    ----------
    poses : Rotation or ndarray of shape (n, 3)
        As in `view_directions_xyz`.
    n_simulations : int, default 9999
        Sets of uniform directions, for few particles; no p is below ``1 / (n_simulations + 1)``.
    seed : int, default 0

    Raises
    ------
    InputError
        If an array of angles is not of shape (n, 3).

    Notes
    -----
    The poses are taken as they are. Poses kept within one asymmetric unit of a symmetric structure
    look preferred; turn each by a symmetry operation drawn at random first
    (``poses * group[rng.integers(len(group), size=len(poses))]``). An alignment that follows the
    missing wedge finds a preference as well, one that the particles do not have.

    References
    ----------
    .. [1] Mardia & Jupp (2000), Directional Statistics, sections 10.4.1 and 10.7.1.
    .. [2] Zeng et al. (2023), PNAS 120 (15) e2213149120, SI Fig. S17: orientations of clusters.
    """
    directions = view_directions_xyz(poses)
    n = len(directions)
    if n == 0:
        none = np.zeros(3)
        return OrientationPreference(0, 0, 0, 0, 0, 1, 1, 1, none, none + 1 / 3, np.eye(3))
    rayleigh = float(rayleigh_statistic(directions))
    bingham = float(bingham_statistic(directions))
    if n <= _FEW:
        p = _simulated_p(n, np.array([rayleigh, bingham]), n_simulations, seed)
    else:
        p = chi2.sf([rayleigh, bingham], [3, 5])
    mean = directions.mean(axis=0)
    variances, axes = np.linalg.eigh(directions.T @ directions / n)
    return OrientationPreference(
        n=n,
        one_sided=_effect(rayleigh / 3, n),
        axial=_effect(bingham / 5, n),
        rayleigh=rayleigh,
        bingham=bingham,
        rayleigh_p=float(p[0]),
        bingham_p=float(p[1]),
        p=float(-np.expm1(2 * np.log1p(-min(p.min(), 1 - 1e-16)))),
        mean_xyz=mean / max(np.linalg.norm(mean), 1e-12),
        variances=variances[::-1],
        axes_xyz=_upward(axes.T[::-1]),
    )


def preferred_orientations(
    poses: Rotation | np.ndarray,
    labels: np.ndarray,
    *,
    n_simulations: int = _N_SIMULATIONS,
    seed: int = 0,
) -> dict[int, OrientationPreference]:
    """Test every cluster; ``p`` is guarded for the number of clusters (Holm).

    Parameters
    ----------
    poses : Rotation or ndarray of shape (n, 3)
        As in `view_directions_xyz`, each of the average of its own cluster.
    labels : ndarray of int, shape (n,)
        Clusters from 0; particles with a label below 0 take no part.
    n_simulations, seed : int
        As in `preferred_orientation`.

    Raises
    ------
    InputError
        If there are not as many labels as poses.
    """
    labels = np.asarray(labels)
    if len(labels) != len(poses):
        raise InputError(
            f"There are {len(poses)} poses but {len(labels)} labels; give one label for each pose."
        )
    found = {
        int(k): preferred_orientation(poses[labels == k], n_simulations=n_simulations, seed=seed)
        for k in np.unique(labels[labels >= 0])
    }
    guarded = holm(np.array([one.p for one in found.values()]))
    return {k: replace(found[k], p=float(p)) for k, p in zip(found, guarded, strict=True)}


def _effect(squared: float, n: int) -> float:
    """A length whose square is 1 for n uniform directions by chance alone, and n at the most."""
    return float(np.sqrt(np.clip((squared - 1) / max(n - 1, 1), 0, 1)))


def _upward(axes: np.ndarray) -> np.ndarray:
    """Axes have two ends: show the one whose largest coordinate is positive."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return axes * np.sign(largest)


def _simulated_p(n: int, observed: np.ndarray, n_simulations: int, seed: int) -> np.ndarray:
    """Share of sets of n uniform directions at least as extreme, for both statistics."""
    rng = np.random.default_rng(seed)
    at_least, left = np.ones(2), n_simulations
    while left > 0:
        size = min(left, max(1, _VALUES_AT_ONCE // (3 * n)))
        drawn = rng.normal(size=(size, n, 3))
        drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
        simulated = np.stack([rayleigh_statistic(drawn), bingham_statistic(drawn)], axis=1)
        at_least += (simulated >= observed - 1e-9).sum(axis=0)  # one direction: always the same
        left -= size
    return at_least / (n_simulations + 1)
