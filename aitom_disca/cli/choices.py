"""What options can be chosen from."""

from __future__ import annotations

from enum import Enum


class Preset(str, Enum):
    """Presets of the mining settings."""

    fast = "fast"
    paper = "paper"


class KCriterion(str, Enum):
    """Criteria for the number of clusters."""

    bic = "bic"
    bic_si = "bic_si"
    aic = "aic"
    ch = "ch"
    kl = "kl"
    jump = "jump"


class Precision(str, Enum):
    """Precisions that the network computes in."""

    auto = "auto"
    float32 = "float32"
    mixed = "mixed"


class ThresholdRule(str, Enum):
    """Rules of the picking threshold."""

    auto = "auto"
    fdr = "fdr"
    std = "std"
    absolute = "absolute"
    aitom = "aitom"


class PickedBy(str, Enum):
    """What picks."""

    dog = "dog"
    aitom = "aitom"


class RotatedBy(str, Enum):
    """What rotates training copies."""

    own = "own"
    aitom = "aitom"


class SortedBy(str, Enum):
    """What sorts new subtomograms."""

    alignment = "alignment"
    network = "network"


class LastStage(str, Enum):
    """Where a run ends."""

    mine = "mine"
    refine = "refine"
    average = "average"
    embed = "embed"


class Relion(str, Enum):
    """Versions of RELION that star files are written for."""

    v31 = "3.1"
    v5 = "5"


class JobsOf(str, Enum):
    """Queueing systems whose jobs are workers."""

    slurm = "slurm"
    pbs = "pbs"
    sge = "sge"
    lsf = "lsf"
