"""Classification of subtomograms by alignment: which average, in which pose, explains each best."""

from aitom_disca.classification.sort_draw import AlignmentSorter

__all__ = ["AlignmentSorter"]
