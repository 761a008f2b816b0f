"""Rounds of expectation and maximisation at one level of detail."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.alignment.averages import Averager
from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.likelihood import Expectation, Particles, expect
from aitom_disca.alignment.reference import Slicer, rotation_grid
from aitom_disca.parallel import on_all_cores
from aitom_disca.progress import say

_SMALLEST = 4  # members of a cluster that can be averaged
STAYED = 0.002  # share of labels that may still change


def cube(step_px: float) -> np.ndarray:
    """27 shifts: all combinations of -step, 0 and step."""
    return (np.indices((3, 3, 3)).reshape(3, -1).T - 1) * step_px


def ball(step_px: float, radius_px: float) -> np.ndarray:
    """All shifts on a grid inside a radius, shape (S, 3)."""
    n = int(radius_px / step_px)
    grid = (np.indices((2 * n + 1,) * 3).reshape(3, -1).T - n) * step_px
    return grid[np.linalg.norm(grid, axis=1) <= radius_px]


def cross(step_px: float) -> np.ndarray:
    """Seven shifts: none, and one step along each axis."""
    return np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * step_px


@dataclass(frozen=True)
class Classes:
    """K clusters of n subtomograms.

    Parameters
    ----------
    averages : list of K ndarrays of shape (z, y, x)
        In whitened units.
    log_prior : ndarray of shape (K,)
    labels : ndarray of int, shape (n,)
        From 0, -1 for none.
    posterior : ndarray of shape (n, K)
    log_likelihood : ndarray of shape (n,)
        Log likelihood ratio to pure noise.
    rotation : ndarray of int, shape (n,)
        Number of the best one in the rotation grid.
    offset_zyx_px : ndarray of shape (n, 3)
        Where each particle lies, from the box centre.
    stable : bool
        Whether the labels stayed in the last round.
    """

    averages: list[np.ndarray]
    log_prior: np.ndarray
    labels: np.ndarray
    posterior: np.ndarray
    log_likelihood: np.ndarray
    rotation: np.ndarray
    offset_zyx_px: np.ndarray
    stable: bool = False

    @classmethod
    def start(cls, averages: list[np.ndarray], offset_zyx_px: np.ndarray) -> Classes:
        """Averages that nothing is assigned to yet."""
        n, k = len(offset_zyx_px), len(averages)
        nothing = np.zeros(n, int)
        posterior = np.full((n, k), 1 / k)
        return cls(averages, np.zeros(k), nothing, posterior, np.zeros(n), nothing, offset_zyx_px)

    @classmethod
    def of(cls, found: Expectation, averager: Averager) -> Classes:
        """Averages of what a round found, without references that lost their members."""
        size = found.posterior.sum(axis=0)
        kept = np.flatnonzero(size >= min(_SMALLEST, size.max()))
        averages = on_all_cores(
            lambda k: averager.average(found.sums[:, k], found.counts[:, k]).volume, list(kept)
        )
        posterior = found.posterior[:, kept]
        return cls(
            averages,
            np.log(size[kept] / size[kept].sum()),
            posterior.argmax(axis=1),
            posterior,
            found.log_likelihood,
            found.rotation,
            found.offset_zyx_px,
        )

    def for_others(self, offset_zyx_px: np.ndarray) -> Classes:
        """These averages, with other subtomograms that nothing is known of."""
        return replace(Classes.start(self.averages, offset_zyx_px), log_prior=self.log_prior)

    def members(self) -> list[np.ndarray]:
        """Row numbers of the members of every cluster."""
        return [np.flatnonzero(self.labels == k) for k in range(len(self.averages))]

    def misfits(self, share: float) -> np.ndarray:
        """Rows of the subtomograms that fit worst, compared with others of their cluster."""
        fit = np.zeros(len(self.labels))
        for rows in self.members():
            likelihood = self.log_likelihood[rows]
            middle = np.median(likelihood) if len(rows) else 0.0
            spread = np.median(np.abs(likelihood - middle)) if len(rows) else 1.0
            fit[rows] = (likelihood - middle) / (spread + 1e-9)
        return np.sort(np.argsort(fit)[: int(share * len(fit))])

    def regrouped(self, groups: list[tuple[np.ndarray, np.ndarray]]) -> Classes:
        """Other clusters of the same subtomograms: rows and average of each."""
        labels = np.full(len(self.labels), -1)
        for k, (rows, _) in enumerate(groups):
            labels[rows] = k
        size = np.array([max(len(rows), 1) for rows, _ in groups])
        posterior = np.eye(len(groups))[labels]
        averages = [average for _, average in groups]
        prior = np.log(size / size.sum())
        return replace(self, averages=averages, log_prior=prior, labels=labels, posterior=posterior)

    def without(self, rows: np.ndarray) -> Classes:
        """Without some subtomograms (a mask): label -1; clusters that lose all members go."""
        labels = np.where(rows, -1, self.labels)
        kept = np.unique(labels[labels >= 0])
        return replace(
            self,
            averages=[self.averages[k] for k in kept],
            log_prior=self.log_prior[kept],
            labels=np.where(rows, -1, np.searchsorted(kept, labels)),
            posterior=self.posterior[:, kept],
        )


class Search:
    """One level of detail: which coefficients, rotations and shifts are looked at.

    Parameters
    ----------
    box_px : int
    radius : float
        Largest frequency, in steps of 1 / box.
    tilt_range_deg : tuple of 2 floats
    n_rotations : int
    shifts_zyx_px : ndarray of shape (S, 3)
    rounds : int
        At most so many.
    """

    def __init__(
        self,
        box_px: int,
        radius: float,
        tilt_range_deg: tuple[float, float],
        n_rotations: int,
        shifts_zyx_px: np.ndarray,
        rounds: int,
    ) -> None:
        self.coefficients = Coefficients(box_px, radius, tilt_range_deg)
        self.rotations = rotation_grid(n_rotations)
        self.slicer = Slicer(self.coefficients, self.rotations)
        self.averager = Averager(self.slicer, int(self.coefficients.shell.max()) + 1)
        self.shifts_zyx_px = shifts_zyx_px
        self._rounds = rounds

    def trying(self, shifts_zyx_px: np.ndarray, rounds: int) -> Search:
        """The same detail with other shifts."""
        other = copy(self)
        other.shifts_zyx_px, other._rounds = shifts_zyx_px, rounds
        return other

    def slices(self, averages: list[np.ndarray]) -> np.ndarray:
        """Slices (K, n_rotations, n_coefficients) of averages."""
        return np.stack([self.slicer(average) for average in averages])

    def weigh(self, particles: Particles, classes: Classes) -> Expectation:
        """What subtomograms say about averages that stay as they are."""
        slices = self.slices(classes.averages)
        return expect(particles, slices, classes.log_prior, self.shifts_zyx_px, add_up=False)

    def iterate(
        self, particles: Particles, classes: Classes, *, rounds: int | None = None
    ) -> Classes:
        """Expectation and maximisation in turn, from the classes' offsets, until labels stay."""
        particles = particles.moved(classes.offset_zyx_px)
        previous = classes.labels
        for number in range(1, (rounds or self._rounds) + 1):
            found = expect(
                particles, self.slices(classes.averages), classes.log_prior, self.shifts_zyx_px
            )
            classes = Classes.of(found, self.averager)
            particles = particles.moved(classes.offset_zyx_px)
            changed = float(np.mean(previous != classes.labels))
            sizes = np.bincount(classes.labels, minlength=len(classes.averages)).tolist()
            say(f"aligning, round {number}: {100 * changed:.0f} % moved, sizes {sizes}")
            stable = changed <= STAYED and min(sizes) > 0 and number > 1
            previous = classes.labels
            if stable:
                return replace(classes, stable=True)
        return classes
