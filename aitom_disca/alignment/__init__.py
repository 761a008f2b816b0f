"""Missing-wedge-aware alignment of subtomograms, and sorting by what they align to."""

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.reference import Slicer, average, rotation_grid, to_volume
from aitom_disca.alignment.search import Poses, align
from aitom_disca.alignment.sorting import AlignmentSorter

__all__ = [
    "AlignmentSorter",
    "Coefficients",
    "Poses",
    "Slicer",
    "align",
    "average",
    "rotation_grid",
    "to_volume",
]
