"""Subtomograms: cut them out and make them comparable."""

from aitom_disca.subtomograms.box_plan import plan_box
from aitom_disca.subtomograms.extract import ExtractSummary, extract_subtomograms
from aitom_disca.subtomograms.preprocess import crop, low_pass, normalise

__all__ = [
    "ExtractSummary",
    "crop",
    "extract_subtomograms",
    "low_pass",
    "normalise",
    "plan_box",
]
