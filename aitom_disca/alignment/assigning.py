"""Averages that were learnt from some subtomograms sort any others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.alignment.looking import Look
from aitom_disca.alignment.rounds import Classes, Search, ball, cross
from aitom_disca.alignment.second_look import second_look
from aitom_disca.geometry.fourier import fourier_crop

# How finely is searched: largest frequency, rotations, shifts, rounds at most.
COARSE = (5.0, 600, cross(1.25), 8)
FINE = (7.0, 1500, cross(0.8), 12)
WIDE = (ball(1.67, 3.8), 1)  # shifts and rounds of a second look, in coarse detail


def search_at(
    level: tuple[float, int, np.ndarray, int],
    box_px: int,
    tilt_range_deg: tuple[float, float],
    mask_radius_px: float = np.inf,
) -> Search:
    """A level of detail in a box."""
    radius, n_rotations, shifts_zyx_px, rounds = level
    radius = min(radius, box_px / 2 - 1)
    return Search(
        box_px, radius, tilt_range_deg, n_rotations, shifts_zyx_px, rounds, mask_radius_px
    )


@dataclass(frozen=True)
class LearntAverages:
    """What an alignment leaves to sort others by.

    Parameters
    ----------
    averages : ndarray of shape (K, n, n, n)
        In whitened units.
    log_prior : ndarray of shape (K,)
    power : ndarray of shape (n_shells,)
        Spectrum by which subtomograms are whitened.
    noise_limit : float
        Log likelihood below which a subtomogram is taken for noise.
    tilt_range_deg : tuple of 2 floats
    mask_radius_px : float
        Of the sphere within which a subtomogram is looked at; infinite for none.
    box_share : float
        Edge of the box that was looked at over that of the subtomograms' boxes.
    """

    averages: np.ndarray
    log_prior: np.ndarray
    power: np.ndarray
    noise_limit: float
    tilt_range_deg: tuple[float, float]
    mask_radius_px: float = np.inf
    box_share: float = 1.0

    def chosen(self, clusters: np.ndarray) -> LearntAverages:
        """Some of the clusters, in that order."""
        return replace(self, averages=self.averages[clusters], log_prior=self.log_prior[clusters])


class Assigner:
    """Gives subtomograms to the average that each fits best, over all rotations and shifts.

    Parameters
    ----------
    learnt : LearntAverages
    tilt_range_deg : tuple of 2 floats, optional
        Of the subtomograms that are sorted, if it is another.
    """

    def __init__(
        self, learnt: LearntAverages, tilt_range_deg: tuple[float, float] | None = None
    ) -> None:
        self._learnt = learnt
        self.box_px, self.box_share = learnt.averages.shape[-1], learnt.box_share
        low, high = tilt_range_deg or learnt.tilt_range_deg
        self._coarse = search_at(COARSE, self.box_px, (low, high))
        self._fine = search_at(FINE, self.box_px, (low, high))
        self._wide = self._coarse.trying(*WIDE)

    def assign(self, volumes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sort subtomograms.

        Parameters
        ----------
        volumes : ndarray of shape (n, z, y, x)
            The part of the box that was learnt from, or Fourier-cropped to the averages' box.

        Returns
        -------
        labels : ndarray of int, shape (n,)
            -1 for noise.
        posterior : ndarray of shape (n, K)
            Probability of every cluster.
        """
        volumes, half = fourier_crop(volumes, self.box_px), np.zeros(len(volumes), int)
        look = Look(self.box_px, self._learnt.mask_radius_px, self._learnt.power)
        rough, particles = (
            look.particles(search, volumes, half) for search in (self._coarse, self._fine)
        )
        classes = Classes.start(list(self._learnt.averages), rough.offset_zyx_px)
        classes = replace(classes, log_prior=self._learnt.log_prior)
        found = second_look(self._fine, particles, self._wide, rough, classes)
        labels = np.where(found.log_likelihood > self._learnt.noise_limit, found.labels, -1)
        return labels, found.posterior
