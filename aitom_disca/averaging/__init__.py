"""Averages and how far to trust them: shell correlation, masks, sharpening, known maps."""

from aitom_disca.averaging.compare_maps import (
    Comparison,
    compare_with_map,
    masked_correlation,
    resample,
)
from aitom_disca.averaging.fsc import (
    CorrectedFsc,
    FscCurve,
    corrected_fsc,
    fourier_shell_correlation,
    resolution_angstrom,
)
from aitom_disca.averaging.gold_standard import ClusterAverage, average_cluster
from aitom_disca.averaging.masks import density_mask
from aitom_disca.averaging.phase_randomisation import randomise_phases
from aitom_disca.averaging.sharpening import GuinierFit, fsc_weights, guinier_fit, sharpen

__all__ = [
    "ClusterAverage",
    "Comparison",
    "CorrectedFsc",
    "FscCurve",
    "GuinierFit",
    "average_cluster",
    "compare_with_map",
    "corrected_fsc",
    "density_mask",
    "fourier_shell_correlation",
    "fsc_weights",
    "guinier_fit",
    "masked_correlation",
    "randomise_phases",
    "resample",
    "resolution_angstrom",
    "sharpen",
]
