"""Rounds of expectation and maximisation of few noisy members, their likelihoods tempered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aitom_disca.alignment.coefficients import Coefficients, Particles
from aitom_disca.alignment.exhaustive_search import real_view
from aitom_disca.alignment.maximisation import Totals
from aitom_disca.alignment.search_grids import ball, rotation_grid
from aitom_disca.alignment.slices import Slicer, shell_index, to_volume
from aitom_disca.computing.chosen_device import accelerator
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.sphere import soft_sphere

MASK_RADIUS, MASK_EDGE = 0.375, 0.1  # of the box; noise is measured outside
_SHIFT = 1 / 32  # of the box: standard deviation of the particles' places, and step of shifts
_WIDEST = 2  # steps of shift
_NOISE_TO_SIGNAL = 0.6  # of one subtomogram in shell s, over s squared: typical of cells
_PARTS = 4  # of the members; each is judged by a model of the others
_SCORES_AT_ONCE = 2**23


@dataclass(frozen=True)
class Met:
    """What members say of a model: sums and counts by rotation, likelihood and best pose."""

    sums: np.ndarray
    counts: np.ndarray
    log_likelihood: np.ndarray
    rotation: np.ndarray
    offset_zyx_px: np.ndarray


class TemperedRounds:
    """One level of detail: all poses of all members, in units of the noise."""

    def __init__(
        self,
        volumes: np.ndarray,
        tilts: tuple[np.ndarray, FallOff | None],
        wedge: np.ndarray | None,
        noise: np.ndarray,
        radius: float,
        n_rotations: int,
    ) -> None:
        n = volumes.shape[-1]
        self._mask = soft_sphere(n, MASK_RADIUS * n, MASK_EDGE * n)
        self._coefficients = Coefficients(n, min(radius, n / 2 - 1), *tilts)
        self._wedge = wedge  # which of the tilt ranges each has, where there are several
        self._noise = np.sqrt(noise / 2)[self._coefficients.shell].astype(np.float32)
        self._values = self._coefficients.of(volumes, wedge) / self._noise
        self.rotations = rotation_grid(n_rotations)
        self._slicer = Slicer(self._coefficients, self.rotations)
        step = _SHIFT * n
        self.shifts_zyx_px = ball(step, _WIDEST * step)
        prior = np.exp(-((self.shifts_zyx_px / step) ** 2).sum(axis=1) / 2)
        self._log_prior = np.log(prior / prior.sum() / n_rotations).astype(np.float32)
        shell = shell_index(2 * n)
        self._used = shell <= self._coefficients.radius + 0.5
        # Eight voxels of the padded transform hold one coefficient.
        self._ridge = _NOISE_TO_SIGNAL * np.maximum(shell, 1) ** 2 / 8

    def __len__(self) -> int:
        return len(self._values)

    @property
    def _n_ranges(self) -> tuple[int, ...]:
        """The last axis of counts: none where there is one tilt range."""
        measured = self._coefficients.measured
        return () if measured is None else (len(measured),)

    def at_random(self, rng: np.random.Generator) -> np.ndarray:
        """The average of all members in random rotations."""
        rotation = rng.integers(len(self.rotations), size=len(self))
        sums = np.zeros((len(self.rotations), self._values.shape[1]), np.complex64)
        np.add.at(sums, rotation, self._values)
        counts = np.zeros((len(sums), *self._n_ranges))
        np.add.at(counts, rotation if self._wedge is None else (rotation, self._wedge), 1)
        return self._volume(self._insert(sums, counts))

    def rounds(self, volume: np.ndarray, n: int, power: float = 1.0) -> np.ndarray:
        """Expectation and maximisation, n times."""
        for _ in range(n):
            met = self.weigh(volume, power)
            volume = self._volume(self._insert(met.sums, met.counts))
        return volume

    def judged(self, volume: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """The next volume, and the log likelihood of members in volumes made without them.

        The first of two rounds takes what members have had in the volume so far out of it.
        """
        part = rng.permutation(len(self)) % min(_PARTS, len(self))
        rows = [np.flatnonzero(part == p) for p in range(part.max() + 1)]
        without = [volume] * len(rows)
        for _ in range(2):
            met = [self.weigh(v, rows=r) for v, r in zip(without, rows, strict=True)]
            totals = [self._insert(one.sums, one.counts) for one in met]
            total, weight = (sum(x) for x in zip(*totals, strict=True))
            without = [self._volume((total - t, weight - w)) for t, w in totals]
        return self._volume((total, weight)), float(sum(m.log_likelihood.sum() for m in met))

    def weigh(self, volume: np.ndarray, power: float = 1.0, rows: np.ndarray | None = None) -> Met:
        """Weigh all poses of some members by their likelihood to a power."""
        values = self._values if rows is None else self._values[rows]
        slices = real_view(self._slicer(volume) / self._noise)
        measured = self._coefficients.measured
        if measured is None:
            prior = -(slices**2).sum(axis=1) / 2
        else:
            prior = -(np.repeat(measured, 2, axis=1) @ (slices**2).T).astype(np.float32) / 2
        wedge = self._wedge if self._wedge is None or rows is None else self._wedge[rows]
        prior = prior.reshape(-1, len(slices))
        if (device := accelerator()) is not None:
            return self._weigh_on(device, values, wedge, slices, prior, power)
        phases = self._coefficients.shift_phases(self.shifts_zyx_px)
        n, n_shifts, n_rotations = len(values), len(phases), len(slices)
        sums, counts = np.zeros_like(slices), np.zeros((n_rotations, *self._n_ranges))
        likelihood, best = np.zeros(n), np.zeros(n, int)
        block = max(1, _SCORES_AT_ONCE // (n_shifts * n_rotations))
        for start in range(0, n, block):
            piece = slice(start, start + block)
            shifted = real_view((values[piece, None] * phases).reshape(-1, values.shape[1]))
            if wedge is None:
                score = (shifted @ slices.T + prior[0]).reshape(-1, n_shifts, n_rotations)
            else:
                score = (shifted @ slices.T).reshape(-1, n_shifts, n_rotations)
                score += prior[wedge[piece]][:, None]
            score += self._log_prior[:, None]
            score = score.reshape(len(score), -1)
            best[piece] = score.argmax(axis=1)
            top = score.max(axis=1, keepdims=True)
            score -= top
            weight = np.exp(score)
            likelihood[piece] = top[:, 0] + np.log(weight.sum(axis=1))
            if power != 1:
                weight = np.exp(power * score)
            weight /= weight.sum(axis=1, keepdims=True)
            weight = weight.reshape(-1, n_rotations)
            sums += weight.T @ shifted
            if wedge is None:
                counts += weight.sum(axis=0)
            else:
                own = weight.reshape(-1, n_shifts, n_rotations).sum(axis=1)
                counts += own.T @ np.eye(counts.shape[1])[wedge[piece]]
        shift, rotation = np.divmod(best, n_rotations)
        return Met(sums.view(np.complex64), counts, likelihood, rotation, self.shifts_zyx_px[shift])

    def _weigh_on(
        self,
        device: str,
        values: np.ndarray,
        wedge: np.ndarray | None,
        slices: np.ndarray,
        prior: np.ndarray,
        power: float,
    ) -> Met:
        """As `weigh`, on an accelerator; slices are real, the prior is (T, n_rotations)."""
        from aitom_disca.alignment.expectation_on_device import expect_on_device

        n = len(values)
        members = Particles(self._coefficients, values, np.zeros((n, 3)), np.zeros(n, int), wedge)
        found = expect_on_device(
            device,
            members,
            slices[None],
            prior[None],
            self.shifts_zyx_px,
            1,
            np.ones((n, 1), bool),
            log_prior_of_shifts=self._log_prior,
            power=power,
            negligible=np.inf,
        )
        return Met(
            found.sums[0, 0],
            found.counts[0, 0],
            found.log_likelihood,
            found.rotation,
            found.offset_zyx_px,
        )

    def _insert(self, sums: np.ndarray, counts: np.ndarray) -> Totals:
        return self._slicer.insert(sums * self._noise, counts)

    def _volume(self, totals: Totals) -> np.ndarray:
        """The likeliest volume, where the signal's power is about what is expected of it."""
        total, weight = totals
        spectrum = np.where(self._used, total / (weight + self._ridge), 0)
        return np.asarray(to_volume(spectrum, self._coefficients.box_px) * self._mask)
