"""Options of picking and of cutting subtomograms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from aitom_disca.cli.choices import PickedBy, ThresholdRule
from aitom_disca.cli.help_text import OFTEN, rarely
from aitom_disca.cli.options.declared import described, option
from aitom_disca.config import ExtractSettings, PickSettings

_RARELY = rarely("picking")
_CUTTING = rarely("cutting subtomograms")
_DIAMETER = ("--particle-diameter-angstrom", "-d")
_IF_LEFT_OUT = "if left out 200, or less in a thin tomogram."
_FORMATS = (
    "article file of any format of `convert`{} (repeatable: particles that several files hold "
    "count once)."
)

Diameter = Annotated[
    float | None,
    option(OFTEN, *_DIAMETER, text=f"Typical particle diameter in Angstrom; {_IF_LEFT_OUT}"),
]
Diameters = Annotated[
    str | None,
    option(
        OFTEN,
        *_DIAMETER,
        text=f"Typical particle diameter in Angstrom, or several such as 150,270; {_IF_LEFT_OUT} "
        "Boxes are made for the largest.",
    ),
]
Picks = Annotated[
    list[Path],
    option(
        OFTEN,
        "--picks",
        text="Picks: .csv of `pick`, or a p" + _FORMATS.format(""),
    ),
]
PicksOfRun = Annotated[
    list[Path] | None,
    option(OFTEN, "--picks", text="P" + _FORMATS.format(", in place of picking")),
]
FilePixel = Annotated[
    float | None,
    option(
        _RARELY,
        "--file-pixel-angstrom",
        text="Pixel that the files of --picks count in; overrides what they say.",
    ),
]
TomogramName = Annotated[
    str | None,
    option(_RARELY, "--tomogram-name", text="Tomogram of files of --picks that do not name it."),
]
PickOn = Annotated[
    list[Path] | None,
    option(
        OFTEN,
        "--pick-on",
        text="Other versions of the tomograms to pick on, such as denoised ones: files or a folder "
        "(repeatable). Subtomograms are cut from the tomograms themselves.",
    ),
]
Keep = Annotated[
    str | None,
    option(
        _RARELY,
        "--keep",
        text="Kinds that go on with the particles instead of being set apart: some of "
        "gold,sheet,filament.",
    ),
]
Membranes = Annotated[
    list[Path] | None,
    option(
        _RARELY,
        "--membranes",
        text=described(PickSettings, "membranes") + " (Repeatable.)",
    ),
]
PickerName = Annotated[
    PickedBy, option(_RARELY, "--picker", text=described(PickSettings, "picker"))
]
Sigma = Annotated[
    float | None, option(_RARELY, "--sigma-px", text=described(PickSettings, "sigma_px"))
]
Rule = Annotated[
    ThresholdRule,
    option(_RARELY, "--threshold-rule", text=described(PickSettings, "threshold_rule")),
]
Threshold = Annotated[
    float | None, option(_RARELY, "--threshold", text=described(PickSettings, "threshold"))
]
MinDistance = Annotated[
    float | None,
    option(
        _RARELY,
        "--min-distance-px",
        text=described(PickSettings, "min_distance_px") + " The paper took 15.",
    ),
]
Border = Annotated[
    int | None, option(_RARELY, "--border-px", text=described(PickSettings, "border_px"))
]
MaxPicks = Annotated[
    int | None, option(_RARELY, "--max-picks", text=described(PickSettings, "max_picks"))
]
Box = Annotated[int | None, option(_CUTTING, "--box-px", text=described(ExtractSettings, "box_px"))]
WorkingVoxelSize = Annotated[
    float | None,
    option(
        _CUTTING,
        "--working-voxel-size-angstrom",
        text=described(ExtractSettings, "working_voxel_size_angstrom"),
    ),
]
