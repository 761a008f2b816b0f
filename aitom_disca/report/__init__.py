"""The report of a run: cards of its clusters, figures, and one self-contained HTML page."""

from aitom_disca.report.cards import ClusterCard, cluster_colour

__all__ = ["ClusterCard", "cluster_colour"]
