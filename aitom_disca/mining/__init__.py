"""The DISCA loop: features and clusters in turn, until the clusters stay."""

from aitom_disca.mining.disca import DISCA
from aitom_disca.mining.model_file import Bundle

__all__ = ["DISCA", "Bundle"]
