"""Gaussian mixtures, the number of clusters, matching and validation; knows no volumes."""

from aitom_disca.clustering.ddbi import ddbi
from aitom_disca.clustering.fitting import fit_mixture
from aitom_disca.clustering.k_selection import MixtureChoice, choose_mixture, estimate_k
from aitom_disca.clustering.matching import contingency, match_labels
from aitom_disca.clustering.mixture import GaussianMixtureModel, mixture_of_labels
from aitom_disca.clustering.online_mixture import FIGMN
from aitom_disca.clustering.over_and_under_partition import Change, Restructured, restructure
from aitom_disca.clustering.projection import Projection, fit_projection

__all__ = [
    "FIGMN",
    "Change",
    "GaussianMixtureModel",
    "MixtureChoice",
    "Projection",
    "Restructured",
    "choose_mixture",
    "contingency",
    "ddbi",
    "estimate_k",
    "fit_mixture",
    "fit_projection",
    "match_labels",
    "mixture_of_labels",
    "restructure",
]
