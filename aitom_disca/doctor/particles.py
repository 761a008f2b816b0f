"""Picks and stores, before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aitom_disca.doctor.check import Check, judged
from aitom_disca.io import Tomogram, open_store, read_picks
from aitom_disca.subtomograms.preprocess import is_constant

_MOST_OUTSIDE = 0.05
_MOST_TWICE = 0.01
_AT_ONCE = 256


def check_picks(
    path: Path, tomograms: Sequence[Tomogram], diameter_angstrom: float
) -> tuple[list[Check], int]:
    """Whether picks lie in their tomograms, and once; with their number."""
    from aitom_disca.picking import without_duplicates

    infos = {t.name: t.info for t in tomograms}
    picks = read_picks(path, tomograms=infos)
    outside = ~picks.inside()
    checks = [
        judged(
            "picks inside",
            outside.mean() <= _MOST_OUTSIDE,
            f"{int(outside.sum())} of {len(picks)} lie outside of their tomogram",
            "the file counts in other voxels: convert it with --file-pixel-angstrom or --binning",
            else_="error",
        )
    ]
    twice = ~without_duplicates(picks, diameter_angstrom / 2)
    checks.append(
        judged(
            "picks once",
            twice.mean() <= _MOST_TWICE,
            f"{int(twice.sum())} lie nearer than {diameter_angstrom / 2:g} A to a better one",
            "run average leaves out those that come to lie in one place; or pick again with a "
            "larger --min-distance-px",
        )
    )
    empty = [name for name in infos if name not in set(picks.tomogram_name.tolist())]
    checks.append(
        judged(
            "picks everywhere",
            not empty,
            f"{len(empty)} tomograms have none ({', '.join(empty[:3])})"
            if empty
            else "every tomogram has some",
            "names of tomograms must agree: see the file's column of tomograms",
        )
    )
    return checks, len(picks)


def check_store(path: Path) -> list[Check]:
    """Whether a store can be sorted: numbers, boxes, wedge, positions."""
    with open_store(path) as store:
        n_flat = 0
        for start in range(0, len(store), _AT_ONCE):  # reading refuses what is no number
            volumes = store.read(np.arange(start, min(start + _AT_ONCE, len(store))))
            n_flat += int(is_constant(volumes).sum())
        low, high = store.tilt_range_deg
        text = (
            f"{len(store)} subtomograms of {store.box_shape_zyx[0]} voxels of "
            f"{store.voxel_size_angstrom:g} A, tilt range {low:g} to {high:g}"
        )
        placed = store.particles().has_positions
    return [
        judged(
            "store",
            n_flat == 0,
            text if not n_flat else f"{text}; {n_flat} hold one value only",
            "extract them again, without these picks",
            else_="error",
        ),
        judged(
            "positions",
            placed,
            "known" if placed else "not known: clusters and averages with angles, but no places",
            "extract subtomograms from their tomograms with this package",
        ),
    ]
