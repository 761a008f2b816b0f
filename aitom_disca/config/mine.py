"""Settings of sorting, and the presets."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from aitom_disca.config.base import WithConstants
from aitom_disca.config.sorting import SORTING, SortingSettings
from aitom_disca.errors import InputError

_FEW_CLUSTERS, _MANY_CLUSTERS = 12, 30
_SUBTOMOGRAMS_PER_CLUSTER = 40


class MineSettings(WithConstants):
    """How subtomograms are sorted; `aitom_disca.DISCA` says what each setting is.

    The defaults are the preset ``fast``.
    """

    _constants: ClassVar[str] = "sorting"

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
