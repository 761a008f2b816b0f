"""Settings of a run: typed, frozen, checked when they are made."""

from aitom_disca.config.mine import PRESETS, MineSettings
from aitom_disca.config.pick_and_extract import (
    JUNK_KINDS,
    ExtractSettings,
    JunkKind,
    OpticsSettings,
    PickSettings,
)
from aitom_disca.config.run import UNTIL, AverageSettings, RelionVersion, RunSettings, Until
from aitom_disca.config.sorting import SORTING

__all__ = [
    "JUNK_KINDS",
    "PRESETS",
    "SORTING",
    "UNTIL",
    "AverageSettings",
    "ExtractSettings",
    "JunkKind",
    "MineSettings",
    "OpticsSettings",
    "PickSettings",
    "RelionVersion",
    "RunSettings",
    "Until",
]
