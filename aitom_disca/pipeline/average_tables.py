"""What averaged clusters say together: their table, the members of all, and how they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.config import RelionVersion
from aitom_disca.curation.averages import (
    AVERAGES_TABLE,
    remove_others,
    shown_averages,
    with_names,
    write_made_of,
)
from aitom_disca.curation.curation_file import decided
from aitom_disca.curation.names_in_files import with_cluster_names
from aitom_disca.io import read_particles_star, write_rows_csv
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.average_files import write_all
from aitom_disca.pipeline.average_row import Averaged, NotAveraged


def write_together(
    out: Path,
    source: SubtomogramStore,
    done: Sequence[Averaged | NotAveraged],
    members: Sequence[ParticleSet | None],
    cluster: np.ndarray,
    labels: str | Path | None,
    *,
    relion: RelionVersion,
    of_all: bool,
) -> None:
    """Write ``averages.csv``, ``particles.star``, ``space`` and what the averages were made of.

    Parameters
    ----------
    out : path
    source : SubtomogramStore
    done : sequence of Averaged or NotAveraged
    members : sequence of ParticleSet or None
        Of what could be averaged; None where their places are not known.
    cluster : ndarray of int, shape (N,)
        Of every subtomogram, from 0, -1 for none.
    labels : path, optional
        File that the clusters come from.
    relion : {"3.1", "5"}
    of_all : bool
        Whether all clusters were asked for. Otherwise averages of others that are there stay, as
        far as these clusters have the same members still.
    """
    numbers = [one.cluster + 1 for one in done]
    names = {} if labels is None else decided(labels)[0]
    kept: list[dict[str, Any]] = []
    if not of_all:
        kept = [row for row in shown_averages(out)[0] if int(row["cluster"]) not in numbers]
    stay = [int(row["cluster"]) for row in kept]
    remove_others(out, [*(one.cluster + 1 for one in done if isinstance(one, Averaged)), *stay])
    every = [*(one for one in members if one is not None), *_of_others(out, stay, source)]
    every = [with_cluster_names(one, names) for one in every]
    every.sort(key=lambda one: int(np.asarray(one.cluster)[0]))
    write_all(out, every, relion)
    rows = sorted([*kept, *(one.row() for one in done)], key=lambda row: int(row["cluster"]))
    write_rows_csv(out / AVERAGES_TABLE, with_names(rows, names))
    write_made_of(out, labels, cluster, numbers, kept=stay)


def _of_others(out: Path, numbers: Sequence[int], source: SubtomogramStore) -> list[ParticleSet]:
    """Members of averages that stay, as they were before they were written."""
    known = source.particles().tomograms
    stars = [out / f"cluster_{number:02d}" / "particles.star" for number in numbers]
    found = [read_particles_star(star, tomograms=known) for star in stars if star.is_file()]
    return [
        replace(one, box_center_zyx_px=one.center_zyx_px)
        if one.box_center_zyx_px is None and one.has_positions
        else one
        for one in found
    ]
