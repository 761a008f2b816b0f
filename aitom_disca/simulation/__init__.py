"""Simulated data with known truth: phantoms, subtomograms, whole tomograms, pick scores."""

from aitom_disca.simulation.phantoms import Phantom, Template, load_phantoms
from aitom_disca.simulation.pick_scores import PickScore, match_picks
from aitom_disca.simulation.subtomograms import SimulatedSubtomograms, simulate_subtomograms
from aitom_disca.simulation.templates import MapTemplate, read_template
from aitom_disca.simulation.tomograms import SimulatedTomogram, simulate_tomogram

__all__ = [
    "MapTemplate",
    "Phantom",
    "PickScore",
    "SimulatedSubtomograms",
    "SimulatedTomogram",
    "Template",
    "load_phantoms",
    "match_picks",
    "read_template",
    "simulate_subtomograms",
    "simulate_tomogram",
]
