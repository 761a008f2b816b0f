"""Passes over all subtomograms, between which structures that were missed are looked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from aitom_disca.alignment.all_particles import AllParticles, Standing
from aitom_disca.alignment.assigning import LearntAverages
from aitom_disca.alignment.classes import Classes
from aitom_disca.alignment.held_out import HeldOut, held_out_gain
from aitom_disca.alignment.noise import noise_limit, stands_out
from aitom_disca.alignment.seen import ONE_Z, starts_of_tries, unwhitened
from aitom_disca.parallel import on_all_cores
from aitom_disca.progress import muted, say

Group = tuple[np.ndarray, np.ndarray]  # rows, average
Keep = Callable[[str, Callable[[], Standing]], Standing]

_MISFITS = 0.15  # share of the subtomograms, those that fit their averages worst, ...
_BANDS = (75, 150, 300, 600)  # ... but no more than these, sorted between these ranks
_FEWEST = 24  # that are sorted among themselves
_TESTED = 200  # members of each cluster that take part in tests
_NEIGHBOURS = 2  # known clusters that a new one is compared with


@dataclass(frozen=True)
class SortedAll:
    """What came of all passes; what `AlignmentSorter` offers, of all subtomograms.

    Parameters
    ----------
    everything : AllParticles
    classes : Classes
        Labels from 0, -1 where a subtomogram looks like noise.
    known : LearntAverages
        What the passes began with.
    limit : float
        Log likelihood below which a subtomogram is taken for noise.
    """

    everything: AllParticles
    classes: Classes
    known: LearntAverages
    limit: float

    def learnt(self) -> LearntAverages:
        """What others can be sorted by."""
        classes = self.classes
        return replace(
            self.known,
            averages=np.array(classes.averages),
            log_prior=classes.log_prior,
            noise_limit=self.limit,
            shell_weight=classes.shell_weight,
        )

    def averages(self) -> list[np.ndarray]:
        """Aligned average (z, y, x) of every cluster, no longer whitened."""
        fine = self.everything.levels.fine
        return unwhitened(fine, self.classes.averages, self.known.power)

    def held_out(self) -> list[HeldOut]:
        """What coefficients that had no part in the choice say of up to 200 members of each."""
        members = [rows for rows in self.classes.members() if len(rows)]
        rows = np.sort(np.concatenate([_some(own) for own in members]))
        everything, classes = self.everything, self.classes
        some = replace(
            classes,
            **{
                name: getattr(classes, name)[rows]
                for name in ("labels", "posterior", "log_likelihood", "rotation", "offset_zyx_px")
            },
        )
        particles = everything.load(rows).particles
        return held_out_gain(everything.levels.fine, particles, some, np.random.default_rng(0))


def sort_all(
    everything: AllParticles,
    known: LearntAverages,
    *,
    most: int = 1000,
    looks: int = 2,
    seed: int = 0,
    keep: Keep | None = None,
) -> SortedAll:
    """Sort all subtomograms, from clusters that are known.

    1. All are compared with the known averages, in rounds of expectation and maximisation.
    2. Those that fit worst of all are sorted among themselves. What they hold that is none of the
       known structures joins as a reference, and all are compared with it.
    3. At the end all meet all averages over the whole range of shifts, made without them.

    Parameters
    ----------
    everything : AllParticles
    known : LearntAverages
    most : int
        Clusters at most.
    looks : int
        How often, at most, structures that were missed are looked for.
    seed : int
    keep : callable, optional
        Given the name of a pass and what does it, gives what was kept of it, or does and keeps it.
    """
    keep = keep or (lambda _, work: work())
    rngs = [np.random.default_rng((seed, number)) for number in range(looks + 2)]
    standing = keep("pass 0", lambda: everything.rounds(everything.first_look()))
    if not len(everything.file):
        everything.see_again(standing.seen_at_zyx_px)
    for number in range(1, looks + 1):
        before = standing
        work = partial(_with_missed, everything, before, most, rngs[number])
        standing = keep(f"pass {number}", work)
        if len(standing.found_in) <= len(before.found_in):
            break
    classes = replace(standing.classes).with_learnt_prior()
    classes = everything.last_look(replace(standing, classes=classes)).classes
    return _without_noise(everything, classes, known, rngs[-1])


# -- structures that were missed -----------------------------------------------------------------


def _with_missed(
    everything: AllParticles, standing: Standing, most: int, rng: np.random.Generator
) -> Standing:
    """A pass: with structures that were missed among all subtomograms, where there are any."""
    room = most - len(standing.found_in)
    if room < 1:
        return standing
    new, offset_zyx_px = missed(everything, standing.classes, rng)
    new = new[:room]
    if not new:
        return standing
    say(f"{len(new)} structures may have been missed; all are compared with them")
    joined = everything.rounds(everything.joined_by(standing, new, offset_zyx_px))
    classes, is_new = joined.classes, joined.found_in == joined.found_in.max()
    groups = list(zip(classes.members(), classes.averages, strict=True))
    n_new = int(is_new.sum())
    known = [group for group, new_one in zip(groups, is_new, strict=True) if not new_one]
    found = [group for group, new_one in zip(groups, is_new, strict=True) if new_one]
    stay = of_their_own(everything, classes.offset_zyx_px, known, found)
    if len(stay) == n_new == len(new):
        return joined
    if not stay:
        return standing
    return everything.rounds(everything.joined_by(standing, stay, classes.offset_zyx_px))


def missed(
    everything: AllParticles, classes: Classes, rng: np.random.Generator
) -> tuple[list[Group], np.ndarray]:
    """Structures that are found among what fits worst, and that are none of the known.

    Parameters
    ----------
    everything : AllParticles
    classes : Classes
        Of all subtomograms.
    rng : numpy.random.Generator
        Draws first references.

    Returns
    -------
    structures : list of (rows, average)
    offset_zyx_px : ndarray of shape (n, 3)
        Where all subtomograms lie, these in their own averages.
    """
    jobs = [(rows, starts_of_tries(len(rows), rng)) for rows in _worst(classes)]

    def look(job: tuple[np.ndarray, list[np.ndarray]]) -> tuple[list[Group], np.ndarray]:
        rows, tries = job
        return everything.load(rows).structures(classes.offset_zyx_px[rows], tries)

    with muted():
        found = on_all_cores(look, jobs)
    offset, groups = classes.offset_zyx_px.copy(), []
    for (rows, _), (parts, own) in zip(jobs, found, strict=True):
        offset[rows] = own
        groups += [(rows[part], average) for part, average in parts]
    taken = np.concatenate([rows for rows, _ in groups]) if groups else np.zeros(0, int)
    known = [
        (np.setdiff1d(rows, taken), average)
        for rows, average in zip(classes.members(), classes.averages, strict=True)
    ]
    return of_their_own(everything, offset, known, groups), offset


def of_their_own(
    everything: AllParticles, offset_zyx_px: np.ndarray, known: list[Group], found: list[Group]
) -> list[Group]:
    """Those of the clusters found that are none of the known, nor one another.

    Parameters
    ----------
    everything : AllParticles
    offset_zyx_px : ndarray of shape (n, 3)
        Where all subtomograms lie.
    known, found : list of (rows, average)
    """
    if not found:
        return []
    averages = [average for _, average in (*known, *found)]
    similar = everything.pairs.similarity(averages)[len(known) :, : len(known)]

    def is_new(number: int) -> bool:
        nearest = np.argsort(-similar[number])[:_NEIGHBOURS]
        pairs = ([found[number], known[k]] for k in nearest if len(known[k][0]))
        return all(len(_merged(everything, offset_zyx_px, pair)) == 2 for pair in pairs)

    with muted():
        new = on_all_cores(is_new, range(len(found)))
        left = [group for group, alone in zip(found, new, strict=True) if alone]
        return _merged(everything, offset_zyx_px, left) if left else []


def _merged(
    everything: AllParticles, offset_zyx_px: np.ndarray, groups: Sequence[Group]
) -> list[Group]:
    """Some members of clusters, those merged that are one structure."""
    some = [_some(rows) for rows, _ in groups]
    rows, ends = np.concatenate(some), np.cumsum([len(own) for own in some])
    merger = everything.load(rows).merger(offset_zyx_px[rows])
    members = np.split(np.arange(len(rows)), ends[:-1])
    merged = merger.merge(members, [average for _, average in groups], least_z=ONE_Z)
    return [(rows[own], average) for own, average in merged]


def _worst(classes: Classes) -> list[np.ndarray]:
    """Rows of what fits worst, in bands of rank."""
    n, bands, before = len(classes.labels), [], np.zeros(0, int)
    for rank in _BANDS:
        rows = classes.misfits(min(rank / n + 1e-9, _MISFITS))
        band = np.setdiff1d(rows, before)
        if len(band) >= _FEWEST:
            bands.append(band)
        before = rows
    return bands


# -- noise -----------------------------------------------------------------------------------------


def _without_noise(
    everything: AllParticles, classes: Classes, known: LearntAverages, rng: np.random.Generator
) -> SortedAll:
    """Label -1 what fits its average no better than noise does, as `without_noise`."""
    fine = everything.levels.fine
    limit = noise_limit(fine, classes, known.mask_radius_px, rng, everything.wedge)
    noise = classes.log_likelihood <= limit
    for rows, average in zip(classes.members(), classes.averages, strict=True):
        some = _some(rows)
        members = everything.load(some).particles.moved(classes.offset_zyx_px[some])
        if not stands_out(fine, members, average, classes.log_likelihood[some], limit):
            noise[rows] = True
    if noise.all():
        say("no subtomogram stands out from noise: the clusters are to be doubted")
        return SortedAll(everything, classes, known, -np.inf)
    if noise.any():
        say(f"{int(noise.sum())} subtomograms fit no average better than noise does")
    return SortedAll(everything, classes.without(noise), known, limit)


def _some(rows: np.ndarray) -> np.ndarray:
    """At most so many of a cluster, spread evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _TESTED)).astype(int)]
