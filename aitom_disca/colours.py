"""The colours that clusters have everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

# Paul Tol's "vibrant" scheme and four of his "muted": told apart by colour-blind readers too.
CLUSTER_COLOURS = (
    "#0077bb", "#ee7733", "#009988", "#ee3377", "#33bbee",
    "#cc3311", "#332288", "#999933", "#882255", "#117733",
)  # fmt: skip
UNASSIGNED_COLOUR = "#b8b8b4"


def cluster_colour(cluster: int) -> str:
    """Colour of a cluster (from 0; negative: unassigned), the same in every figure."""
    return UNASSIGNED_COLOUR if cluster < 0 else CLUSTER_COLOURS[cluster % len(CLUSTER_COLOURS)]
