"""Options of sorting: how clusters are found."""

from __future__ import annotations

from typing import Annotated

from aitom_disca.cli.choices import (
    KCriterion,
    LastStage,
    Precision,
    Preset,
    RotatedBy,
    SortedBy,
)
from aitom_disca.cli.help_text import OFTEN, RARELY, rarely
from aitom_disca.cli.options.declared import option

_RARELY = rarely("sorting")

CandidateK = Annotated[
    str | None,
    option(
        OFTEN,
        "--candidate-k",
        text="Numbers of clusters to choose from, such as 2-12 or 5,10,20 or 8; "
        "by default from 1 to one for every 40 subtomograms, 12 to 30; in the preset paper 2-12.",
    ),
]
Until = Annotated[
    LastStage,
    option(
        OFTEN,
        "--until",
        text="Last stage: mine (clusters), refine (only with --preset paper), average, or embed "
        "(averages put back into the tomograms). A run can be resumed to go further.",
    ),
]
Rounds = Annotated[
    int,
    option(
        OFTEN,
        "--rounds",
        min=1,
        text="Rounds of sorting at most: before each but the first the averages search the "
        "tomograms for particles that were missed. One where --picks brings them.",
    ),
]
Runs = Annotated[
    int,
    option(
        OFTEN,
        "--runs",
        min=1,
        text="Sort so many times, with the seeds seed, seed + 1, ..., keep what the runs agree on, "
        "and say how often each cluster was found.",
    ),
]
By = Annotated[
    SortedBy | None,
    option(
        OFTEN,
        "--by",
        text="What decides: alignment to the averages that were found, or the network alone; by "
        "default alignment, where the model has averages.",
    ),
]
OutlierQuantile = Annotated[
    float | None,
    option(
        _RARELY,
        "--outlier-quantile",
        text="Subtomograms farther out than this share of a cluster's members belong to none; by "
        "default the model's setting, 0.99; 1 puts all into a cluster.",
    ),
]
MinePreset = Annotated[
    Preset,
    option(_RARELY, "--preset", text="fast: for a workstation; paper: the method as published."),
]
ChosenBy = Annotated[
    KCriterion,
    option(
        _RARELY,
        "--k-criterion",
        text="What chooses the number of clusters of the features: bic, bic_si (more parameters "
        "counted), aic, ch (Calinski-Harabasz), kl (Krzanowski-Lai) or jump; the last three "
        "choose from 2.",
    ),
]
MaxIterations = Annotated[
    int | None,
    option(_RARELY, "--max-iterations", text="Rounds of clustering and training, at most."),
]
Width = Annotated[
    float | None,
    option(_RARELY, "--width", text="Factor on the network's channels; 1 as published."),
]
RotationName = Annotated[
    RotatedBy,
    option(
        _RARELY,
        "--rotation",
        text="What rotates the copies in training: own, on the device; aitom: AITom's function, or "
        "our equal of it, on the processor.",
    ),
]
ComputedIn = Annotated[
    Precision,
    option(
        _RARELY,
        "--precision",
        text="mixed: bfloat16, faster on recent graphics cards; auto: mixed there, else float32.",
    ),
]
MaskDiameter = Annotated[
    float | None,
    option(
        _RARELY,
        "--mask-diameter-angstrom",
        text="Diameter of a soft sphere round the particle, outside of which nothing counts, so "
        "that neighbours do not; if left out the particle diameter, 0 for the whole box.",
        min=0,
    ),
]
GradedWedge = Annotated[
    bool,
    option(
        RARELY,
        "--graded-wedge/--binary-wedge",
        text="Whether noise and signal are measured by tilt, and coefficients of tilts that hold "
        "less count for less where that is clear; or the wedge is taken to end at the tilt range "
        "alone.",
    ),
]
Expert = Annotated[
    list[str] | None,
    option(
        _RARELY,
        "--expert",
        text="NAME=VALUE changes a constant of the sorting by alignment, such as "
        "merging.one_z=-2 (repeatable); the page on its constants says what each does.",
    ),
]
Seed = Annotated[int, option(RARELY, "--seed", text="The same seed gives the same labels.")]
