"""Settings of a run: typed, frozen, checked when they are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from aitom_disca.config.base import Settings
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.errors import InputError

RelionVersion = Literal["3.1", "5"]


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


_FEW_CLUSTERS, _MANY_CLUSTERS = 12, 30
_SUBTOMOGRAMS_PER_CLUSTER = 40


class MineSettings(Settings):
    """How subtomograms are sorted; `aitom_disca.DISCA` says what each setting is.

    The defaults are the preset ``fast``.
    """

    preset: Literal["fast", "paper"] = "fast"
    candidate_k: Annotated[tuple[Annotated[int, Field(ge=1)], ...] | None, Field(min_length=1)] = (
        None
    )
    max_iterations: int = Field(4, ge=1)
    working_box_px: int | None = Field(12, ge=3)
    low_pass_sigma_px: float = Field(0.67, ge=0)
    mask_diameter_angstrom: float | None = Field(None, ge=0, allow_inf_nan=False)
    graded_wedge: bool = True
    # The network.
    width: float = Field(0.5, gt=0)
    n_convolutions: int | None = Field(5, ge=1, le=10)
    n_features: int = Field(256, ge=1)
    n_cube_rotations: Literal[1, 4, 12, 24] = 12
    rotation: Literal["own", "aitom"] = "own"
    precision: Literal["auto", "float32", "mixed"] = "auto"
    n_devices: int = Field(1, ge=1)
    # Sorting by alignment.
    alignment: bool = True
    alignment_most: int = Field(2000, ge=10)
    alignment_starts: int | None = Field(None, ge=1)
    alignment_splits: int = Field(2, ge=0)
    sorting: SortingSettings | None = None  # None: as they are measured, `SORTING`
    # The mixture.
    k_criterion: Literal["bic", "bic_si", "aic", "ch", "kl", "jump"] = "bic"
    merge_clusters: bool = False
    split_clusters: bool = False
    pca_dimensions: int | None = Field(16, ge=1)
    whiten: bool = True
    choose_dimensions: bool = True
    n_starts: int = Field(3, ge=1)
    reg_covar: float = Field(1e-2, gt=0)
    # The training.
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    learning_rate_decay: float = Field(0.95, gt=0, le=1)
    rotated_copies: int = Field(1, ge=0)
    label_smoothing: float = Field(0.2, ge=0, lt=1)
    label_smoothing_decay: float = Field(0.9, ge=0, le=1)
    head_epochs: int = Field(10, ge=0)
    outlier_quantile: float | None = Field(0.99, gt=0, le=1)
    # When to stop.
    stop_fraction: float = Field(0.99, gt=0, le=1)
    stop_iterations: int = Field(3, ge=1)
    seed: int = Field(0, ge=0)

    @field_validator("k_criterion")
    @classmethod
    def _defined(cls, criterion: str, info: ValidationInfo) -> str:
        if criterion in ("ch", "kl", "jump") and max(info.data.get("candidate_k") or (2,)) < 2:
            raise ValueError(f"{criterion} compares partitions; candidate_k needs a number above 1")
        return criterion

    @property
    def mixture_k(self) -> tuple[int, ...]:
        """The numbers of clusters of features to choose from."""
        return self.candidate_k or tuple(range(1, _FEW_CLUSTERS + 1))

    @property
    def constants(self) -> SortingSettings:
        """The constants of sorting by alignment."""
        return self.sorting or SORTING

    @model_serializer(mode="wrap")
    def _without_what_is_not_given(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where no constants are given, settings are those of earlier versions."""
        values: dict[str, Any] = plain(self)
        if self.sorting is None:
            values.pop("sorting", None)
        return values

    def bounds(self, n: int) -> tuple[int, int]:
        """Fewest and most clusters that n subtomograms are sorted into by alignment.

        Where no numbers are given, at most one cluster for every 40 subtomograms, from 12 to 30.
        """
        if self.candidate_k is not None:
            return min(self.candidate_k), max(self.candidate_k)
        most = min(max(n // _SUBTOMOGRAMS_PER_CLUSTER, _FEW_CLUSTERS), _MANY_CLUSTERS)
        return 1, most

    @classmethod
    def from_preset(cls, preset: str = "fast", **changes: Any) -> MineSettings:
        """Settings of a preset, with changes.

        Raises
        ------
        InputError
            If the preset or one of the changes is unknown or cannot be used.
        """
        if preset not in [*PRESETS]:
            raise InputError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}.")
        return cls.checked(preset=preset, **{**PRESETS[preset], **changes})


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    # Zeng et al. 2023 and its SI; learning rate and batch size as in the authors' own code.
    "paper": {
        "candidate_k": tuple(range(2, 13)),
        "alignment": False,
        "max_iterations": 20,
        "working_box_px": None,
        "low_pass_sigma_px": 0.0,
        "width": 1.0,
        "n_convolutions": 10,
        "n_features": 1024,
        "n_cube_rotations": 1,
        "whiten": False,
        "choose_dimensions": False,
        "n_starts": 5,
        "reg_covar": 1e-5,
        "learning_rate": 1e-5,
    },
}


# Where a run ends. With the preset fast, whose sorting is by alignment already, nothing is refined.
Until = Literal["mine", "refine", "average", "embed"]
UNTIL: tuple[Until, ...] = get_args(Until)


class AverageSettings(Settings):
    """How clusters are averaged, and how the averages are judged."""

    mask: str = Field("sphere", min_length=1)  # sphere, density, or the path of a map
    # Of a soft sphere in which averages are looked at; None: the particles' diameter and 15 %, or
    # the box over 1.6 for that diameter where none is known.
    mask_diameter_angstrom: float | None = Field(None, gt=0)
    graded_wedge: bool = True  # as in `MineSettings`
    symmetry: str = "C1"  # a point group of RELION
    # fft: all rotations are searched; gumnet: a network decides; gumnet+fft: the better of both.
    aligner: Literal["fft", "gumnet", "gumnet+fft"] = "fft"
    gumnet: str | None = None  # the network's file
    null_test: Literal["none", "noise", "others"] = "noise"
    b_factor_angstrom2: float | Literal["auto"] | None = None
    # Members of a cluster that are averaged, drawn at random; the others are laid on the outcome.
    most: int = Field(1000, ge=4)
    # Of two members that come to lie nearer to one another one goes; None: a quarter of the box.
    min_distance_angstrom: float | None = Field(None, ge=0)
    seed: int = Field(0, ge=0)


class RunSettings(Settings):
    """Everything that decides the result of a run."""

    voxel_size_angstrom: float | None = Field(None, gt=0)  # None: the header's
    tilt_range_deg: tuple[float, float] | None = None  # None: the header's
    dark_protein: bool = False
    optics: OpticsSettings = OpticsSettings()
    pick: PickSettings = PickSettings()
    picks: tuple[str, ...] = ()  # files of picks, in place of picking
    file_pixel_angstrom: float | None = Field(None, gt=0)  # of these; None: what they say
    tomogram_name: str | None = None  # of those that do not say it
    pick_on: tuple[str, ...] = ()  # other versions of the tomograms, to pick on
    extract: ExtractSettings = ExtractSettings()
    mine: MineSettings = MineSettings()
    average: AverageSettings = AverageSettings()
    until: Until = "embed"
    runs: int = Field(1, ge=1)  # of mining, with other seeds
    # Of sorting: each after the first begins with a search by the averages, and the last one is
    # that which gains few particles.
    rounds: int = Field(1, ge=1)
    relion: RelionVersion = "3.1"

    @property
    def n_rounds(self) -> int:
        """Rounds at most: one where picks were brought, nothing was aligned, or runs are many."""
        one = self.picks or not self.mine.alignment or self.runs > 1
        return 1 if one else self.rounds
