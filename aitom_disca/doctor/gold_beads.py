"""Gold beads, as picking finds them, and what else lies far off all other voxels."""

from __future__ import annotations

import math

import numpy as np

from aitom_disca.doctor.outcome import Check, judged
from aitom_disca.doctor.sampled_blocks import level_and_spread, slabs
from aitom_disca.io import Tomogram
from aitom_disca.number_text import counted
from aitom_disca.picking.gold import find_gold
from aitom_disca.picking.peak_search import Balls

_EXTREME_SD = 10.0  # robust standard deviations from which a voxel counts as extreme
_MOST_EXTREME = 1e-4  # share of the voxels


def check_gold(tomogram: Tomogram) -> list[Check]:
    """The beads that picking sets apart, and extreme voxels elsewhere."""
    gold = find_gold(tomogram)
    found = "no bead"
    if len(gold):
        size = float(np.median(gold.diameter_angstrom))
        grey = "dark" if tomogram.dark_protein else "bright"
        found = f"{counted(len(gold), f'{grey} bead')} of about {size:g} A; picking sets them apart"
    return [
        Check("gold", "ok", found),
        _check_extreme(tomogram, gold.balls(tomogram.voxel_size_angstrom)),
    ]


def _check_extreme(tomogram: Tomogram, beads: Balls) -> Check:
    median, spread = level_and_spread(tomogram)
    n_extreme, worst, worst_zyx = 0, -1.0, (0, 0, 0)
    for start, slab in slabs(tomogram):
        away = np.abs(slab - median)
        beads.paint(away, (start, 0, 0), 0.0)
        n_extreme += int((away > _EXTREME_SD * spread).sum())
        if away.max() > worst:
            worst = float(away.max())
            z, y, x = np.unravel_index(int(away.argmax()), slab.shape)
            worst_zyx = (int(z) + start, int(y), int(x))
    share = n_extreme / math.prod(tomogram.shape_zyx)
    where = f"{100 * share:.3g} % of the voxels" + (" beside gold" if len(beads.zyx) else "")
    place = ", the worst at z {}, y {}, x {}".format(*worst_zyx) if n_extreme else ""
    return judged(
        "extreme voxels",
        share <= _MOST_EXTREME,
        f"{where} lie {_EXTREME_SD:g} standard deviations off{place}",
        "look there for gold of the other sign, dirt or an edge; erase it before reconstruction, "
        "or keep picks away from it (pick --mask)",
    )
