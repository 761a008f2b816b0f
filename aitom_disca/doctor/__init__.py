"""Inputs and machine looked over before hours are spent."""

from aitom_disca.doctor.check import Check
from aitom_disca.doctor.examine import examine

__all__ = ["Check", "examine"]
