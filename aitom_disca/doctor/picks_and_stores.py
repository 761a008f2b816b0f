"""Picks and stores, before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from aitom_disca.doctor.outcome import Check, judged
from aitom_disca.geometry.wedge import distinct_tilt_ranges
from aitom_disca.io import Tomogram, open_store, read_picks
from aitom_disca.io.formats import Known
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet
from aitom_disca.subtomograms.preprocess import is_constant

_MOST_OUTSIDE = 0.05
_MOST_TWICE = 0.01
_AT_ONCE = 256


def check_picks(
    path: Path,
    tomograms: Sequence[Tomogram],
    diameter_angstrom: float | None,
    file_pixel_angstrom: float | None = None,
    tomogram_name: str | None = None,
) -> tuple[list[Check], int]:
    """Whether picks lie in their tomograms, and once; with their number.

    Without a diameter only picks in the same place count as one particle. Without tomograms it is
    only said what the file holds.
    """
    from aitom_disca.picking import without_duplicates

    if not tomograms:
        return _what_it_holds(path, file_pixel_angstrom, tomogram_name)
    infos = {t.name: t.info for t in tomograms}
    picks = read_picks(
        path,
        voxel_size_angstrom=file_pixel_angstrom,
        tomograms=infos,
        tomogram_name=tomogram_name,
    )
    if not len(picks):
        return [
            Check("picks", "warning", "the file holds no particle", "pick again, or elsewhere")
        ], 0
    outside = ~picks.inside()
    checks = [
        judged(
            "picks inside",
            outside.mean() <= _MOST_OUTSIDE,
            f"{int(outside.sum())} of {len(picks)} lie outside of their tomogram",
            "the file may count in other voxels: say in which with --file-pixel-angstrom",
            else_="error",
        )
    ]
    voxel = max((t.voxel_size_angstrom for t in tomograms), default=0.0)
    nearest = diameter_angstrom / 2 if diameter_angstrom else 2 * voxel
    twice = ~without_duplicates(picks, nearest)
    how = (
        ""
        if diameter_angstrom
        else (
            f"; half have a neighbour within {_usual_distance_angstrom(picks):.0f} A "
            "(--particle-diameter-angstrom says what is too near)"
        )
    )
    checks.append(
        judged(
            "picks once",
            twice.mean() <= _MOST_TWICE,
            f"{int(twice.sum())} lie nearer than {nearest:g} A to a better one{how}",
            "run average leaves out those that come to lie in one place; or pick again with a "
            "larger --min-distance-px",
        )
    )
    empty = [name for name in infos if name not in set(picks.tomogram_name.tolist())]
    checks.append(
        judged(
            "picks everywhere",
            not empty,
            f"there are none in {counted(len(empty), 'tomogram')} ({', '.join(empty[:3])})"
            if empty
            else "every tomogram has some",
            "names of tomograms must agree: see the file's column of tomograms",
        )
    )
    return checks, len(picks)


def _what_it_holds(
    path: Path, file_pixel_angstrom: float | None, tomogram_name: str | None
) -> tuple[list[Check], int]:
    """Number, tomograms, angles and clusters of the particles of a file."""
    known = Known(file_pixel_angstrom=file_pixel_angstrom, tomogram_name=tomogram_name)
    held = read_particles(path, known=known)
    n_tomograms = len(np.unique(held.tomogram_name))
    found = f"{counted(len(held), 'particle')} in {counted(n_tomograms, 'tomogram')}"
    found += ", with angles" if held.euler_zyz_deg is not None else ", without angles"
    if held.cluster is not None:
        found += f", in {counted(len(np.unique(held.cluster[held.cluster >= 0])), 'cluster')}"
    remedy = "give their tomograms as well, to see whether they lie inside of them, and once"
    return [Check("picks", "ok", found, remedy)], len(held)


def _usual_distance_angstrom(picks: ParticleSet) -> float:
    """Median distance to the nearest neighbour in the same tomogram; NaN where none has one."""
    distances = [np.zeros(0)]
    for name, info in picks.tomograms.items():
        places = picks.center_zyx_px[picks.tomogram_name == name] * info.voxel_size_angstrom
        if len(places) > 1:
            distances.append(cKDTree(places).query(places, k=2)[0][:, 1])
    found = np.concatenate(distances)
    return float(np.median(found)) if len(found) else float("nan")


def check_store(path: Path) -> tuple[list[Check], int]:
    """Whether a store can be sorted: numbers, boxes, wedge, positions; with its size."""
    with open_store(path) as store:
        n_flat = 0
        for start in range(0, len(store), _AT_ONCE):  # reading refuses what is no number
            volumes = store.read(np.arange(start, min(start + _AT_ONCE, len(store))))
            n_flat += int(is_constant(volumes).sum())
        ranges, _ = distinct_tilt_ranges(store.tilt_range_deg, len(store))
        tilts = ", ".join(f"{low:g} to {high:g}" for low, high in ranges)
        text = (
            f"{counted(len(store), 'subtomogram')} of {store.box_shape_zyx[0]} voxels of "
            f"{store.voxel_size_angstrom:g} A, tilt range {tilts}"
        )
        placed, n = store.particles().has_positions, len(store)
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
    ], n
