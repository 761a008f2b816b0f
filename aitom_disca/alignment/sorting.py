"""Sort subtomograms by maximum likelihood: which average, in which pose, explains each best.

Features of a network see size and compactness; alignment sees the structure itself.
"""

from __future__ import annotations

import numpy as np

from aitom_disca.alignment.likelihood import Particles, shell_power, whitened
from aitom_disca.alignment.merging import Merger
from aitom_disca.alignment.pairing import AveragePairs
from aitom_disca.alignment.reference import shell_index
from aitom_disca.alignment.rounds import Classes, Search, cross, cube
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.progress import muted, say

_BOX_PX = 20  # everything is measured in this box: the volumes are Fourier-cropped to it
# How finely is searched, first to last: largest frequency, rotations, shifts, rounds at most.
_LEVELS = (
    (5.0, 600, cube(1.67), 3),
    (5.0, 600, cross(1.25), 8),
    (7.0, 1500, cross(0.8), 12),
)
_SINGLE = 0.4  # share of a single subtomogram that is taken for signal
# Two clusters are one if members fit a joint average better by so many standard errors.
_CLEARLY_ONE_Z = 1.5
_ONE_Z = -1.5
_SPLIT_STARTS = 3
_SPLIT_ROUNDS = 5
_FEWEST_TO_SPLIT = 24
_MISFITS = 0.15  # share of the subtomograms, those that fit their averages worst
_NOISE_QUANTILE = 0.99
_N_NOISE = 300


class AlignmentSorter:
    """Maximum-likelihood classification, started from more references than there are structures.

    Every reference begins as one subtomogram. In each round every subtomogram is weighed against
    all references, rotations and shifts over the Fourier coefficients that it measured, and
    every reference becomes the average of all, so weighted, wedge compensated and filtered by
    what two halves of the data share. References that lose their members go. Two that are one
    structure are merged: when their members fit a joint average, made without them, as well as
    an average of their own. A cluster whose members can be sorted further is split.

    Parameters
    ----------
    volumes : ndarray of shape (n, z, y, x)
        Cubic, protein bright.
    tilt_range_deg : tuple of 2 floats
    seed : int
        Of the halves in which the data are split, and of the starts of splits.

    Attributes
    ----------
    labels : ndarray of int, shape (n,)
        -1 where a subtomogram looks like noise.
    classes : Classes
        Averages (in whitened units), posteriors, offsets and so on of the last round.
    """

    def __init__(
        self, volumes: np.ndarray, tilt_range_deg: tuple[float, float], *, seed: int = 0
    ) -> None:
        self.box_px = min(_BOX_PX, volumes.shape[-1])
        self._tilt_range_deg = tilt_range_deg
        self._rng = np.random.default_rng(seed)
        self._pairs = AveragePairs(self.box_px)
        self._searches = [self._search(*level) for level in _LEVELS]
        self._volumes = fourier_crop(volumes, self.box_px)
        coefficients = self._searches[-1].coefficients
        self._power = shell_power(coefficients.of(self._volumes), coefficients.shell)
        self._noise_limit = -np.inf
        self._half = self._rng.permutation(len(volumes)) % 2
        self.labels = np.zeros(len(volumes), int)

    def sort(
        self, starts: np.ndarray, *, fewest: int = 1, most: int = 1000, splits: int = 1
    ) -> np.ndarray:
        """Sort.

        Parameters
        ----------
        starts : ndarray of int, shape (K,)
            The subtomograms that the references begin as.
        fewest, most : int
            Numbers of clusters between which merging ends. There are fewer where references
            lost all members to others.
        splits : int
            How often structures that were missed are looked for.

        Returns
        -------
        ndarray of int, shape (n,)
            Labels from 0 without gaps, -1 for noise.
        """
        bounds = {"fewest": max(fewest, 1), "most": most}
        first, coarse, fine = self._searches
        particles = self._particles(first, self._volumes, self._half)
        classes = first.iterate(particles, _singles(particles, starts))
        particles = self._particles(coarse, self._volumes, self._half)
        classes = coarse.iterate(particles.moved(classes.offset_zyx_px), classes)
        classes = self._merge(coarse, particles, classes, _CLEARLY_ONE_Z, **bounds)
        for _ in range(splits):
            classes = self._split(coarse, particles, classes)
            moved = particles.moved(classes.offset_zyx_px)
            classes = coarse.iterate(moved, classes, rounds=_SPLIT_ROUNDS)
            classes = self._merge(coarse, particles, classes, _CLEARLY_ONE_Z, **bounds)
        particles = self._particles(fine, self._volumes, self._half)
        while True:
            classes = fine.iterate(particles.moved(classes.offset_zyx_px), classes)
            n_before = len(classes.averages)
            classes = self._merge(fine, particles, classes, _ONE_Z, **bounds)
            if len(classes.averages) == n_before:
                break
        self.classes = self._without_noise(fine, particles, classes)
        self.labels = self.classes.labels
        return self.labels

    def assign(self, volumes: np.ndarray) -> np.ndarray:
        """Labels of subtomograms that did not take part: the average that each fits best.

        Parameters
        ----------
        volumes : ndarray of shape (n, z, y, x)
            Of the same box.
        """
        volumes = fourier_crop(volumes, self.box_px)
        offsets, half = np.zeros((len(volumes), 3)), np.zeros(len(volumes), int)
        for search in self._searches:
            particles = self._particles(search, volumes, half).moved(offsets)
            found = search.weigh(particles, self.classes)
            offsets = found.offset_zyx_px
        labels = found.posterior.argmax(axis=1)
        return np.where(found.log_likelihood > self._noise_limit, labels, -1)

    def averages(self) -> list[np.ndarray]:
        """Aligned average (z, y, x) of every cluster, no longer whitened, in the box used here."""
        search = self._searches[-1]
        amplitude = np.zeros(shell_index(2 * self.box_px).max() + 1)
        amplitude[: len(self._power)] = np.sqrt(self._power / self._power[1:].max())
        return [search.averager.filtered(average, amplitude) for average in self.classes.averages]

    # -- levels ----------------------------------------------------------------------------

    def _search(
        self, radius: float, n_rotations: int, shifts_zyx_px: np.ndarray, rounds: int
    ) -> Search:
        radius = min(radius, self.box_px / 2 - 1)
        return Search(self.box_px, radius, self._tilt_range_deg, n_rotations, shifts_zyx_px, rounds)

    def _particles(self, search: Search, volumes: np.ndarray, half: np.ndarray) -> Particles:
        coefficients = search.coefficients
        values = whitened(coefficients.of(volumes), coefficients.shell, self._power)
        return Particles(coefficients, values, np.zeros((len(values), 3)), half)

    # -- clusters --------------------------------------------------------------------------

    def _merge(
        self,
        search: Search,
        particles: Particles,
        classes: Classes,
        least_z: float,
        *,
        fewest: int,
        most: int,
    ) -> Classes:
        """Merge clusters that are one structure."""
        merger = Merger(particles.moved(classes.offset_zyx_px), search, self._pairs)
        merged = merger.merge(
            classes.members(), classes.averages, least_z=least_z, fewest=fewest, most=most
        )
        return classes.regrouped(merged)

    def _split(self, search: Search, particles: Particles, classes: Classes) -> Classes:
        """Look for structures that were missed, in every cluster and in what fits none well."""
        particles = particles.moved(classes.offset_zyx_px)
        groups: list[tuple[np.ndarray, np.ndarray]] = []
        for rows, average in zip(classes.members(), classes.averages, strict=True):
            with muted():
                parts = self._parts(search, particles, rows)
            if len(parts) > 1:
                say(f"split a cluster of {len(rows)} into {[len(part) for part, _ in parts]}")
            groups += parts if len(parts) > 1 else [(rows, average)]
        with muted():
            groups += self._parts(search, particles, classes.misfits(_MISFITS))
        return classes.regrouped(groups)

    def _parts(
        self, search: Search, particles: Particles, rows: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Structures, as rows and average, that are found among some subtomograms alone."""
        if len(rows) < _FEWEST_TO_SPLIT:
            return []
        members = particles.select(rows)
        starts = self._rng.choice(len(rows), _SPLIT_STARTS, replace=False)
        found = search.iterate(members, _singles(members, starts), rounds=_SPLIT_ROUNDS)
        merger = Merger(members.moved(found.offset_zyx_px), search, self._pairs)
        parts = merger.merge(found.members(), found.averages, least_z=_ONE_Z)
        return [(rows[part], average) for part, average in parts]

    # -- noise -----------------------------------------------------------------------------

    def _without_noise(self, search: Search, particles: Particles, classes: Classes) -> Classes:
        """Label -1 what fits its average no better than noise of the same spectrum does."""
        limit = self._limit_of_noise(search, particles, classes)
        noise = classes.log_likelihood <= limit
        for k, rows in enumerate(classes.members()):
            if np.median(classes.log_likelihood[rows]) <= limit:
                noise |= classes.labels == k
        if noise.all():
            say("no subtomogram stands out from noise: the clusters are to be doubted")
            return classes
        self._noise_limit = limit
        if noise.any():
            say(f"{int(noise.sum())} subtomograms fit no average better than noise does")
        return classes.without(noise)

    def _limit_of_noise(self, search: Search, particles: Particles, classes: Classes) -> float:
        """What 99 % of pure noise, aligned in the same way, stays below."""
        shape = (_N_NOISE, len(particles.coefficients))
        values = self._rng.normal(size=shape) + 1j * self._rng.normal(size=shape)
        shell = particles.coefficients.shell
        flat = whitened(values, shell, np.full(shell.max() + 1, 2.0))
        half, still = np.zeros(_N_NOISE, int), np.zeros((_N_NOISE, 3))
        noise = Particles(particles.coefficients, flat, still, half)
        found = search.weigh(noise, classes)
        return float(np.quantile(found.log_likelihood, _NOISE_QUANTILE))


def _singles(particles: Particles, rows: np.ndarray) -> Classes:
    """References that are one subtomogram each."""
    values = particles.values[rows] * particles.coefficients.shift_phases(
        particles.offset_zyx_px[rows]
    )
    averages = list(_SINGLE * particles.coefficients.volumes(values))
    return Classes.start(averages, particles.offset_zyx_px)
