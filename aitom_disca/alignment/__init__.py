"""The engine of alignment: Fourier slices, expectation, maximisation, search of poses."""

from aitom_disca.alignment.coefficients import Coefficients, Particles
from aitom_disca.alignment.exhaustive_search import Poses, align
from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.alignment.maximisation import Averager
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.alignment.slices import Slicer, to_volume

__all__ = [
    "Averager",
    "Coefficients",
    "Expectation",
    "Particles",
    "Poses",
    "Slicer",
    "align",
    "expect",
    "rotation_grid",
    "to_volume",
]
