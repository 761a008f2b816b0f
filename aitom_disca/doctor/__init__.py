"""Inputs and machine looked over before hours are spent."""

from aitom_disca.doctor.check import Check
from aitom_disca.doctor.examine import examine
from aitom_disca.doctor.polarity import ask_polarity
from aitom_disca.doctor.wedge import ask_tilt_range

__all__ = ["Check", "ask_polarity", "ask_tilt_range", "examine"]
