"""The report of a run: cards of its clusters, figures, and one self-contained HTML page."""

from aitom_disca.colours import cluster_colour
from aitom_disca.report.cards import ClusterCard

__all__ = ["ClusterCard", "cluster_colour"]
