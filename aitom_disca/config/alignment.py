"""Constants of the engine of alignment: averages, their poses on one another, the graded wedge."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aitom_disca.config.base import Settings, constant

BOX_PX = 20
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Steps = Annotated[tuple[tuple[_Positive, _Positive], ...], Field(min_length=1)]
_BOX = "Edge in voxels of the box to which volumes are Fourier-cropped."
_OF_RADIUS = "Largest frequency that counts, in steps of 1 / box."


class ReconstructionSettings(Settings):
    """How sums of Fourier coefficients become an average."""

    sampling_floor: float = constant(
        0.1,
        "Added to the weight of every place, as a share of the mean weight of its shell: places "
        "that few wedges measured are held back.",
        gt=0,
        le=100,
    )
    least_correlation: float = constant(
        0.02,
        "Fourier shell correlation of the halves below which none is taken to be: a shell is "
        "damped, but never lost for all further rounds.",
        gt=0,
        lt=1,
    )


class PairSettings(Settings):
    """How one average is laid on another."""

    radius: float = constant(6.0, _OF_RADIUS, gt=1, le=100)
    n_rotations: int = constant(
        1000, "Rotations of the even grid that is tried first.", ge=1, le=1_000_000
    )
    shift_step_px: float = constant(
        1.67, "Step of the grid of shifts that is tried first, in voxels.", gt=0, le=20
    )
    range_px: float = constant(
        5.0,
        "Largest of these shifts, in voxels.",
        "With 2.9 voxels only, and averages that were not centred, two of ten structures stayed "
        "one: adjusted Rand index 0.84, K = 9, where it is 0.99, K = 10 now (benchmark, what each "
        "part contributes).",
        ge=0,
        le=50,
    )
    finer_px_deg: _Steps = constant(
        ((0.8, 12.0), (0.4, 6.0), (0.2, 3.0), (0.1, 1.5), (0.05, 0.75)),
        "Steps of shift (voxels) and of rotation (degrees) that follow, each of them once.",
        "Down to 3 to 5 degrees only, one structure stayed in two or more clusters: of 2000 "
        "subtomograms K = 8, ARI 0.936 in place of K = 7, ARI 1.000; of 8000 K = 10, ARI 0.856 "
        "(benchmark, all subtomograms).",
    )


class GradedWedgeSettings(Settings):
    """How the fall-off of noise and signal with tilt is measured, and when it counts."""

    box_px: int = constant(BOX_PX, _BOX, ge=6, le=200)
    smallest_px: int = constant(
        12, "In boxes of fewer voxels a wedge has too few places: it stays binary.", ge=4, le=200
    )
    groups: int = constant(
        20, "Parts of the subtomograms; how these differ gives standard errors.", ge=2, le=1000
    )
    fewest: int = constant(
        20, "Of fewer subtomograms nothing is measured: the wedge stays binary.", ge=2, le=1_000_000
    )
    clear: float = constant(
        0.8,
        "What falls off counts only where the amplitude falls below this share of the largest.",
        "Cells without a fall-off have a power of 0.73 and more of the largest, amplitudes of "
        "0.85; 24 experimental ribosomes 0.76 to 0.8, and gain by it (benchmark, a wedge that is "
        "graded).",
        gt=0,
        lt=1,
    )
    clear_z: float = constant(
        3.5,
        "And only where it does so by this many standard errors.",
        "Of 720 sets of 20 to 240 phantoms behind a binary wedge 3 were taken for graded "
        "(benchmark, a wedge that is graded).",
        gt=0,
        le=100,
    )
    clear_gain: float = constant(
        7.0,
        "Of the signal only where it gains this much in log likelihood as well.",
        "As for clear_z.",
        ge=0,
        le=1000,
    )
    smooth_bins: float = constant(
        2.0, "Sigma of a Gaussian over the power by tilt, in bins of tilt.", ge=0, le=30
    )
    radius: float = constant(
        5.4,
        _OF_RADIUS + " Of the mean of all subtomograms, which says how the signal falls off.",
        gt=1,
        le=100,
    )
    least: float = constant(
        0.05, "No amplitude is taken to be less: what is divided by it would be noise.", gt=0, lt=1
    )


class ToReferenceSettings(Settings):
    """How subtomograms are laid on a reference, as members beyond ``most`` are on an average."""

    box_px: int = constant(BOX_PX, _BOX + " Of the search everywhere.", ge=6, le=200)
    radius: float = constant(5.0, _OF_RADIUS + " Of the search everywhere.", gt=1, le=100)
    shift_step_px: float = constant(
        1.67, "Step of the shifts of the search everywhere, in voxels of its box.", gt=0, le=20
    )
    turned: float = constant(
        0.4,
        "A step of rotation is taken at frequencies whose shell it moves by this much at most, in "
        "steps of 1 / box.",
        gt=0,
        le=10,
    )
    largest: float = constant(0.8, "Largest frequency of all, as a share of Nyquist.", gt=0, le=1)
    leads: int = constant(
        3,
        "Poses of the search everywhere that are followed, far from one another.",
        "Of 40 subtomograms of a nearly two-fold structure (SNR 0.3) none is half a turn off; with "
        "one lead 11 are (tests/test_constants.py).",
        ge=1,
        le=20,
    )
    apart_deg: float = constant(
        30.0,
        "So far apart their rotations are at least, in degrees.",
        "Of the same 40 none is half a turn off with 0.5 either, and 7 are with 175.",
        gt=0,
        lt=180,
    )
    passes: int = constant(
        3, "Each step of the climb from a lead is taken at most so often.", ge=1, le=100
    )


TO_REFERENCE = ToReferenceSettings()
