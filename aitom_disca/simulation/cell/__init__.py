"""A simulated piece of a cell: crowded, imaged as a tilt series, with its truth."""

from aitom_disca.simulation.cell.cell import Cell, grow_cell, image_cell
from aitom_disca.simulation.cell.cell_files import surroundings_of, write_cell
from aitom_disca.simulation.cell.imaging import CleanSeries, reconstruct
from aitom_disca.simulation.cell.recipe import LEVELS, CellRecipe, Imaging
from aitom_disca.simulation.cell.truth import CellTruth, read_truth, write_truth

__all__ = [
    "LEVELS",
    "Cell",
    "CellRecipe",
    "CellTruth",
    "CleanSeries",
    "Imaging",
    "grow_cell",
    "image_cell",
    "read_truth",
    "reconstruct",
    "surroundings_of",
    "write_cell",
    "write_truth",
]
