"""Constants of sorting by alignment, each with what is known of its value."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aitom_disca.config.alignment import (
    BOX_PX,
    GradedWedgeSettings,
    PairSettings,
    ReconstructionSettings,
)
from aitom_disca.config.base import CHOSEN, Settings, constant
from aitom_disca.config.detail_levels import CoarseSettings, FineSettings, WideSettings


class FirstSettings(Settings):
    """First references: single subtomograms, several for each cluster that is known."""

    signal: float = constant(
        0.4, "Share of a single subtomogram that is taken for signal.", gt=0, le=1
    )
    shift_step_px: float = constant(
        1.67, "Step of the 27 shifts that are tried about the box centre, in voxels.", ge=0, le=20
    )
    rounds: int = constant(3, "Rounds at these shifts, in coarse detail.", ge=1, le=1000)
    tries: int = constant(
        3, "A known cluster begins so often from other members; the likeliest stays.", ge=1, le=100
    )
    fewest: int = constant(
        15,
        "References that known clusters begin with, all together: large ones may hold several "
        "structures.",
        "From two clusters of the network alone, five of one size at SNR 0.1 and 0.05 were all "
        "found (benchmark, refinement).",
        ge=1,
        le=10_000,
    )
    judged_rounds: int = constant(
        3,
        "Rounds in fine detail, before each second look and after the last, where known clusters "
        "are judged, and not sorted.",
        ge=1,
        le=1000,
    )
    judged_looks: int = constant(
        4,
        "Second looks, over all shifts, where known clusters are judged, and not sorted.",
        "Ten structures of 30 and 60 members, 50 pairs of two structures: without, 12 were said to "
        "be one, with four looks 2, and with a mask 5 and 0; the 15 pairs that were one structure "
        "were found each time (benchmark, which clusters are one).",
        ge=0,
        le=1000,
    )


class RoundsSettings(Settings):
    """Rounds of expectation and maximisation."""

    negligible: float = constant(
        5.0,
        "Poses whose log likelihood is so much below the best of a subtomogram are left out.",
        "Together they weigh little: e^-5 is 0.7 % of the best, each.",
        gt=0,
        le=1e6,
    )
    fewest_members: int = constant(
        4, "Clusters of fewer, by the sum of posteriors, go.", ge=1, le=10_000
    )
    parts: int = constant(
        4,
        "Parts of the data, half of them of each half. No subtomogram meets an average that its "
        "part is in, so that averages hold three quarters of the data.",
        "Where a subtomogram is part of what it meets, its noise holds it in its cluster. At true "
        "places in a cell ARI was 1.00 (good) and 0.25 (raw) without parts, 1.00 and 0.22 with "
        "four (benchmark, sorting among neighbours). Other numbers were not measured.",
        ge=2,
        le=100,
        multiple_of=2,
    )
    all_compared: int = constant(
        3,
        "In every so many-th round all averages are compared; in the others those that were likely "
        "before.",
        ge=1,
        le=1000,
    )
    stayed: float = constant(
        0.002, "Share of the labels that may change where they count as settled.", ge=0, lt=1
    )
    settling: int = constant(
        6, "Rounds in fine detail between two looks at what may be merged.", ge=1, le=1000
    )
    after_second_look: int = constant(
        2, "Rounds where a second look has changed labels.", ge=1, le=1000
    )
    over_all: int = constant(
        3, "Rounds over all subtomograms of a set that is too large to be held.", ge=1, le=1000
    )
    likely: float = constant(
        1e-3,
        "Over all, clusters of less probability are not compared in the next round.",
        gt=0,
        lt=1,
    )


class CentringSettings(Settings):
    """How averages are brought to the centres of their boxes."""

    window: float = constant(
        1.15 / 1.6,
        "Diameter of the sphere whose mass counts, as a share of the box: boxes are 1.6 particle "
        "diameters wide, and 15 % are margin.",
        "Hollow particles are no longer pushed off the centre, and end within 0.09 voxels of it "
        "(benchmark, averages among neighbours).",
        gt=0,
        le=2,
    )
    smooth: float = constant(
        1 / 24, "Sigma of the Gaussian before that, as a share of the box.", ge=0, le=0.5
    )
    near_px: float = constant(
        0.3, "Averages so near to the centre stay as they are, in voxels.", ge=0, le=10
    )


class MergingSettings(Settings):
    """When two clusters are one structure, by members that averages were made without."""

    one_z: float = constant(
        -3.0,
        "Two clusters are one if their members fit a joint average better by so many standard "
        "errors, of 2 `tested` members; of fewer the limit goes with the root of their number.",
        "One structure in two clusters: -1.9 in the lowest of nine pairs; GroEL and proteasome, at "
        "the noise of cells: -12.3 to -4.5 (benchmark, sorting among neighbours).",
        ge=-100,
        le=100,
    )
    clearly_one_z: float = constant(
        1.5, "The same before clusters are looked at in fine detail.", ge=-100, le=100
    )
    hopeless_z: float = constant(
        -8.0,
        "Below it clusters are two for sure; between it and 0 the joint average is grown from "
        "either cluster as well.",
        ge=-1000,
        le=0,
    )
    neighbours: int = constant(
        2, "A cluster is compared with so many whose averages look most alike.", ge=1, le=1000
    )
    tested: int = constant(
        400,
        "Members of each cluster that take part in a test.",
        "With 80, and the smaller gain of the two, GroEL and proteasome came to -1.1 to 0.8, where "
        "one structure came to 0.1 (benchmark, sorting among neighbours).",
        ge=2,
        le=1_000_000,
    )
    near_step_px: float = constant(
        0.8, "Step of the seven shifts of the test itself, along each axis, in voxels.", ge=0, le=20
    )


class SplittingSettings(Settings):
    """How structures that were missed are looked for among some subtomograms."""

    starts: int = constant(3, "Single subtomograms that references begin as.", ge=2, le=1000)
    tries: int = constant(
        2, "So often from other ones; the likeliest is gone on with.", ge=1, le=99
    )
    balanced_coarse: int = constant(
        6,
        "Rounds in coarse detail in which all references keep about the same size.",
        "From references of equal size GroEL and proteasome are told apart at once; with priors "
        "that follow the sizes all end in one cluster, at a lower likelihood (8.2 for each "
        "subtomogram) than with even ones (8.9 to 9.1; benchmark, at the picks of a run).",
        ge=1,
        le=1000,
    )
    balanced_fine: int = constant(
        3, "The same in fine detail.", "As for balanced_coarse.", ge=1, le=1000
    )
    rounds: int = constant(4, "Rounds with even priors that follow, in fine detail.", ge=1, le=1000)
    looks: int = constant(2, "So often, at most, and a second look after them.", ge=1, le=100)
    fewest: int = constant(24, "Fewer subtomograms are not looked into.", ge=2, le=1_000_000)
    same: float = constant(
        0.8,
        "Share of common members from which a cluster counts as one that could not be split "
        "before.",
        ge=0,
        le=1,
    )
    misfits: float = constant(
        0.15,
        "Share of the subtomograms, those that fit worst in their clusters, that are looked into.",
        "The looks find one of ten structures (ARI 0.877, K = 9 without them, 0.993, K = 10 with; "
        "benchmark, what each part contributes). The share was chosen.",
        ge=0,
        le=1,
    )


class MissedSettings(Settings):
    """How structures that were missed are looked for among all subtomograms of a large set."""

    bands: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = constant(
        (75, 150, 300, 600),
        "What fits worst is sorted between these ranks, as far as they are within the misfits.",
        "60 of the 75 worst-fitting of 5000 were of the rare structures (0.9 and 0.3 %; benchmark, "
        "all subtomograms).",
    )
    members: int = constant(
        300,
        "Members of a new cluster that are looked into.",
        CHOSEN + " No test is large enough to show what it does.",
        ge=2,
        le=1_000_000,
    )
    tested: int = constant(
        200, "Members of each cluster that take part in tests over all.", ge=2, le=1_000_000
    )


class NoiseSettings(Settings):
    """Which subtomograms, and which clusters, are noise alone."""

    quantile: float = constant(
        0.99,
        "Share of pure noise that fits worse than what is taken for a particle.",
        CHOSEN + " One in a hundred is the usual level.",
        gt=0,
        lt=1,
    )
    n_noise: int = constant(300, "Boxes of noise that this is measured on.", ge=2, le=1_000_000)
    least_fit: float = constant(
        0.5,
        "Mean log likelihood, over noise, of members in averages made without them, below which a "
        "whole cluster is noise.",
        ge=-1000,
        le=1000,
    )


class SortingSettings(Settings):
    """Constants of sorting by alignment: for experts, and for those who check what they do.

    Nothing here needs to be set for data of another kind. Each constant says what it does, and
    its ``evidence``: what was measured, or that it was chosen.
    """

    box_px: int = constant(
        BOX_PX,
        "Edge in voxels of the box in which all is sorted; subtomograms are Fourier-cropped to it, "
        "so that frequencies beyond its half do not count.",
        ge=6,
        le=200,
    )
    held_out: float = constant(
        0.2,
        "Share of the Fourier coefficients that has no part in choosing clusters, and is asked "
        "whether they are real.",
        gt=0,
        lt=1,
    )
    coarse: CoarseSettings = CoarseSettings()
    fine: FineSettings = FineSettings()
    wide: WideSettings = WideSettings()
    first: FirstSettings = FirstSettings()
    rounds: RoundsSettings = RoundsSettings()
    reconstruction: ReconstructionSettings = ReconstructionSettings()
    pairs: PairSettings = PairSettings()
    centring: CentringSettings = CentringSettings()
    merging: MergingSettings = MergingSettings()
    splitting: SplittingSettings = SplittingSettings()
    missed: MissedSettings = MissedSettings()
    noise: NoiseSettings = NoiseSettings()
    graded_wedge: GradedWedgeSettings = GradedWedgeSettings()


SORTING = SortingSettings()  # as everything is measured
