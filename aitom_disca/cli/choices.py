"""What options can be chosen from."""

from __future__ import annotations

from enum import StrEnum


class Preset(StrEnum):
    """Presets of the mining settings."""

    fast = "fast"
    paper = "paper"


class KCriterion(StrEnum):
    """Criteria for the number of clusters."""

    bic = "bic"
    bic_si = "bic_si"
    aic = "aic"
    ch = "ch"
    kl = "kl"
    jump = "jump"


class Precision(StrEnum):
    """Precisions that the network computes in."""

    auto = "auto"
    float32 = "float32"
    mixed = "mixed"


class ThresholdRule(StrEnum):
    """Rules of the picking threshold."""

    auto = "auto"
    fdr = "fdr"
    std = "std"
    absolute = "absolute"
    aitom = "aitom"


class PickedBy(StrEnum):
    """What picks."""

    dog = "dog"
    aitom = "aitom"


class RotatedBy(StrEnum):
    """What rotates training copies."""

    own = "own"
    aitom = "aitom"


class SortedBy(StrEnum):
    """What sorts new subtomograms."""

    alignment = "alignment"
    network = "network"


class LastStage(StrEnum):
    """Where a run ends."""

    mine = "mine"
    refine = "refine"
    average = "average"
    embed = "embed"


class Relion(StrEnum):
    """Versions of RELION that star files are written for."""

    v31 = "3.1"
    v5 = "5"


class JobsOf(StrEnum):
    """Queueing systems whose jobs are workers."""

    slurm = "slurm"
    pbs = "pbs"
    sge = "sge"
    lsf = "lsf"
