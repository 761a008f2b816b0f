"""Are clusters real, and members sure? What had no part in choosing them is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import expect
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.shifts_by_class import second_look


@dataclass(frozen=True)
class HeldOut:
    """What held-out coefficients say of a cluster's members.

    Parameters
    ----------
    n_members : int
    gain : float
        Mean log likelihood ratio of the held-out coefficients between the average of the
        member's own cluster and that of the next best one; to noise, where there is one cluster.
    z : float
        That mean in standard errors. Of clusters that follow noise it is about 0.
    """

    n_members: int
    gain: float
    z: float


def held_out_gain(
    search: Search, particles: Particles, classes: Classes, rng: np.random.Generator
) -> list[HeldOut]:
    """Ask, for every cluster, coefficients that had no part in the choice of cluster and pose.

    A share of the coefficients, drawn at random, is left out. With the others every subtomogram
    chooses its pose in each average, and its cluster; then the left-out ones are compared with
    the averages in these poses. The averages are those of the half of the data that the
    subtomogram is not in. So noise cannot agree with itself, as it does where a subtomogram meets
    an average that it is a part of, or that it was assigned to for the noise it holds.

    Parameters
    ----------
    search : Search
    particles : Particles
    classes : Classes
        Of these particles.
    rng : numpy.random.Generator
        Draws the coefficients.

    Returns
    -------
    list of K HeldOut
    """
    known = particles.moved(classes.offset_zyx_px)
    left_out = rng.random(len(search.coefficients)) < search.settings.held_out
    halves = _averages_of_halves(search, known, classes)
    n, k = len(particles), len(classes.averages)
    chosen, asked = np.zeros((n, k)), np.zeros((n, k))
    for cluster, averages in enumerate(halves):
        for half in (0, 1):
            rows = np.flatnonzero(known.half == half)
            slices = search.slicer(averages[1 - half])
            chosen[rows, cluster], asked[rows, cluster] = _asked(
                search, known.select(rows), slices, left_out
            )
    chosen += classes.log_prior
    chosen[classes.labels < 0] = -np.inf
    return _of_clusters(chosen, asked)


def posterior_by_others(
    search: Search, particles: Particles, wide: Search, rough: Particles, classes: Classes
) -> np.ndarray:
    """How sure the cluster of every subtomogram is, as the others see it.

    An average fits those subtomograms too well that it was made of, and in it they look surer than
    they are. Each is therefore weighed against averages of the half of the data that it is not in.

    Parameters
    ----------
    search, particles, wide, rough, classes
        As in `second_look`.

    Returns
    -------
    ndarray of shape (n, K)
        Probability of every cluster. Few members make it unsure: where none of them is in the
        other half, it is about 0.
    """
    halves = _averages_of_halves(search, particles.moved(classes.offset_zyx_px), classes)
    posterior = np.empty((len(particles), len(classes.averages)))
    for half in (0, 1):
        rows = np.flatnonzero(particles.half == half)
        others = replace(
            classes.for_others(classes.offset_zyx_px[rows]),
            averages=[averages[1 - half] for averages in halves],
        )
        seen, seen_roughly = particles.select(rows), rough.select(rows)
        posterior[rows] = second_look(search, seen, wide, seen_roughly, others).posterior
    return posterior


def _averages_of_halves(
    search: Search, particles: Particles, classes: Classes
) -> list[list[np.ndarray]]:
    found = expect(
        particles,
        search.slices(classes.averages),
        classes.log_prior,
        search.shifts_zyx_px,
        negligible=search.settings.rounds.negligible,
    )
    return [
        search.averager.average(found.sums[:, k], found.counts[:, k], with_halves=True).halves
        for k in range(len(classes.averages))
    ]


def _asked(
    search: Search, particles: Particles, slices: np.ndarray, left_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood by the coefficients that choose the pose, and by those left out there."""
    met = expect(
        particles,
        np.where(left_out, 0, slices)[None],
        np.zeros(1),
        search.shifts_zyx_px,
        add_up=False,
        negligible=search.settings.rounds.negligible,
    )
    phases = particles.coefficients.shift_phases(met.offset_zyx_px)
    seen = (particles.values * phases)[:, left_out]
    expected = slices[met.rotation][:, left_out]
    if (measured := particles.measured) is not None:
        expected *= measured[:, left_out]
    product = (seen * expected.conj()).real.sum(axis=1)
    return met.log_likelihood, product - (np.abs(expected) ** 2).sum(axis=1) / 2


def _of_clusters(chosen: np.ndarray, asked: np.ndarray) -> list[HeldOut]:
    rows = np.flatnonzero(np.isfinite(chosen).all(axis=1))
    own = chosen[rows].argmax(axis=1)
    gain = asked[rows, own]
    if chosen.shape[1] > 1:
        others = chosen[rows].copy()
        others[np.arange(len(rows)), own] = -np.inf
        gain = gain - asked[rows, others.argmax(axis=1)]
    return [_of_members(gain[own == k]) for k in range(chosen.shape[1])]


def _of_members(gain: np.ndarray) -> HeldOut:
    if len(gain) < 2:
        return HeldOut(len(gain), float("nan"), float("nan"))
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    return HeldOut(len(gain), float(gain.mean()), float(gain.mean() / (error + 1e-12)))
