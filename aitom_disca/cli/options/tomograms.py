"""Options that say what tomograms, stores and labels are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli.help_text import OFTEN, rarely
from aitom_disca.cli.options.declared import described, option
from aitom_disca.config import OpticsSettings

_RARELY = rarely("tomograms")
_LENS = rarely("what the microscope did")

Tomograms = Annotated[
    list[Path],
    typer.Argument(
        help="MRC, REC or MAP files (also .gz, .bz2), OME-Zarr folders, RELION's tomograms.star, "
        "or a folder of RELION, Warp, AreTomo or the CryoET Data Portal.",
    ),
]
Store = Annotated[Path, typer.Argument(help="HDF5 store of subtomograms.")]
_LABELS = "labels.csv of this store, or a star file with classes"
Labels = Annotated[Path, option(OFTEN, "--labels", text=f"{_LABELS}.")]
LabelsIfAny = Annotated[
    Path | None, option(OFTEN, "--labels", text=f"{_LABELS}; without it all are one cluster.")
]
OnlyClusters = Annotated[
    list[int] | None,
    option(
        OFTEN,
        "--cluster",
        text="Number of a cluster (repeatable); by default all.",
    ),
]
VoxelSize = Annotated[
    float | None,
    option(OFTEN, "--voxel-size-angstrom", text="Voxel size; by default the header's."),
]
TiltRange = Annotated[
    tuple[float, float] | None,
    option(
        OFTEN,
        "--tilt-range",
        text="Smallest and largest measured tilt in degrees, such as --tilt-range -54 60; if left "
        "out the header's, else -60 60.",
        metavar="MIN MAX",
    ),
]
TiltFile = Annotated[
    Path | None,
    option(
        _RARELY,
        "--tilt-file",
        text="File of tilt angles for the range: .mdoc, .tlt, .rawtlt, .aln, .tomostar or RELION's "
        ".star of one series. One that lies beside a tomogram and has its name is found.",
    ),
]
ZarrLevel = Annotated[
    int,
    option(_RARELY, "--zarr-level", text="Level of OME-Zarr tomograms; 0 is full size.", min=0),
]
DarkProtein = Annotated[
    bool | None,
    option(
        OFTEN,
        "--dark-protein/--bright-protein",
        text="Whether protein is dark in the tomograms, which are inverted then, or bright. If "
        "neither is given it is taken to be bright, but `run` and `pick` stop where it is clearly "
        "dark.",
        show_default=False,
    ),
]
Defocus = Annotated[
    str | None, option(_LENS, "--defocus", text=described(OpticsSettings, "defocus"))
]
Voltage = Annotated[
    float | None, option(_LENS, "--voltage-kv", text=described(OpticsSettings, "voltage_kv"))
]
SphericalAberration = Annotated[
    float | None,
    option(
        _LENS,
        "--spherical-aberration-mm",
        text=described(OpticsSettings, "spherical_aberration_mm"),
    ),
]
AmplitudeContrast = Annotated[
    float | None,
    option(_LENS, "--amplitude-contrast", text=described(OpticsSettings, "amplitude_contrast")),
]
