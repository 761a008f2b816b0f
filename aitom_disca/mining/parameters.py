"""The parameters of the estimator DISCA, by name, as scikit-learn has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal, Self

from aitom_disca.config import MineSettings
from aitom_disca.config.sorting import SortingSettings

if TYPE_CHECKING:
    from aitom_disca.network.training import RotateVolumes

OfPreset = Literal["preset"]


@dataclass(eq=False, repr=False)
class Parameters:
    """The settings of `MineSettings` and what rotates training copies; as they were given.

    `DISCA` says what each of them is. Those that the presets do not agree on are ``"preset"``
    where they are not given. As everywhere in scikit-learn nothing is looked at before `fit`.

    Not on top of scikit-learn's classes, which have no types: a type checker would take any name.
    """

    preset: Literal["fast", "paper"] = "fast"
    _: KW_ONLY
    candidate_k: Sequence[int] | OfPreset | None = "preset"
    max_iterations: int | OfPreset = "preset"
    working_box_px: int | OfPreset | None = "preset"
    low_pass_sigma_px: float | OfPreset = "preset"
    mask_diameter_angstrom: float | None = None
    graded_wedge: bool = True
    width: float | OfPreset = "preset"
    n_convolutions: int | OfPreset | None = "preset"
    n_features: int | OfPreset = "preset"
    n_cube_rotations: Literal[1, 4, 12, 24] | OfPreset = "preset"
    rotation: Literal["own", "aitom"] = "own"
    precision: Literal["auto", "float32", "mixed"] = "auto"
    n_devices: int = 1
    alignment: bool | OfPreset = "preset"
    alignment_most: int = 2000
    alignment_starts: int | None = None
    alignment_splits: int = 2
    sorting: SortingSettings | None = None
    k_criterion: Literal["bic", "bic_si", "aic", "ch", "kl", "jump"] = "bic"
    merge_clusters: bool = False
    split_clusters: bool = False
    pca_dimensions: int | None = 16
    whiten: bool | OfPreset = "preset"
    choose_dimensions: bool | OfPreset = "preset"
    n_starts: int | OfPreset = "preset"
    reg_covar: float | OfPreset = "preset"
    batch_size: int = 64
    learning_rate: float | OfPreset = "preset"
    learning_rate_decay: float = 0.95
    rotated_copies: int = 1
    label_smoothing: float = 0.2
    label_smoothing_decay: float = 0.9
    head_epochs: int = 10
    outlier_quantile: float | None = 0.99
    stop_fraction: float = 0.99
    stop_iterations: int = 3
    seed: int = 0
    rotate: RotateVolumes | None = None

    @classmethod
    def from_settings(cls, settings: MineSettings, *, rotate: RotateVolumes | None = None) -> Self:
        """An estimator with these settings."""
        usual = MineSettings.from_preset(settings.preset)
        given = {name: value for name, value in settings if value != getattr(usual, name)}
        return cls(rotate=rotate, **given, preset=settings.preset)

    @property
    def settings(self) -> MineSettings:
        """The settings that these parameters are.

        Raises
        ------
        InputError
            If a parameter cannot be used.
        """
        values = {name: getattr(self, name) for name in MineSettings.model_fields}
        given = {k: v for k, v in values.items() if not (isinstance(v, str) and v == "preset")}
        return MineSettings.from_preset(**given)
