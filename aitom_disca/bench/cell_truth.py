"""Which particles of the truth a run found: one-to-one matching, kind by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.simulation import match_picks
from aitom_disca.simulation.cell import CellTruth

WANTED = ("abundant", "membrane")  # roles of the particles that are to be found
TOLERANCE_PX = 8.0  # or the particle's radius, if that is smaller
FACE_PX = 20.0  # particles nearer to a face cannot be asked for
NOTHING, DOUBLE = "nothing", "double"
_SURROUNDINGS = (NOTHING, "sheet", "filament")  # as they are numbered
_BESIDE_PX = 3  # what lies no farther from a bilayer or filament, and on no particle, is on it


@dataclass(frozen=True)
class KnownCells:
    """The truth in the tomograms of a run, under their names there.

    Parameters
    ----------
    truth : CellTruth
    wanted, reachable : ndarray of bool
        Particles that are to be found, and those far enough from the faces.
    surroundings : mapping of str to ndarray of shape (z, y, x)
        1 in bilayers, 2 in filaments; of the tomograms where this is known.
    """

    truth: CellTruth
    wanted: np.ndarray
    reachable: np.ndarray
    surroundings: Mapping[str, np.ndarray]

    def hit_by(self, found: ParticleSet) -> np.ndarray:
        """Row of the truth that each found particle hits, or -1; wanted kinds come first."""
        hit = np.full(len(found), -1)
        radius = np.minimum(self.truth.radius_px, TOLERANCE_PX)
        for name in np.unique(self.truth.tomogram):
            for asked in (self.wanted, ~self.wanted):
                free = np.flatnonzero((found.tomogram_name == name) & (hit < 0))
                true = np.flatnonzero((self.truth.tomogram == name) & asked)
                places = found.center_zyx_px[free], self.truth.center_zyx_px[true]
                pairs = match_picks(*places, radius[true] if len(true) else 1.0).pairs
                hit[free[pairs[:, 0]]] = true[pairs[:, 1]]
        return hit

    def kinds_of(self, found: ParticleSet, hit: np.ndarray) -> np.ndarray:
        """Kind of what was hit: wanted kinds and gold by name, filler, or why nothing was.

        ``double`` lies on a particle that another one hit; ``sheet`` and ``filament`` on those.
        """
        kind = np.where(self.truth.role == "filler", "filler", self.truth.kind).astype(object)
        kinds = np.where(hit < 0, NOTHING, kind[hit])
        for row in np.flatnonzero(hit < 0):
            kinds[row] = self._beside(found.tomogram_name[row], found.center_zyx_px[row])
        return kinds.astype(str)

    def _beside(self, name: str, place_zyx_px: np.ndarray) -> str:
        """What lies where no particle was hit."""
        own = self.truth.tomogram == name
        radius = np.minimum(self.truth.radius_px[own], TOLERANCE_PX)
        away = np.linalg.norm(self.truth.center_zyx_px[own] - place_zyx_px, axis=1)
        if (away <= radius).any():
            return DOUBLE
        if name not in self.surroundings:
            return NOTHING
        first = np.round(place_zyx_px).astype(int) - _BESIDE_PX
        box = tuple(slice(max(f, 0), f + 2 * _BESIDE_PX + 1) for f in first)
        return _SURROUNDINGS[int(self.surroundings[name][box].max(initial=0))]


def known_cells(
    truth: CellTruth,
    tomograms: Mapping[str, TomogramInfo],
    surroundings: Mapping[str, np.ndarray],
) -> KnownCells:
    """The truth of the tomograms of a run, which has them by name, or a name that goes on after _.

    Raises
    ------
    InputError
        If a tomogram of the run is not in the truth.
    """
    names = np.full(len(truth.tomogram), "", object)
    reachable = np.zeros(len(names), bool)
    around = {}
    for name, info in tomograms.items():
        fits = [t for t in np.unique(truth.tomogram) if name == t or name.startswith(f"{t}_")]
        if not fits:
            raise InputError(
                f"the truth does not tell of tomogram {name} (it does of "
                f"{', '.join(np.unique(truth.tomogram))}); give the truth of this run."
            )
        true_name = max(fits, key=len)
        own = truth.tomogram == true_name
        names[own] = name
        if true_name in surroundings:
            around[name] = surroundings[true_name]
        if info.shape_zyx is None:
            raise InputError(f"the run does not say how large tomogram {name} is; extract anew.")
        last = np.array(info.shape_zyx) - 1
        from_face = np.minimum(truth.center_zyx_px, last - truth.center_zyx_px).min(axis=1)
        reachable |= own & (from_face >= FACE_PX)
    kept = names != ""
    columns = {key: value[kept] for key, value in vars(truth).items()}
    columns["tomogram"] = names[kept].astype(str)
    own_truth = CellTruth(**columns)
    return KnownCells(own_truth, np.isin(own_truth.role, WANTED), reachable[kept], around)
