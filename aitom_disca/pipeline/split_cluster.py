"""The members of one cluster, sorted again by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aitom_disca.config import MineSettings
from aitom_disca.curation.decisions import Decision
from aitom_disca.curation.replay import Curated
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import tilt_ranges_of
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.progress import say
from aitom_disca.subtomograms.dataset import SomeOf

FEWEST_TO_SPLIT = 24


def split_again(
    source: SubtomogramStore,
    curated: Curated,
    decision: Decision,
    settings: MineSettings | None = None,
) -> Decision:
    """The decision to split a cluster, with what sorting its members again gives.

    They are sorted by alignment as all subtomograms are, with averages of their own; whether two
    of these are one structure is asked of members that they were made without. The largest part
    keeps the number of the cluster, the others get numbers that no cluster had so far.

    Parameters
    ----------
    source : SubtomogramStore
    curated : Curated
        Labels of the store after all decisions that come before.
    decision : Decision
        Its first cluster is split, by its seed. Numbers that it holds for further parts are
        kept as far as there are so many.
    settings : MineSettings, optional
        As the run sorted: mask, missing wedge and how many are held in memory.

    Raises
    ------
    InputError
        If there is no such cluster, it has too few members, or they are all alike.
    """
    cluster, *numbers = decision.clusters
    rows = np.flatnonzero(curated.labels == cluster - 1)
    if len(rows) < FEWEST_TO_SPLIT:
        has = f"has {len(rows)} members" if cluster in curated.known else "does not exist"
        raise InputError(
            f"cluster {cluster} {has}; {FEWEST_TO_SPLIT} members at least can be sorted again."
        )
    say(f"sorting the {len(rows)} members of cluster {cluster} again")
    labels = sorted_again(source, rows, settings or MineSettings(), decision.seed)
    parts = [rows[labels == k] for k in np.unique(labels[labels >= 0])]
    parts.sort(key=len, reverse=True)
    if len(parts) < 2:
        raise InputError(f"the members of cluster {cluster} look alike; it was not split.")
    new = range(max(curated.known | {*curated.gone} | {*numbers}) + 1, 10**9)
    numbers = [*numbers, *new[: len(parts)]][: len(parts) - 1]
    return replace(
        decision,
        clusters=(cluster, *numbers),
        parts=tuple(tuple(part.tolist()) for part in parts),
        particles=tuple(rows[labels < 0].tolist()),
    )


def sorted_again(
    source: SubtomogramStore, rows: np.ndarray, settings: MineSettings, seed: int
) -> np.ndarray:
    """Labels (n,) from 0, -1 for noise, of some subtomograms of a store, by themselves."""
    from aitom_disca.mining.feature_extraction import mask_radius_px
    from aitom_disca.mining.sort_store import drawn_rows, sort_source

    drawn = drawn_rows(len(rows), settings.alignment_most, np.random.default_rng(seed))
    _, most = settings.changed(candidate_k=None).bounds(len(rows))
    found = sort_source(
        SomeOf(source, rows),
        drawn,
        lambda sorter: sorter.refine(
            np.zeros(len(drawn), int), most=most, splits=settings.alignment_splits
        ),
        tilt_ranges_of(source.tilt_range_deg, rows),
        mask_radius_px=mask_radius_px(source, settings),
        graded_wedge=settings.graded_wedge,
        most=most,
        looks=2 * settings.alignment_splits,
        seed=seed,
        settings=settings.constants,
    )
    return found.labels
