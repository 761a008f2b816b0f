"""What is to be known of clusters: whether to trust them, how they lie, and where."""

from aitom_disca.analysis.abundance import Abundance, count_clusters
from aitom_disca.analysis.neighbour_pairs import NeighbourPair, compare_neighbours
from aitom_disca.analysis.nuisance import Audit, Finding, audit, audit_properties
from aitom_disca.analysis.orientation import (
    OrientationPreference,
    preferred_orientation,
    preferred_orientations,
)
from aitom_disca.analysis.pose_normalisation import (
    Determination,
    StandardPose,
    how_determined,
    standard_pose,
    to_standard_pose,
)
from aitom_disca.analysis.properties import Property, measure_properties
from aitom_disca.analysis.stability import Stability, compare_runs, fit_repeatedly
from aitom_disca.analysis.view_directions import view_directions_xyz

__all__ = [
    "Abundance",
    "Audit",
    "Determination",
    "Finding",
    "NeighbourPair",
    "OrientationPreference",
    "Property",
    "Stability",
    "StandardPose",
    "audit",
    "audit_properties",
    "compare_neighbours",
    "compare_runs",
    "count_clusters",
    "fit_repeatedly",
    "how_determined",
    "measure_properties",
    "preferred_orientation",
    "preferred_orientations",
    "standard_pose",
    "to_standard_pose",
    "view_directions_xyz",
]
