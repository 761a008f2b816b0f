"""Averages that were learnt from some subtomograms sort any others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import logsumexp, softmax

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.detail_levels import (
    Look,
    level_of,
    one_rotation,
    search_at,
    wide_search,
)
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.shifts_by_class import fit_one, second_look
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.wedge import TiltRanges


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
    fall_off : ndarray of shape (2, 60), optional
        Noise and signal of a `FallOff`; none in a binary wedge.
    shell_weight : ndarray of shape (K, n), optional
        How much the log likelihood of each shell counts where subtomograms are assigned; all in
        full, unless given. See `equal_detail`.
    """

    averages: np.ndarray
    log_prior: np.ndarray
    power: np.ndarray
    noise_limit: float
    tilt_range_deg: tuple[float, float]
    mask_radius_px: float = np.inf
    box_share: float = 1.0
    fall_off: np.ndarray | None = None
    shell_weight: np.ndarray | None = None

    def chosen(self, clusters: np.ndarray) -> LearntAverages:
        """Some of the clusters, in that order."""
        weight = self.shell_weight
        return replace(
            self,
            averages=self.averages[clusters],
            log_prior=self.log_prior[clusters],
            shell_weight=None if weight is None else weight[clusters],
        )


@dataclass(frozen=True)
class Poses:
    """How n subtomograms fit K averages, and how each lies in the one that fits best.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n, K)
        Log likelihood ratio of each average to pure noise, without prior.
    log_prior : ndarray of shape (K,)
    rotation : Rotation of n rotations A
        The particle is ``average(A^-1 r)``.
    offset_zyx_px : ndarray of shape (n, 3)
        Where the particle lies, from the box centre, in voxels of the averages' box.
    """

    log_likelihood: np.ndarray
    log_prior: np.ndarray
    rotation: Rotation
    offset_zyx_px: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Best average of each, shape (n,)."""
        return (self.log_likelihood + self.log_prior).argmax(axis=1)

    @property
    def posterior(self) -> np.ndarray:
        """Probability of every average (n, K), if one of them it is."""
        return softmax(self.log_likelihood + self.log_prior, axis=1)

    @property
    def score(self) -> np.ndarray:
        """Log likelihood ratio of all averages together to pure noise, shape (n,)."""
        return logsumexp(self.log_likelihood + self.log_prior, axis=1)


class Assigner:
    """Gives subtomograms to the average that each fits best, over all rotations and shifts.

    Parameters
    ----------
    learnt : LearntAverages
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (T, 2), optional
        Of the subtomograms that are sorted, if it is another; or the different ones.
    spherical : bool
        Whether the averages look the same from all sides, so that one rotation does.
    settings : SortingSettings
        Those that the averages were found with.
    """

    def __init__(
        self,
        learnt: LearntAverages,
        tilt_range_deg: TiltRanges | None = None,
        *,
        spherical: bool = False,
        settings: SortingSettings = SORTING,
    ) -> None:
        self._learnt = learnt
        self.box_px, self.box_share = learnt.averages.shape[-1], learnt.box_share
        tilts = learnt.tilt_range_deg if tilt_range_deg is None else tilt_range_deg
        fall_off = None if learnt.fall_off is None else FallOff(*learnt.fall_off)
        self._coarse, self._fine = (
            search_at(
                one_rotation(level_of(one)) if spherical else level_of(one),
                self.box_px,
                tilts,
                fall_off=fall_off,
                settings=settings,
            )
            for one in (settings.coarse, settings.fine)
        )
        self._wide = wide_search(self._coarse)
        self._look = Look(self.box_px, learnt.mask_radius_px, learnt.power)

    def assign(
        self, volumes: np.ndarray, wedge: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sort subtomograms.

        Parameters
        ----------
        volumes : ndarray of shape (n, z, y, x)
            The part of the box that was learnt from, or Fourier-cropped to the averages' box.
        wedge : ndarray of int, shape (n,), optional
            Which of the tilt ranges each has, where there are several.

        Returns
        -------
        labels : ndarray of int, shape (n,)
            -1 for noise.
        posterior : ndarray of shape (n, K)
            Probability of every cluster.
        """
        volumes, half = fourier_crop(volumes, self.box_px), np.zeros(len(volumes), int)
        rough, particles = (
            self._look.particles(search, volumes, half, wedge=wedge)
            for search in (self._coarse, self._fine)
        )
        classes = Classes.start(list(self._learnt.averages), rough.offset_zyx_px)
        learnt = self._learnt
        classes = replace(classes, log_prior=learnt.log_prior, shell_weight=learnt.shell_weight)
        found = second_look(self._fine, particles, self._wide, rough, classes)
        labels = np.where(found.log_likelihood > self._learnt.noise_limit, found.labels, -1)
        return labels, found.posterior

    def poses(self, volumes: np.ndarray, *, own_spectrum: bool = False) -> Poses:
        """How subtomograms of which nothing is known fit every average, and how they lie.

        The place is looked for over the whole range of shifts, in coarse detail. There the mask
        is put for the second look, in fine detail, which gives all else.

        Parameters
        ----------
        volumes : ndarray of shape (n, z, y, x)
            As in `assign`.
        own_spectrum : bool
            Whether they are whitened by their own spectrum, as pure noise is.
        """
        volumes, half = fourier_crop(volumes, self.box_px), np.zeros(len(volumes), int)
        look = self._look
        if own_spectrum:
            look = Look.at(self._fine, volumes, look.mask_radius_px)
        rough = look.particles(self._wide, volumes, half)
        likelihood, _, offset = self._fits(self._wide, rough)
        offset = _chosen(offset, likelihood + self._learnt.log_prior)
        particles = look.particles(self._fine, volumes, half, offset)
        likelihood, rotation, offset = self._fits(self._fine, particles)
        joint = likelihood + self._learnt.log_prior
        rotation = self._fine.rotations[_chosen(rotation, joint)]
        return Poses(likelihood, self._learnt.log_prior, rotation, _chosen(offset, joint))

    def _fits(
        self, search: Search, particles: Particles
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood (n, K), best rotation (n, K) and offset (n, K, 3) in every average."""
        found = [
            fit_one(search, particles, search.slicer(average), np.zeros(1))
            for average in self._learnt.averages
        ]
        return (
            np.stack([one.log_likelihood for one in found], axis=1),
            np.stack([one.rotation for one in found], axis=1),
            np.stack([one.offset_zyx_px for one in found], axis=1),
        )


def _chosen(values: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Of values (n, K, ...) those of the best of K averages, shape (n, ...)."""
    return values[np.arange(len(values)), joint.argmax(axis=1)]
