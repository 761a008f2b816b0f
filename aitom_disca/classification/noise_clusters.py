"""Which subtomograms, and which whole clusters, are noise alone."""

from __future__ import annotations

import numpy as np

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import expect, log_likelihood_held_out
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.detail_levels import Look
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.geometry.fall_off_with_tilt import weighed_by_tilt
from aitom_disca.number_text import counted
from aitom_disca.progress import say


def without_noise(
    search: Search,
    particles: Particles,
    classes: Classes,
    mask_radius_px: float,
    rng: np.random.Generator,
) -> tuple[Classes, float]:
    """Label -1 what fits its average no better than noise of the same spectrum does.

    Parameters
    ----------
    search : Search
    particles : Particles
    classes : Classes
        Of these particles.
    mask_radius_px : float
        Of the sphere through which the particles are seen; infinite for none.
    rng : numpy.random.Generator
        Draws the noise.

    Returns
    -------
    classes : Classes
    limit : float
        Log likelihood below which a subtomogram is taken for noise; -inf where everything was.
    """
    limit = noise_limit(search, classes, mask_radius_px, rng, particles.wedge)
    noise = classes.log_likelihood <= limit
    for rows, average in zip(classes.members(), classes.averages, strict=True):
        members = particles.select(rows).moved(classes.offset_zyx_px[rows])
        if not stands_out(search, members, average, classes.log_likelihood[rows], limit):
            noise[rows] = True
    if noise.all():
        say("no subtomogram stands out from noise: the clusters are to be doubted")
        return classes, -np.inf
    if noise.any():
        say(f"in no cluster: {counted(int(noise.sum()), 'subtomogram')} like noise")
    return classes.without(noise), limit


def stands_out(
    search: Search,
    members: Particles,
    average: np.ndarray,
    log_likelihood: np.ndarray,
    limit: float,
) -> bool:
    """Whether a cluster is more than noise.

    Parameters
    ----------
    search : Search
    members : Particles
        At the offsets where they lie.
    average : ndarray of shape (z, y, x)
    log_likelihood : ndarray of shape (n_members,)
        In that average.
    limit : float
        From `noise_limit`.
    """
    if not len(members) or np.median(log_likelihood) <= limit:
        return False
    return is_structure(search, members, average)


def is_structure(search: Search, members: Particles, average: np.ndarray) -> bool:
    """Whether members fit an average of others of them; parameters as in `stands_out`."""
    return _fit_of_strangers(search, members, average) >= search.settings.noise.least_fit


def _fit_of_strangers(search: Search, members: Particles, average: np.ndarray) -> float:
    """Mean log likelihood of members in the average of the half that they are not in.

    A few subtomograms of noise fit an average of themselves.
    """
    shifts, negligible = search.shifts_zyx_px, search.settings.rounds.negligible
    slices = search.slicer(average)[None]
    found = expect(members, slices, np.zeros(1), shifts, negligible=negligible)
    made = search.averager.average(found.sums[:, 0], found.counts[:, 0], with_halves=True)
    by_half = [search.slicer(half)[None] for half in made.halves]
    fit = log_likelihood_held_out(members.moved(found.offset_zyx_px), by_half, shifts, negligible)
    return float(fit.mean())


def noise_limit(
    search: Search,
    classes: Classes,
    mask_radius_px: float,
    rng: np.random.Generator,
    wedge: np.ndarray | None,
) -> float:
    """Log likelihood that nearly all pure noise (99 %), aligned in the same way, stays below.

    Parameters
    ----------
    search, classes, mask_radius_px, rng
        As in `without_noise`.
    wedge : ndarray of int, optional
        Of the particles: the noise has wedges of these.
    """
    settings = search.settings.noise
    n = settings.n_noise
    if wedge is not None:
        wedge = wedge[np.linspace(0, len(wedge) - 1, n).astype(int)]
    volumes = rng.normal(size=(n, *(search.coefficients.box_px,) * 3)).astype(np.float32)
    if search.coefficients.fall_off is not None:
        volumes = weighed_by_tilt(volumes, search.coefficients.fall_off.noise)
    look = Look.at(search, volumes, mask_radius_px, wedge)
    noise = look.particles(search, volumes, np.zeros(n, int), wedge=wedge)
    found = search.weigh(noise, classes.for_others(noise.offset_zyx_px))
    return float(np.quantile(found.log_likelihood, settings.quantile))
