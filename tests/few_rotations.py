"""Searches over few rotations, enough for phantoms in boxes of 16 voxels.

For tests of what is done with what a search finds; how finely is searched by default is for
tests of the searches themselves and of whole runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aitom_disca.alignment import align_averages
from aitom_disca.alignment.search_grids import cross, cube
from aitom_disca.averaging import (
    compare_maps,
    fit_significance,
    half_set_refinement,
    initial_model,
)
from aitom_disca.classification import assign_others, coarse_and_fine, detail_levels, noise_clusters


@contextmanager
def sorting_quickly() -> Iterator[None]:
    """`AlignmentSorter` and what is assigned by what it learnt."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (detail_levels, assign_others):
            patch.setattr(module, "COARSE", (4.0, 100, cross(1.25), 4))
            patch.setattr(module, "FINE", (5.0, 200, cross(0.8), 4))
        patch.setattr(coarse_and_fine, "_SPLIT_TRIES", 1)
        patch.setattr(noise_clusters, "_N_NOISE", 200)
        patch.setattr(align_averages, "_N_ROTATIONS", 300)
        yield


@contextmanager
def averaging_quickly() -> Iterator[None]:
    """`average_cluster`, the null test and the comparison with a known map."""
    levels = (
        (4.0, 150, cube(1.67), 3),
        (5.0, 300, cross(1.0), 6),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(half_set_refinement, "_LEVELS", levels)
        patch.setattr(half_set_refinement, "_TRIES", 2)
        patch.setattr(initial_model, "_LEVELS", ((5.0, 300), (6.0, 600)))
        patch.setattr(initial_model, "_POWERS", (0.5, 0.75, 1.0))
        patch.setattr(initial_model, "_MOST_RUNS", 2)
        patch.setattr(initial_model, "_GENERATIONS", 1)
        patch.setattr(fit_significance, "_N_ROTATIONS", 300)
        patch.setattr(compare_maps, "_N_ROTATIONS", 500)
        patch.setattr(compare_maps, "_LEADS", 4)
        yield
