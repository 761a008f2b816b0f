"""What goes into a cell: how large, how full, what kinds, and how it is imaged."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from aitom_disca.errors import InputError

# Electrons counted per square angstrom and tilt. Dose damping is that of a whole exposure at each.
LEVELS = {"good": 3.0, "mid": 0.3, "raw": 0.08}


@dataclass(frozen=True)
class CellRecipe:
    """Content of a cell; the numbers suit the default shape.

    Parameters
    ----------
    abundant, fillers : tuple of str
        Names of templates: kinds that are to be found, and those they are hidden among.
    membrane : str, optional
        Template that sits in bilayers, its z axis along their normal.
    shape_zyx : tuple of 3 int
    voxel_size_angstrom : float
    ice_angstrom : float
        Mean thickness of the ice; it changes by ``ice_change`` of itself along and across.
    ice_change : float
    filled_fraction : float
        Part of the ice inside the cell that is solid; globules fill up to it.
    n_abundant, n_membrane, n_fillers : int
        Particles of all abundant kinds together, of the membrane complex, and of each filler.
    n_vesicles, n_microtubules, n_actin, n_gold : int
    sheet : bool
        Whether a bounding bilayer passes through, with nothing but ice on its far side.
    """

    abundant: tuple[str, ...]
    fillers: tuple[str, ...] = ()
    membrane: str | None = None
    shape_zyx: tuple[int, int, int] = (150, 400, 400)
    voxel_size_angstrom: float = 10.0
    ice_angstrom: float = 1150.0
    ice_change: float = 0.08
    filled_fraction: float = 0.25
    n_abundant: int = 400
    n_membrane: int = 25
    n_fillers: int = 200
    n_vesicles: int = 4
    n_microtubules: int = 2
    n_actin: int = 4
    n_gold: int = 8
    sheet: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be grown."""
        if not self.abundant or self.n_abundant < 0:
            raise InputError("a cell needs at least one abundant kind; name a template.")
        if not 0 <= self.filled_fraction <= 0.4:
            raise InputError(
                "the filled fraction of a cell must be from 0 to 0.4 (random places do not fill "
                f"more); got {self.filled_fraction:g}."
            )
        if not 0 < self.ice_angstrom * (1 + 2 * self.ice_change) <= self.depth_angstrom:
            raise InputError(
                f"ice of {self.ice_angstrom:g} Å does not fit into a tomogram of "
                f"{self.depth_angstrom:g} Å along the beam; make it thinner."
            )

    @property
    def depth_angstrom(self) -> float:
        """Extent of the tomogram along the beam."""
        return self.shape_zyx[0] * self.voxel_size_angstrom

    def abundant_counts(self, rng: np.random.Generator) -> dict[str, int]:
        """How many of each abundant kind: some are up to twice as frequent as others."""
        weights = rng.uniform(0.65, 1.35, len(self.abundant))
        counts = np.round(self.n_abundant * weights / weights.sum()).astype(int)
        return dict(zip(self.abundant, counts.tolist(), strict=True))


@dataclass(frozen=True)
class Imaging:
    """How a cell is imaged.

    Parameters
    ----------
    tilts_deg : tuple of float
        Tilt axis y. The dose grows outward from the smallest tilt.
    defocus_angstrom : float
        Positive for underfocus.
    voltage_kv, cs_mm, amplitude_contrast : float
    exposure : float
        Electrons per square angstrom and tilt that damage the sample.
    protein_volt : float
        Mean inner potential of protein above that of ice.
    free_path_angstrom : float
        Mean free path of inelastic scattering in ice: how fast thickness takes electrons away.
    counted_part : float
        Part of the electrons of a level that this tomogram counts.
    shift_error_px, tilt_error_deg : float
        Standard deviations of the alignment errors of a tilt image.
    """

    tilts_deg: tuple[float, ...] = field(default=tuple(np.arange(-60.0, 61.0, 3.0).tolist()))
    defocus_angstrom: float = 30000.0
    voltage_kv: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.07
    exposure: float = 3.0
    protein_volt: float = 2.0
    free_path_angstrom: float = 3100.0
    counted_part: float = 1.0
    shift_error_px: float = 0.3
    tilt_error_deg: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what has the wrong unit."""
        if not 1000 <= self.defocus_angstrom <= 200_000:
            raise InputError(
                "the defocus must be between 1,000 and 200,000 Å (0.1 to 20 µm); got "
                f"{self.defocus_angstrom:g}: give it in Å."
            )
        if len(self.tilts_deg) < 2 or np.abs(self.tilts_deg).max() >= 85:
            raise InputError("a tilt series needs two tilts at least, all within 85 degrees.")

    @property
    def tilt_range_deg(self) -> tuple[float, float]:
        """Smallest and largest tilt."""
        return float(min(self.tilts_deg)), float(max(self.tilts_deg))
