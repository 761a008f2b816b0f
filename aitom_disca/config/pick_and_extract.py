"""Settings of picking and extraction, and the microscope."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from aitom_disca.config.base import Settings

Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
JunkKind = Literal["gold", "sheet", "filament"]
JUNK_KINDS: tuple[JunkKind, ...] = get_args(JunkKind)


class OpticsSettings(Settings):
    """The microscope, where it is given: it overrides what is found in files."""

    defocus: str | None = Field(
        default=None,
        description="Defocus in Angstrom, positive for underfocus; or a file that says it: .csv "
        "with the columns tomogram and defocus_angstrom, RELION's tomograms.star, .mdoc, "
        "IMOD's .defocus, Warp's .xml, or CTFFIND's .txt.",
    )
    voltage_kv: float | None = Field(
        default=None, ge=20, le=1500, description="Acceleration voltage in kV; 300 if not known."
    )
    spherical_aberration_mm: float | None = Field(
        default=None, ge=0, le=10, description="Spherical aberration in mm; 2.7 if not known."
    )
    amplitude_contrast: float | None = Field(
        default=None, ge=0, le=1, description="Share of amplitude contrast; 0.1 if not known."
    )


class PickSettings(Settings):
    """How particles are picked (Difference of Gaussians)."""

    particle_diameter_angstrom: Length | tuple[Length, ...] = Field(
        default=200.0,
        description="Typical particle diameter in Angstrom, or several.",
    )
    sigma_px: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Sigma of the narrow Gaussian in voxels; diameter / (2 sqrt 3) if left out.",
    )
    sigma_ratio: float = Field(
        default=1.1, gt=1, allow_inf_nan=False, description="Wide sigma divided by narrow sigma."
    )
    picker: Literal["dog", "aitom"] = Field(
        default="dog",
        description="dog: the picker of this package; aitom: AITom's own, where it is importable.",
    )
    threshold_rule: Literal["auto", "fdr", "std", "absolute", "aitom"] = Field(
        default="auto",
        description=(
            "How high a peak must be. auto: as fdr, or lower where the peaks fall into two clear "
            "groups, and with a C at most C noise levels; fdr: of the picks at most the rate C are "
            "noise; std: mean + C standard deviations; absolute: C noise levels; aitom: AITom's "
            "level C of 20."
        ),
    )
    threshold: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="C of the rule; if left out: fdr 0.4, std 3, aitom 3.",
    )
    min_distance_px: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description=(
            "Smallest distance of two picks in voxels; 0.75 of their mean diameter if left out."
        ),
    )
    border_px: int | None = Field(
        default=None,
        ge=0,
        description=(
            "Picks stay this many voxels away from the faces; 0.8 of the largest diameter if left "
            "out, so that a subtomogram of the default size fits."
        ),
    )
    max_picks: int | None = Field(
        default=None,
        gt=0,
        description=(
            "Keep no more than this many picks per tomogram, best first; if left out as many as "
            "fill it with cubes of their diameters."
        ),
    )
    keep: tuple[JunkKind, ...] = Field(
        default=(),
        description="Kinds that go on with the particles instead of being set apart.",
    )
    membranes: tuple[str, ...] = Field(
        default=(),
        description=(
            "MRC files in which membranes are not 0: one for all tomograms, or one for each, of "
            "its name or beginning with it. Picks on them are sheets."
        ),
    )
    membrane_distance_angstrom: float = Field(
        default=50.0,
        ge=0,
        allow_inf_nan=False,
        description="So near to a membrane of --membranes a pick is a sheet.",
    )

    @field_validator("particle_diameter_angstrom")
    @classmethod
    def _some_diameter(cls, given: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if given == ():
            raise ValueError("give one diameter or several")
        return given

    @property
    def diameters_angstrom(self) -> tuple[float, ...]:
        """The diameters that were given, smallest first."""
        given = self.particle_diameter_angstrom
        return tuple(sorted({*given})) if isinstance(given, tuple) else (given,)

    @property
    def largest_diameter_angstrom(self) -> float:
        """What boxes and borders are made for."""
        return self.diameters_angstrom[-1]


class ExtractSettings(Settings):
    """How subtomograms are cut out."""

    particle_diameter_angstrom: float = Field(
        default=200.0,
        gt=0,
        allow_inf_nan=False,
        description="Typical particle diameter in Angstrom.",
    )
    box_px: int | None = Field(
        default=None,
        gt=1,
        description=(
            "Edge of a subtomogram in working voxels; if left out even, 1.6 diameters, at least 12."
        ),
    )
    working_voxel_size_angstrom: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Voxel size of the subtomograms in Angstrom; the tomogram's own if left out.",
    )
