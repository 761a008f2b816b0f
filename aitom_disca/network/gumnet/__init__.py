"""Gum-Net: a network that finds the rigid motion between two subtomograms, without labels."""

from aitom_disca.network.gumnet.legacy import load_legacy_weights
from aitom_disca.network.gumnet.model import build_gumnet, load_gumnet, save_gumnet
from aitom_disca.network.gumnet.poses import predict_poses
from aitom_disca.network.gumnet.training import train_gumnet

__all__ = [
    "build_gumnet",
    "load_gumnet",
    "load_legacy_weights",
    "predict_poses",
    "save_gumnet",
    "train_gumnet",
]
