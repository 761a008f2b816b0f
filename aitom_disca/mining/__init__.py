"""The DISCA loop: features and clusters in turn, until the clusters stay."""

from aitom_disca.mining.bundle import Bundle
from aitom_disca.mining.disca import DISCA

__all__ = ["DISCA", "Bundle"]
