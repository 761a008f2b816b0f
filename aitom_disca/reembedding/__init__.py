"""Averages put back into the tomogram: densities, labels, a script for ChimeraX."""

from aitom_disca.reembedding.chimerax import chimerax_script
from aitom_disca.reembedding.embed import embed_tomogram
from aitom_disca.reembedding.embedded_files import EmbeddedTomogram
from aitom_disca.reembedding.from_averages import embed_averages
from aitom_disca.reembedding.placed_average import PlacedAverage

__all__ = [
    "EmbeddedTomogram",
    "PlacedAverage",
    "chimerax_script",
    "embed_averages",
    "embed_tomogram",
]
