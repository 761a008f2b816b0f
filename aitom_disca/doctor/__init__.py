"""Inputs and machine looked over before hours are spent."""

from aitom_disca.doctor.examine import examine
from aitom_disca.doctor.measured_wedge import ask_tilt_range
from aitom_disca.doctor.outcome import Check
from aitom_disca.doctor.polarity import ask_polarity

__all__ = ["Check", "ask_polarity", "ask_tilt_range", "examine"]
