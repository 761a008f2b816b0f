"""Constants of how finely averages and subtomograms are compared while these are sorted."""

from __future__ import annotations

from aitom_disca.config.base import Settings, constant

_RADIUS = "Largest frequency that counts, in steps of 1 / box."
_ROTATIONS = "Rotations of the even grid over SO(3)."
_SHIFT = "Step of the seven shifts about the known place, along each axis, in voxels."
_FINER = (
    "Assigned to averages of the clear level at true poses, raw subtomograms of a cell gave ARI "
    "0.71 at radius 5 with 600 rotations, 0.84 at 7 with 1500, 0.92 at 7 with 5000 (benchmark, "
    "sorting among neighbours); in the last rounds of a whole sorting 5000 rotations and radius 9 "
    "gained nothing (0.561 to 0.571 from 0.566)."
)


class LevelSettings(Settings):
    """How finely is looked."""

    radius: float
    n_rotations: int
    shift_step_px: float


class CoarseSettings(LevelSettings):
    """Coarse detail, in which clusters are found."""

    radius: float = constant(5.0, _RADIUS, gt=1, le=100)
    n_rotations: int = constant(600, _ROTATIONS, ge=1, le=1_000_000)
    shift_step_px: float = constant(1.25, _SHIFT, ge=0, le=20)
    rounds: int = constant(8, "Rounds of expectation and maximisation at most.", ge=1, le=1000)


class FineSettings(LevelSettings):
    """Fine detail, in which clusters are told apart."""

    radius: float = constant(7.0, _RADIUS, _FINER, gt=1, le=100)
    n_rotations: int = constant(1500, _ROTATIONS, _FINER, ge=1, le=1_000_000)
    shift_step_px: float = constant(0.8, _SHIFT, ge=0, le=20)


class WideSettings(Settings):
    """The second look: coarse detail over the whole range of shifts."""

    shift_step_px: float = constant(1.67, "Step of the grid of shifts, in voxels.", gt=0, le=20)
    range_px: float = constant(
        3.8,
        "Largest shift from the box centre, in voxels; the same in a joint average of two clusters "
        "that may be one.",
        ge=0,
        le=50,
    )
    far: float = constant(
        15.0,
        "Of all subtomograms, an average whose log likelihood in coarse detail is so much below "
        "the best is not looked at in fine detail.",
        "Posteriors stay within 0.005 of those by all averages, 98 % of the log likelihoods within "
        "0.02 (a simulated set of 275; tests/test_all_particles.py).",
        gt=0,
        le=1e6,
    )
