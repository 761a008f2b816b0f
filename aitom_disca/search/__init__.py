"""Averages that were found go back over the tomograms and find the rest of their particles."""

from aitom_disca.search.candidates import candidates_in, candidates_of
from aitom_disca.search.false_positives import (
    particle_probability,
    q_values,
    q_values_of_bulk,
    without_structure,
)
from aitom_disca.search.judge_candidates import Found, Judge, Judged, accepted, search
from aitom_disca.search.plain_template_matching import template_peaks, template_search
from aitom_disca.search.references import References, references_of_maps, references_of_run

__all__ = [
    "Found",
    "Judge",
    "Judged",
    "References",
    "accepted",
    "candidates_in",
    "candidates_of",
    "particle_probability",
    "q_values",
    "q_values_of_bulk",
    "references_of_maps",
    "references_of_run",
    "search",
    "template_peaks",
    "template_search",
    "without_structure",
]
