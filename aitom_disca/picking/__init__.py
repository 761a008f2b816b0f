"""Picking: particles of unknown shape, by Difference of Gaussians."""

from aitom_disca.picking.dog import difference_of_gaussians, sigma_from_diameter
from aitom_disca.picking.duplicates import without_duplicates
from aitom_disca.picking.membranes import read_membranes
from aitom_disca.picking.pick import find_candidates, find_peaks, pick_particles
from aitom_disca.picking.pick_result import Candidates, join_candidates
from aitom_disca.picking.thresholds import choose_threshold

__all__ = [
    "Candidates",
    "choose_threshold",
    "difference_of_gaussians",
    "find_candidates",
    "find_peaks",
    "join_candidates",
    "pick_particles",
    "read_membranes",
    "sigma_from_diameter",
    "without_duplicates",
]
