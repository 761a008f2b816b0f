"""AITom beside this package: its picker, rotation, files, function names and Gum-Net pairs."""

from aitom_disca.bridge.aitom_availability import Part, status
from aitom_disca.bridge.aitom_picking import aitom_picker, dog_peaks, filter_peaks
from aitom_disca.bridge.aitom_poses import (
    output_of_transform,
    pose_of_transform,
    transform_of_output,
    transform_of_pose,
)
from aitom_disca.bridge.gumnet_pairs import GumnetPairs, read_gumnet_pairs, write_gumnet_pairs
from aitom_disca.bridge.pickles import read_pickle, write_pickle
from aitom_disca.bridge.read_files import KINDS, read_particles
from aitom_disca.bridge.store_pickles import export_subvolumes, import_store
from aitom_disca.bridge.volume_rotation import aitom_rotation, rotate
from aitom_disca.bridge.write_files import write_particles

__all__ = [
    "KINDS",
    "GumnetPairs",
    "Part",
    "aitom_picker",
    "aitom_rotation",
    "dog_peaks",
    "export_subvolumes",
    "filter_peaks",
    "import_store",
    "output_of_transform",
    "pose_of_transform",
    "read_gumnet_pairs",
    "read_particles",
    "read_pickle",
    "rotate",
    "status",
    "transform_of_output",
    "transform_of_pose",
    "write_gumnet_pairs",
    "write_particles",
    "write_pickle",
]
