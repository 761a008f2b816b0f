"""AITom beside this package: its picker, rotation, files, function names and Gum-Net pairs."""

from aitom_disca.bridge.parts import Part, status
from aitom_disca.bridge.picking import aitom_picker, dog_peaks, filter_peaks
from aitom_disca.bridge.rotating import aitom_rotation, rotate

__all__ = [
    "Part",
    "aitom_picker",
    "aitom_rotation",
    "dog_peaks",
    "filter_peaks",
    "rotate",
    "status",
]
