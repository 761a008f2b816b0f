"""What a format cannot keep of particles, in plain words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aitom_disca.io.formats.format import (
    BOX_CENTER,
    CLUSTER,
    FURTHER,
    NAME,
    POSE,
    POSTERIOR,
    SCORE,
    Format,
    Known,
)
from aitom_disca.io.formats.relion.read_star import TABLE_KEY
from aitom_disca.io.formats.relion.star_blocks import SUBTOMOGRAM_ANGLE_COLUMNS
from aitom_disca.io.formats.relion.star_coordinates import PIXEL_KEY
from aitom_disca.number_text import counted
from aitom_disca.particles import UNASSIGNED, ParticleSet

_RELION = ("relion", "warp")


def losses(particles: ParticleSet, target: Format, known: Known) -> list[str]:
    """What a format cannot keep of these particles, in plain words."""
    kept = target.keeps
    lost = []
    if POSE not in kept and _count(particles.euler_zyz_deg):
        lost.append(f"orientations of {counted(_count(particles.euler_zyz_deg), 'particle')}")
    if SCORE not in kept and _count(particles.score):
        lost.append(f"scores of {counted(_count(particles.score), 'particle')}")
    if CLUSTER not in kept and particles.cluster is not None:
        n_members = int((particles.cluster != UNASSIGNED).sum())
        lost += [f"clusters of {counted(n_members, 'particle')}"] if n_members else []
    if POSTERIOR not in kept and _count(particles.posterior):
        lost.append(f"posterior of {counted(_count(particles.posterior), 'particle')}")
    boxes = particles.box_center_zyx_px
    if BOX_CENTER not in kept and boxes is not None:
        moved = int((boxes != particles.center_zyx_px).any(axis=1).sum())
        lost += [f"where the boxes of {counted(moved, 'particle')} were cut"] if moved else []
    if NAME not in kept:
        lost.append("names of tomograms")
    if target.loses is not None:
        lost += target.loses(particles, known)
    elif FURTHER not in kept:
        stages = SUBTOMOGRAM_ANGLE_COLUMNS if POSE in kept else []
        columns = [name for name in particles.more if name not in stages]
        lost += [f"further columns {', '.join(columns)}"] if columns else []
    return lost + _lost_blocks(particles, target)


def _count(values: np.ndarray | None) -> int:
    """Rows of which something is known; angles that are all 0 say nothing."""
    if values is None:
        return 0
    if values.ndim == 2:
        return int((np.nan_to_num(values) != 0).any(axis=1).sum())
    return int(np.isfinite(values).sum())


def _lost_blocks(particles: ParticleSet, target: Format) -> list[str]:
    to_relion = target.name.startswith(_RELION)
    lost = []
    for key, block in particles.more_blocks.items():
        family, _, name = key.partition(":")
        kept = to_relion if family == "relion" else target.name.startswith(family)
        empty = not isinstance(block, dict | pd.DataFrame) or len(block) == 0
        if not kept and not empty and key not in (TABLE_KEY, PIXEL_KEY):
            lost.append(f"the block {name}")
    return lost
