"""The search for the axes of a symmetry in a volume."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import interpolate, optimize
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients, centred_fft, centred_ifft
from aitom_disca.alignment.interpolation import trilinear
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.alignment.slices import padded_for_slices
from aitom_disca.geometry.box import centre_index
from aitom_disca.geometry.symmetry import point_group

_COARSE = 7.0  # largest frequency of the search, in steps of 1 / box
_FINER = (9.0, 12.0, 15.0)  # of the steps after it
_N_ROTATIONS = 300  # for T, O and I, of those that the group does not make equal
_N_AXES, _SPIN_DEG = 400, 12.0  # axes on a hemisphere, and turns about them
_SHIFTS = (-0.07, 0.0, 0.07)  # of the box
_LEADS, _APART_DEG = 5, 12.0
_STEP_DEG, _STEP = 6.0, 0.03  # of rotation and shift (of the box), after the search
_FINER_STEPS = 2.5  # by which they shrink from one frequency to the next
_GRADIENT = 0.05  # of a step, from which slopes are taken
_SOME_COEFFICIENTS = 300  # in the search
_MOST_OPERATIONS, _MOST_COEFFICIENTS = 12, 1200  # while climbing; all of them at the end
_PADDING = 2  # of `padded_for_slices`
_VALUES_AT_ONCE = 2**19
_ROUND = 0.99  # share of the power, above which there is nothing to find axes of


@dataclass(frozen=True)
class _Pose:
    """Laid on the axes, a volume is ``volume(A^-1 (r - s))``."""

    rotation: Rotation
    shift_zyx_px: np.ndarray
    shared: float


class _Operations:
    """What the operations of a group have in common, in one volume up to one frequency.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
    group : Rotation of g rotations
    radius : float
        Largest frequency, in steps of 1 / box.
    at_once : int, optional
        Coefficients that are looked at, evenly chosen; all of them, unless given.
    """

    def __init__(
        self, volume: np.ndarray, group: Rotation, radius: float, at_once: int | None = None
    ) -> None:
        n = self._box_px = volume.shape[0]
        self._group = group
        self._coefficients = Coefficients(n, radius, (-90.0, 90.0))
        self._values = self._coefficients.of(volume[None])[0]
        most = len(self._values)
        rows = np.unique(np.linspace(0, most - 1, min(most, at_once or most)).astype(int))
        self._index_zyx = self._coefficients.index_zyx[rows]
        self._spectrum = centred_fft(padded_for_slices(volume)).astype(np.complex64)

    def shared(self, rotations: Rotation, shifts_zyx_px: np.ndarray) -> np.ndarray:
        """Share of the power (rotations, shifts) that stays when the operations are averaged.

        The laid volume turned by g is the volume turned by ``g A`` and moved by ``g s``. The share
        is 1 if all are the same, and 1 / g if they have nothing in common.
        """
        moved = np.stack([self._group.apply(shift[::-1])[:, ::-1] for shift in shifts_zyx_px])
        phases = np.exp(-2j * np.pi / self._box_px * (moved @ self._index_zyx.T))
        phases = phases.astype(np.complex64)
        shared = np.empty((len(rotations), len(shifts_zyx_px)))
        block = max(1, _VALUES_AT_ONCE // phases[0].size)
        for start in range(0, len(rotations), block):
            rows = slice(start, start + block)
            slices = self._slices(rotations[rows])
            power = np.maximum((np.abs(slices) ** 2).mean(axis=1).sum(axis=1), 1e-30)
            for j, phase in enumerate(phases):
                mean = np.einsum("mgc,gc->mc", slices, phase) / len(phase)
                shared[rows, j] = (np.abs(mean) ** 2).sum(axis=1) / power
        return shared

    def shared_by(self, rotation: Rotation, shift_zyx_px: np.ndarray) -> float:
        """The same of one pose."""
        return float(self.shared(Rotation.concatenate([rotation]), shift_zyx_px[None])[0, 0])

    def round_about(self, centre_zyx_px: np.ndarray) -> float:
        """Share of the power that is the same on all sides of a point, from the box centre."""
        values = self._values * self._coefficients.shift_phases(centre_zyx_px[None])[0]
        radius = np.linalg.norm(self._coefficients.index_zyx, axis=1)
        last = max(2.0, np.ceil(radius.max()))
        knots = np.r_[[1.0] * 3, np.arange(1.0, last + 1), [last] * 3]  # one a shell
        profile = interpolate.BSpline.design_matrix(radius, knots, 3).toarray()
        heights = np.linalg.lstsq(profile, values.real, rcond=None)[0]
        return float(((profile @ heights) ** 2).sum() / (np.abs(values) ** 2).sum())

    def _slices(self, rotations: Rotation) -> np.ndarray:
        """Of the volume turned by every rotation and then by every operation, (m, g, c)."""
        turns = rotations.as_matrix()[:, None].swapaxes(-1, -2) @ self._group.inv().as_matrix()
        place = self._index_zyx @ turns[..., ::-1, ::-1].swapaxes(-1, -2)
        place = _PADDING * (place + self._box_px // 2)
        return trilinear(self._spectrum, place.reshape(-1, 3)).reshape(place.shape[:3])


def best_axes(volume: np.ndarray, name: str, largest: float) -> tuple[Rotation, np.ndarray, float]:
    """Rotation, shift (z, y, x) and score of the best axes, up to the largest frequency."""
    group, kind = point_group(name), name.strip()[0].upper()
    leads = _leads(volume, group, kind, min(_COARSE, largest))
    size = 1.0
    for radius in _FINER:
        leads = [_climbed(volume, group, kind, min(radius, largest), lead, size) for lead in leads]
        leads = sorted(leads, key=lambda lead: -lead.shared)[: max(1, len(leads) // 2)]
        size /= _FINER_STEPS
    rotation, shift = _least_turned(leads[0], group, kind)
    operations = _Operations(volume, group, largest)
    shared = operations.shared_by(rotation, shift)
    correlation = (len(group) * shared - 1) / (len(group) - 1)
    all_round = operations.round_about(-rotation.inv().apply(shift[::-1])[::-1])
    if all_round > _ROUND:
        return rotation, shift, 0.0
    return rotation, shift, (correlation - all_round) / (1 - all_round)


def _leads(volume: np.ndarray, group: Rotation, kind: str, radius: float) -> list[_Pose]:
    """The best poses at low resolution that are far from one another."""
    grid = _grid(group, kind)
    along = (0.0,) if kind == "C" else _SHIFTS
    shifts = np.array(list(itertools.product(along, _SHIFTS, _SHIFTS))) * volume.shape[0]
    operations = _Operations(volume, group, radius, _SOME_COEFFICIENTS)
    shared = operations.shared(grid, shifts)
    best, which = shared.max(axis=1), shared.argmax(axis=1)
    leads: list[_Pose] = []
    left = np.ones(len(grid), bool)
    while left.any() and len(leads) < _LEADS:
        i = int(np.where(left, best, -np.inf).argmax())
        leads.append(_Pose(grid[i], shifts[which[i]], float(best[i])))
        left &= (grid * grid[i].inv()).magnitude() > np.deg2rad(_APART_DEG)
    return leads


def _grid(group: Rotation, kind: str) -> Rotation:
    """Rotations over all axes; poses that the group makes equal are not there twice."""
    if kind == "C":
        return _onto_z(_hemisphere(_N_AXES))
    if kind == "D":
        period_deg = 360 / len(group)  # from one two-fold axis to the next
        spins_deg = np.arange(0, period_deg - 1e-9, min(_SPIN_DEG, period_deg))
        about_z = Rotation.from_euler("z", spins_deg[:, None], degrees=True)
        axes = _onto_z(_hemisphere(_N_AXES))
        return Rotation.concatenate([spin * axes for spin in about_z])
    grid = rotation_grid(_N_ROTATIONS * len(group))
    size = np.stack([(operation * grid).magnitude() for operation in group])
    return grid[size[0] <= size.min(axis=0) + 1e-9]


def _climbed(
    volume: np.ndarray, group: Rotation, kind: str, radius: float, pose: _Pose, size: float
) -> _Pose:
    """The best pose near one; ``size`` is that of the steps."""
    some = np.linspace(0, len(group) - 1, min(len(group), _MOST_OPERATIONS)).astype(int)
    operations = _Operations(volume, group[some], radius, _MOST_COEFFICIENTS)
    free = np.array([1, 1, kind != "C"], float)  # a turn about the axis of Cn changes nothing
    turn_unit = free * np.deg2rad(_STEP_DEG) * size
    shift_unit = free[::-1] * _STEP * volume.shape[0] * size

    def moved(by: np.ndarray) -> tuple[Rotation, np.ndarray]:
        turn, shift = np.split(by, 2)
        near = Rotation.from_rotvec(turn * turn_unit) * pose.rotation
        return near, pose.shift_zyx_px + shift * shift_unit

    def cost(by: np.ndarray) -> float:
        return -operations.shared_by(*moved(by))

    options = {"eps": _GRADIENT, "gtol": 1e-3, "maxiter": 6}
    found = optimize.minimize(cost, np.zeros(6), method="BFGS", options=options)
    return _Pose(*moved(found.x), -float(found.fun))


def _least_turned(pose: _Pose, group: Rotation, kind: str) -> tuple[Rotation, np.ndarray]:
    """The smallest rotation, and its shift, of all poses that the group makes equal."""
    if kind == "C":
        axis = pose.rotation.inv().apply([0.0, 0.0, 1.0])
        least = _onto_z(axis[None] * (1 if axis[2] >= 0 else -1))[0]
    else:
        least = group[int((group * pose.rotation).magnitude().argmin())] * pose.rotation
    shift = (least * pose.rotation.inv()).apply(pose.shift_zyx_px[::-1])[::-1]
    return least, shift


def _hemisphere(n: int) -> np.ndarray:
    """Evenly spread directions (n, 3), x, y, z, with z above 0: a Fibonacci spiral."""
    z = (np.arange(n) + 0.5) / n
    azimuth = np.pi * (3 - np.sqrt(5)) * np.arange(n)
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], axis=1)


def _onto_z(directions_xyz: np.ndarray) -> Rotation:
    """The smallest rotations that bring unit vectors (n, 3) onto z."""
    x, y, z = directions_xyz.T
    across = np.hypot(x, y)
    angle = np.arctan2(across, z) / np.maximum(across, 1e-12)
    return Rotation.from_rotvec(np.stack([y * angle, -x * angle, 0 * z], axis=1))


def noise_of_shells(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise with the power of a volume in every shell."""
    n = volume.shape[0]
    grid = np.indices(volume.shape) - centre_index(n)
    shell = np.round(np.sqrt((grid**2).sum(axis=0))).astype(int).ravel()
    noise = centred_fft(rng.normal(size=volume.shape))
    wanted, has = (np.bincount(shell, np.abs(x).ravel() ** 2) for x in (centred_fft(volume), noise))
    gain = np.sqrt(wanted / np.maximum(has, 1e-30))
    return centred_ifft(noise * gain[shell].reshape(noise.shape))
