"""Missing-wedge-aware alignment of subtomograms, and sorting by what they align to."""

from aitom_disca.alignment.averages import Averager
from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.likelihood import Expectation, Particles, expect
from aitom_disca.alignment.reference import Slicer, rotation_grid, to_volume
from aitom_disca.alignment.search import Poses, align
from aitom_disca.alignment.sorting import AlignmentSorter

__all__ = [
    "AlignmentSorter",
    "Averager",
    "Coefficients",
    "Expectation",
    "Particles",
    "Poses",
    "Slicer",
    "align",
    "expect",
    "rotation_grid",
    "to_volume",
]
