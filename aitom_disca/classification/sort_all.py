"""Passes over all subtomograms, between which structures that were missed are looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.classification.assignments_of_all import Standing
from aitom_disca.classification.classes import Classes
from aitom_disca.classification.cluster_posterior import HeldOut, held_out_gain
from aitom_disca.classification.coarse_and_fine import unwhitened
from aitom_disca.classification.missed_structures import missed, of_their_own, some_of
from aitom_disca.classification.noise_clusters import noise_limit, stands_out
from aitom_disca.classification.rounds_over_all import AllParticles
from aitom_disca.number_text import counted
from aitom_disca.progress import say

Keep = Callable[[str, Callable[[], Standing]], Standing]


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
        rows = np.sort(
            np.concatenate([some_of(own, self.everything.settings.missed) for own in members])
        )
        everything, classes = self.everything, self.classes
        some = classes.select(rows)
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
    standing = keep(name_of_pass(0), lambda: everything.rounds(everything.first_look()))
    if not everything.seen:
        everything.see_again(standing.seen_at_zyx_px)
    for number in range(1, looks + 1):
        before = standing
        work = partial(
            _with_missed, everything, before, known.mask_radius_px, most, number, rngs[number]
        )
        standing = keep(name_of_pass(number), work)
        if len(standing.found_in) <= len(before.found_in):
            break
    classes = replace(standing.classes).with_learnt_prior()
    classes = everything.last_look(replace(standing, classes=classes)).classes
    return _without_noise(everything, classes, known, rngs[-1])


def name_of_pass(number: int) -> str:
    """What `sort_all` calls a pass; the first is 0."""
    return f"pass {number}"


# -- structures that were missed -----------------------------------------------------------------


def _with_missed(
    everything: AllParticles,
    standing: Standing,
    mask_radius_px: float,
    most: int,
    number: int,
    rng: np.random.Generator,
) -> Standing:
    """A pass: with structures that were missed among all subtomograms, where there are any."""
    k = len(standing.found_in)
    if k >= most:
        return standing
    new = missed(everything, standing, mask_radius_px, rng)
    kept = standing.without_clusters(new.replaced, everything.settings.rounds.likely)
    groups = new.groups[: most - len(kept.found_in)]
    if len(kept.found_in) + len(groups) <= k:
        return standing
    say(f"perhaps missed: {counted(len(groups), 'structure')}; all are compared with them")
    joined = everything.rounds(everything.joined_by(kept, groups, new.offset_zyx_px, number))
    classes, is_new = joined.classes, joined.found_in == number
    of_cluster = list(zip(classes.members(), classes.averages, strict=True))
    known, found = ([of_cluster[i] for i in np.flatnonzero(is_new == one)] for one in (0, 1))
    stay = of_their_own(everything, classes.offset_zyx_px, known, found)
    if len(kept.found_in) + len(stay) <= k:
        return standing
    if len(stay) < len(found):
        joined = everything.rounds(everything.joined_by(kept, stay, classes.offset_zyx_px, number))
    return joined if len(joined.found_in) > k else standing


# -- noise -----------------------------------------------------------------------------------------


def _without_noise(
    everything: AllParticles, classes: Classes, known: LearntAverages, rng: np.random.Generator
) -> SortedAll:
    """Label -1 what fits its average no better than noise does, as `without_noise`."""
    fine = everything.levels.fine
    limit = noise_limit(fine, classes, known.mask_radius_px, rng, everything.wedge)
    noise = classes.log_likelihood <= limit
    for rows, average in zip(classes.members(), classes.averages, strict=True):
        some = some_of(rows, everything.settings.missed)
        members = everything.load(some).particles.moved(classes.offset_zyx_px[some])
        if not stands_out(fine, members, average, classes.log_likelihood[some], limit):
            noise[rows] = True
    if noise.all():
        say("no subtomogram stands out from noise: the clusters are to be doubted")
        return SortedAll(everything, classes, known, -np.inf)
    if noise.any():
        say(f"in no cluster: {counted(int(noise.sum()), 'subtomogram')} like noise")
    return SortedAll(everything, classes.without(noise), known, limit)
