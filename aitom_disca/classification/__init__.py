"""Classification of subtomograms by alignment: which average, in which pose, explains each best."""

from aitom_disca.classification.sort_subset import AlignmentSorter

__all__ = ["AlignmentSorter"]
