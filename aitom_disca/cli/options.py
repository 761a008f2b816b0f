"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from aitom_disca.cli.choices import (
    JobsOf,
    KCriterion,
    LastStage,
    PickedBy,
    Precision,
    Preset,
    Relion,
    RotatedBy,
    SortedBy,
    ThresholdRule,
)
from aitom_disca.config import ExtractSettings, OpticsSettings, PickSettings
from aitom_disca.device import use
from aitom_disca.parallel import n_cores, slurm_cores, use_threads


def _described(settings: type, name: str) -> str:
    return settings.model_fields[name].description or ""  # type: ignore[attr-defined]


def _option(panel: str, *names: str, text: str, **rest: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **rest)


def _use_threads(n: int | None) -> None:
    """Limit threads as asked for; libraries know nothing of what SLURM allots."""
    if n is None and (slurm_cores() is None or "OMP_NUM_THREADS" in os.environ):
        return
    use_threads(n or n_cores())


INPUT, PICK, EXTRACT, MINE, RUN = "Tomograms", "Picking", "Extraction", "Mining", "Run"
COMPUTE = "Where to compute"

Tomograms = Annotated[
    list[Path],
    typer.Argument(
        help="MRC, REC or MAP files (also .gz, .bz2), OME-Zarr folders, RELION's tomograms.star, "
        "or a folder of RELION, Warp, AreTomo or the CryoET Data Portal."
    ),
]
Store = Annotated[Path, typer.Argument(help="HDF5 store of subtomograms.")]
VoxelSize = Annotated[
    float | None,
    _option(INPUT, "--voxel-size-angstrom", text="Voxel size; by default the header's."),
]
TiltRange = Annotated[
    tuple[float, float] | None,
    _option(
        INPUT,
        "--tilt-range",
        text="Smallest and largest measured tilt in degrees, such as --tilt-range -54 60; if left "
        "out the header's, else -60 60.",
        metavar="MIN MAX",
    ),
]
TiltFile = Annotated[
    Path | None,
    _option(
        INPUT,
        "--tilt-file",
        text="File of tilt angles for the range: .mdoc, .tlt, .rawtlt, .aln, .tomostar or RELION's "
        ".star of one series. One that lies beside a tomogram and has its name is found.",
    ),
]
ZarrLevel = Annotated[
    int, _option(INPUT, "--zarr-level", text="Level of OME-Zarr tomograms; 0 is full size.", min=0)
]
DarkProtein = Annotated[
    bool | None,
    _option(
        INPUT,
        "--dark-protein/--bright-protein",
        text="Whether protein is dark in the tomograms, which are inverted then, or bright. If "
        "neither is given it is taken to be bright, but `run` and `pick` stop where it is clearly "
        "dark.",
        show_default=False,
    ),
]
Defocus = Annotated[
    str | None, _option(INPUT, "--defocus", text=_described(OpticsSettings, "defocus"))
]
Voltage = Annotated[
    float | None, _option(INPUT, "--voltage-kv", text=_described(OpticsSettings, "voltage_kv"))
]
SphericalAberration = Annotated[
    float | None,
    _option(
        INPUT,
        "--spherical-aberration-mm",
        text=_described(OpticsSettings, "spherical_aberration_mm"),
    ),
]
AmplitudeContrast = Annotated[
    float | None,
    _option(INPUT, "--amplitude-contrast", text=_described(OpticsSettings, "amplitude_contrast")),
]
FilePixel = Annotated[
    float | None,
    _option(
        PICK,
        "--file-pixel-angstrom",
        text="Pixel that the files of --picks count in; overrides what they say.",
    ),
]
TomogramName = Annotated[
    str | None,
    _option(PICK, "--tomogram-name", text="Tomogram of files of --picks that do not name it."),
]
Diameter = Annotated[
    float | None,
    _option(
        PICK,
        "--particle-diameter-angstrom",
        "-d",
        text="Typical particle diameter in Angstrom; if left out 200, or less in a thin tomogram.",
    ),
]
Diameters = Annotated[
    str | None,
    _option(
        PICK,
        "--particle-diameter-angstrom",
        "-d",
        text="Typical particle diameter in Angstrom, or several such as 150,270; if left out 200, "
        "or less in a thin tomogram. Boxes are made for the largest.",
    ),
]
Keep = Annotated[
    str | None,
    _option(
        PICK,
        "--keep",
        text="Kinds that go on with the particles instead of being set apart: some of "
        "gold,sheet,filament.",
    ),
]
Membranes = Annotated[
    list[Path] | None,
    _option(PICK, "--membranes", text=_described(PickSettings, "membranes") + " (Repeatable.)"),
]
PicksOfRun = Annotated[
    list[Path] | None,
    _option(
        PICK,
        "--picks",
        text="Particle file of any format of `convert`, in place of picking (repeatable: particles "
        "that several files hold count once).",
    ),
]
PickOn = Annotated[
    list[Path] | None,
    _option(
        PICK,
        "--pick-on",
        text="Other versions of the tomograms to pick on, such as denoised ones: files or a folder "
        "(repeatable). Subtomograms are cut from the tomograms themselves.",
    ),
]
Sigma = Annotated[
    float | None, _option(PICK, "--sigma-px", text=_described(PickSettings, "sigma_px"))
]
Rule = Annotated[
    ThresholdRule,
    _option(PICK, "--threshold-rule", text=_described(PickSettings, "threshold_rule")),
]
Threshold = Annotated[
    float | None, _option(PICK, "--threshold", text=_described(PickSettings, "threshold"))
]
PickerName = Annotated[PickedBy, _option(PICK, "--picker", text=_described(PickSettings, "picker"))]
MinDistance = Annotated[
    float | None,
    _option(
        PICK,
        "--min-distance-px",
        text=_described(PickSettings, "min_distance_px") + " The paper took 15.",
    ),
]
Border = Annotated[
    int | None, _option(PICK, "--border-px", text=_described(PickSettings, "border_px"))
]
MaxPicks = Annotated[
    int | None, _option(PICK, "--max-picks", text=_described(PickSettings, "max_picks"))
]
Box = Annotated[
    int | None, _option(EXTRACT, "--box-px", text=_described(ExtractSettings, "box_px"))
]
WorkingVoxelSize = Annotated[
    float | None,
    _option(
        EXTRACT,
        "--working-voxel-size-angstrom",
        text=_described(ExtractSettings, "working_voxel_size_angstrom"),
    ),
]
MinePreset = Annotated[
    Preset,
    _option(MINE, "--preset", text="fast: for a workstation; paper: the method as published."),
]
CandidateK = Annotated[
    str | None,
    _option(
        MINE,
        "--candidate-k",
        text="Numbers of clusters to choose from, such as 2-12 or 5,10,20 or 8; "
        "by default from 1 to one for every 40 subtomograms, 12 to 30; in the preset paper 2-12.",
    ),
]
ChosenBy = Annotated[
    KCriterion,
    _option(
        MINE,
        "--k-criterion",
        text="What chooses the number of clusters of the features: bic, bic_si (more parameters "
        "counted), aic, ch (Calinski-Harabasz), kl (Krzanowski-Lai) or jump; the last three "
        "choose from 2.",
    ),
]
MaxIterations = Annotated[
    int | None,
    _option(MINE, "--max-iterations", text="Rounds of clustering and training, at most."),
]
Width = Annotated[
    float | None, _option(MINE, "--width", text="Factor on the network's channels; 1 as published.")
]
RotationName = Annotated[
    RotatedBy,
    _option(
        MINE,
        "--rotation",
        text="What rotates the copies in training: own, on the device; aitom: AITom's function, or "
        "our equal of it, on the processor.",
    ),
]
ComputedIn = Annotated[
    Precision,
    _option(
        MINE,
        "--precision",
        text="mixed: bfloat16, faster on recent graphics cards; auto: mixed there, else float32.",
    ),
]
MaskDiameter = Annotated[
    float | None,
    _option(
        MINE,
        "--mask-diameter-angstrom",
        text="Diameter of a soft sphere round the particle, outside of which nothing counts, so "
        "that neighbours do not; if left out the particle diameter, 0 for the whole box.",
        min=0,
    ),
]
GradedWedge = Annotated[
    bool,
    _option(
        MINE,
        "--graded-wedge/--binary-wedge",
        text="Whether noise and signal are measured by tilt, and coefficients of tilts that hold "
        "less count for less where that is clear; or the wedge is taken to end at the tilt range "
        "alone.",
    ),
]
Device = Annotated[
    str,
    _option(
        MINE,
        "--device",
        text="Where networks and alignment compute: auto (a graphics card, where Keras' backend "
        "sees one), cpu, or a card such as cuda:0.",
        callback=use,
        expose_value=False,
    ),
]
Devices = Annotated[
    int,
    _option(MINE, "--devices", text="Graphics cards, or processors, to train on.", min=1),
]
Runs = Annotated[
    int,
    _option(
        MINE,
        "--runs",
        min=1,
        text="Sort so many times, with the seeds seed, seed + 1, ..., keep what the runs agree on, "
        "and say how often each cluster was found.",
    ),
]
Rounds = Annotated[
    int,
    _option(
        MINE,
        "--rounds",
        min=1,
        text="Rounds of sorting at most: before each but the first the averages search the "
        "tomograms for particles that were missed. One where --picks brings them.",
    ),
]
Until = Annotated[
    LastStage,
    _option(
        MINE,
        "--until",
        text="Last stage: mine (clusters), refine (only with --preset paper), average, or embed "
        "(averages put back into the tomograms). A run can be resumed to go further.",
    ),
]
By = Annotated[
    SortedBy | None,
    _option(
        MINE,
        "--by",
        text="What decides: alignment to the averages that were found, or the network alone; by "
        "default alignment, where the model has averages.",
    ),
]
OutlierQuantile = Annotated[
    float | None,
    _option(
        MINE,
        "--outlier-quantile",
        text="Subtomograms farther out than this share of a cluster's members belong to none; by "
        "default the model's setting, 0.99; 1 puts all into a cluster.",
    ),
]
Seed = Annotated[int, _option(MINE, "--seed", text="The same seed gives the same labels.")]
RelionVersion = Annotated[
    Relion, _option(RUN, "--relion", text="Write star files for this RELION.")
]
Images = Annotated[
    bool,
    _option(
        RUN,
        "--images",
        text="Write subtomograms and missing wedges for RELION as well, into OUT/subtomograms; the "
        "star files name them.",
    ),
]
Out = Annotated[Path, _option(RUN, "--out", "-o", text="Folder for the results.")]
Overwrite = Annotated[
    bool, _option(RUN, "--overwrite", text="Replace what is there from an earlier run.")
]
Resume = Annotated[
    bool, _option(RUN, "--resume", text="Go on with the run there, where it stopped.")
]
Threads = Annotated[
    int | None,
    _option(
        COMPUTE,
        "--threads",
        text="Cores to use at once; by default all that this process may run on, or that SLURM "
        "allots to it.",
        min=1,
        callback=_use_threads,
        expose_value=False,
    ),
]
Workers = Annotated[
    int | None,
    _option(
        COMPUTE,
        "--workers",
        text="Processes that share the tasks: a tomogram each, or a chunk of subtomograms. With "
        "--cluster jobs at most. (Needs Dask, as the next three do.)",
        min=1,
    ),
]
Scheduler = Annotated[
    str | None,
    _option(
        COMPUTE,
        "--scheduler",
        text="Address of a Dask scheduler that runs, such as tcp://head:8786; its workers do the "
        "tasks.",
    ),
]
_JOBS = "Queueing system to which workers are submitted as jobs"
Cluster = Annotated[JobsOf | None, _option(COMPUTE, "--cluster", "--jobs-of", text=f"{_JOBS}.")]
JobsOnly = Annotated[
    JobsOf | None,
    _option(COMPUTE, "--jobs-of", text=f"{_JOBS}: --cluster of other commands."),
]
ClusterConfig = Annotated[
    Path | None,
    _option(
        COMPUTE,
        "--cluster-config",
        text="What a job is given, in YAML: settings of dask-jobqueue, such as cores, memory, "
        "walltime, queue below jobqueue: slurm:.",
    ),
]
Part = Annotated[
    str | None,
    _option(
        COMPUTE,
        "--part",
        text="Do this part of so many only, such as 2/10, one in each job; auto takes it from "
        "SLURM_ARRAY_TASK_ID. `merge` makes the parts one.",
        metavar="I/N",
    ),
]
