"""A second look: every subtomogram meets every average at the place that suits that average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import expect
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.progress import track


@dataclass(frozen=True)
class Fit:
    """How well n subtomograms fit one average, and how they lie in it."""

    log_likelihood: np.ndarray
    rotation: np.ndarray
    offset_zyx_px: np.ndarray

    def or_better(self, other: Fit) -> Fit:
        """For each subtomogram the better of two."""
        better = other.log_likelihood > self.log_likelihood
        return Fit(
            np.where(better, other.log_likelihood, self.log_likelihood),
            np.where(better, other.rotation, self.rotation),
            np.where(better[:, None], other.offset_zyx_px, self.offset_zyx_px),
        )


def second_look(
    search: Search, particles: Particles, wide: Search, rough: Particles, classes: Classes
) -> Classes:
    """Weigh all subtomograms against all averages, each at the offset that is best for it.

    Rounds of alignment know one offset of each subtomogram, that of the average that it is with.
    Round it alone they look for its place in the others, and one that belongs to another average
    may never be found there. Here the whole range of shifts is tried for each average, roughly,
    and what comes of it finely.

    Parameters
    ----------
    search : Search
        In the detail that decides.
    particles : Particles
        In that detail.
    wide : Search
        Shifts over the whole range, in less detail.
    rough : Particles
        In less detail.
    classes : Classes
        Its averages stay as they are.
    """
    centred = rough.moved(np.zeros_like(rough.offset_zyx_px))
    known = particles.moved(classes.offset_zyx_px)
    fits = []
    in_coarse, in_fine = (one.slices(classes.averages) for one in (wide, search))
    for k, slices in enumerate(track(in_fine, "a second look at every average")):
        prior, weight = classes.log_prior[[k]], None
        if classes.shell_weight is not None:
            weight = classes.shell_weight[[k]]
        found = fit_one(wide, centred, in_coarse[k], prior)
        here, there = (
            fit_one(search, known.moved(offset), slices, prior, weight)
            for offset in (classes.offset_zyx_px, found.offset_zyx_px)
        )
        fits.append(here.or_better(there))
    return fitted(fits, classes)


def fit_one(
    search: Search,
    particles: Particles,
    slices: np.ndarray,
    log_prior: np.ndarray,
    shell_weight: np.ndarray | None = None,
) -> Fit:
    """How subtomograms fit one average.

    Parameters
    ----------
    search : Search
        Whose shifts are tried round the particles' offsets.
    particles : Particles
    slices : ndarray of complex64, shape (R, n_coefficients)
        Of the average, at the rotations of the search.
    log_prior : ndarray of shape (1,)
        Added to the log likelihoods.
    shell_weight : ndarray of shape (1, at least 1 + largest shell), optional
        How much each shell counts.
    """
    found = expect(
        particles,
        slices[None],
        log_prior,
        search.shifts_zyx_px,
        add_up=False,
        shell_weight=shell_weight,
        negligible=search.settings.rounds.negligible,
    )
    return Fit(found.log_likelihood, found.rotation, found.offset_zyx_px)


def roughly(
    wide: Search, rough: Particles, slices: Sequence[np.ndarray], log_prior: np.ndarray
) -> list[Fit]:
    """How subtomograms fit averages over the whole range of shifts, in less detail.

    Parameters
    ----------
    wide, rough
        As in `second_look`.
    slices : sequence of K ndarrays
        Of the averages, in that detail.
    log_prior : ndarray of shape (K,)
    """
    centred = rough.moved(np.zeros_like(rough.offset_zyx_px))
    return [fit_one(wide, centred, own, log_prior[[k]]) for k, own in enumerate(slices)]


def finely(
    search: Search,
    particles: Particles,
    slices: Sequence[np.ndarray],
    fits: list[Fit],
    classes: Classes,
) -> Classes:
    """What comes of `roughly` in the detail that decides.

    An average that fits far worse than the best one does in less detail, in log likelihood, is
    not looked at again: what is added by more detail is less than that.

    Parameters
    ----------
    search, particles
        As in `second_look`.
    slices : sequence of K ndarrays
        Of the averages, in that detail.
    fits : list of K Fit
        From `roughly`.
    classes : Classes
        Of these subtomograms; averages, prior and weights stay as they are.
    """
    roughly_likely = np.stack([fit.log_likelihood for fit in fits], axis=1)
    near = roughly_likely > roughly_likely.max(axis=1, keepdims=True) - search.settings.wide.far
    found = []
    for k, (own, fit) in enumerate(zip(slices, fits, strict=True)):
        rows = np.flatnonzero(near[:, k])
        weight = None if classes.shell_weight is None else classes.shell_weight[[k]]
        there = particles.select(rows).moved(fit.offset_zyx_px[rows])
        one = fit_one(search, there, own, classes.log_prior[[k]], weight)
        likelihood = np.full(len(particles), -np.inf)
        rotation, offset = np.zeros(len(particles), int), fit.offset_zyx_px.copy()
        likelihood[rows], rotation[rows] = one.log_likelihood, one.rotation
        offset[rows] = one.offset_zyx_px
        found.append(Fit(likelihood, rotation, offset))
    return fitted(found, classes)


def fitted(fits: list[Fit], classes: Classes) -> Classes:
    """Clusters of subtomograms that fit K averages so."""
    likelihood = np.stack([fit.log_likelihood for fit in fits], axis=1)
    labels, rows = likelihood.argmax(axis=1), np.arange(len(likelihood))
    weight = np.exp(likelihood - likelihood[rows, labels][:, None])
    total = weight.sum(axis=1)
    return replace(
        classes,
        labels=labels,
        posterior=weight / total[:, None],
        log_likelihood=likelihood[rows, labels] + np.log(total),
        rotation=np.stack([fit.rotation for fit in fits])[labels, rows],
        offset_zyx_px=np.stack([fit.offset_zyx_px for fit in fits])[labels, rows],
    )
